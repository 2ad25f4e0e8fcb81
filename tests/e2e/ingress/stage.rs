//! The hosts, their containers and the client.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use fizz::{
    model::{ContainerId, spec::Protocol},
    network::{
        Gateway, Port, host,
        ingress::{Down, Ingress, Place, Role, Wanted},
    },
    topology::{Backend, Pool, Published},
};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::{
    cluster::nodes::within,
    mesh::{DEVICE, Site, mesh, node, plan},
    network::Net,
};

/// The port that all containers serve, and the one by which all hosts lead there.
pub(super) const TARGET: u16 = 80;
pub(super) const PUBLISHED: u16 = 8080;

const WAIT: Duration = Duration::from_secs(10);
const FLOWS_MAX: u32 = 65_536;

/// Longer than an answer takes on the busiest machine.
const PATIENT: Duration = Duration::from_secs(20);
const MESH_BYTES: u32 = 1420;

/// Work for whoever has a host's programs.
type Deed = Box<dyn FnOnce(&mut Ingress) + Send>;

/// Hosts in a mesh with a container each, and a client.
pub(super) struct Stage {
    /// What all of it stands on.
    _site: Site,
    hosts: BTreeMap<u8, Steered>,
    containers: BTreeMap<u8, Net>,
    pub(super) client: Net,
}

/// A host's programs, in the hands of a thread that is on the host.
struct Steered(mpsc::Sender<Deed>);

impl Steered {
    fn new(net: &Net) -> Self {
        let (work, deeds) = mpsc::channel::<Deed>();
        let network = file(net);
        thread::spawn(move || {
            within(&network, || {
                // What is pinned is this thread's own, and goes with it.
                unshare(CloneFlags::CLONE_NEWNS).unwrap();
                let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
                let pins = Some("bpf");
                mount(pins, "/sys/fs/bpf", pins, MsFlags::empty(), None::<&str>).unwrap();
                let mut ingress = Ingress::open(FLOWS_MAX).unwrap();
                for deed in deeds {
                    deed(&mut ingress);
                }
            });
        });
        Self(work)
    }

    fn work<T: Send + 'static>(&self, deed: impl FnOnce(&mut Ingress) -> T + Send + 'static) -> T {
        let (tell, done) = mpsc::channel();
        let deed: Deed = Box::new(move |it| tell.send(deed(it)).unwrap());
        self.0.send(deed).unwrap();
        done.recv().unwrap()
    }
}

/// What one asks a server, over TCP or UDP: it says who it is, and whom it sees.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    pub(super) by: u8,
    pub(super) sees: IpAddr,
}

