//! The DNS server in network namespaces: asked by `dig`, with dnsmasq as the host's resolver.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use fizz::{
    model::{NodeId, ServiceKey, Slot},
    network::dns::{Config, DnsError, Server, Sockets, Zones},
    topology::zone::{Addresses, Facts, NetworkName, Order, Replica, Zone},
};
use nix::sched::{CloneFlags, setns};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::network::{Net, command, gateway, port};

const BRIDGE: &str = "10.100.4.1";
const OUTSIDE: &str = "192.0.2.1";
const RESOLVER: &str = "192.0.2.2";

/// A host with a gateway, two containers on it, and a resolver outside.
struct Site {
    host: Net,
    web: Net,
    db: Net,
    outside: Net,
    folder: PathBuf,
}

impl Site {
    async fn new() -> Self {
        let [host, web, db, outside] = ["host", "web", "db", "outside"].map(Net::new);
        let at_host = host.open();
        gateway().ensure(&at_host).await.unwrap();
        port(2).ensure(&at_host, &web.open()).await.unwrap();
        port(3).ensure(&at_host, &db.open()).await.unwrap();
        for net in [&host, &outside] {
            net.run(&["ip", "link", "set", "lo", "up"]);
        }
        let link = ["ip", "link", "add", "out", "type", "veth", "peer", "name", "in", "netns"];
        host.run(&[&link[..], &[&outside.0]].concat());
        for (net, link, address) in [(&host, "out", OUTSIDE), (&outside, "in", RESOLVER)] {
            net.run(&["ip", "addr", "add", &format!("{address}/24"), "dev", link]);
            net.run(&["ip", "link", "set", link, "up"]);
        }
        outside.run(&["ip", "route", "add", "default", "via", OUTSIDE]);
        let folder = std::env::temp_dir().join(&host.0);
        fs::create_dir(&folder).unwrap();
        let site = Self { host, web, db, outside, folder };
        // The kernel takes a link for up a moment after it was told so.
        wait_for(|| site.web.reaches(BRIDGE) && site.db.reaches(BRIDGE));
        wait_for(|| site.outside.reaches(OUTSIDE));
        site.resolvers(&[RESOLVER]);
        site
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    fn resolvers(&self, addresses: &[&str]) {
        let lines: String = addresses.iter().map(|it| format!("nameserver {it}\n")).collect();
        fs::write(self.resolv_conf(), lines).unwrap();
    }

    /// The server on this host: on the gateway, and on the loopback.
    fn serve(&self, facts: &Facts) -> Running {
        let addresses = [BRIDGE, "127.0.0.2"];
        Running::new(&self.host, &addresses, &self.resolv_conf(), facts)
    }

    /// A resolver that knows `example.com` and nothing else, in a network.
    fn resolver(&self, net: &Net, address: &str, more: &[&str]) -> Resolver {
        let log = self.folder.join(format!("{address}.log"));
        let listen = format!("--listen-address={address}");
        let log_to = format!("--log-facility={}", log.display());
        let usual = [
            "ip",
            "netns",
            "exec",
            &net.0,
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--user=root",
            "--pid-file=",
            "--log-queries",
            &listen,
            &log_to,
        ];
        let child = command(&[&usual[..], more].concat()).stderr(Stdio::inherit()).spawn().unwrap();
        let resolver = Resolver { child, log };
        let server = format!("@{address}");
        wait_for(|| dig(net, &[&server, "version.bind", "chaos", "txt"]).0);
        resolver
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

struct Resolver {
    child: Child,
    log: PathBuf,
}

impl Resolver {
    /// The names that it was asked for.
    fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let name = |line: &str| Some(line.split_once(" query[")?.1.split_once("] ")?.1.to_owned());
        log.lines().filter_map(name).map(|it| it.split(' ').next().unwrap().to_owned()).collect()
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A server on a thread that is in its network, as a daemon is.
struct Running {
    zones: Zones,
    stop: CancellationToken,
    /// Gives how many tasks the server left behind.
    thread: Option<thread::JoinHandle<usize>>,
}

impl Running {
    fn new(net: &Net, addresses: &[&str], resolv_conf: &Path, facts: &Facts) -> Self {
        let at = |it: &&str| SocketAddr::new(it.parse().unwrap(), 53);
        let addresses: Vec<SocketAddr> = addresses.iter().map(at).collect();
        let (zone, resolv_conf) = (Arc::new(Zone::new(facts)), resolv_conf.to_owned());
        let (stop, (started, start)) = (CancellationToken::new(), mpsc::channel());
        let stopped = stop.clone();
        let thread = inside(net, async move || {
            let sockets = Sockets::bind(&addresses).await.unwrap();
            let askers = vec!["10.100.0.0/16".parse().unwrap(), "fd00::/16".parse().unwrap()];
            let (server, zones) = Server::new(Config { sockets, askers, resolv_conf }, zone);
            started.send(zones).unwrap();
            server.run(stopped).await;
            // What was dropped is still to be taken apart.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            tokio::runtime::Handle::current().metrics().num_alive_tasks()
        });
        Self { zones: start.recv().unwrap(), stop, thread: Some(thread) }
    }

    fn stop(&mut self) -> usize {
        self.stop.cancel();
        self.thread.take().map_or(0, |it| it.join().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs something on a thread that is in a network.
fn inside<T: Send + 'static, F: Future<Output = T>>(
    net: &Net,
    work: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<T> {
    let namespace = File::open(Path::new("/run/netns").join(&net.0)).unwrap();
    thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    })
}

fn replica(full: &str, slot: u32, address: Ipv4Addr) -> Replica {
    let (service, project) = full.split_once('.').unwrap();
    let [a, b, c, d] = address.octets().map(u16::from);
    let v6 = Ipv6Addr::new(0xfd00, 0xf122, 1, 1, 0, 0, a << 8 | b, c << 8 | d);
    let network = NetworkName(format!("{project}_default").into());
    Replica {
        key: ServiceKey { project: project.parse().unwrap(), service: service.parse().unwrap() },
        slot: Some(Slot(slot)),
        name: format!("{project}-{service}-{slot}").parse().unwrap(),
        node: NodeId(1),
        networks: [(network, Addresses { v4: Some(address), v6: Some(v6) })].into(),
        healthy: true,
        reachable: true,
    }
}

/// A shop here, whose cache has so many replicas, and a blog elsewhere.
fn facts(caches: u8) -> Facts {
    let mut replicas = vec![
        replica("web.shop", 1, Ipv4Addr::new(10, 100, 4, 2)),
        replica("db.shop", 1, Ipv4Addr::new(10, 100, 4, 3)),
        replica("db.blog", 1, Ipv4Addr::new(10, 100, 9, 9)),
    ];
    let cache = |it: u8| replica("cache.shop", it.into(), Ipv4Addr::new(10, 100, 5, it));
    replicas.extend((1..=caches).map(cache));
    Facts {
        here: NodeId(1),
        own: [BRIDGE.parse().unwrap()].into(),
        ranges: vec!["10.100.0.0/16".parse().unwrap()],
        order: Order::Rotated,
        internal: [].into(),
        hosts: vec![],
        services: vec![],
        replicas,
    }
}

/// Asks; whether there was any answer, and what was printed.
fn dig(net: &Net, words: &[&str]) -> (bool, String) {
    let dig = ["ip", "netns", "exec", &net.0, "dig", "+tries=1", "+time=6"];
    let output = command(&[&dig[..], words].concat()).stdout(Stdio::piped()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The records of an answer, or its code where there are none.
fn ask(net: &Net, server: &str, words: &[&str]) -> String {
    let server = format!("@{server}");
    let (answered, said) = dig(net, &[&[server.as_str()], words].concat());
    if !answered {
        return "silence".to_owned();
    }
    if said.contains("Transfer failed") {
        return "no transfer".to_owned();
    }
    let data = |line: &str| line.split_whitespace().skip(4).collect::<Vec<_>>().join(" ");
    let is_record = |it: &&str| !it.starts_with(';') && !it.contains("\tSOA\t") && !it.is_empty();
    let mut records: Vec<String> = said.lines().filter(is_record).map(data).collect();
    records.sort();
    if records.is_empty() {
        let status = said.split_once("status: ").unwrap().1.split(',').next().unwrap();
        return status.to_owned();
    }
    records.join(", ")
}

fn wait_for(ready: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < deadline, "it does not come about");
        thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test]
async fn containers_find_their_own_and_nobody_elses() {
    let site = Site::new().await;
    let _server = site.serve(&facts(3));
    let web = |words: &[&str]| ask(&site.web, BRIDGE, words);
    assert_eq!(web(&["db"]), "10.100.4.3");
    assert_eq!(web(&["DB.shop.fizz.internal", "AAAA"]), "fd00:f122:1:1::a64:403");
    assert_eq!(web(&["cache"]), "10.100.5.1, 10.100.5.2, 10.100.5.3");
    assert_eq!(web(&["2.cache.shop"]), "10.100.5.2");
    assert_eq!(web(&["-x", "10.100.4.3"]), "1.db.shop.fizz.internal.");
    assert_eq!(web(&["db.blog"]), "NXDOMAIN");
    assert_eq!(web(&["db", "MX"]), "NOERROR");
    assert_eq!(web(&["db", "ANY"]), "\"RFC8482\" \"\"");
    assert_eq!(web(&["db", "A", "CH"]), "REFUSED");
    assert_eq!(web(&["shop.fizz.internal", "AXFR"]), "no transfer");
    assert_eq!(web(&["db", "+tcp"]), "10.100.4.3");
    assert_eq!(web(&["db", "+edns=1", "+noednsneg"]), "BADVERS");
    assert_eq!(ask(&site.db, BRIDGE, &["web"]), "10.100.4.2");
    let host = |name| ask(&site.host, "127.0.0.2", &[name]);
    assert_eq!(host("db.blog.fizz.internal"), "10.100.9.9");
    let busybox = site.web.run(&["busybox", "nslookup", "db.shop.fizz.internal", BRIDGE]);
    assert!(busybox.contains("10.100.4.3"), "{busybox}");
}

#[tokio::test]
async fn a_new_zone_is_answered_from_at_once() {
    let site = Site::new().await;
    let server = site.serve(&facts(1));
    assert_eq!(ask(&site.web, BRIDGE, &["cache"]), "10.100.5.1");
    server.zones.set(Arc::new(Zone::new(&facts(2))));
    assert_eq!(ask(&site.web, BRIDGE, &["cache"]), "10.100.5.1, 10.100.5.2");
    server.zones.set(Arc::new(Zone::new(&facts(0))));
    assert_eq!(ask(&site.web, BRIDGE, &["cache.shop.fizz.internal"]), "NXDOMAIN");
}

#[tokio::test]
async fn other_names_are_asked_of_the_hosts_resolver_once_and_ours_never() {
    let site = Site::new().await;
    let known = ["--address=/example.com/192.0.2.77", "--local-ttl=30", "--local=/example.net/"];
    let resolver = site.resolver(&site.outside, RESOLVER, &known);
    let _server = site.serve(&facts(0));
    // It answers before it has read whom to ask.
    wait_for(|| ask(&site.web, BRIDGE, &["www.example.com"]) == "192.0.2.77");
    for _ in 0..2 {
        assert_eq!(ask(&site.web, BRIDGE, &["www.example.com"]), "192.0.2.77");
    }
    assert_eq!(ask(&site.db, BRIDGE, &["www.example.com", "+tcp"]), "192.0.2.77");
    assert_eq!(ask(&site.db, BRIDGE, &["x.example.net"]), "NXDOMAIN");
    assert_eq!(
        ask(&site.db, BRIDGE, &["www.example.com", "+norecurse"]),
        "192.0.2.77",
        "it is known"
    );
    assert_eq!(ask(&site.db, BRIDGE, &["new.example.com", "+norecurse"]), "REFUSED");
    assert_eq!(ask(&site.db, BRIDGE, &["new.example.com", "ANY"]), "\"RFC8482\" \"\"");
    for name in ["nothing.shop.fizz.internal", "db.blog", "200.4.100.10.in-addr.arpa"] {
        assert_eq!(ask(&site.web, BRIDGE, &[name, "PTR"]), "NXDOMAIN", "{name}");
    }
    let mut asked = resolver.asked();
    asked.retain(|it| it != "version.bind" && !it.ends_with(".loop.fizz.internal"));
    assert_eq!(asked, ["www.example.com", "x.example.net"]);
}

#[tokio::test]
async fn the_hosts_list_of_resolvers_is_followed_and_the_next_is_tried_where_one_is_silent() {
    let site = Site::new().await;
    site.resolvers(&[]);
    let mut server = site.serve(&facts(0));
    assert_eq!(ask(&site.web, BRIDGE, &["www.example.com"]), "SERVFAIL");
    let _resolver = site.resolver(&site.outside, RESOLVER, &["--address=/example.com/192.0.2.77"]);
    site.resolvers(&["192.0.2.99", RESOLVER]);
    wait_for(|| ask(&site.web, BRIDGE, &["www.example.com"]) == "192.0.2.77");
    assert_eq!(server.stop(), 0, "nothing runs on");
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_a_datagram_comes_whole_over_tcp() {
    let site = Site::new().await;
    let _server = site.serve(&facts(40));
    let old = ["cache", "AAAA", "+noedns"];
    let cut = dig(&site.web, &[&["@10.100.4.1", "+ignore"], &old[..]].concat()).1;
    assert!(cut.contains("flags: qr aa tc rd ra") && !cut.contains("IN\tAAAA\tfd00"), "{cut}");
    assert_eq!(ask(&site.web, BRIDGE, &old).split(", ").count(), 32);
    let new = dig(&site.web, &["@10.100.4.1", "+ignore", "+bufsize=4096", "cache", "AAAA"]).1;
    assert!(new.contains("ANSWER: 32") && new.contains("udp: 1232"), "{new}");
}

#[tokio::test]
async fn one_that_asks_too_much_of_others_is_refused_and_its_neighbour_is_not() {
    let site = Site::new().await;
    let _resolver = site.resolver(&site.outside, RESOLVER, &["--address=/example.com/192.0.2.77"]);
    let _server = site.serve(&facts(0));
    wait_for(|| ask(&site.db, BRIDGE, &["warm.example.com"]) == "192.0.2.77");
    // Where a flood takes longer than its bound allows for, nothing of it is refused.
    let refused = (0..10).any(|_| {
        let began = Instant::now();
        let codes = inside(&site.web, async || flood("example.com", 600)).join().unwrap();
        let seconds = began.elapsed().as_secs_f64();
        let answered = f64::from(codes.get(&0).copied().unwrap_or_default());
        assert!(answered <= 100.0 + 100.0 * seconds + 1.0, "{codes:?} in {seconds} s");
        codes.get(&5).is_some_and(|it| 100 <= *it)
    });
    assert!(refused, "nothing was refused");
    assert_eq!(ask(&site.db, BRIDGE, &["calm.example.com"]), "192.0.2.77");
    let codes = inside(&site.web, async || flood("shop.fizz.internal", 600)).join().unwrap();
    assert_eq!(codes, BTreeMap::from([(3, 600)]), "our own names have no such bound");
}

/// Asks for so many names below one, a few at a time; the codes that came back.
fn flood(below: &str, count: u32) -> BTreeMap<u8, u32> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((BRIDGE, 53)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let (mut codes, mut answer) = (BTreeMap::new(), [0; 1500]);
    for first in (0..count).step_by(20) {
        for number in first..(first + 20).min(count) {
            socket.send(&question(&format!("n{number}.{below}"))).unwrap();
        }
        for _ in first..(first + 20).min(count) {
            socket.recv(&mut answer).unwrap();
            *codes.entry(answer[3] & 0x0f).or_default() += 1;
        }
    }
    codes
}

/// A question for an IPv4 address, by hand (RFC 1035, 4.1).
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

#[tokio::test]
async fn who_is_not_of_the_cluster_gets_no_byte_back() {
    let site = Site::new().await;
    let _server = site.serve(&facts(0));
    for words in [&["db.shop.fizz.internal"][..], &["example.com"], &["db", "+tcp"]] {
        assert_eq!(ask(&site.outside, BRIDGE, &[&["+time=1"], words].concat()), "silence");
    }
    assert_eq!(ask(&site.web, BRIDGE, &["db"]), "10.100.4.3");
    site.web.run(&["ip", "addr", "add", "10.100.4.77/24", "dev", "eth0"]);
    site.host.run(&["ip", "route", "add", "10.100.4.77", "dev", "fizz-p2"]);
    let unknown = ask(&site.web, BRIDGE, &["-b", "10.100.4.77", "db"]);
    assert_eq!(unknown, "SERVFAIL", "who is not known yet is told to try again");
}

#[tokio::test]
async fn what_is_no_question_is_not_answered_and_what_is_wrong_is_told_so() {
    let site = Site::new().await;
    let _server = site.serve(&facts(0));
    let outcome = inside(&site.web, async || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((BRIDGE, 53)).unwrap();
        let (silence, answer) = (Duration::from_millis(500), Duration::from_secs(20));
        let send = |bytes: &[u8], wait: Duration| {
            socket.set_read_timeout(Some(wait)).unwrap();
            socket.send(bytes).unwrap();
            let mut answer = [0; 1500];
            socket.recv(&mut answer).ok().map(|_| answer[3] & 0x0f)
        };
        let good = question("db");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        // A label that points at itself.
        let pointer = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
        [
            send(&good, answer),
            send(&good[..11], silence),
            send(&with(2, 0x81), silence),
            send(&with(2, 0x29), answer),
            send(&with(5, 2), answer),
            send(&with(7, 1), answer),
            send(&good[..15], answer),
            send(&pointer, answer),
            send(&good, answer),
        ]
    });
    let (right, silence, format, unknown) = (Some(0), None, Some(1), Some(4));
    let expected = [right, silence, silence, unknown, format, format, format, format, right];
    assert_eq!(outcome.join().unwrap(), expected);
}

#[tokio::test]
async fn a_resolver_that_asks_us_in_turn_is_left_out_until_it_no_longer_does() {
    let site = Site::new().await;
    let _good = site.resolver(&site.outside, RESOLVER, &["--address=/example.com/192.0.2.77"]);
    let back = format!("--server={BRIDGE}");
    let looping = site.resolver(&site.host, "127.0.0.1", &[&back]);
    site.resolvers(&["127.0.0.1", BRIDGE]);
    let _server = site.serve(&facts(0));
    wait_for(|| looping.asked().iter().any(|it| it.ends_with(".loop.fizz.internal")));
    wait_for(|| ask(&site.web, BRIDGE, &["www.example.com"]) == "SERVFAIL");
    // What was on its way round comes to its end.
    wait_for(|| {
        let before = looping.asked().len();
        thread::sleep(Duration::from_secs(1));
        looping.asked().len() == before
    });
    let before = looping.asked().len();
    for number in 0..20 {
        let name = format!("n{number}.example.com");
        assert_eq!(ask(&site.web, BRIDGE, &[&name]), "SERVFAIL");
    }
    assert_eq!(looping.asked().len(), before, "it is asked for nothing more");
    site.resolvers(&["127.0.0.1", RESOLVER]);
    wait_for(|| ask(&site.web, BRIDGE, &["www.example.com"]) == "192.0.2.77");
}

#[tokio::test]
async fn a_server_that_is_stopped_leaves_nothing_behind_even_what_waits_for_others() {
    let site = Site::new().await;
    site.resolvers(&["192.0.2.99"]);
    let mut server = site.serve(&facts(0));
    let asker = inside(&site.web, async || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((BRIDGE, 53)).unwrap();
        for number in 0..50 {
            socket.send(&question(&format!("n{number}.example.com"))).unwrap();
        }
    });
    asker.join().unwrap();
    thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    assert_eq!(server.stop(), 0);
    // Questions wait up to four.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let mut again = site.serve(&facts(0));
    assert_eq!(ask(&site.web, BRIDGE, &["db"]), "10.100.4.3", "its addresses are free");
    assert_eq!(again.stop(), 0);
}

#[tokio::test]
async fn a_server_is_bound_where_it_is_told_to_and_never_everywhere() {
    for everywhere in ["0.0.0.0:5353", "[::]:5353", "[::ffff:0.0.0.0]:5353"] {
        let error = Sockets::bind(&[everywhere.parse().unwrap()]).await.unwrap_err();
        assert!(matches!(error, DnsError::Everywhere(_)), "{error}");
    }
    assert!(matches!(Sockets::bind(&[]).await, Err(DnsError::NoAddress)));
    let absent = SocketAddr::new(IpAddr::from([192, 0, 2, 1]), 0);
    let error = Sockets::bind(&[absent]).await.unwrap_err().to_string();
    assert!(error.contains("can't serve DNS on 192.0.2.1:0 (TCP)"), "{error}");
}
