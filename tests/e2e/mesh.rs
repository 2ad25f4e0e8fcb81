//! The mesh device between hosts that are network namespaces at a switch: by a process for each, as here, or
//! by the kernel (`FIZZ_E2E_MESH=kernel`), as `tests/vm/run.sh` has it in a virtual machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    net::{SocketAddr, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use fizz::{
    model::{ClusterId, NodeId, PublicKey, WallTime},
    network::{
        NetworkError,
        wireguard::{Chosen, Device, Done, Driver, PeerSeen, SecretKey, Userspace, Wanted, choose},
    },
    topology::{Mesh, Place, Plan},
};
use nix::{
    sched::{CloneFlags, setns},
    sys::{
        signal::{Signal, kill},
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket,
            sockopt,
        },
        time::TimeVal,
    },
    unistd::Pid,
};
use tokio::time::Instant;

use crate::network::{Net, command};

pub(crate) const DEVICE: &str = "fizz1";
const PORT: u16 = 51820;

fn by_the_kernel() -> bool {
    std::env::var("FIZZ_E2E_MESH").is_ok_and(|it| it == "kernel")
}

/// Hosts at a switch.
pub(crate) struct Site {
    pub(crate) switch: Net,
    pub(crate) hosts: BTreeMap<u8, Host>,
    folder: PathBuf,
}

pub(crate) struct Host {
    id: u8,
    pub(crate) net: Net,
    secret: SecretKey,
    folder: PathBuf,
}

impl Site {
    pub(crate) fn new(hosts: u8) -> Self {
        let switch = Net::new("switch");
        switch.run(&["ip", "link", "add", "lan", "type", "bridge", "mcast_snooping", "0"]);
        switch.run(&["ip", "link", "set", "lan", "up"]);
        let folder = std::env::temp_dir().join(&switch.0);
        let mut site = Self { switch, hosts: BTreeMap::new(), folder };
        for id in 1..=hosts {
            let net = Net::new("host");
            let port = format!("port{id}");
            let link = ["ip", "link", "add", &port, "master", "lan", "up", "type", "veth", "peer"];
            site.switch.run(&[&link[..], &["name", "eth0", "netns", &net.0]].concat());
            net.run(&["ip", "link", "set", "lo", "up"]);
            net.run(&["ip", "addr", "add", &format!("192.0.2.{id}/24"), "dev", "eth0"]);
            net.run(&["ip", "link", "set", "eth0", "up"]);
            let folder = site.folder.join(id.to_string());
            site.hosts.insert(id, Host { id, net, secret: secret(id), folder });
        }
        site
    }

