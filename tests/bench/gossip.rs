//! How the state travels: clusters of whole members (`fizz::node::Node`: state, gossip, sealing and all, but
//! no containers) in one virtual network.
//!
//! `cargo bench --bench gossip [-- --seeds N] [TABLE]`; only tables whose names contain the word. Latency
//! one way 0.2 to 1 ms, independent loss. Bytes count IPv4 and UDP headers and sealing; disks and streams
//! are modelled as `gossip/cluster.rs` and `gossip/stream.rs` say. Peers' figures are those of
//! `tests/bench/peers`, taken on the same machine.
#![expect(clippy::print_stdout, reason = "a bench is run for what it prints")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]
#![allow(clippy::cast_sign_loss, reason = "no figure is below zero")]

#[path = "gossip/cluster.rs"]
mod cluster;
#[path = "goals.rs"]
mod goals;
#[path = "../membership/network.rs"]
mod network;
#[path = "gossip/stream.rs"]
mod stream;

use std::sync::Arc;

use cluster::{Cluster, replica};
use fizz::{
    gossip::{News, Packet, SEAL_BYTES, Span},
    model::Random,
    node::Request,
    state::{Change, ClusterState, SealedSecret, SecretPath, Write, encode_write},
};
use goals::{cpu, memory_mib, spread, verdict};
use network::{HEADER_BYTES, Micros};

const SECOND: Micros = 1_000_000;
const SIZES: [usize; 4] = [8, 64, 256, 1024];

/// How many keys a state has where that is asked.
const KEYS: usize = 10_000;

fn main() {
    goals::print(&[
        ("join", join),
        ("update", update),
        ("newcomer", newcomer),
        ("divergence", divergence),
        ("idle", idle),
    ]);
}

/// Of so many seeds as were asked for, those that a size has time for.
fn seeds_for(count: usize, seeds: u64) -> u64 {
    match count {
        0..256 => seeds,
        256..1024 => seeds.min(5),
        _ => seeds.min(2),
    }
}

/// From the first second, in which N - 1 knock at one, until all see all.
fn join(seeds: u64) {
    println!("all joined, N - 1 at one introducer within a second");
    println!(
        "  N      seeds  median s   p99 s   max s  bytes/node  streams/node  CPU ms/node  goal s"
    );
    for (count, goal) in [(8, 1.5), (64, 1.5), (256, 1.5), (1024, 2.0)] {
        let (mut times, mut never) = (vec![], 0);
        let (mut bytes, mut streams, before) = (0, 0, cpu());
        let seeds = seeds_for(count, seeds);
        for seed in 0..seeds {
            let mut cluster = Cluster::empty(count, seed);
            cluster.boot(0, ClusterState::new(replica(0)));
            cluster.pass(SECOND);
            let begun = cluster.network.now;
            let mut knocks: Vec<Micros> =
                (1..count).map(|_| cluster.random.below(SECOND as usize) as Micros).collect();
            knocks.sort_unstable();
            for (place, at) in (1..).zip(knocks) {
                cluster.pass((begun + at).saturating_sub(cluster.network.now));
                cluster.join(place, 0);
            }
            match cluster.until(60 * SECOND, |it| it.acquaintances == count * (count - 1)) {
                Some(at) => times.push((at - begun) as f64 / 1e6),
                None => never += 1,
            }
            (bytes, streams) = (bytes + cluster.network.bytes, streams + cluster.streams);
        }
        let per = (count as u64 * seeds) as f64;
        let [median, p99, max] = spread(&mut times);
        println!(
            "  {count:<6} {seeds:>5} {median:>9.3} {p99:>7.3} {max:>7.3} {:>11.0} {:>13.2} {:>12.1}  {goal:>6} {}{}",
            bytes as f64 / per,
            streams as f64 / per,
            (cpu() - before) / per / 1e3,
            verdict(max, goal),
            if never == 0 { String::new() } else { format!(", in 60 s never: {never}") },
        );
        println!("         (memory of the whole run: {:.0} MiB)", memory_mib());
    }
}

/// What one item costs, in a cluster that is otherwise quiet.
struct Told {
    /// From the wish until everyone has it, in milliseconds.
    all: Vec<f64>,
    /// Of each member.
    each: Vec<f64>,
    /// Bytes a member, over what one copy each takes.
    copies: Vec<f64>,
    never: usize,
}

