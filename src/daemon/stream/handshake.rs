//! How a stream begins: prelude, three messages of Noise, two proofs.
//!
//! `Noise_XXpsk0_25519_ChaChaPoly_SHA256` (Noise revision 34; the prelude is its prologue). With `psk0` the
//! first message is sealed under the shared secret already, so a responder knows before it answers whether
//! the initiator has it. Noise's static keys are made for one handshake: who somebody is rests on the
//! proofs, which come inside.
//!
//! ```text
//! initiator                                  responder
//! prelude | psk, e           48 bytes  ->
//!                                      <-    go on (1) | e, ee, s, es    96 bytes
//! s, se (64 bytes) | proof             ->
//!                                      <-    proof
//! ```
//!
//! The responder proves itself last: who it is learns only who proved to be somebody.

use std::io;

use rand_core::{OsRng, RngCore};
use snow::{
    Builder, HandshakeState, TransportState,
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::{CryptoResolver, DefaultResolver},
    types::{Cipher, Dh, Hash, Random},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::debug;
use zeroize::Zeroizing;

use super::{
    Peer,
    error::{AcceptError, DialProblem},
    prelude::{HEAD_BYTES, Prelude, PreludeError, Refusal},
    proof::{self, PROOF_BYTES_MAX, Side},
    secure::{LENGTH_BYTES, SecureStream, TAG_BYTES, seal},
};
use crate::{daemon::identity::Identity, gossip::Key, model::NodeId};

const PATTERN: &str = "Noise_XXpsk0_25519_ChaChaPoly_SHA256";

/// What a responder's answer begins with. Others are refusals, or no fizz.
pub(super) const GO_ON: u8 = 0xf1;

const KEY_BYTES: usize = 32;

/// The three messages: an ephemeral key; an ephemeral and a sealed static one; a sealed static one. Each
/// ends with the seal of an empty payload.
pub(super) const FIRST_BYTES: usize = KEY_BYTES + TAG_BYTES;
pub(super) const SECOND_BYTES: usize = KEY_BYTES + KEY_BYTES + TAG_BYTES + TAG_BYTES;
pub(super) const THIRD_BYTES: usize = KEY_BYTES + TAG_BYTES + TAG_BYTES;

/// What is read of somebody who was refused before the connection is closed: at once, the refusal might
/// be lost.
const LINGER_BYTES_MAX: usize = 1_024;

/// The initiator's part.
pub(super) async fn initiate(
    mut tcp: TcpStream,
    prelude: Prelude,
    psk: &Key,
    identity: &Identity,
    expected: Option<NodeId>,
) -> Result<(SecureStream, Peer), DialProblem> {
    tcp.set_nodelay(true).map_err(DialProblem::System)?;
    let prologue = prelude.encode();
    let mut noise = begin(Side::Initiator, &prologue, psk).map_err(DialProblem::Noise)?;
    let first: [u8; FIRST_BYTES] = write(&mut noise).map_err(DialProblem::Noise)?;
    // Who refuses may close before all of it has arrived: then its answer counts.
    if let Err(error) = tcp.write_all(&[&prologue[..], &first].concat()).await {
        debug!(%error, "a stream's first message was not taken whole");
    }
    match tcp.read_u8().await {
        Ok(GO_ON) => {}
        Ok(code) => return Err(DialProblem::of_answer(code, prelude.credential.epoch())),
        Err(error) => {
            debug!(%error, "a stream was closed at its first message");
            return Err(DialProblem::WrongSecret);
        }
    }
    let mut second = [0; SECOND_BYTES];
    tcp.read_exact(&mut second).await.map_err(DialProblem::Lost)?;
    read(&mut noise, &second).map_err(|_| DialProblem::Unproven)?;
    let third: [u8; THIRD_BYTES] = write(&mut noise).map_err(DialProblem::Noise)?;
    let (mut noise, hash) = finish(noise).map_err(DialProblem::Noise)?;
    let mut last = third.to_vec();
    let proof = proof::prove(Side::Initiator, identity, &hash);
    seal(&mut noise, &proof, &mut last).map_err(DialProblem::Lost)?;
    tcp.write_all(&last).await.map_err(DialProblem::Lost)?;
    let sealed = read_frame(&mut tcp).await.map_err(DialProblem::Lost)?;
    let peer = open_proof(Side::Responder, &mut noise, &sealed, &hash);
    let peer = peer.ok_or(DialProblem::Unproven)?;
    match expected {
        Some(expected) if expected != peer.id => {
            Err(DialProblem::OtherNode { expected, found: peer.id })
        }
        Some(_) | None => Ok((SecureStream::new(tcp, noise), peer)),
    }
}

/// The responder's part.
pub(super) async fn respond(
    mut tcp: TcpStream,
    identity: &Identity,
    lookup: impl Fn(&Prelude) -> Result<Key, Refusal> + Send,
) -> Result<(SecureStream, Peer, Prelude), AcceptError> {
    tcp.set_nodelay(true)?;
    let prelude = match read_prelude(&mut tcp).await? {
        Ok(prelude) => prelude,
        Err(error) => {
            if error != PreludeError::Foreign {
                refuse(&mut tcp, Refusal::OtherVersion).await?;
            }
            return Err(AcceptError::Prelude(error));
        }
    };
    let mut first = [0; FIRST_BYTES];
    tcp.read_exact(&mut first).await?;
    let psk = match lookup(&prelude) {
        Ok(psk) => psk,
        Err(refusal) => {
            refuse(&mut tcp, refusal).await?;
            return Err(AcceptError::Refused(refusal));
        }
    };
    let noise = begin(Side::Responder, &prelude.encode(), &psk);
    let mut noise = noise.map_err(AcceptError::Noise)?;
    read(&mut noise, &first).map_err(|_| AcceptError::Forged)?;
    let second: [u8; SECOND_BYTES] = write(&mut noise).map_err(AcceptError::Noise)?;
    tcp.write_all(&[&[GO_ON], &second[..]].concat()).await?;
    let mut third = [0; THIRD_BYTES];
    tcp.read_exact(&mut third).await?;
    read(&mut noise, &third).map_err(|_| AcceptError::Forged)?;
    let (mut noise, hash) = finish(noise).map_err(AcceptError::Noise)?;
    let sealed = read_frame(&mut tcp).await?;
    let peer = open_proof(Side::Initiator, &mut noise, &sealed, &hash);
    let peer = peer.ok_or(AcceptError::Unproven)?;
    let mut last = vec![];
    seal(&mut noise, &proof::prove(Side::Responder, identity, &hash), &mut last)?;
    tcp.write_all(&last).await?;
    Ok((SecureStream::new(tcp, noise), peer, prelude))
}

/// Reads no more than what came so far calls for.
async fn read_prelude(tcp: &mut TcpStream) -> io::Result<Result<Prelude, PreludeError>> {
    let mut head = [0; HEAD_BYTES];
    tcp.read_exact(&mut head).await?;
    let mut bytes = head.to_vec();
    match Prelude::body_bytes(&head) {
        Ok(length) => bytes.resize(HEAD_BYTES + length, 0),
        Err(error) => return Ok(Err(error)),
    }
    tcp.read_exact(bytes.get_mut(HEAD_BYTES..).unwrap_or_default()).await?;
    Ok(Prelude::decode(&bytes))
}

/// Says why, and waits until the other side has closed.
async fn refuse(tcp: &mut TcpStream, refusal: Refusal) -> io::Result<()> {
    tcp.write_u8(refusal.code()).await?;
    tcp.shutdown().await?;
    let mut ignored = [0; LINGER_BYTES_MAX];
    match tcp.read_exact(&mut ignored).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Reads the frame that holds a proof, without its length.
async fn read_frame(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH_BYTES];
    tcp.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if PROOF_BYTES_MAX + TAG_BYTES < length {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a proof that is too long"));
    }
    let mut sealed = vec![0; length];
    tcp.read_exact(&mut sealed).await?;
    Ok(sealed)
}

fn open_proof(side: Side, noise: &mut TransportState, sealed: &[u8], hash: &[u8]) -> Option<Peer> {
    let mut clear = [0; PROOF_BYTES_MAX];
    let length = noise.read_message(sealed, &mut clear).ok()?;
    proof::verify(side, clear.get(..length)?, hash)
}

/// One side of a handshake.
pub(super) fn begin(side: Side, prologue: &[u8], psk: &Key) -> Result<HandshakeState, snow::Error> {
    let mut static_key = Zeroizing::new([0; KEY_BYTES]);
    SystemRandom.try_fill_bytes(&mut *static_key)?;
    let builder = Builder::with_resolver(PATTERN.parse()?, Box::new(Resolver))
        .local_private_key(&*static_key)?
        .prologue(prologue)?
        .psk(0, psk)?;
    match side {
        Side::Initiator => builder.build_initiator(),
        Side::Responder => builder.build_responder(),
    }
}

/// The next message, which has exactly this length.
pub(super) fn write<const LENGTH: usize>(
    noise: &mut HandshakeState,
) -> Result<[u8; LENGTH], snow::Error> {
    let mut message = [0; LENGTH];
    match noise.write_message(&[], &mut message)? {
        length if length == LENGTH => Ok(message),
        _ => Err(snow::Error::Input),
    }
}

/// Takes in a message, whose payload is empty.
fn read(noise: &mut HandshakeState, message: &[u8]) -> Result<(), snow::Error> {
    noise.read_message(message, &mut []).map(drop)
}

/// The keys for what follows, and what the handshake was.
fn finish(noise: HandshakeState) -> Result<(TransportState, Vec<u8>), snow::Error> {
    let hash = noise.get_handshake_hash().to_vec();
    Ok((noise.into_transport_mode()?, hash))
}

/// Snow's own algorithms with the randomness that the rest of Fizz has: its own feature for that would
/// link one more version of `getrandom`.
struct Resolver;

struct SystemRandom;

impl Random for SystemRandom {
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), snow::Error> {
        OsRng.try_fill_bytes(bytes).map_err(|_| snow::Error::Rng)
    }
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(SystemRandom))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice)
    }
}