impl Stage {
    /// So many hosts, with all their containers behind a port of each.
    pub(super) async fn new(count: u8) -> Self {
        let site = Site::new(count);
        let ids: Vec<u8> = (1..=count).collect();
        let client = Net::new("client");
        let link = ["ip", "link", "add", "client", "master", "lan", "up", "type", "veth", "peer"];
        site.switch.run(&[&link[..], &["name", "eth0", "netns", &client.0]].concat());
        for line in [
            "ip link set lo up",
            "ip link set eth0 up",
            "ip addr add 192.0.2.100/24 dev eth0",
            "ip -6 addr add 2001:db8::100/64 dev eth0 nodad",
        ] {
            client.run(&line.split(' ').collect::<Vec<_>>());
        }
        for id in &ids {
            let net = &site.hosts[id].net;
            net.run(&[
                "ip",
                "-6",
                "addr",
                "add",
                &format!("2001:db8::{id}/64"),
                "dev",
                "eth0",
                "nodad",
            ]);
            net.run(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        }
        site.join(&ids).await;
        let mut containers = BTreeMap::new();
        for id in &ids {
            let net = Net::new("box");
            let addresses = mesh(*id, &ids).gateways;
            let gateway = Gateway { name: "fizz0".to_owned(), addresses, mtu: MESH_BYTES };
            gateway.ensure(&site.hosts[id].net.open()).await.unwrap();
            place(*id).ensure(&site.hosts[id].net.open(), &net.open()).await.unwrap();
            serve(*id, &net, TARGET);
            containers.insert(*id, net);
        }
        let hosts = ids.iter().map(|id| (*id, Steered::new(&site.hosts[id].net))).collect();
        let stage = Self { _site: site, hosts, containers, client };
        stage.publish(&ids);
        stage
    }

    pub(super) fn container(&self, id: u8) -> &Net {
        &self.containers[&id]
    }

    /// Has every host lead to the containers of these.
    pub(super) fn publish(&self, open: &[u8]) {
        let open = open.iter().map(|id| backend(*id, TARGET)).collect();
        self.publish_pool(&Pool { open, ..Pool::default() }, PATIENT);
    }

    pub(super) fn publish_pool(&self, pool: &Pool, patience: Duration) {
        for id in self.hosts.keys() {
            let all: Vec<u8> = self.hosts.keys().copied().collect();
            let (id, pool) = (*id, pool.clone());
            self.hosts[&id].work(move |it| {
                it.place(&places()).unwrap();
                it.apply(&wanted(id, &all, pool, patience)).unwrap();
            });
        }
    }

    /// Has a host's programs be replaced, as by a daemon that starts anew.
    pub(super) fn replace(&self, id: u8, pool: &Pool) {
        let (all, pool): (Vec<u8>, Pool) = (self.hosts.keys().copied().collect(), pool.clone());
        self.hosts[&id].work(move |it| {
            *it = Ingress::open(FLOWS_MAX).unwrap();
            it.place(&places()).unwrap();
            it.apply(&wanted(id, &all, pool, PATIENT)).unwrap();
        });
    }

    /// What a host's program says of a packet, and makes of it.
    pub(super) fn run(&self, id: u8, role: Role, link: u32, packet: &[u8]) -> (u32, Vec<u8>) {
        let packet = packet.to_vec();
        self.hosts[&id].work(move |it| it.run(role, link, &packet).unwrap())
    }

    /// The number of the link to a host's container.
    pub(super) fn link(&self, id: u8) -> u32 {
        self.hosts[&id].work(move |_| index(&format!("fz{id}")))
    }

    /// Whom a host has taken out.
    pub(super) fn down(&self, id: u8) -> Vec<Down> {
        self.hosts[&id].work(|it| it.down().unwrap()).into_iter().map(|it| it.0).collect()
    }

    pub(super) fn take_back(&self, id: u8, down: Down) {
        self.hosts[&id].work(move |it| it.take_back(&down).unwrap());
    }

    /// What a client on a network hears at an address.
    pub(super) fn ask(&self, from: &Net, to: SocketAddr, protocol: Protocol) -> Option<Answer> {
        let said = within(&file(from), || match protocol {
            Protocol::Tcp => ask_tcp(to),
            Protocol::Udp => ask_udp(to),
            Protocol::Sctp => None,
        })?;
        let (by, sees) = said.split_once(' ')?;
        Some(Answer { by: by.parse().ok()?, sees: sees.parse().ok()? })
    }

    /// Who answers at an address, asked so often.
    pub(super) fn ask_often(
        &self,
        from: &Net,
        to: SocketAddr,
        protocol: Protocol,
        times: usize,
    ) -> BTreeSet<Option<Answer>> {
        (0..times).map(|_| self.ask(from, to, protocol)).collect()
    }
}

/// A container's port, as one that takes connections.
pub(super) fn backend(id: u8, port: u16) -> Backend {
    Backend { container: ContainerId(id.into()), address: address(id), port, node: node(id) }
}

/// A container's address.
pub(super) fn address(id: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 100, id, 2)
}

/// A host's addresses at the switch, of both families.
pub(super) fn doors(id: u8) -> [SocketAddr; 2] {
    [format!("192.0.2.{id}:{PUBLISHED}"), format!("[2001:db8::{id}]:{PUBLISHED}")]
        .map(|it| it.parse().unwrap())
}

/// The client's.
pub(super) fn client(v6: bool) -> IpAddr {
    if v6 { "2001:db8::100".parse().unwrap() } else { "192.0.2.100".parse().unwrap() }
}

fn place(id: u8) -> Port {
    let (plan, gateway) = (plan(), Ipv4Addr::new(10, 100, id, 1));
    let address = address(id);
    Port {
        name: format!("fz{id}"),
        inside: "eth0".to_owned(),
        addresses: [IpAddr::V4(address), plan.v6(address).into()].map(Into::into).into(),
        gateways: [IpAddr::V4(gateway), plan.v6(gateway).into()].into(),
        mtu: MESH_BYTES,
    }
}