    /// Has hosts know one another, each from nothing: as a daemon that has just started.
    pub(crate) async fn join(&self, hosts: &[u8]) {
        for id in hosts {
            self.hosts[id].ensure(&mesh(*id, hosts)).await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.hosts.clear();
        // There is none where the kernel has the devices.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Host {
    fn userspace(&self) -> Userspace {
        Userspace::new(env!("CARGO_BIN_EXE_fizz"), &self.folder)
    }

    fn device(&self) -> Device {
        if by_the_kernel() { Device::Kernel } else { Device::Userspace(self.userspace()) }
    }

    fn wanted<'a>(&'a self, mesh: &'a Mesh) -> Wanted<'a> {
        let (secret, keepalive_seconds) = (&self.secret, 25);
        Wanted { name: DEVICE, secret, port: PORT, mtu: 1420, mesh, keepalive_seconds }
    }

    async fn ensure(&self, mesh: &Mesh) -> Done {
        self.device().ensure(&self.net.open(), &self.wanted(mesh)).await.unwrap()
    }

    async fn peers(&self) -> BTreeMap<PublicKey, PeerSeen> {
        let all = self.device().peers(&self.net.open(), DEVICE).await.unwrap();
        all.into_iter().map(|it| (it.key, it)).collect()
    }

    async fn peer(&self, id: u8) -> PeerSeen {
        self.peers().await.remove(&secret(id).public()).unwrap()
    }

    fn process(&self) -> Option<Pid> {
        let number = fs::read_to_string(self.folder.join(format!("{DEVICE}.pid"))).ok()?;
        Some(Pid::from_raw(number.parse().unwrap()))
    }

    fn index(&self) -> String {
        self.net.run(&["cat", &format!("/sys/class/net/{DEVICE}/ifindex")])
    }

    fn reaches(&self, other: u8) -> bool {
        addresses(other).iter().all(|it| self.pings(it))
    }

    fn pings(&self, address: &str) -> bool {
        let words = ["ip", "netns", "exec", &self.net.0, "busybox", "ping", "-c1", "-W3", address];
        command(&words).status().unwrap().success()
    }

    /// A ping each 10 ms for two seconds.
    fn stream(&self, to: &str) -> Stream {
        let words = ["ip", "netns", "exec", &self.net.0, "busybox", "ping", "-c200", "-i0.01", to];
        Stream(command(&words).stdout(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It holds its network, and so the network does not go before it has.
        if let Some(process) = self.process() {
            let _ = kill(process, Signal::SIGKILL);
        }
    }
}

struct Stream(Child);

impl Stream {
    #[track_caller]
    fn loses_nothing(self) {
        let said = String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap();
        let end = said.lines().rev().take(3).collect::<String>();
        assert!(said.contains("200 packets received, 0% packet loss"), "{end}");
    }
}

pub(crate) fn plan() -> Plan {
    Plan::new(ClusterId(7), "10.100.0.0/16".parse().unwrap(), 24).unwrap()
}

fn secret(id: u8) -> SecretKey {
    SecretKey::new(&[id; 32])
}

pub(crate) fn node(id: u8) -> NodeId {
    NodeId(id.into())
}

fn place(id: u8) -> Place {
    Place {
        key: Some(secret(id).public()),
        endpoints: vec![endpoint(id)],
        claims: [(plan().block(id.into()), WallTime(0))].into(),
        ..Place::new(node(id))
    }
}

fn endpoint(id: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, id], PORT))
}

pub(crate) fn mesh(me: u8, all: &[u8]) -> Mesh {
    let places: Vec<Place> = all.iter().map(|it| place(*it)).collect();
    Mesh::of(&plan(), node(me), &places, &BTreeSet::new())
}

/// A host's addresses in the mesh.
fn addresses(id: u8) -> [String; 2] {
    [format!("10.100.{id}.1"), plan().of_node(node(id)).to_string()]
}

async fn wait_for(mut ready: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready().await {
        assert!(Instant::now() < deadline, "it does not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn hosts_reach_one_another_in_both_families_and_know_when_they_last_spoke() {
    let site = Site::new(3);
    site.join(&[1, 2, 3]).await;
    let [one, two, three] = [1, 2, 3].map(|it| &site.hosts[&it]);
    assert!(one.reaches(2) && one.reaches(3) && two.reaches(3) && three.reaches(1));
    let peer = one.peer(2).await;
    assert_eq!(peer.endpoint, Some(endpoint(2)));
    assert_eq!(peer.allowed, mesh(1, &[1, 2]).peers[&secret(2).public()].allowed);
    assert_eq!(peer.keepalive_seconds, 25);
    assert!(84 <= peer.sent_bytes && 84 <= peer.received_bytes, "{peer:?}");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let ago = now - u128::from(peer.handshake.unwrap().0);
    assert!(ago < 60_000, "{ago} ms");
    let link = one.net.run(&["ip", "-d", "link", "show", DEVICE]);
    assert!(link.contains("mtu 1420"), "{link}");
    assert!(!one.pings(&addresses(4)[1]), "nobody is there");
}

#[tokio::test]
async fn saying_again_how_it_is_to_be_changes_nothing() {
    let site = Site::new(2);
    let one = &site.hosts[&1];
    let first = one.ensure(&mesh(1, &[1, 2])).await;
    assert_eq!(first, Done { made: true, device_changed: true, peer_changes: 1 });
    // The kernel asks around for an address of its own making for a while (RFC 4862, 5.4).
    let all = || one.net.run(&["sh", "-c", "ip -4 route; ip -6 route; ip -o addr"]);
    let routes = || all().replace(" tentative", "");
    let before = routes();
    assert_eq!(one.ensure(&mesh(1, &[1, 2])).await, Done::default());
    assert_eq!(routes(), before);
    let block = mesh(2, &[1, 2]).blocks[0];
    assert!(before.contains(&format!("{block} dev {DEVICE}")), "{before}");
}

#[tokio::test]
async fn peers_that_come_and_go_cost_the_others_no_packet() {
    let site = Site::new(3);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    assert!(one.reaches(2));
    let streams = addresses(2).map(|it| one.stream(&it));
    tokio::time::sleep(Duration::from_millis(300)).await;
    site.join(&[1, 2, 3]).await;
    assert!(one.reaches(3));
    let done = one.ensure(&mesh(1, &[1, 2])).await;
    assert_eq!(done, Done { peer_changes: 1, ..Done::default() });
    assert_eq!(one.peers().await.len(), 1);
    streams.into_iter().for_each(Stream::loses_nothing);
    assert!(!one.pings(&addresses(3)[0]), "it has gone");
}

#[tokio::test]
async fn a_host_that_gets_another_block_and_loses_it_again_costs_no_packet() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    assert!(one.reaches(2));
    let with = |blocks: &[u32]| {
        let claims = blocks.iter().map(|it| (plan().block(*it), WallTime(0))).collect();
        Mesh::of(&plan(), node(1), &[place(1), Place { claims, ..place(2) }], &BTreeSet::new())
    };
    let before = one.peer(2).await;
    let streams = addresses(2).map(|it| one.stream(&it));
    for blocks in [&[2, 9][..], &[2], &[2, 8, 9], &[2, 9], &[2]] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let done = one.ensure(&with(blocks)).await;
        assert_eq!(done, Done { peer_changes: 1, ..Done::default() });
        let nets = with(blocks).peers[&before.key].allowed.clone();
        assert_eq!(one.peer(2).await.allowed, nets);
    }
    streams.into_iter().for_each(Stream::loses_nothing);
    let after = one.peer(2).await;
    let (WallTime(then), WallTime(now)) = (before.handshake.unwrap(), after.handshake.unwrap());
    assert!(now.abs_diff(then) < 1_000, "there was a handshake anew");
}

#[tokio::test]
async fn a_daemon_that_goes_and_comes_again_costs_no_packet() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    assert!(one.reaches(2));
    let before = (one.index(), one.process());
    let streams = addresses(2).map(|it| one.stream(&it));
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // Nothing is kept from the last time: this is all that a new daemon knows.
        assert_eq!(one.ensure(&mesh(1, &[1, 2])).await, Done::default());
    }
    streams.into_iter().for_each(Stream::loses_nothing);
    assert_eq!((one.index(), one.process()), before);
}