/// Two updates of so many bytes in each of so many clusters.
fn tell(count: usize, seeds: u64, loss_permille: u64, length: usize) -> Told {
    let mut told = Told { all: vec![], each: vec![], copies: vec![], never: 0 };
    for seed in 0..seeds {
        let mut cluster = Cluster::formed(count, seed, |_| {});
        cluster.network.loss_permille = loss_permille;
        cluster.pass(2 * SECOND);
        for round in 0..2 {
            let window = 4 * SECOND;
            let sent = cluster.network.bytes;
            cluster.pass(window);
            let quiet = cluster.network.bytes - sent;
            let (begun, sent) = (cluster.network.now, cluster.network.bytes);
            let name = format!("registry-{round}");
            let sealed = secret(&mut cluster.random, length);
            let writer = cluster.random.below(count);
            cluster.ask(
                writer,
                Request::Keep(SecretPath::Registry(name.clone()), Some(sealed.clone())),
            );
            cluster.pass(window);
            let cost = (cluster.network.bytes - sent).saturating_sub(quiet);
            told.copies.push(cost as f64 / (one_copy(&name, sealed) * (count as u64 - 1)) as f64);
            cluster.until(26 * SECOND, |it| it.secrets.len() == count * (round + 1));
            let times = cluster.secrets.iter().filter(|((_, it), _)| *it == name);
            let times: Vec<f64> = times
                .map(|((place, _), at)| (place, at))
                .filter(|(place, _)| **place != writer)
                .map(|(_, at)| (at - begun) as f64 / 1e3)
                .collect();
            if times.len() < count - 1 {
                told.never += 1;
            } else {
                told.all.push(times.iter().copied().fold(0.0, f64::max));
            }
            told.each.extend(times);
        }
    }
    told
}

/// The fewest bytes by which a member can hear of an item: of a datagram, or, if it is too long for one,
/// of the item.
fn one_copy(name: &str, sealed: SealedSecret) -> u64 {
    let mut state = ClusterState::new(replica(0));
    let change = Change::Secret(SecretPath::Registry(name.to_owned()), Some(Arc::new(sealed)));
    let step = state.commit(change, fizz::model::WallTime(1_790_000_000_000));
    let write = encode_write(&step.writes()[0]).unwrap();
    let length = write.len() as u64;
    let news = News { writes: vec![write], ..News::default() };
    let packet = Packet::Spread(Span::nobody(), news).encode();
    packet.map_or(length, |it| (it.len() + SEAL_BYTES) as u64 + HEADER_BYTES)
}

fn update(seeds: u64) {
    for (length, what) in [(100, "an item of 100 bytes"), (20 << 10, "an item of 20 KiB")] {
        println!("{what}, two in each seed; goal: all in 50 ms, bytes <= 2.5x one copy each");
        println!(
            "  N      loss  seeds   each p50 ms     p99   all: median ms     p99     max   copies"
        );
        for count in SIZES {
            for loss in [0, 50, 100, 250] {
                let seeds = seeds_for(count, seeds);
                let mut told = tell(count, seeds, loss, length);
                let [each, each_p99, _] = spread(&mut told.each);
                let [median, p99, max] = spread(&mut told.all);
                let copies = told.copies.iter().sum::<f64>() / told.copies.len() as f64;
                println!(
                    "  {count:<6} {:>3} % {seeds:>6} {each:>13.1} {each_p99:>7.1} {median:>16.1} {p99:>7.1} {max:>7.1} {copies:>8.2}  time {}, bytes {}{}",
                    loss / 10,
                    verdict(p99, 50.0),
                    verdict(copies, 2.5),
                    if told.never == 0 {
                        String::new()
                    } else {
                        format!(", in 30 s never: {}", told.never)
                    },
                );
            }
        }
    }
    println!("  peers, 100 bytes to all, no loss: see tests/bench/peers; foca 0.25-0.94 s");
}

fn secret(random: &mut Random, length: usize) -> SealedSecret {
    let ciphertext = (0..length).map(|_| random.bits() as u8).collect();
    SealedSecret { ciphertext, fingerprint: [0; 16] }
}

/// Adds keys to a state, in the name of its first writer; what was written.
fn fill(state: &mut ClusterState, keys: std::ops::Range<usize>) -> Vec<Write> {
    let mut random = Random::new(keys.start as u64);
    let mut writes = vec![];
    for key in keys {
        let path = SecretPath::Registry(format!("registry-{key:05}.example.com"));
        let sealed = Some(Arc::new(secret(&mut random, 64)));
        let wall = fizz::model::WallTime(1_790_000_000_000 + key as u64);
        writes.extend_from_slice(state.commit(Change::Secret(path, sealed), wall).writes());
    }
    writes
}

fn bytes_of(writes: &[Write]) -> usize {
    writes.iter().map(|it| encode_write(it).unwrap().len()).sum()
}

