//! Where things run: how long it takes to say so for a big cluster, from scratch and after a node died,
//! how much moves against what had to, and what it costs in memory.
//!
//! `cargo bench --bench placement [-- WORD]`; only tables whose names contain the word. 1,000 services
//! of ten replicas on 100 nodes; a tenth each has reservations, a constraint, a label to spread over, a
//! fixed host port. Times are the processor's, as machines are shared. As a member does, what comes out of a service is counted before the next is placed.
#![expect(clippy::print_stdout, reason = "a bench is run for what it prints")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use fizz::{
    compose::{decode, json::to_tree, problem::Problems},
    model::{ContainerId, NodeId, ServiceKey, Slot, WallTime, mix},
    scheduler::{
        Count, Demand, Holder, Placement, Rules, Site, Sites, Standing, Tenant, Unit, Usage, place,
        rebalance,
    },
};
use serde_json::{Value, json};

#[path = "goals.rs"]
#[allow(dead_code, reason = "shared with benches that have other tables")]
mod goals;

use goals::{cpu, spread, verdict};

const NODES: u128 = 100;
const SERVICES: u32 = 1000;
const REPLICAS: u32 = 10;

fn main() {
    goals::print(&[("time", time), ("moved", moved), ("memory", memory)]);
}

struct Service {
    key: ServiceKey,
    rules: Rules,
    holders: Vec<Holder>,
    wishes: BTreeMap<Slot, NodeId>,
}

struct World {
    sites: Vec<Site>,
    services: Vec<Service>,
    usage: Usage,
}

fn site(number: u128) -> Site {
    let id = u128::from(mix(number as u64)) << 64 | u128::from(mix(number as u64 + 1000));
    let zone = ["a", "b", "c"][number as usize % 3].to_owned();
    Site {
        id: NodeId(id),
        name: format!("n{number}"),
        labels: [("zone".to_owned(), zone)].into(),
        architecture: "x86_64".to_owned(),
        cpus_milli: 16_000,
        memory_bytes: 64 << 30,
        runtime: true,
        standing: Standing::Open,
        volumes: [].into(),
    }
}

/// What the file says of a service.
fn service(number: u32) -> Value {
    let mut service = json!({"image": "app", "deploy": {"placement": {}}});
    let placement = &mut service["deploy"]["placement"];
    match number % 10 {
        1 => placement["constraints"] = json!(["node.labels.zone != c"]),
        2 => placement["preferences"] = json!([{"spread": "node.labels.zone"}]),
        3 => {
            let reservations = json!({"memory": "256m", "cpus": "0.1"});
            service["deploy"]["resources"] = json!({"reservations": reservations});
        }
        4 => {
            let published = (10_000 + number).to_string();
            service["ports"] = json!([{"target": 80, "published": published, "protocol": "tcp"}]);
        }
        _ => {}
    }
    service
}

impl World {
    fn new() -> Self {
        let services = (0..SERVICES).map(|it| {
            let root = json!({"name": "p", "services": {"s": service(it)}});
            let mut problems = Problems::default();
            let project = decode::project(&to_tree(&root), &mut problems).unwrap();
            let spec = project.services.values().next().unwrap();
            let key = ServiceKey {
                project: format!("project-{}", it / 10).parse().unwrap(),
                service: format!("service-{it}").parse().unwrap(),
            };
            let rules = Rules::of(spec, &project);
            Service { key, rules, holders: Vec::new(), wishes: BTreeMap::new() }
        });
        let services = services.collect();
        Self { sites: (1..=NODES).map(site).collect(), services, usage: Usage::default() }
    }

    fn running() -> Self {
        let mut world = Self::new();
        world.settle();
        world
    }

    /// Places everything once; gives the placements and the milliseconds of processor time, the counting included.
    fn place(&mut self) -> (Vec<Placement>, f64) {
        let begun = cpu();
        let sites = Sites::new(self.sites.iter().cloned());
        let mut placements = Vec::with_capacity(self.services.len());
        for it in &self.services {
            let unit = Unit { demands: vec![it.demand()], together: false };
            let placement = place(&unit, &sites, &self.usage);
            // What was there is counted already.
            for post in placement.posts.iter().filter(|it| it.why != fizz::scheduler::Why::Kept) {
                let tenant = it.tenant(post.slot, WallTime(1));
                self.usage.add(post.node, tenant);
            }
            placements.push(placement);
        }
        let spent = (cpu() - begun) / 1000.0;
        assert!(placements.iter().all(|it| it.pending.is_empty()));
        (placements, spent)
    }

    /// Everything runs where it is placed. Gives how many moved, and the milliseconds to say so.
    fn settle(&mut self) -> (usize, f64) {
        let (placements, spent) = self.place();
        let mut moved = 0;
        self.usage = Usage::default();
        for (service, placement) in self.services.iter_mut().zip(&placements) {
            let old = std::mem::take(&mut service.holders);
            for post in &placement.posts {
                let same = |it: &&Holder| it.slot == post.slot && it.node == post.node;
                moved += usize::from(!old.iter().any(|it| same(&it)));
                service.holders.push(Holder {
                    slot: post.slot,
                    node: post.node,
                    rank: 2,
                    created: WallTime(1),
                    id: ContainerId(post.slot.0.into()),
                });
                self.usage.add(post.node, service.tenant(post.slot, WallTime(1)));
            }
        }
        (moved, spent)
    }

    fn load(&self, node: NodeId) -> usize {
        let holders = self.services.iter().flat_map(|it| &it.holders);
        holders.filter(|it| it.node == node).count()
    }
}