#[tokio::test]
async fn a_block_that_moves_to_another_host_is_reached_there() {
    let site = Site::new(3);
    site.join(&[1, 2, 3]).await;
    let one = &site.hosts[&1];
    assert!(one.reaches(2));
    let moved = [
        place(1),
        Place { claims: BTreeMap::new(), ..place(2) },
        Place { claims: [2, 3].map(|it| (plan().block(it), WallTime(0))).into(), ..place(3) },
    ];
    for host in site.hosts.values() {
        host.ensure(&Mesh::of(&plan(), node(host.id), &moved, &BTreeSet::new())).await;
    }
    let peers = one.peers().await;
    let block = plan().block(2).into();
    assert!(!peers[&secret(2).public()].allowed.contains(&block));
    assert!(peers[&secret(3).public()].allowed.contains(&block));
    assert!(one.pings("10.100.2.1") && one.reaches(3));
    assert!(one.pings(&addresses(2)[1]), "the host that lost it is reached by its own address");
}

#[tokio::test]
async fn a_host_that_moves_is_found_by_its_next_packet_or_by_being_pointed_to() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let [one, two] = [1, 2].map(|it| &site.hosts[&it]);
    assert!(one.reaches(2));
    let moves = |from: u8, to: u8| {
        two.net.run(&["ip", "addr", "del", &format!("192.0.2.{from}/24"), "dev", "eth0"]);
        two.net.run(&["ip", "addr", "add", &format!("192.0.2.{to}/24"), "dev", "eth0"]);
    };
    let point = async |host: &Host, id: u8, to: SocketAddr| {
        let mesh = mesh(host.id, &[1, 2]);
        let (net, wanted) = (host.net.open(), host.wanted(&mesh));
        host.device().point(&net, &wanted, secret(id).public(), to).await.unwrap();
    };
    moves(2, 22);
    assert!(!one.pings(&addresses(2)[0]), "nobody is where it was");
    // The one that moved speaks first, and is followed.
    point(two, 1, endpoint(1)).await;
    wait_for(async || one.peer(2).await.endpoint == Some(endpoint(22))).await;
    assert!(one.reaches(2));
    // The other one is told, and speaks first.
    moves(22, 23);
    point(one, 2, endpoint(23)).await;
    assert!(one.reaches(2));
    assert_eq!(one.peer(2).await.keepalive_seconds, 25);
    // Where it is now is not forgotten for where it was said to be.
    assert_eq!(one.ensure(&mesh(1, &[1, 2])).await, Done::default());
    assert_eq!(one.peer(2).await.endpoint, Some(endpoint(23)));
    point(one, 9, endpoint(9)).await;
    assert_eq!(one.peers().await.len(), 1, "who is no peer does not become one");
}

