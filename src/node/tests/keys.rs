//! Under which of the cluster's keys a node speaks to another.

use std::sync::Arc;

use crate::{
    gossip::{Epoch, Key, Keyring, Opener, Peer},
    model::{Moment, NodeId, NodeState, WallTime},
    node::{Effect, Event, Node, Now, Seat},
    state::{Change, ClusterState, NodeRecord, ReplicaId},
    swim::Config,
};

const ME: NodeId = NodeId(1 << 96);
const OTHER: NodeId = NodeId(2 << 96);

fn record(name: &str, replica: u64, key_epoch: u32) -> NodeRecord {
    NodeRecord {
        address: Some("10.0.0.2:7946".parse().unwrap()),
        replica: ReplicaId(replica),
        key_epoch,
        ..NodeRecord::unmeasured(name.parse().unwrap(), NodeState::Alive, WallTime(0))
    }
}

fn ring(epochs: std::ops::RangeInclusive<u32>) -> Keyring {
    let key = |epoch: u32| (Epoch(epoch), Key::new([epoch as u8; 32]));
    let (first, root) = key(*epochs.start());
    let mut ring = Keyring::new(first, root);
    epochs.map(key).for_each(|(epoch, root)| ring.add(epoch, root));
    ring
}

/// Its directory is from before two changes of the key, and its own keys from after another one.
#[test]
fn a_node_that_was_set_back_finds_the_key_that_the_others_have() {
    let mut now = Now { moment: Moment(1_000), wall: WallTime(1_000_000) };
    let mut state = ClusterState::new(ReplicaId(1));
    for (id, record) in [(ME, record("here", 1, 2)), (OTHER, record("there", 2, 2))] {
        let step = state.commit(Change::Node(id, Some(Arc::new(record))), now.wall);
        assert!(!step.is_empty());
    }
    let seat = Seat { keys: ring(2..=5), life: 2, config: Config::lan(), mesh: None };
    let mut node = Node::new(ME, record("here", 1, 2), state, 1).seated(seat, now);
    let mut other = Opener::new(OTHER);
    let known = [Peer { id: ME, epoch: Epoch(4) }];
    let mut heard = 0;
    while now.moment < Moment(4_000) {
        for effect in node.handle(Event::Tick, now) {
            if let Effect::Send { datagram, .. } = effect {
                heard += usize::from(other.open(&datagram, &known, &ring(4..=4)).is_ok());
            }
        }
        now.moment.0 += 10;
    }
    assert!(0 < heard, "the other has only number 4");
}
