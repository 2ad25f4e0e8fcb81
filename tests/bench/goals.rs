//! What a bench's words and figures have in common: how many seeds, which tables, and whether a goal is met.

use nix::sys::resource::{UsageWho, getrusage};

/// Prints a table from so many seeds.
pub(crate) type Table = fn(u64);

/// Prints the tables whose names contain the word on the command line, from `--seeds N`, 20 where it is
/// not said.
pub(crate) fn print(tables: &[(&str, Table)]) {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let seeds = words.iter().position(|it| it == "--seeds").and_then(|it| words.get(it + 1));
    let seeds = seeds.and_then(|it| it.parse().ok()).unwrap_or(20);
    let word = words.iter().find(|it| !it.starts_with('-') && it.parse::<u64>().is_err());
    let wanted = |name: &str| word.is_none_or(|word| name.contains(word.as_str()));
    for (_, table) in tables.iter().filter(|(name, _)| wanted(name)) {
        table(seeds);
        println!();
    }
}

/// A figure beside its goal, which is the most that it may be.
pub(crate) fn verdict(figure: f64, most: f64) -> String {
    if figure <= most {
        "met".to_owned()
    } else if most == 0.0 {
        format!("missed by {figure:.2}")
    } else {
        format!("missed by {:.2}x", figure / most)
    }
}

/// The middle of figures, the 99th of a hundred, and the last.
pub(crate) fn spread(figures: &mut [f64]) -> [f64; 3] {
    figures.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| (figures.len().saturating_sub(1) as f64 * share).round() as usize;
    [0.5, 0.99, 1.0].map(|share| figures.get(at(share)).copied().unwrap_or(f64::NAN))
}

/// The processor time of this process so far, in microseconds.
pub(crate) fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|it| it.tv_sec() as f64 * 1e6 + it.tv_usec() as f64)
        .iter()
        .sum()
}

/// The most memory that this process ever had, in MiB.
pub(crate) fn memory_mib() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss() as f64 / 1024.0
}
