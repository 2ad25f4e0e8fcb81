//! Sealed datagrams: only a member can make one, nobody else can read it, and it counts once.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under a key of the sender's own (see
//! [`super::keyring`]), for one life of it: from a start to its end. The nonce is the count of datagrams
//! of that life, so that none is used twice as long as no two lives bear one number. Header and receiver
//! are authenticated with it: a datagram for one member is nothing to another. A window over the counts
//! (RFC 6479) tells repeated ones. What does not open gets no answer at all.
//!
//! A member that was just started has no windows yet, and takes a datagram that was sent to it in its
//! sender's same life once more. What travels is made so that this changes nothing: writes are numbered,
//! claims bear incarnations, answers bear numbers that only the asker knows.

use std::collections::BTreeMap;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

use super::{
    keyring::{Epoch, Keyring},
    packet::PACKET_BYTES_MAX,
};
use crate::model::NodeId;

/// The version of the format.
const VERSION: u8 = 1;

/// Version, the last bits of the epoch, the sender's first 48 bits, its life, the count.
const HEADER_BYTES: usize = 1 + 1 + 6 + 4 + 5;
const TAG_BYTES: usize = 16;

/// What sealing adds to a packet.
pub const SEAL_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// The most datagrams of one life.
const COUNT_MAX: u64 = (1 << 40) - 1;

/// How far behind the latest a datagram may come, in datagrams.
const WINDOW: u64 = 1_024;
const WINDOW_WORDS: usize = 16;

/// Keys that a sender keeps at hand: the newest, and the one of members that lack it.
const CIPHERS_MAX: usize = 2;

/// Senders that windows are kept for at most. More than members are, as some come back.
const SENDERS_MAX: usize = 65_536;

/// Why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rejected {
    /// Not of this format.
    #[error("not a datagram of this version of fizz")]
    Foreign,
    /// Of nobody that is known here.
    #[error("a datagram of an unknown sender")]
    Unknown,
    /// Sealed with a key that is not known here.
    #[error("a datagram under an unknown key: is this node cut off from a key rotation?")]
    Epoch,
    /// Not made by whom it says, not for this member, or changed on the way.
    #[error("a datagram that does not open")]
    Forged,
    /// It came before, or comes too late to tell.
    #[error("a datagram that came before, or is much too late")]
    Repeated,
}

/// Someone who may speak to this member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub id: NodeId,
    /// The newest key that it is known to have: what is sealed with an older one is not its, where this
    /// member has that key, too.
    pub epoch: Epoch,
}

/// Seals what this member sends.
#[derive(Debug)]
pub struct Sealer {
    me: NodeId,
    life: u32,
    count: u64,
    ciphers: BTreeMap<Epoch, Cipher>,
}

/// Opens what this member receives.
#[derive(Debug)]
pub struct Opener {
    me: NodeId,
    senders: BTreeMap<NodeId, Sender>,
}

/// What is kept of a sender.
#[derive(Debug)]
struct Sender {
    life: u32,
    epoch: Epoch,
    cipher: Cipher,
    window: Window,
}

struct Cipher(XChaCha20Poly1305);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher")
    }
}

/// What a datagram says in clear.
#[derive(Clone, Copy)]
struct Header {
    epoch: u8,
    sender: u64,
    life: u32,
    count: u64,
}

impl Sealer {
    /// For one life of a member. No two lives may bear one number: the caller keeps the last one on disk.
    #[must_use]
    pub fn new(me: NodeId, life: u32) -> Self {
        Self { me, life, count: 0, ciphers: BTreeMap::new() }
    }

    /// A packet as a datagram for one member, under the newest key that it has. `None` where there is no
    /// such key, once this life has sent all that it may, or where a packet is longer than may be.
    pub fn seal(
        &mut self,
        to: NodeId,
        packet: &[u8],
        keys: &Keyring,
        epoch: Epoch,
    ) -> Option<Vec<u8>> {
        if COUNT_MAX <= self.count || PACKET_BYTES_MAX < packet.len() {
            return None;
        }
        if !self.ciphers.contains_key(&epoch) {
            let cipher = Cipher::derive(keys, epoch, self.me, self.life)?;
            if CIPHERS_MAX <= self.ciphers.len() {
                self.ciphers.pop_first();
            }
            self.ciphers.insert(epoch, cipher);
        }
        let cipher = self.ciphers.get(&epoch)?;
        self.count += 1;
        let epoch = (epoch.0 & 0xff) as u8;
        let header = Header { epoch, sender: short(self.me), life: self.life, count: self.count };
        let mut datagram = header.encode().to_vec();
        let sealed = cipher.0.encrypt(
            &nonce(self.count),
            Payload { msg: packet, aad: &authenticated(&datagram, to) },
        );
        datagram.extend(sealed.ok()?);
        Some(datagram)
    }
}

