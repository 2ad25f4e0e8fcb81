//! What a datagram says, as bytes.
//!
//! A postcard document (varints, no names). The bytes are sealed before they leave, under a header that
//! has the version (see [`super::seal`]); what comes in is opened first, so only members can make this
//! decode at all.
//! Decoding never panics; a length that a packet only claims makes it allocate 1 MiB at the most.

use serde::{Deserialize, Serialize};

use super::spread::Span;
use crate::{
    model::NodeId,
    state::{Buckets, Digest, Dot, ReplicaId, VersionVector},
    swim::{Claim, Incarnation, Kind, Message, Rumour},
};

/// The longest datagram, before it is sealed: with that it fits into the smallest MTU that IPv6 allows,
/// inside WireGuard.
pub const PACKET_BYTES_MAX: usize = 1_120;

/// What a packet has beside its lists, at most.
const FRAME_BYTES_MAX: usize = 24;

/// What fits into the lists of one packet.
pub(super) const LISTS_BYTES_MAX: usize = PACKET_BYTES_MAX - FRAME_BYTES_MAX;

/// What a rumour takes at most, and a dot.
pub(super) const RUMOUR_BYTES_MAX: usize = 40;
pub(super) const DOT_BYTES_MAX: usize = 18;

/// The longest write that travels in a packet; what is longer goes by stream.
pub(super) const WRITE_BYTES_MAX: usize = LISTS_BYTES_MAX - 2;

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Between two members, about who is alive. Answers carry the answerer's [`Vitals`].
    Swim(Message, Option<Vitals>),
    /// For everyone in a span; the receiver passes it on within it.
    Spread(Span, News),
    /// Anti-entropy, first: this is what I have seen.
    Compare {
        /// Of the one that asks.
        number: u16,
        /// It was just started, writes as this one, and has nobody's word yet on how the others are.
        fresh: Option<ReplicaId>,
        /// What each bucket of its version vector comes to, cut short; empty ones are left out.
        sums: Vec<(u8, Sum)>,
    },
    /// Second: where I differ, this is what I have seen.
    Differ {
        /// The question's.
        number: u16,
        /// What was seen.
        part: Part,
        /// More than one packet holds: go on by stream.
        more: bool,
        /// The last write that was seen of who asks, if that was just started: in order or out of it, which
        /// the vector does not tell.
        yours: u64,
    },
    /// Third and fourth: what you lack.
    Writes {
        /// The question's.
        number: u16,
        /// From whom was asked to whom asked.
        back: bool,
        /// Which of the packets.
        index: u16,
        /// Of how many.
        of: u16,
        /// What the sender has seen where they differ; in the first.
        part: Option<Part>,
        /// Writes, encoded.
        writes: Vec<Vec<u8>>,
    },
    /// Instead: what you lack is too much for packets; fetch it by stream.
    Refer {
        /// The question's.
        number: u16,
    },
}

/// What an answer carries beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vitals {
    /// Of what the answerer has durably seen.
    pub digest: Digest,
    /// Others may rely on it when they collect removals.
    pub vouched: bool,
    /// The answerer's wall clock.
    pub clock: Clock,
}

/// The last 24 bits of a wall clock's milliseconds: 4.6 hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock(pub [u8; 3]);

/// The first bytes of a bucket's digest.
pub type Sum = [u8; 6];

/// What is spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Of the membership.
    pub rumours: Vec<Rumour>,
    /// Writes, encoded.
    pub writes: Vec<Vec<u8>>,
    /// Writes that are too long for a packet: whoever says this has them.
    pub hints: Vec<Dot>,
}

/// What was seen of the writers in some buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub buckets: Buckets,
    /// What.
    pub seen: VersionVector,
    /// Others may rely on it when they collect removals.
    pub vouched: bool,
}

/// Why a packet cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Not a packet.
    #[error("a packet that makes no sense: {0}")]
    Damaged(String),
    /// More than fits.
    #[error("a packet of {0} bytes, over the {PACKET_BYTES_MAX} that may be")]
    TooLong(usize),
}

