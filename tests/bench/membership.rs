//! Who is alive, beside foca on the same virtual network: how soon a crash is seen, what quiet costs,
//! how often the living are declared dead, how soon halves find each other.
//!
//! `cargo bench --bench membership [-- --seeds N] [WORD]`; only tables whose names contain the word.
//! Latency one way 0.2 to 1 ms, independent loss. Fizz: `Config::lan()`, packets in their real encoding
//! with the bytes of sealing. foca: `Config::new_lan(N)`, unsealed. Bytes count IPv4 and UDP headers.
#![expect(clippy::print_stdout, reason = "a bench is run for what it prints")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

#[path = "../membership/cluster.rs"]
#[allow(dead_code, reason = "shared with the stories")]
mod cluster;
#[path = "../membership/network.rs"]
mod network;
#[path = "membership/peer.rs"]
mod peer;

use cluster::Cluster;
use fizz::{model::NodeState, swim::Config};
use network::Micros;
use nix::sys::resource::{UsageWho, getrusage};

const SECOND: Micros = 1_000_000;
const SIZES: [usize; 4] = [8, 64, 256, 1024];

/// Prints a table from so many seeds.
type Table = fn(u64);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let seeds = words.iter().position(|it| it == "--seeds").and_then(|it| words.get(it + 1));
    let seeds = seeds.and_then(|it| it.parse().ok()).unwrap_or(20);
    let word = words.iter().find(|it| !it.starts_with('-') && it.parse::<u64>().is_err());
    let wanted = |name: &str| word.is_none_or(|word| name.contains(word.as_str()));
    let tables: [(&str, Table); 4] =
        [("crash", crash), ("idle", idle), ("loss", loss), ("halves", halves)];
    for (_, table) in tables.into_iter().filter(|(name, _)| wanted(name)) {
        table(seeds);
        println!();
    }
}

/// The middle, the 99th of a hundred, and the last, in seconds.
fn figures(mut times: Vec<Micros>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    if times.is_empty() {
        return "never".to_owned();
    }
    format!("{:7.3} {:7.3} {:7.3}", at(0.5), at(0.99), at(1.0))
}

fn fizz(count: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(count, seed, Config::lan());
    cluster.pass(3 * SECOND + seed * 53_123);
    cluster.changes.clear();
    cluster
}

fn foca(count: usize, seed: u64) -> peer::Cluster {
    let mut cluster = peer::Cluster::new(count, seed);
    cluster.pass(3 * SECOND + seed * 53_123);
    cluster.downs.clear();
    cluster
}

/// The last of the running to see it, in each seed.
fn crash(seeds: u64) {
    println!("crash seen by all, s             median     p99     max   ({seeds} seeds)");
    for count in SIZES {
        let (mut missed, mut dead, mut down, mut news) = (vec![], vec![], vec![], vec![]);
        for seed in 0..seeds {
            let mut cluster = fizz(count, seed);
            let at = cluster.network.now;
            cluster.crash(0);
            cluster.until(60 * SECOND, |it| it.all_see(0, NodeState::Dead)).unwrap();
            let seen = cluster.first_seen(0, NodeState::Suspicious, at);
            missed.extend(seen.last());
            news.extend(seen.first().zip(seen.last()).map(|(first, last)| last - first));
            dead.extend(cluster.first_seen(0, NodeState::Dead, at).last());
            let mut cluster = foca(count, seed);
            let at = cluster.network.now;
            cluster.crash(0);
            cluster.pass(40 * SECOND);
            let seen = cluster.downs.iter().filter(|it| it.2 == 0).map(|it| it.0 - at);
            assert_eq!(seen.clone().count(), count - 1, "foca: not all saw it");
            down.extend(seen.max());
        }
        println!("  N = {count:<5} Fizz unreachable  {}", figures(missed));
        println!("            ... first to last {}", figures(news));
        println!("            Fizz dead         {}", figures(dead));
        println!("            foca down         {}", figures(down));
    }
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .map(|it| it.tv_sec() as f64 * 1e6 + it.tv_usec() as f64)
        .iter()
        .sum()
}

