//! State by stream: who lacks much asks, and gets it in pieces as fast as it takes them.
//!
//! What is sent is one picture of the state, which is durable: so the vector at its end speaks for just what
//! came before. Pieces are taken in one by one, and whoever reads slowly is written to slowly.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Line;
use crate::{
    daemon::stream::{
        self, Credential, Peer, Prelude, Purpose, SecureStream, read_message, write_message,
    },
    gossip::Fetched,
    node::{Event, Fetch, Request},
    state::{
        ClusterState, CodecError, INVENTORY_BYTES_MAX, ReplicaId, VECTOR_BYTES_MAX,
        WRITE_BYTES_MAX, Write, decode_inventory, decode_vector, decode_write, encode_inventory,
        encode_vector, encode_write,
    },
};

/// How many bytes of writes go into one piece, unless one alone is longer.
const PIECE_BYTES: usize = 64 << 10;

/// The longest message.
const MESSAGE_BYTES_MAX: usize = WRITE_BYTES_MAX + PIECE_BYTES;
const _: () = assert!(INVENTORY_BYTES_MAX < MESSAGE_BYTES_MAX);

/// How long the other side may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Serialize, Deserialize)]
struct Want {
    /// What the asker has seen.
    seen: Vec<u8>,
    /// It comes in again, as this writer.
    enter: Option<u64>,
}

/// What is told.
#[derive(Serialize, Deserialize)]
enum Told {
    /// Some writes.
    Piece(Vec<Vec<u8>>),
    /// All that the asker lacks has come; this is what the teller has seen.
    Delta(Vec<u8>),
    /// Everything has come; this is what stands.
    Full(Vec<u8>),
    /// Nothing comes, for this reason.
    Refused(String),
}

/// Fetches what a member has and this node lacks.
pub(super) async fn fetch(line: &Line, fetch: Fetch) -> Result<Fetched, String> {
    let address = fetch.address.ok_or("nobody knows where it is")?.to_string();
    let (epoch, psk) = line.office.stream_key(fetch.from).ok_or("this node has no keys")?;
    let credential = Credential::Member { cluster: line.office.cluster_hash(), epoch };
    let prelude = Prelude { purpose: Purpose::Sync, credential };
    let identity = line.office.identity();
    let opened = stream::connect(&address, prelude, &psk, identity, Some(fetch.from)).await;
    let (mut stream, _) = opened.map_err(|error| error.to_string())?;
    let seen = encode_vector(&fetch.seen).map_err(|error| error.to_string())?;
    let want = Want { seen, enter: fetch.enter.map(|it| it.0) };
    send(&mut stream, &want).await?;
    loop {
        match next(&mut stream).await? {
            Next::Writes(writes) => line.tell(Event::Fetched(fetch.from, writes)).await,
            Next::Ended(how) => return Ok(how),
        }
    }
}

/// What comes next of what is told.
pub(super) enum Next {
    /// Some writes.
    Writes(Vec<Write>),
    /// All came.
    Ended(Fetched),
}

/// Takes the next of what is told.
pub(super) async fn next(stream: &mut SecureStream) -> Result<Next, String> {
    let said = |error: CodecError| error.to_string();
    match receive(stream).await? {
        Told::Piece(writes) => {
            let writes: Result<Vec<Write>, _> = writes.iter().map(|it| decode_write(it)).collect();
            Ok(Next::Writes(writes.map_err(said)?))
        }
        Told::Delta(vector) => {
            Ok(Next::Ended(Fetched::Delta(decode_vector(&vector).map_err(said)?)))
        }
        Told::Full(inventory) => {
            Ok(Next::Ended(Fetched::Full(decode_inventory(&inventory).map_err(said)?)))
        }
        Told::Refused(why) => Err(why),
    }
}

/// Answers a member that fetches.
pub(super) async fn serve(
    line: &Line,
    mut stream: SecureStream,
    peer: &Peer,
) -> Result<(), String> {
    let want: Want = receive(&mut stream).await?;
    let seen = decode_vector(&want.seen).map_err(|error| error.to_string())?;
    if let Some(replica) = want.enter {
        let request = Request::Readmit(peer.id, ReplicaId(replica));
        if let Err(refusal) = line.office.ask(request).await {
            return send(&mut stream, &Told::Refused(refusal.to_string())).await;
        }
    }
    let state = line.office.state();
    let full = want.enter.is_some() || !state.can_serve(&seen);
    tell(&mut stream, &state, &seen, full).await
}

/// Tells all of a state that who has seen this lacks.
pub(super) async fn tell(
    stream: &mut SecureStream,
    state: &ClusterState,
    seen: &crate::state::VersionVector,
    full: bool,
) -> Result<(), String> {
    let (mut piece, mut bytes) = (vec![], 0);
    for write in state.delta_since(seen) {
        let write = encode_write(&write).map_err(|error| error.to_string())?;
        bytes += write.len();
        piece.push(write);
        if PIECE_BYTES <= bytes {
            send(stream, &Told::Piece(std::mem::take(&mut piece))).await?;
            bytes = 0;
        }
    }
    if !piece.is_empty() {
        send(stream, &Told::Piece(piece)).await?;
    }
    let end = if full {
        encode_inventory(&state.inventory()).map(Told::Full)
    } else {
        encode_vector(state.seen()).map(Told::Delta)
    };
    send(stream, &end.map_err(|error| error.to_string())?).await
}

pub(super) async fn send(
    stream: &mut SecureStream,
    message: &(impl Serialize + Sync),
) -> Result<(), String> {
    match timeout(SILENCE_MAX, write_message(stream, message, MESSAGE_BYTES_MAX)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("the other side takes nothing any more".to_owned()),
    }
}

pub(super) async fn receive<M: serde::de::DeserializeOwned>(
    stream: &mut SecureStream,
) -> Result<M, String> {
    match timeout(SILENCE_MAX, read_message(stream, MESSAGE_BYTES_MAX)).await {
        Ok(message) => message.map_err(|error| error.to_string()),
        Err(_) => Err("the other side says nothing any more".to_owned()),
    }
}

const _: () = assert!(VECTOR_BYTES_MAX < MESSAGE_BYTES_MAX);
