//! Streams between nodes over TCP: for joining, for much state at once, and for the API of another node.
//!
//! Noise `XXpsk0` (revision 34) makes sure that both know a secret; then each proves who it is with its
//! ed25519 key (RFC 8032). Who does not know the secret gets no byte, but for one that may say why a stream
//! was refused. `docs/PROTOCOL.md`, "Streams", has the bytes and the arguments.
//!
//! Nothing here keeps a list of streams. Who listens holds no more than [`HANDSHAKES_MAX`] calls of
//! [`accept`] at a time, and turns the others away.

mod error;
mod handshake;
mod message;
mod prelude;
mod proof;
mod secure;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::net::TcpStream;

pub use error::{AcceptError, DialError, DialProblem};
pub use message::{MessageError, read_message, write_message};
pub use prelude::{Credential, Prelude, PreludeError, Purpose, Refusal, WIRE_VERSION};
pub use secure::{FRAME_BYTES_MAX, SecureStream};

use super::identity::Identity;
use crate::{gossip::Key, model::NodeId};

/// Handshakes that a listener may have under way at a time. Whoever calls [`accept`] holds to it: each has
/// little memory and one socket, for [`HANDSHAKE_MAX`] at the most.
pub const HANDSHAKES_MAX: usize = 64;

/// How long a handshake may take. A network around the world needs a second.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// How long one address is tried: three SYNs.
const CONNECT_MAX: Duration = Duration::from_secs(4);

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Who is at the other end, as it has proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub id: NodeId,
    /// The version of its fizz, to be shown.
    pub version: String,
}

/// Opens a stream to an address (`HOST:PORT`). `psk` is what goes with the prelude's credential. Where it is
/// known which node must be there, `expected` is it.
pub async fn connect(
    address: &str,
    prelude: Prelude,
    psk: &Key,
    identity: &Identity,
    expected: Option<NodeId>,
) -> Result<(SecureStream, Peer), DialError> {
    connect_within(HANDSHAKE_MAX, address, prelude, psk, identity, expected).await
}

/// Answers a stream that another node opens, if `lookup` gives the key of its credential. Whether a token
/// expired, was used or revoked is better said inside the stream, where only who has it can ask.
pub async fn accept(
    tcp: TcpStream,
    identity: &Identity,
    lookup: impl Fn(&Prelude) -> Result<Key, Refusal> + Send,
) -> Result<(SecureStream, Peer, Prelude), AcceptError> {
    accept_within(HANDSHAKE_MAX, tcp, identity, lookup).await
}

/// Tells who comes while too many handshakes are under way to come again. It does not wait: where the byte
/// cannot be sent at once, it is not.
pub fn turn_away(tcp: TcpStream) {
    if let Err(error) = tcp.try_write(&[Refusal::Busy.code()]) {
        tracing::debug!(%error, "could not tell a peer that this node is busy");
    }
    drop(tcp);
}

async fn connect_within(
    span: Duration,
    address: &str,
    prelude: Prelude,
    psk: &Key,
    identity: &Identity,
    expected: Option<NodeId>,
) -> Result<(SecureStream, Peer), DialError> {
    let opened = async {
        let tcp = dial(address).await?;
        let initiate = handshake::initiate(tcp, prelude, psk, identity, expected);
        tokio::time::timeout(span, initiate).await.map_err(|_| DialProblem::Slow)?
    };
    opened.await.map_err(|why| DialError { address: address.to_owned(), why })
}

async fn accept_within(
    span: Duration,
    tcp: TcpStream,
    identity: &Identity,
    lookup: impl Fn(&Prelude) -> Result<Key, Refusal> + Send,
) -> Result<(SecureStream, Peer, Prelude), AcceptError> {
    let respond = handshake::respond(tcp, identity, lookup);
    tokio::time::timeout(span, respond).await.map_err(|_| AcceptError::Slow)?
}

/// Connects to the first address of a name that answers. The error is that of the last one.
async fn dial(address: &str) -> Result<TcpStream, DialProblem> {
    let found = tokio::time::timeout(CONNECT_MAX, tokio::net::lookup_host(address)).await;
    let found = found.map_err(|_| DialProblem::Name("no answer from the DNS".to_owned()))?;
    let mut problem = DialProblem::Name("it has no address".to_owned());
    for it in found.map_err(|it| DialProblem::of_lookup(&it))?.take(ADDRESSES_MAX) {
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(it)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => problem = DialProblem::of_connect(error),
            Err(_) => problem = DialProblem::Unanswered,
        }
    }
    Err(problem)
}