fn idle(_: u64) {
    println!(
        "idle for 60 s             bytes/s/node  packets/s/node  CPU us/s/node (with the network)"
    );
    for count in SIZES {
        let row = |name: &str, bytes: u64, packets: u64, micros: f64| {
            let per = count as f64 * 60.0;
            println!(
                "  N = {count:<5} {name}  {:>16.0} {:>15.2} {:>14.2}",
                bytes as f64 / per,
                packets as f64 / per,
                micros / per
            );
        };
        let mut cluster = fizz(count, 1);
        (cluster.network.bytes, cluster.network.packets) = (0, 0);
        let before = cpu();
        cluster.pass(60 * SECOND);
        row("Fizz", cluster.network.bytes, cluster.network.packets, cpu() - before);
        let mut cluster = foca(count, 1);
        cluster.pass(60 * SECOND);
        (cluster.network.bytes, cluster.network.packets) = (0, 0);
        let before = cpu();
        cluster.pass(60 * SECOND);
        row("foca", cluster.network.bytes, cluster.network.packets, cpu() - before);
    }
}

/// Nobody crashes; whoever is declared dead is so falsely.
fn loss(seeds: u64) {
    println!(
        "false deaths, an hour in {seeds} runs of 10 min  5 %   10 %   25 %  per node and hour"
    );
    let minutes = 10;
    for count in [8, 64] {
        let hours = (count as u64 * seeds * minutes) as f64 / 60.0;
        let (mut ours, mut theirs) = (vec![], vec![]);
        for loss in [50, 100, 250] {
            let (mut dead, mut down) = (0, 0);
            for seed in 0..seeds {
                let mut cluster = fizz(count, seed);
                cluster.network.loss_permille = loss;
                cluster.pass(minutes * 60 * SECOND);
                let mut falls: Vec<_> = cluster
                    .changes
                    .iter()
                    .filter(|it| it.state == NodeState::Dead)
                    .map(|it| (it.about, it.at / (10 * SECOND)))
                    .collect();
                falls.sort_unstable();
                falls.dedup();
                dead += falls.len();
                let mut cluster = foca(count, seed);
                cluster.network.loss_permille = loss;
                cluster.pass(minutes * 60 * SECOND);
                down += cluster.renamed;
            }
            ours.push(format!("{:6.2}", dead as f64 / hours));
            theirs.push(format!("{:6.2}", down as f64 / hours));
        }
        println!("  N = {count:<5} Fizz {:>33}", ours.join(" "));
        println!("            foca {:>33}", theirs.join(" "));
    }
}

/// After a minute apart, until every member sees every other.
fn halves(seeds: u64) {
    println!("halves whole again, s           median    p99    max   ({seeds} seeds)");
    for count in SIZES {
        let (mut ours, mut theirs, mut never) = (vec![], vec![], 0);
        for seed in 0..seeds.min(if count < 1024 { seeds } else { 3 }) {
            let mut cluster = fizz(count, seed);
            cluster.part(count / 2);
            cluster.pass(60 * SECOND);
            cluster.mend();
            let at = cluster.network.now;
            ours.extend(cluster.until(300 * SECOND, Cluster::is_whole).map(|it| it - at));
            if count <= 256 {
                let mut cluster = foca(count, seed);
                cluster.network.sides = (0..count / 2).map(|it| (it, 1)).collect();
                cluster.pass(60 * SECOND);
                cluster.network.sides.clear();
                let at = cluster.network.now;
                match cluster.until(600 * SECOND, peer::Cluster::is_whole) {
                    Some(whole) => theirs.push(whole - at),
                    None => never += 1,
                }
            }
        }
        println!("  N = {count:<5} Fizz              {}", figures(ours));
        if count <= 256 {
            println!("            foca              {}, not in 600 s: {never}", figures(theirs));
        }
    }
}
