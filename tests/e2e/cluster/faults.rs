//! Everything that goes wrong with machines and networks, at once, to five real daemons: and in the end all
//! of them agree, none is another than before, and nothing that was acknowledged is lost.
//!
//! `FIZZ_E2E_FAULT_SECONDS` is how long a partition and loss last each; 6 when not set, for CI.

use std::{
    collections::BTreeSet,
    net::UdpSocket,
    os::fd::OwnedFd,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fizz::gossip::Token;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde_json::Value;

use super::nodes::{Nodes, within};

const MEMBERS: [&str; 5] = ["a", "b", "c", "d", "e"];
const ALL_ALIVE: [(&str, &str); 5] =
    [("a", "alive"), ("b", "alive"), ("c", "alive"), ("d", "alive"), ("e", "alive")];
const STRANGER: &str = "f";
const PORT: u16 = 7_780;
const FORGED: usize = 100_000;

#[test]
fn five_machines_weather_every_fault_agree_and_lose_nothing() {
    let nodes = Nodes::apart(6);
    join_at_once(&nodes);
    let ids = identities(&nodes);
    let acknowledged = Mutex::new(BTreeSet::new());
    let over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| write_until(&nodes, &over, &acknowledged));
        let _over = Ends(&over);
        break_everything(&nodes);
    });
    MEMBERS.iter().for_each(|it| nodes.until_seen(it, &ALL_ALIVE));
    nodes.until("all have the same state", || {
        let states: BTreeSet<String> = MEMBERS.iter().map(|it| state(&nodes, it)).collect();
        states.len() == 1
    });
    assert_eq!(identities(&nodes), ids, "a member is another than before");
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(30 < acknowledged.len(), "only {} writes were acknowledged", acknowledged.len());
    for node in MEMBERS {
        let there: BTreeSet<String> =
            nodes.ok(node, &["token", "ls", "-q"]).lines().map(str::to_owned).collect();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "{node} has lost {lost:?} of {}", acknowledged.len());
        let cluster = nodes.json(node, &["cluster", "status"]);
        assert_eq!(cluster["key_epoch"], 1, "{node} missed the new key");
    }
}

/// Ends the writer, also where a check before its end fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn fault_span() -> Duration {
    let seconds = std::env::var("FIZZ_E2E_FAULT_SECONDS").ok().and_then(|it| it.parse().ok());
    Duration::from_secs(seconds.unwrap_or(6))
}

fn break_everything(nodes: &Nodes) {
    // Power, and a process that stands still.
    nodes.lab("kill", &["b"]);
    nodes.lab("pause", &["c"]);
    thread::sleep(Duration::from_secs(10));
    nodes.until("d misses both", || {
        let seen = nodes.seen_by("d");
        seen.iter().filter(|(_, state)| state == "dead").count() == 2
    });
    nodes.lab("resume", &["c"]);
    nodes.lab("start", &["b"]);
    nodes.until_seen("d", &ALL_ALIVE);

    // Two halves, of which one changes the key.
    nodes.lab("partition", &["a,b/c,d,e"]);
    thread::sleep(fault_span());
    nodes.ok("d", &["cluster", "rotate-keys"]);
    thread::sleep(fault_span() / 4);
    nodes.until("a misses the others", || {
        nodes.seen_by("a").iter().filter(|(_, state)| state == "dead").count() == 3
    });
    nodes.lab("heal", &[]);
    nodes.until_seen("a", &ALL_ALIVE);
    nodes.until_seen("e", &ALL_ALIVE);

    // A network that loses a quarter, and a stranger on it.
    nodes.lab("loss", &["25%"]);
    let (address, token) = (nodes.address("a"), stolen(nodes));
    let told = "does not know key 0 of the cluster, as keys were changed";
    let mut wrong = String::new();
    // With so much lost a stream may not come about.
    for _ in 0..10 {
        wrong = nodes.refused(STRANGER, &["join", &address, "--token", &token]);
        if wrong.contains(told) {
            break;
        }
    }
    assert!(wrong.contains(told), "{wrong}");
    harass(nodes);
    thread::sleep(fault_span());
    nodes.lab("heal", &[]);
}

/// A token of before the key was changed.
fn stolen(nodes: &Nodes) -> String {
    let text = nodes.ok("a", &["token", "create"]);
    let fields = *text.trim().parse::<Token>().unwrap().fields();
    let (epoch, key) = (fizz::gossip::Epoch(0), fizz::gossip::Key::new([7; 32]));
    let keys = fizz::gossip::Keyring::new(epoch, key);
    let old = fizz::gossip::TokenFields { epoch, ..fields };
    Token::mint(&keys, old).unwrap().text().to_string()
}

