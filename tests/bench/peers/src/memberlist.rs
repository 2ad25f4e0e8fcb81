//! memberlist over loopback in real time, with Go's LAN values: the crate ships `probe_interval` and
//! `probe_timeout` swapped. Bytes are those of the loopback device, IP and UDP or TCP headers with them,
//! but no Ethernet.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use memberlist::{
    Memberlist, Options,
    delegate::{CompositeDelegate, NodeDelegate, VoidDelegate},
    net::NetTransportOptions,
    proto::{MaybeResolvedAddress, Meta},
    tokio::{TokioSocketAddrResolver, TokioTcp, TokioTcpMemberlist},
};
use tokio::time::sleep;

use crate::{QUIET, Row, cpu, starts};

type Id = smol_str::SmolStr;
type Delegate = CompositeDelegate<
    Id,
    SocketAddr,
    VoidDelegate<Id, SocketAddr>,
    VoidDelegate<Id, SocketAddr>,
    VoidDelegate<Id, SocketAddr>,
    VoidDelegate<Id, SocketAddr>,
    Item,
>;
type Node = TokioTcpMemberlist<Id, TokioSocketAddrResolver, Delegate>;

/// What a node says beside its address: 100 bytes, once it is told to.
#[derive(Clone, Default)]
struct Item(Arc<AtomicBool>);

impl NodeDelegate for Item {
    async fn node_meta(&self, _: usize) -> Meta {
        if self.0.load(Ordering::Relaxed) {
            Meta::try_from(vec![b'x'; 100]).expect("shorter than 512 bytes")
        } else {
            Meta::empty()
        }
    }
}

async fn start(place: usize, item: Item) -> Node {
    let mut transport = NetTransportOptions::<Id, TokioSocketAddrResolver, TokioTcp>::new(
        format!("node-{place}").into(),
    );
    transport.add_bind_address(SocketAddr::from(([127, 0, 0, 1], 0)));
    let options = Options::lan()
        .with_probe_interval(Duration::from_secs(1))
        .with_probe_timeout(Duration::from_millis(500));
    let delegate = CompositeDelegate::new().with_node_delegate(item);
    Memberlist::with_delegate(delegate, transport, options).await.expect("a port")
}

/// How long until all say so, at most two minutes.
async fn until<F: Future<Output = bool>>(
    nodes: &[Node],
    so: impl Fn(Node) -> F,
) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        let mut all = true;
        for node in nodes {
            all = all && so(node.clone()).await;
        }
        if all {
            return Some(begun.elapsed());
        }
        sleep(Duration::from_millis(10)).await;
    }
    None
}

/// What the loopback device sent so far.
fn loopback_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/net/dev").expect("Linux");
    let line = text.lines().find_map(|it| it.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|it| it.split_whitespace().nth(8)?.parse().ok());
    bytes.expect("a loopback device")
}

pub(crate) fn measure(count: usize) -> Row {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (begun, item) = (Instant::now(), Item::default());
        let mut nodes = vec![start(0, item.clone()).await];
        let seed = *nodes[0].advertise_address();
        let mut joins = vec![];
        for (place, at) in (1..).zip(starts(count)) {
            sleep(at.saturating_sub(begun.elapsed())).await;
            let node = start(place, Item::default()).await;
            nodes.push(node.clone());
            joins.push(tokio::spawn(async move {
                while node.join(MaybeResolvedAddress::resolved(seed)).await.is_err() {
                    sleep(Duration::from_secs(1)).await;
                }
            }));
        }
        let before = begun.elapsed();
        let all = |it: Node| async move { it.num_online_members().await == count };
        let joined = until(&nodes, all).await.map(|it| it + before);
        sleep(Duration::from_secs(20)).await;
        let (sent, used) = (loopback_bytes(), cpu());
        sleep(QUIET).await;
        let per = count as f64 * QUIET.as_secs_f64();
        let (bytes, cpu_micros) = ((loopback_bytes() - sent) / per, (cpu() - used) / per);
        item.0.store(true, Ordering::Relaxed);
        let told = Instant::now();
        let updated = nodes[0].update_node(Duration::from_secs(10)).await;
        let knows = |it: Node| async move {
            let node = it.by_id(&"node-0".into()).await;
            node.is_some_and(|it| it.meta().len() == 100)
        };
        let update = until(&nodes, knows).await.filter(|_| updated.is_ok()).map(|_| told.elapsed());
        if let Some(victim) = nodes.pop() {
            // Its sockets close without a word.
            victim.shutdown().await.expect("it runs");
        }
        let fewer = |it: Node| async move { it.num_online_members().await == count - 1 };
        let crash = until(&nodes, fewer).await;
        for node in nodes {
            node.shutdown().await.expect("it runs");
        }
        Row { joined, crash, update, bytes, cpu_micros }
    })
}