#[tokio::test]
async fn what_is_on_the_wire_says_nothing() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    let wire = listen(&site.switch);
    // "fizz!" again and again.
    let ping = ["busybox", "ping", "-c5", "-i0.05", "-p66", "-s600"];
    let plain = [&ping[..], &["192.0.2.2"]].concat();
    one.net.run(&plain);
    assert!(overhear(&wire).iter().any(|it| is_plain(it)), "nothing is overheard at all");
    one.net.run(&[&ping[..], &[&addresses(2)[0]]].concat());
    let heard = overhear(&wire);
    let sealed = |it: &&Vec<u8>| it.windows(4).any(|it| it == [0xca, 0x6c, 0xca, 0x6c]);
    assert!(10 <= heard.iter().filter(sealed).count(), "{} frames", heard.len());
    assert!(!heard.iter().any(|it| is_plain(it)));
}

fn is_plain(frame: &[u8]) -> bool {
    frame.windows(16).any(|it| it == [0x66; 16])
}

/// All that passes a host's links (packet(7)).
fn listen(net: &Net) -> OwnedFd {
    let namespace = File::open(Path::new("/run/netns").join(&net.0)).unwrap();
    let open = move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        let (family, kind) = (AddressFamily::Packet, SockType::Raw);
        let wire = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
        setsockopt(&wire, sockopt::ReceiveTimeout, &TimeVal::new(0, 300_000)).unwrap();
        wire
    };
    thread::spawn(open).join().unwrap()
}

fn overhear(wire: &OwnedFd) -> Vec<Vec<u8>> {
    let mut frame = [0; 2048];
    let mut heard = vec![];
    while let Ok(length) = recv(wire.as_raw_fd(), &mut frame, MsgFlags::empty()) {
        heard.push(frame[..length].to_vec());
    }
    heard
}

#[tokio::test]
async fn whatever_somebody_changes_is_mended() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let [one, two] = [1, 2].map(|it| &site.hosts[&it]);
    assert!(one.reaches(2));
    for (what, change) in [
        ("a route went", "ip route del 10.100.2.0/24"),
        ("the addresses went", "ip addr flush dev fizz1"),
        ("the link is down", "ip link set fizz1 down"),
        ("the link went", "ip link del fizz1"),
    ] {
        one.net.run(&["sh", "-c", change]);
        assert!(!one.reaches(2), "{what}: it goes on working");
        one.ensure(&mesh(1, &[1, 2])).await;
        assert!(one.reaches(2), "{what}: it is not mended");
    }
    one.net.run(&["sh", "-c", "ip route add 10.9.0.0/16 dev fizz1; ip link set fizz1 mtu 1300"]);
    one.ensure(&mesh(1, &[1, 2])).await;
    let shown = one.net.run(&["sh", "-c", "ip route; ip link show fizz1"]);
    assert!(!shown.contains("10.9.0.0") && shown.contains("mtu 1420"), "{shown}");
    // What went is made as before for the other one, who noticed nothing but silence.
    assert!(two.reaches(1));
}