/// The links of the host that this thread is on.
fn places() -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for entry in std::fs::read_dir(links()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let role = match name.as_str() {
            "eth0" => Role::Outside,
            DEVICE => Role::Mesh,
            name if name.starts_with("fz") => Role::Container,
            _ => continue,
        };
        places.insert(Place { index: index(&name), name, role });
    }
    places
}

fn wanted(id: u8, all: &[u8], pool: Pool, patience: Duration) -> Wanted {
    let published = |protocol| Published { protocol, port: PUBLISHED, host_ip: None };
    let gateway = |it: &u8| (node(*it), [Ipv4Addr::new(10, 100, *it, 1)].into());
    Wanted {
        plan: plan(),
        here: node(id),
        network: host::cookie().unwrap(),
        mesh: (index(DEVICE), MESH_BYTES),
        gateways: all.iter().map(gateway).collect(),
        locals: host::own_addresses().filter(|it| !it.is_loopback()).collect(),
        pools: [Protocol::Tcp, Protocol::Udp].map(|it| (published(it), pool.clone())).into(),
        links: [(address(id), index(&format!("fz{id}")))].into(),
        patience: all.iter().map(|it| (node(*it), patience)).collect(),
    }
}

/// The links of this thread's network: its `/sys` may be another's.
fn links() -> PathBuf {
    Path::new("/proc/thread-self/net/dev_snmp6").to_owned()
}

fn index(link: &str) -> u32 {
    nix::net::if_::if_nametoindex(link).unwrap()
}

fn file(net: &Net) -> File {
    File::open(Path::new("/run/netns").join(&net.0)).unwrap()
}

/// Has a container answer whoever comes over TCP and UDP. A thread each, which end with the run.
pub(super) fn serve(id: u8, net: &Net, port: u16) {
    let at: SocketAddr = format!("[::]:{port}").parse().unwrap();
    let (tcp, udp) =
        within(&file(net), || (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
    let said = move |from: SocketAddr| format!("{id} {}", from.ip().to_canonical());
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let Ok(peer) = stream.peer_addr() else { continue };
            thread::spawn(move || {
                let mut asked = Vec::new();
                let _ = stream.read_to_end(&mut asked);
                let _ = stream.write_all(said(peer).as_bytes());
                // What was asked comes back, however much it is.
                let _ = stream.write_all(b"\n").and_then(|()| stream.write_all(&asked));
            });
        }
    });
    thread::spawn(move || {
        let mut asked = [0; 65_536];
        while let Ok((bytes, from)) = udp.recv_from(&mut asked) {
            let answer = [said(from).as_bytes(), b"\n", &asked[..bytes]].concat();
            let _ = udp.send_to(&answer, from);
        }
    });
}

fn ask_tcp(to: SocketAddr) -> Option<String> {
    let answer = exchange_tcp(to, b"who?")?;
    String::from_utf8(answer).ok()?.lines().next().map(str::to_owned)
}

/// What comes back over TCP.
pub(super) fn exchange_tcp(to: SocketAddr, asked: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, WAIT).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    stream.write_all(asked).ok()?;
    stream.shutdown(std::net::Shutdown::Write).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

fn ask_udp(to: SocketAddr) -> Option<String> {
    let answer = exchange_udp(to, b"who?")?;
    String::from_utf8(answer).ok()?.lines().next().map(str::to_owned)
}

/// What comes back over UDP.
pub(super) fn exchange_udp(to: SocketAddr, asked: &[u8]) -> Option<Vec<u8>> {
    let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    socket.connect(to).ok()?;
    let mut answer = vec![0; 65_536];
    // What is lost is asked again.
    (0..3)
        .find_map(|_| {
            socket.send(asked).ok()?;
            socket.recv(&mut answer).ok()
        })
        .map(|bytes| answer[..bytes].to_vec())
}

/// Works on a network.
pub(super) fn on<T: Send>(net: &Net, deed: impl FnOnce() -> T + Send) -> T {
    within(&file(net), deed)
}
