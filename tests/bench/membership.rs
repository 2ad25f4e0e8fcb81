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
#[path = "goals.rs"]
mod goals;
#[path = "../membership/network.rs"]
#[allow(dead_code, reason = "shared with a bench that has streams")]
mod network;
#[path = "membership/peer.rs"]
mod peer;

use cluster::Cluster;
use fizz::{model::NodeState, swim::Config};
use goals::{cpu, memory_mib, verdict};
use network::Micros;

const SECOND: Micros = 1_000_000;
const SIZES: [usize; 4] = [8, 64, 256, 1024];

fn main() {
    goals::print(&[
        ("crash", crash),
        ("idle", idle),
        ("loss", loss),
        ("halves", halves),
        ("minute", minute),
    ]);
}

/// The middle, the 99th of a hundred, and the last, in seconds.
fn figures(times: &[Micros]) -> String {
    if times.is_empty() {
        return "never".to_owned();
    }
    let [median, p99, max] = spread(times);
    format!("{median:7.3} {p99:7.3} {max:7.3}")
}

fn spread(times: &[Micros]) -> [f64; 3] {
    goals::spread(&mut times.iter().map(|it| *it as f64 / 1e6).collect::<Vec<_>>())
}

fn fizz(count: usize, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(count, seed, Config::lan());
    cluster.pass(3 * SECOND + seed * 53_123);
    cluster.changes.clear();
    cluster
}

fn foca(count: usize, seed: u64, notifies: bool) -> peer::Cluster {
    let mut cluster = peer::Cluster::new(count, seed, notifies);
    cluster.pass(3 * SECOND + seed * 53_123);
    cluster.downs.clear();
    cluster
}

/// The last of the running to see it, in each seed.
fn crash(seeds: u64) {
    println!("crash seen by all, s             median     p99     max   ({seeds} seeds)");
    println!("  goal: unreachable in 3 s (median) and 5 s (p99), dead in 6 s");
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
            let mut cluster = foca(count, seed, true);
            let at = cluster.network.now;
            cluster.crash(0);
            cluster.pass(40 * SECOND);
            let seen = cluster.downs.iter().filter(|it| it.2 == 0).map(|it| it.0 - at);
            assert_eq!(seen.clone().count(), count - 1, "foca: not all saw it");
            down.extend(seen.max());
        }
        let ([median, p99, _], [_, dead_p99, _]) = (spread(&missed), spread(&dead));
        println!(
            "  N = {count:<5} Fizz unreachable  {}   median {}, p99 {}",
            figures(&missed),
            verdict(median, 3.0),
            verdict(p99, 5.0)
        );
        println!("            ... first to last {}", figures(&news));
        println!("            Fizz dead         {}   {}", figures(&dead), verdict(dead_p99, 6.0));
        println!("            foca down         {}", figures(&down));
    }
}

fn idle(_: u64) {
    println!(
        "idle for 60 s             bytes/s/node  packets/s/node  CPU us/s/node (with the network)"
    );
    println!("  goal: 160 bytes and 5 us");
    for count in SIZES {
        let row = |name: &str, bytes: u64, packets: u64, micros: f64| {
            let per = count as f64 * 60.0;
            let (bytes, micros) = (bytes as f64 / per, micros / per);
            println!(
                "  N = {count:<5} {name}  {bytes:>16.0} {:>15.2} {micros:>14.2}   {}",
                packets as f64 / per,
                match name {
                    "Fizz" =>
                        format!("bytes {}, CPU {}", verdict(bytes, 160.0), verdict(micros, 5.0)),
                    _ => String::new(),
                }
            );
        };
        let mut cluster = fizz(count, 1);
        (cluster.network.bytes, cluster.network.packets) = (0, 0);
        let before = cpu();
        cluster.pass(60 * SECOND);
        row("Fizz", cluster.network.bytes, cluster.network.packets, cpu() - before);
        let mut cluster = foca(count, 1, true);
        cluster.pass(60 * SECOND);
        (cluster.network.bytes, cluster.network.packets) = (0, 0);
        let before = cpu();
        cluster.pass(60 * SECOND);
        row("foca", cluster.network.bytes, cluster.network.packets, cpu() - before);
    }
}