impl Opener {
    /// For one member.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self { me, senders: BTreeMap::new() }
    }

    /// The packet in a datagram and who sent it. `known` is sorted by id: whoever may speak to
    /// this member.
    pub fn open(
        &mut self,
        datagram: &[u8],
        known: &[Peer],
        keys: &Keyring,
    ) -> Result<(NodeId, Vec<u8>), Rejected> {
        let (header, sealed) = Header::decode(datagram)?;
        let epoch = keys.ending(header.epoch).ok_or(Rejected::Epoch)?;
        let senders = with_prefix(known, header.sender);
        if senders.is_empty() {
            return Err(Rejected::Unknown);
        }
        // Two members may share their first 48 bits; only one has the key.
        for sender in senders {
            // To whom lacks its newest key it speaks under the one that both have.
            if epoch < sender.epoch.min(keys.newest()) {
                continue;
            }
            match self.open_from(sender.id, epoch, header, sealed, datagram, keys) {
                Ok(packet) => return Ok((sender.id, packet)),
                Err(Rejected::Forged) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Rejected::Forged)
    }

    /// The key that a member last sealed with: it has that one.
    #[must_use]
    pub fn epoch_of(&self, node: NodeId) -> Option<Epoch> {
        self.senders.get(&node).map(|it| it.epoch)
    }

    /// Who a datagram says that it is from, which nothing proves. `known` is as in [`Opener::open`].
    #[must_use]
    pub fn claimed(datagram: &[u8], known: &[Peer]) -> Option<NodeId> {
        let (header, _) = Header::decode(datagram).ok()?;
        with_prefix(known, header.sender).first().map(|it| it.id)
    }

    /// Forgets a member that is none any more.
    pub fn forget(&mut self, node: NodeId) {
        self.senders.remove(&node);
    }

    fn open_from(
        &mut self,
        node: NodeId,
        epoch: Epoch,
        header: Header,
        sealed: &[u8],
        datagram: &[u8],
        keys: &Keyring,
    ) -> Result<Vec<u8>, Rejected> {
        let known = self.senders.get(&node);
        // An earlier life's words are old; its key is not kept.
        if known.is_some_and(|it| header.life < it.life) {
            return Err(Rejected::Repeated);
        }
        let same = known.filter(|it| (it.life, it.epoch) == (header.life, epoch));
        let fresh = match same {
            Some(_) => None,
            None => Some(Cipher::derive(keys, epoch, node, header.life).ok_or(Rejected::Epoch)?),
        };
        let cipher = fresh.as_ref().or(same.map(|it| &it.cipher)).ok_or(Rejected::Forged)?;
        // Before the window moves: what is forged must not move it.
        let clear = datagram.get(..HEADER_BYTES).ok_or(Rejected::Foreign)?;
        let payload = Payload { msg: sealed, aad: &authenticated(clear, self.me) };
        let packet = cipher.0.decrypt(&nonce(header.count), payload);
        let packet = packet.map_err(|_| Rejected::Forged)?;
        if let Some(cipher) = fresh {
            self.renew(node, header.life, epoch, cipher);
        }
        let sender = self.senders.get_mut(&node).ok_or(Rejected::Forged)?;
        if sender.window.take(header.count) { Ok(packet) } else { Err(Rejected::Repeated) }
    }

    /// A sender begins a life, or another key in the same life: then its count goes on.
    fn renew(&mut self, node: NodeId, life: u32, epoch: Epoch, cipher: Cipher) {
        let window = match self.senders.remove(&node) {
            Some(old) if old.life == life => old.window,
            Some(_) | None => Window::default(),
        };
        if SENDERS_MAX <= self.senders.len() {
            self.senders.pop_first();
        }
        self.senders.insert(node, Sender { life, epoch, cipher, window });
    }
}

impl Cipher {
    fn derive(keys: &Keyring, epoch: Epoch, sender: NodeId, life: u32) -> Option<Self> {
        let key = keys.derive(epoch, sender, life)?;
        XChaCha20Poly1305::new_from_slice(key.as_slice()).ok().map(Self)
    }
}