/// All but one come at the same time.
fn join_at_once(nodes: &Nodes) {
    nodes.ok("a", &["init"]);
    let token = nodes.ok("a", &["token", "create", "--uses", "0"]);
    let address = nodes.address("a");
    thread::scope(|threads| {
        for node in &MEMBERS[1..] {
            let (token, address) = (&token, &address);
            threads.spawn(move || nodes.ok(node, &["join", address, "--token", token]));
        }
    });
    MEMBERS.iter().for_each(|it| nodes.until_seen(it, &ALL_ALIVE));
}

/// Makes tokens at every member in turn, and notes those that were acknowledged.
fn write_until(nodes: &Nodes, over: &AtomicBool, acknowledged: &Mutex<BTreeSet<String>>) {
    for node in MEMBERS.iter().cycle() {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let words = ["3", env!("CARGO_BIN_EXE_fizz")];
        let create = ["token", "create", "--uses", "0", "--ttl", "100h"];
        let fizz = nodes.fizz(node, &create);
        // A member that is off or stands still answers nothing.
        let limited =
            std::process::Command::new("timeout").args(words).args(fizz.get_args()).output();
        let output = limited.unwrap();
        if output.status.success() {
            let text = String::from_utf8(output.stdout).unwrap();
            let id = text.trim().parse::<Token>().unwrap().fields().id;
            acknowledged.lock().unwrap().insert(id.to_string());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What members send to one of them is caught and sent again, and much else that means nothing: a stranger
/// hears nothing, whatever it sends.
fn harass(nodes: &Nodes) {
    let victim = nodes.lab_network("a");
    let address = nodes.address("a");
    let caught = within(&victim, || capture(&address, 400, 10));
    assert!(10 < caught.len(), "only {} datagrams were caught", caught.len());
    let before = rejected(nodes);
    let heard = within(&nodes.lab_network(STRANGER), || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        for datagram in &caught {
            socket.send_to(datagram, &address).unwrap();
        }
        let mut forged = caught[0].clone();
        for number in 0..FORGED {
            let last = forged.len() - 4;
            forged[last..].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
            // A queue that is full is no answer.
            drop(socket.send_to(&forged, &address));
            // No faster than a busy machine takes them from its queue, or hardly one is looked at.
            if number % 100 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        socket.recv_from(&mut [0; 2_000]).is_ok()
    });
    assert!(!heard, "a stranger was answered");
    nodes.until("most of it was refused", || before + FORGED as u64 / 20 < rejected(nodes));
}

fn rejected(nodes: &Nodes) -> u64 {
    let metrics = nodes.metrics("a");
    let lines = metrics.lines().filter(|it| it.starts_with("fizz_datagrams_rejected_total"));
    lines.filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// The datagrams that come for an address, without their headers (packet(7)); ends after so many waits, or
/// later where there are too few by then.
fn capture(address: &str, waits: u32, few: usize) -> Vec<Vec<u8>> {
    let to: std::net::SocketAddrV4 = address.parse().unwrap();
    let kind = (AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_NONBLOCK);
    let socket = socket(kind.0, kind.1, kind.2, SockProtocol::EthAll).unwrap();
    let (mut caught, mut waited) = (vec![], 0);
    while waited < waits || (caught.len() <= few && waited < 15 * waits) {
        let Some(packet) = receive(&socket) else {
            waited += 1;
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        let header = usize::from(packet.first().map_or(0, |it| it & 0x0f)) * 4;
        let is_udp = packet.first().is_some_and(|it| it >> 4 == 4) && packet.get(9) == Some(&17);
        let is_for_it = packet.get(16..20) == Some(&to.ip().octets()[..]);
        let port = packet.get(header + 2..header + 4);
        if is_udp && is_for_it && port == Some(&PORT.to_be_bytes()[..]) {
            caught.extend(packet.get(header + 8..).map(<[u8]>::to_vec));
        }
    }
    caught
}

fn receive(socket: &OwnedFd) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 2_000];
    let length = nix::unistd::read(socket, &mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

fn state(nodes: &Nodes, node: &str) -> String {
    nodes.json(node, &["cluster", "status"])["state"].as_str().unwrap().to_owned()
}

fn identities(nodes: &Nodes) -> Vec<(String, String)> {
    let list = nodes.json("a", &["nodes"]);
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let mut ids: Vec<_> =
        list.as_array().unwrap().iter().map(|it| (text(&it["name"]), text(&it["id"]))).collect();
    ids.sort();
    ids
}