#[tokio::test]
async fn a_device_of_three_hundred_peers_is_seen_whole() {
    let site = Site::new(1);
    let one = &site.hosts[&1];
    // No device minds that nobody has their secrets.
    let key = |it: u16| PublicKey([it.to_be_bytes(); 16].concat().try_into().unwrap());
    let place = |it: u16| Place {
        key: Some(key(it)),
        endpoints: vec![SocketAddr::from(([198, 51, 100, it as u8], PORT))],
        claims: [(plan20().block(it.into()), WallTime(0))].into(),
        ..Place::new(NodeId(it.into()))
    };
    let places: Vec<Place> = (1..=301).map(place).collect();
    let mesh = Mesh::of(&plan20(), NodeId(1), &places, &BTreeSet::new());
    let done = one.ensure(&mesh).await;
    assert_eq!(done, Done { made: true, device_changed: true, peer_changes: 300 });
    let peers = one.peers().await;
    assert_eq!(peers.len(), 300);
    assert!(mesh.peers.iter().all(|(key, it)| peers[key].allowed == it.allowed));
    assert_eq!(one.ensure(&mesh).await, Done::default());
    let fewer = Mesh::of(&plan20(), NodeId(1), &places[..101], &BTreeSet::new());
    assert_eq!(one.ensure(&fewer).await.peer_changes, 200);
    assert_eq!(one.peers().await.len(), 100);
}

/// Enough blocks for all.
fn plan20() -> Plan {
    Plan::new(ClusterId(7), "10.96.0.0/12".parse().unwrap(), 24).unwrap()
}

#[tokio::test]
async fn what_is_taken_away_is_gone_and_may_come_again() {
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    let (device, host) = (one.device(), one.net.open());
    device.remove(&host, DEVICE).await.unwrap();
    device.remove(&host, DEVICE).await.unwrap();
    assert!(!one.net.run(&["ip", "link"]).contains(DEVICE));
    assert_eq!(one.process(), None);
    if !by_the_kernel() {
        assert_eq!(fs::read_dir(&one.folder).unwrap().count(), 0);
    }
    assert!(one.ensure(&mesh(1, &[1, 2])).await.made);
    assert!(one.reaches(2));
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_told_and_tried_again() {
    let site = Site::new(2);
    let one = &site.hosts[&1];
    let namespace = File::open(Path::new("/run/netns").join(&one.net.0)).unwrap();
    let taken = thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).unwrap();
        UdpSocket::bind(("::", PORT)).unwrap()
    });
    let taken = taken.join().unwrap();
    let mesh = mesh(1, &[1, 2]);
    let error = one.device().ensure(&one.net.open(), &one.wanted(&mesh)).await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("set up the mesh device fizz1: Address already in use"), "{said}");
    drop(taken);
    site.join(&[1, 2]).await;
    assert!(one.reaches(2));
}

#[tokio::test]
async fn a_link_of_another_kind_with_its_name_is_told_and_left_alone() {
    let site = Site::new(1);
    let one = &site.hosts[&1];
    let mesh = mesh(1, &[1]);
    let veth = ["link", "add", DEVICE, "type", "veth", "peer", "name", "other"];
    // Where the kernel has the devices, its small system has none of these.
    let tun = ["tuntap", "add", "mode", "tun", "name", DEVICE];
    let others = if by_the_kernel() { vec![&veth[..]] } else { vec![&veth[..], &tun] };
    for other in others {
        one.net.run(&[&["ip"], other].concat());
        let error = one.device().ensure(&one.net.open(), &one.wanted(&mesh)).await.unwrap_err();
        assert!(matches!(error, NetworkError::Taken { .. }), "{error}");
        one.device().remove(&one.net.open(), DEVICE).await.unwrap();
        assert!(one.net.run(&["ip", "link"]).contains(DEVICE));
        one.net.run(&["ip", "link", "del", DEVICE]);
    }
}