impl Header {
    fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let parts: [&[u8]; 5] = [
            &[VERSION],
            &[self.epoch],
            &self.sender.to_be_bytes()[2..],
            &self.life.to_be_bytes(),
            &self.count.to_be_bytes()[3..],
        ];
        bytes.copy_from_slice(&parts.concat());
        bytes
    }

    fn decode(datagram: &[u8]) -> Result<(Self, &[u8]), Rejected> {
        let long = SEAL_BYTES + PACKET_BYTES_MAX < datagram.len();
        let parts = datagram.split_first_chunk::<HEADER_BYTES>();
        let Some((clear, sealed)) = parts.filter(|(_, it)| TAG_BYTES <= it.len() && !long) else {
            return Err(Rejected::Foreign);
        };
        let number = |part: &[u8]| part.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let [version, epoch, rest @ ..] = clear;
        let (sender, rest) = rest.split_at(6);
        let (life, count) = rest.split_at(4);
        if *version != VERSION {
            return Err(Rejected::Foreign);
        }
        let life = u32::try_from(number(life)).map_err(|_| Rejected::Foreign)?;
        let header = Self { epoch: *epoch, sender: number(sender), life, count: number(count) };
        Ok((header, sealed))
    }
}

/// An id's first 48 bits.
fn short(node: NodeId) -> u64 {
    (node.0 >> 80) as u64
}

/// Those of a sorted list that begin so.
fn with_prefix(known: &[Peer], prefix: u64) -> &[Peer] {
    let begin = known.partition_point(|it| short(it.id) < prefix);
    let end = known.partition_point(|it| short(it.id) <= prefix);
    known.get(begin..end).unwrap_or_default()
}

fn nonce(count: u64) -> XNonce {
    let mut nonce = XNonce::default();
    let (_, last) = nonce.split_at_mut(16);
    last.copy_from_slice(&count.to_be_bytes());
    nonce
}

/// What is authenticated beside the packet.
fn authenticated(header: &[u8], to: NodeId) -> Vec<u8> {
    [header, &to.0.to_be_bytes()].concat()
}

/// Which of the last counts came (RFC 6479, without its blocks).
#[derive(Clone, Debug, Default)]
struct Window {
    latest: u64,
    came: [u64; WINDOW_WORDS],
}

impl Window {
    /// Notes a count; whether it is a new one.
    fn take(&mut self, count: u64) -> bool {
        if count == 0 || count + WINDOW <= self.latest {
            return false;
        }
        if self.latest < count {
            for passed in (self.latest + 1..=count).rev().take(WINDOW as usize) {
                self.set(passed, false);
            }
            self.latest = count;
        }
        let came = self.came(count);
        self.set(count, true);
        !came
    }

    fn came(&self, count: u64) -> bool {
        let (word, bit) = place(count);
        self.came.get(word).is_some_and(|it| it & bit != 0)
    }

    fn set(&mut self, count: u64, came: bool) {
        let (word, bit) = place(count);
        if let Some(it) = self.came.get_mut(word) {
            *it = if came { *it | bit } else { *it & !bit };
        }
    }
}