/// A fresh node takes over a whole state from its introducer.
fn newcomer(seeds: u64) {
    println!("a newcomer takes over {KEYS} keys (88-byte values); goal: 250 ms, 1.1x the state");
    let (mut network, mut processor, mut ratios) = (vec![], vec![], vec![]);
    for seed in 0..seeds {
        let mut cluster = Cluster::empty(2, seed);
        let mut state = ClusterState::new(replica(0));
        let raw = bytes_of(&fill(&mut state, 0..KEYS));
        cluster.boot(0, state);
        cluster.pass(SECOND);
        let (begun, before, sent) = (cluster.network.now, cpu(), cluster.network.bytes);
        cluster.join(1, 0);
        let at = cluster.until(10 * SECOND, |it| it.acquaintances == 2).unwrap();
        processor.push((cpu() - before) / 1e3);
        network.push((at - begun) as f64 / 1e3);
        ratios.push((cluster.network.bytes - sent) as f64 / raw as f64);
    }
    let [net, net_p99, _] = spread(&mut network);
    let [cpu, cpu_p99, _] = spread(&mut processor);
    let [ratio, ..] = spread(&mut ratios);
    println!(
        "  network and disk {net:.1} ms (p99 {net_p99:.1}), CPU of both {cpu:.1} ms (p99 {cpu_p99:.1})"
    );
    println!(
        "  together {:.1} ms: {}; chitchat: 2.0 s",
        net + cpu,
        verdict(net_p99 + cpu_p99, 250.0)
    );
    println!(
        "  bytes {ratio:.3}x the writes' own encoding, which nothing compresses: {}",
        verdict(ratio, 1.1)
    );
}

/// Two members that start, where one lacks some writes of the other.
fn divergence(seeds: u64) {
    println!(
        "two members of which one lacks so many of {KEYS} keys; goal: bytes <= 3x the difference"
    );
    println!("  lacking   difference B    bytes B   ratio   until equal ms   streams");
    let measure = |seed, lacking: usize| {
        let mut cluster = Cluster::empty(2, seed);
        let less = cluster.agreed(|it| drop(fill(it, 0..KEYS)));
        let mut more = less.clone();
        let difference = bytes_of(&fill(&mut more, KEYS..KEYS + lacking));
        cluster.boot(0, more);
        cluster.boot(1, less);
        let equal = |it: &Cluster| it.digest(0) == it.digest(1);
        let at = cluster.until(10 * SECOND, equal).unwrap();
        cluster.pass((2 * SECOND).saturating_sub(cluster.network.now));
        (difference, cluster.network.bytes, at, cluster.streams)
    };
    let mut quiet = vec![];
    for lacking in [0, 1, 10, 50, 100, 1_000] {
        let runs: Vec<_> = (0..seeds).map(|seed| measure(seed, lacking)).collect();
        let mean =
            |of: &dyn Fn(usize) -> f64| (0..runs.len()).map(of).sum::<f64>() / runs.len() as f64;
        if lacking == 0 {
            quiet = runs.iter().map(|it| it.1 as f64).collect();
        }
        let difference = mean(&|it| runs[it].0 as f64);
        let bytes = mean(&|it| runs[it].1 as f64 - if lacking == 0 { 0.0 } else { quiet[it] });
        let ratio = bytes / difference;
        let verdict = if lacking == KEYS / 100 { verdict(ratio, 3.0) } else { String::new() };
        println!(
            "  {lacking:<8} {difference:>13.0} {bytes:>10.0} {ratio:>7.2} {:>16.1} {:>9.2}  {verdict}",
            mean(&|it| runs[it].2 as f64 / 1e3),
            mean(&|it| runs[it].3 as f64),
        );
    }
    println!("  (the first line: two members that start equal, and 2 s; the others without that)");
}

fn idle(_: u64) {
    println!("idle for 60 s; goal: 160 bytes/s/node sealed, 5 us/s/node");
    println!("  N      bytes/s/node  packets/s/node  CPU us/s/node   memory MiB");
    for count in SIZES {
        let mut cluster = Cluster::formed(count, 1, |_| {});
        cluster.pass(5 * SECOND);
        (cluster.network.bytes, cluster.network.packets) = (0, 0);
        let before = cpu();
        cluster.pass(60 * SECOND);
        let per = count as f64 * 60.0;
        let (bytes, micros) = (cluster.network.bytes as f64 / per, (cpu() - before) / per);
        println!(
            "  {count:<6} {bytes:>12.1} {:>15.2} {micros:>14.2} {:>12.0}   bytes {}, CPU {}",
            cluster.network.packets as f64 / per,
            memory_mib(),
            verdict(bytes, 160.0),
            verdict(micros, 5.0),
        );
    }
}