impl Service {
    fn demand(&self) -> Demand<'_> {
        let Self { key, rules, holders, wishes } = self;
        let count = Count::Slots(REPLICAS);
        Demand { service: key, rules, count, only: None, holders, wishes }
    }

    fn tenant(&self, slot: Slot, created: WallTime) -> Tenant<'_> {
        Tenant { service: &self.key, slot, created, charge: self.rules.charge() }
    }
}

fn row(name: &str, times: &mut [f64], goal: f64) {
    let [median, p99, max] = spread(times);
    let (least, verdict) = (times.first().copied().unwrap_or(f64::NAN), verdict(median, goal));
    println!(
        "  {name:<26} {least:8.2} {median:8.2} {p99:8.2} {max:8.2}   goal {goal} ms: {verdict}"
    );
}

/// How busy the machine is: others' work costs caches, if not time.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().to_owned()
}

fn time(seeds: u64) {
    println!(
        "placement, ms of processor time  least   median      p99      max   ({} replicas of \
         {SERVICES} services on {NODES} nodes, {seeds} runs, load {})",
        SERVICES * REPLICAS,
        load(),
    );
    let mut scratch: Vec<f64> = (0..seeds).map(|_| World::new().place().1).collect();
    row("from scratch", &mut scratch, 50.0);
    let mut world = World::running();
    let mut quiet: Vec<f64> = (0..seeds).map(|_| world.place().1).collect();
    row("again, nothing changed", &mut quiet, 5.0);
    let deaths = (0..seeds).map(|seed| {
        let mut world = World::running();
        world.sites[seed as usize % NODES as usize].standing = Standing::Dead;
        world.place().1
    });
    row("a node died", &mut deaths.collect::<Vec<_>>(), 5.0);
    let mut rebalances: Vec<f64> = Vec::new();
    let mut world = World::running();
    world.sites.push(site(NODES + 1));
    for _ in 0..seeds {
        let begun = cpu();
        let sites = Sites::new(world.sites.iter().cloned());
        let units =
            world.services.iter().map(|it| Unit { demands: vec![it.demand()], together: false });
        let moves = rebalance(&units.collect::<Vec<_>>(), &sites, &world.usage);
        rebalances.push((cpu() - begun) / 1000.0);
        assert!(!moves.is_empty());
    }
    row("rebalance for a newcomer", &mut rebalances, 100.0);
}

fn moved(seeds: u64) {
    println!("replicas moved, against what had to   ({seeds} runs, the worst)");
    let mut worst: f64 = 0.0;
    for seed in 0..seeds {
        let mut world = World::running();
        let dead = &mut world.sites[seed as usize % NODES as usize];
        dead.standing = Standing::Dead;
        let id = dead.id;
        let had = world.load(id);
        worst = worst.max(world.settle().0 as f64 / had as f64);
    }
    println!("  a node died: {worst:.3} of what it had; goal 1.0: {}", verdict(worst, 1.0));
    for (nodes, services) in [(100, 1000), (9, 100), (3, 30)] {
        let (mut most, mut least, mut idle): (f64, f64, usize) = (0.0, f64::MAX, 0);
        for seed in 0..seeds {
            let mut world = World::new();
            world.sites.truncate(nodes);
            world.services.truncate(services);
            let plain = |it: &mut Service| it.rules = Rules::default();
            world.services.iter_mut().for_each(plain);
            for service in &mut world.services {
                let name = format!("{}-{seed}", service.key.service);
                service.key.service = name.parse().unwrap();
            }
            world.settle();
            world.sites.push(site(NODES + 1 + u128::from(seed)));
            assert_eq!(world.settle().0, 0, "a newcomer moves nothing");
            let sites = Sites::new(world.sites.iter().cloned());
            let units = world.services.iter();
            let units: Vec<Unit<'_>> =
                units.map(|it| Unit { demands: vec![it.demand()], together: false }).collect();
            let moves = rebalance(&units, &sites, &world.usage);
            let share = (services * REPLICAS as usize) as f64 / (nodes + 1) as f64;
            most = most.max(moves.len() as f64 / share);
            least = least.min(moves.len() as f64 / share);
            for it in &moves {
                let service = world.services.iter_mut().find(|other| other.key == it.service);
                service.unwrap().wishes.insert(it.slot, it.to);
            }
            assert_eq!(world.settle().0, moves.len(), "only what was to move moves");
            let units = world.services.iter();
            let units: Vec<Unit<'_>> =
                units.map(|it| Unit { demands: vec![it.demand()], together: false }).collect();
            idle += rebalance(&units, &sites, &world.usage).len();
        }
        println!(
            "  rebalance, {nodes} nodes and one more: {least:.3} to {most:.3} of its share; goal \
             1.2: {}; a second one moves {idle}",
            verdict(most, 1.2)
        );
    }
}

fn memory(_: u64) {
    println!("memory, bytes");
    let before = bytes();
    let mut world = World::new();
    println!("  rules of a service            {:>8}", (bytes() - before) / SERVICES as usize);
    let before = bytes();
    world.settle();
    let containers = (SERVICES * REPLICAS) as usize;
    println!("  usage and holders, a container {:>7}", (bytes() - before) / containers);
    let before = bytes();
    let usage = world.usage.clone();
    println!("  usage of all                  {:>8}", bytes() - before);
    let before = bytes();
    let sites = Sites::new(world.sites.iter().cloned());
    println!("  a site                        {:>8}", (bytes() - before) / NODES as usize);
    drop((usage, sites));
}

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

fn bytes() -> usize {
    BYTES.load(Ordering::Relaxed)
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
