//! chitchat in paused tokio time, over its own channel transport, which delivers at once. Gossip once a
//! second, protocol V1, the failure detector as it comes. Bytes are its payloads and 28 a message.

use std::{net::SocketAddr, time::Duration};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat, transport::ChannelTransport,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{QUIET, Row, cpu, starts};

const HEADER_BYTES: u64 = 28;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);

fn id(place: usize) -> ChitchatId {
    let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + place as u16));
    ChitchatId::new(format!("node-{place}"), 0, address)
}

async fn start(place: usize, network: &ChannelTransport) -> ChitchatHandle {
    let me = id(place);
    let config = ChitchatConfig {
        listen_addr: me.gossip_advertise_addr,
        chitchat_id: me,
        cluster_id: "bench".to_owned(),
        gossip_interval: Duration::from_secs(1),
        seed_nodes: vec![id(0).gossip_advertise_addr.to_string()],
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: Duration::from_secs(3_600),
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: ProtocolVersion::V1,
    };
    spawn_chitchat(config, vec![], network).await.expect("a name of its own")
}

/// How long until all say so, at most two minutes.
async fn until(nodes: &[ChitchatHandle], so: impl Fn(&Chitchat) -> bool) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        let mut all = true;
        for node in nodes {
            all = all && node.with_chitchat(|it| so(it)).await;
        }
        if all {
            return Some(begun.elapsed());
        }
        sleep(LOOK).await;
    }
    None
}

fn paused() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().expect("a runtime")
}

pub(crate) fn measure(count: usize) -> Row {
    paused().block_on(async {
        let network = ChannelTransport::default();
        let begun = Instant::now();
        let mut nodes = vec![start(0, &network).await];
        for (place, at) in (1..).zip(starts(count)) {
            sleep_until(begun + at).await;
            nodes.push(start(place, &network).await);
        }
        let before = begun.elapsed();
        let joined =
            until(&nodes, |it| it.live_nodes().count() == count).await.map(|it| it + before);
        sleep(QUIET).await;
        let (sent, used) = (network.statistics(), cpu());
        sleep(QUIET).await;
        let (now, per) = (network.statistics(), count as f64 * QUIET.as_secs_f64());
        let cpu_micros = (cpu() - used) / per;
        let messages = now.num_messages_total - sent.num_messages_total;
        let bytes = now.num_bytes_total - sent.num_bytes_total + HEADER_BYTES * messages;
        nodes[0].with_chitchat(|it| it.self_node_state().set("item", "x".repeat(100))).await;
        let (origin, victim) = (id(0), id(count - 1));
        let has = |it: &Chitchat| it.node_state(&origin).is_some_and(|it| it.get("item").is_some());
        let update = until(&nodes, has).await;
        if let Some(node) = nodes.pop() {
            node.abort();
        }
        let crash = until(&nodes, |it| it.live_nodes().all(|it| *it != victim)).await;
        Row { joined, crash, update, bytes: bytes as f64 / per, cpu_micros }
    })
}

/// How long a fresh node takes to have so many keys of another.
pub(crate) fn newcomer(keys: usize) -> Option<Duration> {
    paused().block_on(async {
        let network = ChannelTransport::default();
        let first = start(0, &network).await;
        for key in 0..keys {
            let set = |it: &mut Chitchat| {
                it.self_node_state().set(format!("key-{key:05}.example.com"), "x".repeat(64));
            };
            first.with_chitchat(set).await;
        }
        sleep(Duration::from_secs(5)).await;
        let second = start(1, &network).await;
        let origin = id(0);
        let has =
            |it: &Chitchat| it.node_state(&origin).is_some_and(|it| keys <= it.num_key_values());
        until(&[second], has).await
    })
}
