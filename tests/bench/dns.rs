//! Names: what it takes to make a zone of 10,000 replicas, and to answer from it, beside dnsmasq with the
//! same records.
//!
//! `cargo bench --bench dns [-- TABLE]`; only tables whose names contain the word. `answers` needs dnsmasq
//! (Debian: `apt-get install dnsmasq-base`). Both are asked by the same client over the loopback, in turns of
//! a second; machines are shared, so what counts is the ratio. 1,000 services of ten replicas; each question
//! is for the ten IPv4 addresses of one of them.
#![expect(clippy::print_stdout, reason = "a bench is run for what it prints")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers")]
#![allow(clippy::cast_sign_loss, reason = "no figure is below zero")]

use std::{
    collections::BTreeSet,
    fmt::Write,
    hint::black_box,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use fizz::{
    model::{NodeId, Random, ServiceKey, Slot},
    network::dns::{Config, Server, Sockets},
    topology::zone::{
        Addresses, DnsName, Facts, Kind, NetworkName, Order, Question, Replica, Service,
        ServicePort, Zone,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[path = "goals.rs"]
#[allow(dead_code, reason = "shared with benches that have other tables")]
mod goals;

use goals::{cpu, spread, verdict};

const SERVICES: u32 = 1000;
const REPLICAS: u32 = 10;

/// How many questions of the client are under way.
const UNDER_WAY: usize = 16;

/// How often each server has its turn, and for how long.
const TURNS: usize = 8;
const TURN: Duration = Duration::from_secs(1);

fn main() {
    goals::print(&[("zone", zone), ("answers", answers)]);
}

fn name(service: u32) -> String {
    format!("s{}.p{}.fizz.internal", service, service / 10)
}

fn address(service: u32, slot: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a64_0000 + service * REPLICAS + slot)
}

fn facts() -> Facts {
    let key = |service: u32| ServiceKey {
        project: format!("p{}", service / 10).parse().unwrap(),
        service: format!("s{service}").parse().unwrap(),
    };
    let network = |service: u32| NetworkName(format!("p{}_default", service / 10).into());
    let services = (0..SERVICES).map(|it| Service {
        key: key(it),
        networks: [(network(it), BTreeSet::from([format!("alias-{it}")]))].into(),
        links: vec![],
        resolvers: vec![],
        ports: vec![ServicePort { name: Some("http".into()), number: 80, protocol: "tcp" }],
    });
    let replicas = (0..SERVICES).flat_map(|service| {
        (1..=REPLICAS).map(move |slot| {
            let v4 = address(service, slot);
            let v6 = (0xfd00_u128 << 112 | u128::from(u32::from(v4))).into();
            Replica {
                key: key(service),
                slot: Some(Slot(slot)),
                name: format!("p{}-s{service}-{slot}", service / 10).parse().unwrap(),
                node: NodeId(u128::from(slot)),
                networks: [(network(service), Addresses { v4: Some(v4), v6: Some(v6) })].into(),
                healthy: true,
                reachable: true,
            }
        })
    });
    Facts {
        here: NodeId(1),
        own: [].into(),
        ranges: vec!["10.100.0.0/16".parse().unwrap()],
        order: Order::Rotated,
        internal: [].into(),
        hosts: vec![],
        services: services.collect(),
        replicas: replicas.collect(),
    }
}

/// What a zone takes to make, and an answer without its message.
fn zone(_: u64) {
    let facts = facts();
    let mut made: Vec<f64> = (0..20)
        .map(|_| {
            let before = cpu();
            black_box(Zone::new(black_box(&facts)));
            (cpu() - before) / 1000.0
        })
        .collect();
    let [middle, _, most] = spread(&mut made);
    println!("zone: {} replicas of {SERVICES} services", SERVICES * REPLICAS);
    println!("  made in      {middle:>8.1} ms of processor time, {most:.1} ms at most");
    let zone = Zone::new(&facts);
    let asker = address(0, 1).into();
    for (what, name) in [
        ("short name", "s1"),
        ("whole name", "s1.p0.fizz.internal"),
        ("not allowed", "s500.p50"),
        ("not ours", "www.example.com"),
    ] {
        let question = Question { name: DnsName::of_text(name), kind: Kind::A };
        let count = 200_000;
        let before = cpu();
        for turn in 0..count {
            black_box(zone.answer(asker, black_box(&question), turn));
        }
        println!("  {what:<12} {:>8.2} us", (cpu() - before) / count as f64);
    }
}

/// Questions over the loopback, to both in turns.
fn answers(_: u64) {
    let (ours, stop) = serve();
    let Some(theirs) = Dnsmasq::start() else {
        println!("answers: no dnsmasq here; `apt-get install dnsmasq-base`");
        return;
    };
    let both = [ours, theirs.address];
    for server in both {
        assert_eq!(ask(server, 7), REPLICAS as u16, "{server} has other records");
    }
    let (mut rates, mut waits) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..TURNS {
        for (at, server) in both.into_iter().enumerate() {
            rates[at].push(flood(server, UNDER_WAY, &mut vec![]));
            flood(server, 1, &mut waits[at]);
        }
    }
    stop.cancel();
    println!(
        "answers: {REPLICAS} addresses each; {TURNS} turns of {TURN:?}, {UNDER_WAY} under way"
    );
    println!("  {:<10} {:>12} {:>12} {:>12}", "", "answers/s", "p50 us", "p99 us");
    let mut figures = vec![];
    for (at, who) in ["fizz", "dnsmasq"].into_iter().enumerate() {
        let [rate, ..] = spread(&mut rates[at]);
        let [middle, late, _] = spread(&mut waits[at]);
        println!("  {who:<10} {rate:>12.0} {middle:>12.1} {late:>12.1}");
        figures.push([rate, middle, late]);
    }
    let ratio = figures[0][0] / figures[1][0];
    println!("  ratio      {ratio:>12.2} of dnsmasq's (goal: 1.00): {}", verdict(1.0 / ratio, 1.0));
}

/// Our server on a thread of its own.
fn serve() -> (SocketAddr, CancellationToken) {
    let (stop, (started, start)) = (CancellationToken::new(), mpsc::channel());
    let stopped = stop.clone();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sockets = Sockets::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))]).await.unwrap();
            started.send(sockets.local()[0]).unwrap();
            let config = Config { sockets, askers: vec![], resolv_conf: "/dev/null".into() };
            let (server, _zones) = Server::new(config, Arc::new(Zone::new(&facts())));
            server.run(stopped).await;
        });
    });
    (start.recv().unwrap(), stop)
}

