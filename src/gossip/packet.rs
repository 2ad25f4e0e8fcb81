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
    swim::{Claim, Incarnation, Kind, Message, Rumour},
};

/// The longest datagram, before it is sealed: with that it fits into the smallest MTU that IPv6 allows,
/// inside WireGuard.
pub const PACKET_BYTES_MAX: usize = 1_120;

/// A digest of all that a member has seen of the state.
pub type Digest = [u8; 16];

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Between two members, about who is alive. Answers carry the answerer's digest.
    Swim(Message, Option<Digest>),
    /// For everyone in a span; the receiver passes it on within it.
    Spread(Span, Vec<Rumour>),
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
    Ack(u16, u32, Option<Digest>, Vec<RumourForm>),
    Ask(u16, u128),
    Vouch(u16, u32),
    Nack(u16),
    Spread(u32, u32, Vec<RumourForm>),
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

impl Packet {
    /// As bytes.
    pub fn encode(&self) -> Result<Vec<u8>, PacketError> {
        let form = match self {
            Self::Swim(Message { kind, rumours }, digest) => {
                let rumours = rumours.iter().map(RumourForm::from).collect();
                match *kind {
                    Kind::Ping { number, incarnation, missed } => {
                        PacketForm::Ping(number, incarnation.0, missed.map(|it| it.0), rumours)
                    }
                    Kind::Ack { number, incarnation } => {
                        PacketForm::Ack(number, incarnation.0, *digest, rumours)
                    }
                    Kind::Ask { number, target } => PacketForm::Ask(number, target.0),
                    Kind::Vouch { number, incarnation } => PacketForm::Vouch(number, incarnation.0),
                    Kind::Nack { number } => PacketForm::Nack(number),
                }
            }
            Self::Spread(span, rumours) => {
                let rumours = rumours.iter().map(RumourForm::from).collect();
                PacketForm::Spread(span.after, span.length, rumours)
            }
        };
        let bytes = postcard::to_stdvec(&form).map_err(damaged)?;
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
            PacketForm::Ack(number, incarnation, digest, news) => {
                let kind = Kind::Ack { number, incarnation: Incarnation(incarnation) };
                Self::Swim(Message { kind, rumours: rumours(news) }, digest)
            }
            PacketForm::Ask(number, target) => bare(Kind::Ask { number, target: NodeId(target) }),
            PacketForm::Vouch(number, incarnation) => {
                bare(Kind::Vouch { number, incarnation: Incarnation(incarnation) })
            }
            PacketForm::Nack(number) => bare(Kind::Nack { number }),
            PacketForm::Spread(after, length, news) => {
                Self::Spread(Span { after, length }, rumours(news))
            }
        }
    }
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
        vec![
            Packet::Swim(Message { kind: ping, rumours: vec![missed()] }, None),
            Packet::Swim(Message { kind: ack, rumours: vec![] }, Some([9; 16])),
            bare(Kind::Ask { number: 1, target: NodeId(1 << 100) }),
            bare(Kind::Vouch { number: 1, incarnation: Incarnation(2) }),
            bare(Kind::Nack { number: 128 }),
            Packet::Spread(Span { after: 1, length: u32::MAX }, vec![missed()]),
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
        let golden = [
            format!("0005070106{rumour}"),
            format!("01bc05808080800401{}00", "09".repeat(16)),
            "0201808080808080808080808080808004".to_owned(),
            "030102".to_owned(),
            "048001".to_owned(),
            format!("0501ffffffff0f{rumour}"),
        ];
        assert_eq!(samples().iter().map(hex).collect::<Vec<_>>(), golden);
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for wrong in [&[][..], &[9, 0], &[4, 1, 0]] {
            assert!(matches!(Packet::decode(wrong), Err(PacketError::Damaged(_))), "{wrong:?}");
        }
        assert!(matches!(Packet::decode(&[1; 2_000]), Err(PacketError::TooLong(2_000))));
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