/// Nobody crashes; whoever is declared dead is so falsely. A foca may be held for down and not learn of it.
fn loss(seeds: u64) {
    println!(
        "false deaths, an hour in {seeds} runs of 10 min  5 %   10 %   25 %  per node and hour"
    );
    println!("  goal: 0 at 5 and 10 %, 0.01 at 25 %");
    let minutes = 10;
    for count in [8, 64] {
        let hours = (count as u64 * seeds * minutes) as f64 / 60.0;
        let (mut ours, mut verdicts) = (vec![], vec![]);
        let mut theirs = [(); 4].map(|()| vec![]);
        for loss in [50, 100, 250] {
            let (mut dead, mut down) = (0, [0; 4]);
            for seed in 0..seeds {
                let mut cluster = fizz(count, seed);
                cluster.network.loss_permille = loss;
                cluster.pass(minutes * 60 * SECOND);
                let deaths = cluster.changes.iter().filter(|it| it.state == NodeState::Dead);
                dead += falls(deaths.map(|it| (it.about, it.at)));
                for (place, notifies) in [(0, true), (2, false)] {
                    let mut cluster = foca(count, seed, notifies);
                    cluster.network.loss_permille = loss;
                    cluster.pass(minutes * 60 * SECOND);
                    down[place] += cluster.renamed;
                    down[place + 1] += falls(cluster.downs.iter().map(|it| (it.2, it.0)));
                }
            }
            let dead = dead as f64 / hours;
            verdicts.push(verdict(dead, if loss == 250 { 0.01 } else { 0.0 }));
            ours.push(format!("{dead:6.2}"));
            for (figures, down) in theirs.iter_mut().zip(down) {
                figures.push(format!("{:6.2}", down as f64 / hours));
            }
        }
        println!("  N = {count:<5} Fizz {:>33}   {}", ours.join(" "), verdicts.join(", "));
        let [told, held, told_less, held_less] = theirs.map(|it| it.join(" "));
        println!("            foca {told:>33}   that it learns of itself");
        println!("                 {held:>33}   that others see");
        println!("            ... without notify_down_members");
        println!("                 {told_less:>33}   that it learns of itself");
        println!("                 {held_less:>33}   that others see");
    }
}

/// How often somebody fell: what several see within ten seconds is one time.
fn falls(seen: impl Iterator<Item = (usize, Micros)>) -> usize {
    let mut falls: Vec<_> = seen.map(|(about, at)| (about, at / (10 * SECOND))).collect();
    falls.sort_unstable();
    falls.dedup();
    falls.len()
}

/// After a minute apart, until every member sees every other.
fn halves(seeds: u64) {
    println!("halves whole again, s           median    p99    max   ({seeds} seeds); goal: 5 s");
    for count in SIZES {
        let mut ours = vec![];
        let mut theirs = [(vec![], 0), (vec![], 0)];
        for seed in 0..seeds.min(if count < 1024 { seeds } else { 3 }) {
            let mut cluster = fizz(count, seed);
            cluster.part(count / 2);
            cluster.pass(60 * SECOND);
            cluster.mend();
            let at = cluster.network.now;
            ours.extend(cluster.until(300 * SECOND, Cluster::is_whole).map(|it| it - at));
            if 256 < count {
                continue;
            }
            for ((whole, never), notifies) in theirs.iter_mut().zip([true, false]) {
                let mut cluster = foca(count, seed, notifies);
                cluster.network.sides = (0..count / 2).map(|it| (it, 1)).collect();
                cluster.pass(60 * SECOND);
                cluster.network.sides.clear();
                let at = cluster.network.now;
                match cluster.until(600 * SECOND, peer::Cluster::is_whole) {
                    Some(it) => whole.push(it - at),
                    None => *never += 1,
                }
            }
        }
        let [_, _, max] = spread(&ours);
        println!("  N = {count:<5} Fizz              {}   {}", figures(&ours), verdict(max, 5.0));
        for ((whole, never), how) in theirs.iter().zip(["", ", without notify_down_members"]) {
            if count <= 256 {
                println!(
                    "            foca              {}, not in 600 s: {never}{how}",
                    figures(whole)
                );
            }
        }
    }
}

/// A virtual minute of many members in one process. 10,000 of them would hold 10^8 views of one another,
/// more memory than most machines have; what a view takes says how much.
fn minute(_: u64) {
    println!("a virtual minute at rest; goal: 60 s for 10,000 on a core");
    for count in [1_000, 2_000, 4_000] {
        let before = cpu();
        let mut cluster = Cluster::new(count, 1, Config::lan());
        let begun = cpu();
        cluster.pass(60 * SECOND);
        let (made, took) = ((begun - before) / 1e6, (cpu() - begun) / 1e6);
        let views = (count * count) as f64;
        println!(
            "  N = {count:<6} made in {made:6.1} s, ran in {took:6.1} s, {:6.0} MiB: {:.0} bytes a view",
            memory_mib(),
            memory_mib() * 1024.0 * 1024.0 / views
        );
    }
}