fn place(count: u64) -> (usize, u64) {
    let slot = count % WINDOW;
    ((slot / 64) as usize, 1 << (slot % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::Key;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const A: NodeId = NodeId(1 << 100);
    const B: NodeId = NodeId(2 << 100);

    fn known<const N: usize>(ids: [NodeId; N]) -> [Peer; N] {
        ids.map(|id| Peer { id, epoch: Epoch(0) })
    }

    fn keys() -> Keyring {
        Keyring::new(Epoch(7), Key::new([3; 32]))
    }

    #[test]
    fn what_a_member_seals_its_receiver_opens_once() {
        let (mut sealer, mut opener) = (Sealer::new(A, 5), Opener::new(B));
        let datagram = sealer.seal(B, b"hello", &keys(), Epoch(7)).unwrap();
        assert_eq!(datagram.len(), 5 + SEAL_BYTES);
        assert_eq!(opener.open(&datagram, &known([A, B]), &keys()), Ok((A, b"hello".to_vec())));
        assert_eq!(opener.open(&datagram, &known([A, B]), &keys()), Err(Rejected::Repeated));
    }

    #[test]
    fn another_receiver_another_key_and_a_stranger_get_nothing() {
        let datagram = Sealer::new(A, 5).seal(B, b"hello", &keys(), Epoch(7)).unwrap();
        let opened = |me, known: &[Peer], keys: &Keyring| {
            Opener::new(me).open(&datagram, known, keys).unwrap_err()
        };
        assert_eq!(opened(A, &known([A, B]), &keys()), Rejected::Forged);
        let wrong = Keyring::new(Epoch(7), Key::new([4; 32]));
        assert_eq!(opened(B, &known([A, B]), &wrong), Rejected::Forged);
        let later = Keyring::new(Epoch(8), Key::new([3; 32]));
        assert_eq!(opened(B, &known([A, B]), &later), Rejected::Epoch);
        assert_eq!(opened(B, &known([B]), &keys()), Rejected::Unknown);
    }

    #[test]
    fn an_earlier_life_is_over_once_a_later_one_spoke() {
        let mut opener = Opener::new(B);
        let old = Sealer::new(A, 5).seal(B, b"old", &keys(), Epoch(7)).unwrap();
        let new = Sealer::new(A, 6).seal(B, b"new", &keys(), Epoch(7)).unwrap();
        assert!(opener.open(&new, &known([A]), &keys()).is_ok());
        assert_eq!(opener.open(&old, &known([A]), &keys()), Err(Rejected::Repeated));
    }

    #[test]
    fn after_a_rotation_the_count_goes_on_and_what_was_under_way_still_opens() {
        let (mut sealer, mut opener) = (Sealer::new(A, 5), Opener::new(B));
        let mut ring = keys();
        let first = sealer.seal(B, b"1", &ring, Epoch(7)).unwrap();
        let late = sealer.seal(B, b"2", &ring, Epoch(7)).unwrap();
        ring.add(Epoch(8), Key::new([9; 32]));
        let after = sealer.seal(B, b"3", &ring, Epoch(8)).unwrap();
        for datagram in [&first, &after, &late] {
            assert!(opener.open(datagram, &known([A]), &ring).is_ok());
        }
        for datagram in [&first, &after, &late] {
            assert_eq!(opener.open(datagram, &known([A]), &ring), Err(Rejected::Repeated));
        }
    }

    #[test]
    fn a_member_that_has_a_newer_key_does_not_speak_under_an_older_one() {
        let mut ring = keys();
        ring.add(Epoch(8), Key::new([9; 32]));
        let datagram = Sealer::new(A, 5).seal(B, b"old", &ring, Epoch(7)).unwrap();
        let moved_on = [Peer { id: A, epoch: Epoch(8) }];
        assert_eq!(Opener::new(B).open(&datagram, &moved_on, &ring), Err(Rejected::Forged));
        assert!(Opener::new(B).open(&datagram, &known([A]), &ring).is_ok());
    }

    #[test]
    fn members_whose_ids_begin_alike_are_told_apart() {
        let twin = NodeId(A.0 + 1);
        let datagram = Sealer::new(twin, 5).seal(B, b"hello", &keys(), Epoch(7)).unwrap();
        let opened = Opener::new(B).open(&datagram, &known([A, twin]), &keys());
        assert_eq!(opened, Ok((twin, b"hello".to_vec())));
    }

    #[test]
    fn the_format_is_what_it_was() {
        let datagram = Sealer::new(A, 0x0102_0304).seal(B, b"hi", &keys(), Epoch(7)).unwrap();
        let hex: String = datagram.iter().map(|it| format!("{it:02x}")).collect();
        let header = "01 07 000000100000 01020304 0000000001".replace(' ', "");
        assert_eq!(hex, header + "ce1ba3f56ad4c32ea8b2356903f313298d2b");
    }

    proptest! {
        #[test]
        fn a_changed_datagram_never_opens(at: usize, bit in 0..8_u8, text: Vec<u8>) {
            let mut datagram = Sealer::new(A, 5).seal(B, &text, &keys(), Epoch(7)).unwrap();
            let at = at % datagram.len();
            datagram[at] ^= 1 << bit;
            prop_assert!(Opener::new(B).open(&datagram, &known([A, B]), &keys()).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let bytes: Vec<u8> = [VERSION, 7].into_iter().chain(bytes).collect();
            prop_assert!(Opener::new(B).open(&bytes, &known([NodeId(0), A, B]), &keys()).is_err());
        }

        #[test]
        fn the_window_takes_each_count_once_in_whatever_order(
            counts in proptest::collection::vec(1..3_000_u64, 0..400),
        ) {
            let (mut window, mut model, mut latest) = (Window::default(), BTreeSet::new(), 0);
            for count in counts {
                let in_reach = latest < count + WINDOW;
                let expected = in_reach && model.insert(count);
                prop_assert_eq!(window.take(count), expected, "{} after {}", count, latest);
                latest = latest.max(count);
            }
        }
    }
}
