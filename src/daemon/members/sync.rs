//! State by stream: who lacks much asks, and gets it in pieces as fast as it takes them.
//!
//! What is sent is one picture of the state, which is durable: so the vector at its end speaks for just what
//! came before. Pieces are taken in one by one, and whoever reads slowly is written to slowly.

use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::Line;
use crate::{
    daemon::stream::{Peer, Purpose, SecureStream, read_message, write_message},
    gossip::{Fetched, Next, Told, Want},
    node::{Event, Fetch, Request},
    state::{
        ClusterState, INVENTORY_BYTES_MAX, VECTOR_BYTES_MAX, VersionVector, WRITE_BYTES_MAX,
        encode_write,
    },
};

/// How many bytes of writes go into one piece, unless one alone is longer.
const PIECE_BYTES: usize = 64 << 10;

/// The longest message.
const MESSAGE_BYTES_MAX: usize = WRITE_BYTES_MAX + PIECE_BYTES;
const _: () = assert!(INVENTORY_BYTES_MAX + VECTOR_BYTES_MAX < MESSAGE_BYTES_MAX);

/// How long the other side may say nothing.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Fetches what a member has and this node lacks.
pub(super) async fn fetch(line: &Line, fetch: Fetch) -> Result<Fetched, String> {
    let mut stream = line.office.open_to_any(fetch.from, fetch.address, Purpose::Sync).await?;
    let want = Want::new(&fetch.seen, fetch.enter).map_err(|error| error.to_string())?;
    send(&mut stream, &want).await?;
    loop {
        match next(&mut stream).await? {
            Next::Writes(writes) => line.tell(Event::Fetched(fetch.from, writes)).await,
            Next::Ended(how) => return Ok(how),
            Next::Refused(why) => return Err(why),
        }
    }
}

/// Takes the next of what is told.
pub(super) async fn next(stream: &mut SecureStream) -> Result<Next, String> {
    receive::<Told>(stream).await?.read().map_err(|error| error.to_string())
}

/// Answers a member that fetches.
pub(super) async fn serve(
    line: &Line,
    mut stream: SecureStream,
    peer: &Peer,
) -> Result<(), String> {
    let want: Want = receive(&mut stream).await?;
    let seen = want.seen().map_err(|error| error.to_string())?;
    if let Some(replica) = want.enters() {
        let request = Request::Readmit(peer.id, replica);
        if let Err(refusal) = line.office.ask(request).await {
            return send(&mut stream, &Told::Refused(refusal.to_string())).await;
        }
    }
    let state = line.office.state();
    let full = want.enters().is_some() || !state.can_serve(&seen);
    tell(&mut stream, &state, &seen, full).await
}

/// Tells all of a state that who has seen this lacks.
pub(super) async fn tell(
    stream: &mut SecureStream,
    state: &ClusterState,
    seen: &VersionVector,
    full: bool,
) -> Result<(), String> {
    let (mut piece, mut bytes) = (vec![], 0);
    for write in state.delta_since(seen) {
        let write = encode_write(&write).map_err(|error| error.to_string())?;
        bytes += write.len();
        piece.push(write);
        if PIECE_BYTES <= bytes {
            send_piece(stream, std::mem::take(&mut piece)).await?;
            bytes = 0;
        }
    }
    if !piece.is_empty() {
        send_piece(stream, piece).await?;
    }
    let end = if full { Told::full(&state.inventory()) } else { Told::delta(state.seen()) };
    send(stream, &end.map_err(|error| error.to_string())?).await
}

async fn send_piece(stream: &mut SecureStream, piece: Vec<Vec<u8>>) -> Result<(), String> {
    let told = Told::piece(&piece).map_err(|error| error.to_string())?;
    send(stream, &told).await
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

pub(super) async fn receive<M: DeserializeOwned>(stream: &mut SecureStream) -> Result<M, String> {
    match timeout(SILENCE_MAX, read_message(stream, MESSAGE_BYTES_MAX)).await {
        Ok(message) => message.map_err(|error| error.to_string()),
        Err(_) => Err("the other side says nothing any more".to_owned()),
    }
}