struct Dnsmasq {
    child: Child,
    address: SocketAddr,
    hosts: std::path::PathBuf,
}

impl Dnsmasq {
    fn start() -> Option<Self> {
        let mut lines = String::new();
        for service in 0..SERVICES {
            for slot in 1..=REPLICAS {
                writeln!(lines, "{} {}", address(service, slot), name(service)).unwrap();
            }
        }
        let hosts = std::env::temp_dir().join(format!("fizz-bench-dns-{}", std::process::id()));
        std::fs::write(&hosts, lines).unwrap();
        // A port that is free now.
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
            .args(["--bind-interfaces", "--user=root", "--pid-file=", "--listen-address=127.0.0.1"])
            .arg(format!("--port={}", address.port()))
            .arg(format!("--addn-hosts={}", hosts.display()))
            .stdin(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            std::fs::remove_file(&hosts).unwrap();
            return None;
        };
        thread::sleep(Duration::from_secs(1));
        Some(Self { child, address, hosts })
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(&self.hosts).unwrap();
    }
}

fn client(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket
}

/// How many records one answer has.
fn ask(server: SocketAddr, service: u32) -> u16 {
    let socket = client(server);
    socket.send(&question(service, 1)).unwrap();
    let mut answer = [0; 1500];
    socket.recv(&mut answer).unwrap();
    u16::from_be_bytes([answer[6], answer[7]])
}

/// Asks for a turn, with so many questions under way; answers a second. What each took, in microseconds,
/// where one is under way at a time.
fn flood(server: SocketAddr, under_way: usize, waits: &mut Vec<f64>) -> f64 {
    let (socket, mut random, mut answer) = (client(server), Random::new(1), [0; 1500]);
    let mut send = |id: u16| {
        let service = random.below(SERVICES as usize) as u32;
        socket.send(&question(service, id)).unwrap();
    };
    (0..under_way).for_each(|it| send(it as u16));
    let began = Instant::now();
    let (mut answers, mut last) = (0_u32, began);
    while began.elapsed() < TURN {
        socket.recv(&mut answer).unwrap();
        answers += 1;
        if under_way == 1 {
            waits.push(last.elapsed().as_secs_f64() * 1e6);
        }
        last = Instant::now();
        send(answers as u16);
    }
    f64::from(answers) / began.elapsed().as_secs_f64()
}

/// A question for IPv4 addresses, with EDNS (RFC 1035, 4.1; RFC 6891, 6.1).
fn question(service: u32, id: u16) -> Vec<u8> {
    let [a, b] = id.to_be_bytes();
    let mut bytes = vec![a, b, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name(service).split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    bytes
}