#[tokio::test]
async fn the_secret_is_nowhere_but_in_the_device() {
    if by_the_kernel() {
        return;
    }
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    let process = format!("/proc/{}", one.process().unwrap());
    let secret = "01".repeat(32);
    let words = fs::read(format!("{process}/cmdline")).unwrap();
    let words = String::from_utf8(words).unwrap();
    assert!(words.starts_with("fizz\0wireguard-device\0--name\0fizz1\0"), "{words}");
    assert!(!words.contains(&secret));
    assert_eq!(fs::read(format!("{process}/environ")).unwrap(), b"");
    let session = nix::unistd::getsid(one.process()).unwrap();
    assert_eq!(Some(session), one.process(), "it has a session of its own");
    let mode =
        |file: &str| fs::metadata(one.folder.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        ["", "fizz1.sock", "fizz1.pid", "fizz1.log"].map(mode),
        [0o700, 0o600, 0o600, 0o600]
    );
    let log = fs::read_to_string(one.folder.join("fizz1.log")).unwrap();
    assert!(log.contains("started") && !log.contains(&secret), "{log}");
}

#[tokio::test]
async fn a_process_that_is_killed_is_started_anew() {
    if by_the_kernel() {
        return;
    }
    let site = Site::new(2);
    site.join(&[1, 2]).await;
    let one = &site.hosts[&1];
    kill(one.process().unwrap(), Signal::SIGKILL).unwrap();
    wait_for(async || !one.net.run(&["ip", "link"]).contains(DEVICE)).await;
    assert!(one.ensure(&mesh(1, &[1, 2])).await.made);
    assert!(one.reaches(2));
    // As one that hangs is: nothing goes through it.
    let hung = one.process().unwrap();
    kill(hung, Signal::SIGSTOP).unwrap();
    assert!(!one.reaches(2));
    assert!(one.ensure(&mesh(1, &[1, 2])).await.made);
    assert!(one.reaches(2) && one.process() != Some(hung));
    // With its link a process goes, and leaves nothing.
    let process = one.process().unwrap();
    one.net.run(&["ip", "link", "del", DEVICE]);
    wait_for(async || one.process().is_none()).await;
    assert_ne!(Some(process), one.process());
}

#[tokio::test]
async fn a_machine_has_the_best_device_that_works_on_it() {
    let site = Site::new(1);
    let one = &site.hosts[&1];
    let host = one.net.open();
    let asked = async |driver| choose(driver, one.userspace(), &host).await;
    let auto = asked(Driver::Auto).await.unwrap();
    let kernel = asked(Driver::Wireguard).await;
    if by_the_kernel() {
        assert!(matches!(auto, Chosen { device: Device::Kernel, degraded: false }));
        assert!(matches!(kernel, Ok(Chosen { device: Device::Kernel, degraded: false })));
    } else {
        // Linux without the module.
        assert!(matches!(auto, Chosen { device: Device::Userspace(_), degraded: true }));
        let said = kernel.unwrap_err().to_string();
        assert!(said.contains("this kernel has no WireGuard devices"), "{said}");
        assert!(said.contains("modprobe wireguard"), "{said}");
        let mesh = mesh(1, &[1]);
        let error = Device::Kernel.ensure(&host, &one.wanted(&mesh)).await.unwrap_err();
        assert!(matches!(error, NetworkError::Unsupported { .. }), "{error}");
        let process = asked(Driver::Userspace).await.unwrap();
        assert!(matches!(process, Chosen { device: Device::Userspace(_), degraded: false }));
    }
    assert!(!one.net.run(&["ip", "link"]).contains("probe"), "nothing is left of the trial");
}