#[derive(Serialize, Deserialize)]
enum PacketForm {
    Ping(u16, u32, Option<u32>, Vec<RumourForm>),
    Ack(u16, u32, Option<([u8; 3], Digest, bool)>, Vec<RumourForm>),
    Ask(u16, u128),
    Vouch(u16, u32),
    Nack(u16),
    Spread(u32, u32, Vec<RumourForm>, Vec<Vec<u8>>, Vec<DotForm>),
    Compare(u16, Option<[u8; 8]>, Vec<(u8, Sum)>),
    Differ(u16, PartForm, bool, u64),
    Writes(u16, bool, u16, u16, Option<PartForm>, Vec<Vec<u8>>),
    Refer(u16),
}

/// Ids are random: fixed bytes are shorter than a varint.
#[derive(Serialize, Deserialize)]
struct RumourForm([u8; 16], u32, ClaimForm);

#[derive(Serialize, Deserialize)]
enum ClaimForm {
    Alive,
    Missed([u8; 16], u8),
    Dead,
    Left,
}

#[derive(Serialize, Deserialize)]
struct DotForm([u8; 8], u64);

/// Buckets, what was seen, vouched.
#[derive(Serialize, Deserialize)]
struct PartForm([u8; 8], Vec<DotForm>, bool);

impl Packet {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, PacketError> {
        let bytes = postcard::to_stdvec(&PacketForm::from(self)).map_err(damaged)?;
        if PACKET_BYTES_MAX < bytes.len() {
            return Err(PacketError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// From bytes, all of which must be used.
    pub fn decode(bytes: &[u8]) -> Result<Self, PacketError> {
        if PACKET_BYTES_MAX < bytes.len() {
            return Err(PacketError::TooLong(bytes.len()));
        }
        let form: (PacketForm, &[u8]) = postcard::take_from_bytes(bytes).map_err(damaged)?;
        match form {
            (form, []) => Ok(Self::from(form)),
            (_, rest) => Err(PacketError::Damaged(format!("{} bytes too many", rest.len()))),
        }
    }
}

impl Clock {
    /// Of a wall clock.
    #[must_use]
    pub fn of(millis: u64) -> Self {
        let [.., a, b, c] = millis.to_be_bytes();
        Self([a, b, c])
    }

    /// How far it is ahead of another wall clock, in milliseconds, if that is less than 2.3 hours.
    #[must_use]
    pub fn ahead_of(self, millis: u64) -> i64 {
        let number = |Self([a, b, c])| i64::from(u32::from_be_bytes([0, a, b, c]));
        let ahead = (number(self) - number(Self::of(millis))).rem_euclid(1 << 24);
        if ahead < 1 << 23 { ahead } else { ahead - (1 << 24) }
    }
}

impl News {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rumours.is_empty() && self.writes.is_empty() && self.hints.is_empty()
    }
}

impl From<&Packet> for PacketForm {
    fn from(packet: &Packet) -> Self {
        match packet {
            Packet::Swim(Message { kind, rumours }, vitals) => {
                let rumours = rumour_forms(rumours);
                match *kind {
                    Kind::Ping { number, incarnation, missed } => {
                        Self::Ping(number, incarnation.0, missed.map(|it| it.0), rumours)
                    }
                    Kind::Ack { number, incarnation } => {
                        let vitals = vitals.map(|it| (it.clock.0, it.digest, it.vouched));
                        Self::Ack(number, incarnation.0, vitals, rumours)
                    }
                    Kind::Ask { number, target } => Self::Ask(number, target.0),
                    Kind::Vouch { number, incarnation } => Self::Vouch(number, incarnation.0),
                    Kind::Nack { number } => Self::Nack(number),
                }
            }
            Packet::Spread(span, news) => {
                let hints = news.hints.iter().copied().map(DotForm::from).collect();
                let rumours = rumour_forms(&news.rumours);
                Self::Spread(span.after, span.length, rumours, news.writes.clone(), hints)
            }
            Packet::Compare { number, fresh, sums } => {
                Self::Compare(*number, fresh.map(|it| it.0.to_be_bytes()), sums.clone())
            }
            Packet::Differ { number, part, more, yours } => {
                Self::Differ(*number, part.into(), *more, *yours)
            }
            Packet::Writes { number, back, index, of, part, writes } => {
                let part = part.as_ref().map(PartForm::from);
                Self::Writes(*number, *back, *index, *of, part, writes.clone())
            }
            Packet::Refer { number } => Self::Refer(*number),
        }
    }
}

impl From<PacketForm> for Packet {
    fn from(form: PacketForm) -> Self {
        let rumours = |it: Vec<RumourForm>| it.into_iter().map(Rumour::from).collect();
        let bare = |kind| Self::Swim(Message { kind, rumours: vec![] }, None);
        match form {
            PacketForm::Ping(number, incarnation, missed, news) => {
                let (incarnation, missed) = (Incarnation(incarnation), missed.map(Incarnation));
                let kind = Kind::Ping { number, incarnation, missed };
                Self::Swim(Message { kind, rumours: rumours(news) }, None)
            }
            PacketForm::Ack(number, incarnation, vitals, news) => {
                let kind = Kind::Ack { number, incarnation: Incarnation(incarnation) };
                let vitals = vitals.map(|(clock, digest, vouched)| Vitals {
                    digest,
                    vouched,
                    clock: Clock(clock),
                });
                Self::Swim(Message { kind, rumours: rumours(news) }, vitals)
            }
            PacketForm::Ask(number, target) => bare(Kind::Ask { number, target: NodeId(target) }),
            PacketForm::Vouch(number, incarnation) => {
                bare(Kind::Vouch { number, incarnation: Incarnation(incarnation) })
            }
            PacketForm::Nack(number) => bare(Kind::Nack { number }),
            PacketForm::Spread(after, length, news, writes, hints) => {
                let hints = hints.into_iter().map(Dot::from).collect();
                let news = News { rumours: rumours(news), writes, hints };
                Self::Spread(Span { after, length }, news)
            }
            PacketForm::Compare(number, fresh, sums) => {
                let fresh = fresh.map(|it| ReplicaId(u64::from_be_bytes(it)));
                Self::Compare { number, fresh, sums }
            }
            PacketForm::Differ(number, part, more, yours) => {
                Self::Differ { number, part: part.into(), more, yours }
            }
            PacketForm::Writes(number, back, index, of, part, writes) => {
                let part = part.map(Part::from);
                Self::Writes { number, back, index, of, part, writes }
            }
            PacketForm::Refer(number) => Self::Refer { number },
        }
    }
}

fn rumour_forms(rumours: &[Rumour]) -> Vec<RumourForm> {
    rumours.iter().map(RumourForm::from).collect()
}

impl From<&Rumour> for RumourForm {
    fn from(it: &Rumour) -> Self {
        let claim = match it.claim {
            Claim::Alive => ClaimForm::Alive,
            Claim::Missed { by, seconded } => ClaimForm::Missed(by.0.to_be_bytes(), seconded),
            Claim::Dead => ClaimForm::Dead,
            Claim::Left => ClaimForm::Left,
        };
        Self(it.about.0.to_be_bytes(), it.incarnation.0, claim)
    }
}

impl From<RumourForm> for Rumour {
    fn from(RumourForm(about, incarnation, claim): RumourForm) -> Self {
        let id = |bytes| NodeId(u128::from_be_bytes(bytes));
        let claim = match claim {
            ClaimForm::Alive => Claim::Alive,
            ClaimForm::Missed(by, seconded) => Claim::Missed { by: id(by), seconded },
            ClaimForm::Dead => Claim::Dead,
            ClaimForm::Left => Claim::Left,
        };
        Self { about: id(about), incarnation: Incarnation(incarnation), claim }
    }
}

impl From<Dot> for DotForm {
    fn from(dot: Dot) -> Self {
        Self(dot.replica.0.to_be_bytes(), dot.sequence)
    }
}

impl From<DotForm> for Dot {
    fn from(DotForm(replica, sequence): DotForm) -> Self {
        Self { replica: ReplicaId(u64::from_be_bytes(replica)), sequence }
    }
}

impl From<&Part> for PartForm {
    fn from(it: &Part) -> Self {
        let seen = it.seen.iter().map(DotForm::from).collect();
        Self(it.buckets.0.to_be_bytes(), seen, it.vouched)
    }
}

impl From<PartForm> for Part {
    fn from(PartForm(buckets, seen, vouched): PartForm) -> Self {
        let buckets = Buckets(u64::from_be_bytes(buckets));
        Self { buckets, seen: seen.into_iter().map(Dot::from).collect(), vouched }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn damaged(error: postcard::Error) -> PacketError {
    PacketError::Damaged(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn missed() -> Rumour {
        Rumour {
            about: NodeId(0x0102),
            incarnation: Incarnation(300),
            claim: Claim::Missed { by: NodeId(3), seconded: 2 },
        }
    }

    fn samples() -> Vec<Packet> {
        let bare = |kind| Packet::Swim(Message { kind, rumours: vec![] }, None);
        let ping =
            Kind::Ping { number: 5, incarnation: Incarnation(7), missed: Some(Incarnation(6)) };
        let ack = Kind::Ack { number: 700, incarnation: Incarnation(1 << 30) };
        let vitals = Vitals { digest: [9; 16], vouched: true, clock: Clock([1, 2, 3]) };
        let dot = Dot { replica: ReplicaId(5), sequence: 300 };
        let part =
            Part { buckets: Buckets(1), seen: VersionVector::from_iter([dot]), vouched: true };
        let writes = vec![vec![0xaa, 0xbb]];
        let news = News { rumours: vec![missed()], writes: writes.clone(), hints: vec![dot] };
        vec![
            Packet::Swim(Message { kind: ping, rumours: vec![missed()] }, None),
            Packet::Swim(Message { kind: ack, rumours: vec![] }, Some(vitals)),
            bare(Kind::Ask { number: 1, target: NodeId(1 << 100) }),
            bare(Kind::Vouch { number: 1, incarnation: Incarnation(2) }),
            bare(Kind::Nack { number: 128 }),
            Packet::Spread(Span { after: 1, length: u32::MAX }, news),
            Packet::Compare { number: 2, fresh: Some(ReplicaId(5)), sums: vec![(63, [7; 6])] },
            Packet::Differ { number: 2, part: part.clone(), more: false, yours: 300 },
            Packet::Writes { number: 2, back: true, index: 0, of: 1, part: Some(part), writes },
            Packet::Refer { number: 2 },
        ]
    }

    #[test]
    fn a_packet_reads_back_as_it_was() {
        for packet in samples() {
            assert_eq!(Packet::decode(&packet.encode().unwrap()), Ok(packet));
        }
    }

    #[test]
    fn the_format_is_what_it_was() {
        let hex = |it: &Packet| {
            it.encode().unwrap().iter().map(|it| format!("{it:02x}")).collect::<String>()
        };
        let about = "00000000000000000000000000000102";
        let by = "00000000000000000000000000000003";
        let rumour = format!("01{about}ac0201{by}02");
        let dot = "0000000000000005ac02";
        let part = format!("000000000000000101{dot}01");
        let golden = [
            format!("0005070106{rumour}"),
            format!("01bc05808080800401010203{}0100", "09".repeat(16)),
            "0201808080808080808080808080808004".to_owned(),
            "030102".to_owned(),
            "048001".to_owned(),
            format!("0501ffffffff0f{rumour}0102aabb01{dot}"),
            "0602010000000000000005013f070707070707".to_owned(),
            format!("0702{part}00ac02"),
            format!("080201000101{part}0102aabb"),
            "0902".to_owned(),
        ];
        assert_eq!(samples().iter().map(hex).collect::<Vec<_>>(), golden);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for wrong in [&[][..], &[10, 0], &[4, 1, 0]] {
            assert!(matches!(Packet::decode(wrong), Err(PacketError::Damaged(_))), "{wrong:?}");
        }
        assert!(matches!(Packet::decode(&[1; 2_000]), Err(PacketError::TooLong(2_000))));
    }

    #[test]
    fn a_clock_tells_how_far_it_is_ahead_or_behind() {
        let now = 1_780_000_000_000;
        for ahead in [0, 1, -1, 8_000_000, -8_000_000] {
            assert_eq!(Clock::of(now).ahead_of(now.wrapping_add_signed(-ahead)), ahead);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(Packet::decode(&packet.encode().unwrap()), Ok(packet));
            }
        }
    }
}
