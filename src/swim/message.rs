//! What members say to each other about each other.

use crate::model::NodeId;

/// How often a member has begun or spoken up for itself: the second of its start, and one more for each
/// time that it refuted what was said of it. What is said of a member at a higher one overrides all from
/// before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incarnation(pub u32);

/// What one member says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Why it is sent.
    pub kind: Kind,
    /// News that travels along.
    pub rumours: Vec<Rumour>,
}

/// Why a message is sent. Numbers are the asker's, and tell answers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Are you there?
    Ping {
        /// Which question.
        number: u16,
        /// The asker's.
        incarnation: Incarnation,
        /// What is said of you: you are missed at this incarnation. Lifeguard's buddy system: who is
        /// doubted hears it first.
        missed: Option<Incarnation>,
    },
    /// I am here.
    Ack {
        /// The question.
        number: u16,
        /// The answerer's.
        incarnation: Incarnation,
    },
    /// Is that one there? I cannot reach it.
    Ask {
        /// Which question.
        number: u16,
        /// Who.
        target: NodeId,
    },
    /// It is there: it answered me.
    Vouch {
        /// The question.
        number: u16,
        /// Of the one that was asked for.
        incarnation: Incarnation,
    },
    /// It does not answer me either. Lifeguard's nack: it tells a dead target from a deaf asker.
    Nack {
        /// The question.
        number: u16,
    },
}

/// Something that is said of a member, for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rumour {
    /// Of whom.
    pub about: NodeId,
    /// Of which of its incarnations.
    pub incarnation: Incarnation,
    /// What.
    pub claim: Claim,
}

/// What is said of a member. Within one incarnation the later of these overrides the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It lives.
    Alive,
    /// It does not answer.
    Missed {
        /// Who says so.
        by: NodeId,
        /// How many others did not reach it either.
        seconded: u8,
    },
    /// It is gone.
    Dead,
    /// It has left, by its own word.
    Left,
}
