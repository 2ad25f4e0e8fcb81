//! Streams between members: who lacks much asks, and gets it in pieces. As the daemon does it, in the same
//! messages; what a connection costs beside them is put at 680 bytes (three TCP packets of 60, and about
//! 500 of the Noise handshake), and 60 a message for headers, frames and tags.

use std::sync::Arc;

use fizz::{
    gossip::Fetched,
    node::{Event, Fetch},
    state::{
        ClusterState, VersionVector, decode_write, encode_inventory, encode_vector, encode_write,
    },
};

use super::cluster::{Cluster, Item, replica};
use crate::network::Micros;

/// How many bytes of writes go into one piece.
const PIECE_BYTES: usize = 64 << 10;

/// What a connection costs, and each message beside what it says.
const OPEN_BYTES: u64 = 680;
const MESSAGE_BYTES: u64 = 60;

/// Crossings until a stream is open: SYN and its answer, message 1 and 2, message 3 and the proofs.
const OPEN_CROSSINGS: usize = 6;

/// What a newcomer says, and what it is told before the state, about.
const HELLO_BYTES: u64 = 200;
const WELCOME_BYTES: u64 = 300;

/// How long the introducer's write takes to its disk, with the commit that may be under way.
const ADMITTED: Micros = 2_000;

/// A member's own state is in the picture for others once it is durable.
const PICTURE: Micros = 1_000;

/// How long a connection to nobody takes to fail.
const NOBODY: Micros = 5_000_000;

/// What comes by stream, or is due for one.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// A newcomer asks to be let in.
    Hello,
    /// A member asks for what it lacks.
    Want(VersionVector),
    /// It is time to tell somebody everything beyond this.
    Tell { to: usize, seen: VersionVector, joins: bool },
    /// Some writes.
    Piece { writes: Vec<Vec<u8>>, joins: bool },
    /// All came.
    End { how: Box<Fetched>, joins: bool },
    /// The newcomer's disk holds all.
    Begin(Box<ClusterState>),
    /// Nobody was there.
    Failed(usize),
}

/// A newcomer opens a stream to its introducer.
pub(crate) fn knock(cluster: &mut Cluster, place: usize, introducer: usize) {
    let open = opened(cluster) + cluster.network.crossing();
    let bytes = HELLO_BYTES + MESSAGE_BYTES;
    let hello = Item::Stream(Parcel::Hello);
    cluster.network.stream(place, introducer, hello, bytes, open);
}

/// A member opens a stream to another, for what it lacks.
pub(crate) fn fetch(cluster: &mut Cluster, place: usize, fetch: Fetch) {
    assert!(fetch.enter.is_none(), "nobody is set back here");
    let from = cluster.place(fetch.from);
    if !cluster.reaches(place, from) {
        return cluster.network.later(place, Item::Stream(Parcel::Failed(from)), NOBODY);
    }
    let open = opened(cluster) + cluster.network.crossing();
    let bytes = encode_vector(&fetch.seen).unwrap().len() as u64 + MESSAGE_BYTES;
    let want = Item::Stream(Parcel::Want(fetch.seen));
    cluster.network.stream(place, from, want, bytes, open);
}

/// How long a stream takes to open; it is counted.
fn opened(cluster: &mut Cluster) -> Micros {
    cluster.streams += 1;
    cluster.network.bytes += OPEN_BYTES;
    (0..OPEN_CROSSINGS).map(|_| cluster.network.crossing()).sum()
}

/// Something came by stream.
pub(crate) fn arrive(cluster: &mut Cluster, from: usize, at: usize, parcel: Parcel) {
    let sender = cluster.id(from);
    match parcel {
        Parcel::Hello => {
            cluster.admit(from, at);
            let seen = VersionVector::default();
            let tell = Parcel::Tell { to: from, seen, joins: true };
            cluster.network.later(at, Item::Stream(tell), ADMITTED);
        }
        Parcel::Want(seen) => tell(cluster, at, from, &seen, false),
        Parcel::Tell { to, seen, joins } => tell(cluster, at, to, &seen, joins),
        Parcel::Piece { writes, joins } => {
            let writes = writes.iter().map(|it| decode_write(it).unwrap());
            if joins {
                let wall = cluster.now().wall;
                let state = cluster.newcomers.entry(at).or_insert_with(|| newcomer(at));
                writes.for_each(|it| drop(Arc::make_mut(state).apply(it, wall)));
            } else {
                let writes = writes.collect();
                cluster.handle(at, Event::Fetched(sender, writes));
            }
        }
        Parcel::End { how, joins: false } => {
            cluster.handle(at, Event::FetchEnded(sender, Some(*how)));
        }
        Parcel::End { how, joins: true } => {
            let Fetched::Full(inventory) = *how else { unreachable!("a newcomer is told all") };
            let mut state = cluster.newcomers.remove(&at).unwrap_or_else(|| newcomer(at));
            drop(Arc::make_mut(&mut state).enter(&inventory, cluster.now().wall));
            let state = Box::new(Arc::unwrap_or_clone(state));
            cluster.network.later(at, Item::Stream(Parcel::Begin(state)), PICTURE);
        }
        Parcel::Begin(state) => cluster.boot(at, *state),
        Parcel::Failed(whom) => {
            let whom = cluster.id(whom);
            cluster.handle(at, Event::FetchEnded(whom, None));
        }
    }
}

fn newcomer(place: usize) -> Arc<ClusterState> {
    Arc::new(ClusterState::new(replica(place)))
}

/// Sends what somebody lacks of a member's state.
fn tell(cluster: &mut Cluster, teller: usize, to: usize, seen: &VersionVector, joins: bool) {
    let Some(state) = cluster.state(teller) else { return };
    let full = joins || !state.can_serve(seen);
    let mut after = PICTURE + cluster.network.crossing();
    if joins {
        cluster.network.bytes += WELCOME_BYTES + MESSAGE_BYTES;
    }
    let (mut writes, mut bytes) = (vec![], 0);
    for write in state.delta_since(seen) {
        let write = encode_write(&write).unwrap();
        bytes += write.len() + 3;
        writes.push(write);
        if PIECE_BYTES <= bytes {
            let piece = Parcel::Piece { writes: std::mem::take(&mut writes), joins };
            after = send(cluster, (teller, to), piece, bytes, after);
            bytes = 0;
        }
    }
    if !writes.is_empty() {
        after = send(cluster, (teller, to), Parcel::Piece { writes, joins }, bytes, after);
    }
    let (how, bytes) = if full {
        let inventory = state.inventory();
        let bytes = encode_inventory(&inventory).unwrap().len();
        (Fetched::Full(inventory), bytes)
    } else {
        let seen = state.seen().clone();
        let bytes = encode_vector(&seen).unwrap().len();
        (Fetched::Delta(seen), bytes)
    };
    send(cluster, (teller, to), Parcel::End { how: Box::new(how), joins }, bytes, after);
}

/// Sends a message after another; when it is there.
fn send(
    cluster: &mut Cluster,
    (from, to): (usize, usize),
    parcel: Parcel,
    bytes: usize,
    after: Micros,
) -> Micros {
    let bytes = bytes as u64 + MESSAGE_BYTES;
    // 1 Gbit/s.
    let there = after + bytes * 8 / 1_000 + cluster.network.held_up();
    cluster.network.stream(from, to, Item::Stream(parcel), bytes, there);
    there
}
