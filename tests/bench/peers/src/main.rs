//! Our peers' figures, to be read beside those of `cargo bench --bench gossip` and `membership`: chitchat
//! and the Rust memberlist. foca is measured beside our membership there.
//!
//! `CARGO_TARGET_DIR=../../../target cargo run --release [-- WORD [N...]]`, here in this directory; only
//! peers whose names contain the word. memberlist needs a network namespace of its own, as its bytes are
//! those of the loopback device: build, then
//! `sudo unshare --net sh -c 'ip link set lo up && ../../../target/release/fizz-peers memberlist'`.

mod chitchat;
mod memberlist;

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// How long it is looked at when nothing happens.
const QUIET: Duration = Duration::from_secs(60);

/// One line of the table. What was not seen is none.
#[derive(Default)]
pub(crate) struct Row {
    pub(crate) joined: Option<Duration>,
    pub(crate) crash: Option<Duration>,
    pub(crate) update: Option<Duration>,
    pub(crate) bytes: f64,
    pub(crate) cpu_micros: f64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sizes: Vec<usize> = words.iter().filter_map(|it| it.parse().ok()).collect();
    let word = words.iter().find(|it| it.parse::<usize>().is_err());
    let wanted = |name: &str| word.is_none_or(|word| name.contains(word.as_str()));
    let sizes_or = |these: &[usize]| if sizes.is_empty() { these.to_vec() } else { sizes.clone() };
    println!(
        "                       N   joined s   crash s  update s  bytes/s/node  CPU us/s/node"
    );
    if wanted("chitchat") {
        for count in sizes_or(&[8, 64, 256]) {
            print("chitchat 0.13", count, &chitchat::measure(count));
        }
        let took = chitchat::newcomer(10_000);
        println!("chitchat: a newcomer takes over 10,000 keys in {}", seconds(took));
    }
    if wanted("memberlist") {
        for count in sizes_or(&[8, 64]) {
            print("memberlist 0.8.5", count, &memberlist::measure(count));
        }
    }
}

fn print(name: &str, count: usize, row: &Row) {
    println!(
        "{name:<18} {count:>5} {:>10} {:>9} {:>9} {:>13.0} {:>14.1}",
        seconds(row.joined),
        seconds(row.crash),
        seconds(row.update),
        row.bytes,
        row.cpu_micros
    );
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or("never".to_owned(), |it| format!("{:.3}", it.as_secs_f64()))
}

/// The processor time of this process so far, in microseconds.
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process has a usage");
    [usage.user_time(), usage.system_time()]
        .map(|it| it.tv_sec() as f64 * 1e6 + it.tv_usec() as f64)
        .iter()
        .sum()
}

/// When the others of so many begin: evenly in the first second.
fn starts(count: usize) -> impl Iterator<Item = Duration> {
    (1..count).map(move |it| Duration::from_secs_f64(it as f64 / count as f64))
}
