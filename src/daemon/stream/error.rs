//! Why a stream was not opened: for who opens it in full, for who answers as much as a log needs.

use std::io;

use super::{
    handshake::GO_ON,
    prelude::{PreludeError, Refusal, WIRE_VERSION},
};
use crate::{gossip::Epoch, model::NodeId};

/// Why there is no stream to an address.
#[derive(Debug, thiserror::Error)]
#[error("can't open a stream to {address}: {why}")]
pub struct DialError {
    /// Where.
    pub address: String,
    /// Why, and what to do.
    pub why: DialProblem,
}

/// What went wrong on the way to another node.
#[derive(Debug, thiserror::Error)]
pub enum DialProblem {
    /// Not an address.
    #[error("{0}: write it as HOST:PORT or [IPv6]:PORT")]
    Address(String),
    /// Its name is not known.
    #[error("its name does not resolve ({0}): check its spelling, or use an IP address")]
    Name(String),
    /// Nothing listens.
    #[error("nothing listens there: check address and port, and that `fizz daemon` runs there")]
    Refused,
    /// No answer to the connection.
    #[error(
        "no answer: check the address, that the machine runs, and that no firewall is in between"
    )]
    Unanswered,
    /// No way there.
    #[error("there is no route to it ({0}): check the address and this machine's network")]
    NoRoute(io::Error),
    /// Something else of the system.
    #[error("the system would not connect: {0}")]
    System(io::Error),
    /// Something else is there.
    #[error("what answers there is not a fizz: check the port")]
    NotFizz,
    /// Its fizz is older or newer.
    #[error(
        "the fizz there speaks another version of this protocol than {WIRE_VERSION}, which is spoken \
         here: bring both to one version of fizz"
    )]
    OtherVersion,
    /// It is of another cluster.
    #[error(
        "the node there is of another cluster: check the address, or get a token of that cluster"
    )]
    OtherCluster,
    /// It does not know that key.
    #[error(
        "the node there does not know key {0} of the cluster, as keys were changed: to join, get a new token \
         from `fizz token create`"
    )]
    UnknownEpoch(Epoch),
    /// It has too much to do.
    #[error("too many nodes connect there at once: try again in a few seconds")]
    Busy,
    /// It says something that is not known here.
    #[error(
        "the node there refused for a reason that only a newer fizz knows ({0}): upgrade fizz here"
    )]
    Unknown(u8),
    /// It closed at the first message.
    #[error(
        "it hung up on the first message: the token or secret is not that cluster's, or what listens there \
         is not a fizz; check the address, and get a new token from `fizz token create`"
    )]
    WrongSecret,
    /// It does not know the secret itself, or somebody changes what travels.
    #[error(
        "what answers there does not know the cluster's secret, or the connection is tampered with: check \
         the address and what is in between"
    )]
    Unproven,
    /// It took too long.
    #[error(
        "the handshake was not over in time: see whether that node is overloaded, and try again"
    )]
    Slow,
    /// The connection broke.
    #[error(
        "the connection broke during the handshake ({0}): try again, and see the log of that node"
    )]
    Lost(io::Error),
    /// It is another node.
    #[error(
        "the node there is {found} and not {expected}: its address has changed; see `fizz node ls` for \
         where it is"
    )]
    OtherNode {
        /// Who should be there.
        expected: NodeId,
        /// Who is.
        found: NodeId,
    },
    /// The handshake could not be made.
    #[error("the handshake could not be computed ({0}): report this as a bug")]
    Noise(snow::Error),
}

/// Why a stream that somebody opened was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Not a stream of a fizz, or not one that is understood.
    #[error(transparent)]
    Prelude(#[from] PreludeError),
    /// It was told why.
    #[error("a stream was refused: {0}")]
    Refused(Refusal),
    /// It does not know the secret.
    #[error("a stream whose first message does not open: its secret is wrong, or it is forged")]
    Forged,
    /// It knows the secret and does not prove who it is.
    #[error("a stream of a node that does not prove who it is")]
    Unproven,
    /// It took too long.
    #[error("a stream whose handshake was not over in time")]
    Slow,
    /// The connection broke.
    #[error("a stream whose connection broke during the handshake: {0}")]
    Lost(#[from] io::Error),
    /// The handshake could not be made.
    #[error("the handshake could not be computed ({0}): report this as a bug")]
    Noise(snow::Error),
}

impl DialProblem {
    /// An address was looked up in vain.
    pub(super) fn of_lookup(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::InvalidInput {
            Self::Address(error.to_string())
        } else {
            Self::Name(error.to_string())
        }
    }

    /// A connection was not made.
    pub(super) fn of_connect(error: io::Error) -> Self {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
        let kind = error.kind();
        if kind == ConnectionRefused {
            Self::Refused
        } else if kind == TimedOut {
            Self::Unanswered
        } else if [HostUnreachable, NetworkUnreachable].contains(&kind) {
            Self::NoRoute(error)
        } else {
            Self::System(error)
        }
    }

    /// The answer began with another byte than it should.
    pub(super) fn of_answer(code: u8, epoch: Epoch) -> Self {
        match Refusal::from_code(code) {
            Some(Refusal::OtherVersion) => Self::OtherVersion,
            Some(Refusal::OtherCluster) => Self::OtherCluster,
            Some(Refusal::UnknownEpoch) => Self::UnknownEpoch(epoch),
            Some(Refusal::Busy) => Self::Busy,
            // Codes are kept for reasons to come.
            None if (Refusal::CODE_MIN..GO_ON).contains(&code) => Self::Unknown(code),
            None => Self::NotFizz,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use io::ErrorKind;

    #[test]
    fn each_way_not_to_get_there_says_what_to_do() {
        let connect = |kind: ErrorKind| DialProblem::of_connect(kind.into()).to_string();
        assert!(connect(ErrorKind::ConnectionRefused).contains("that `fizz daemon` runs there"));
        assert!(connect(ErrorKind::TimedOut).contains("no firewall"));
        assert!(connect(ErrorKind::HostUnreachable).contains("no route"));
        assert!(connect(ErrorKind::NetworkUnreachable).contains("no route"));
        assert!(connect(ErrorKind::PermissionDenied).contains("permission denied"));
        let lookup = |kind: ErrorKind| DialProblem::of_lookup(&kind.into()).to_string();
        assert!(lookup(ErrorKind::InvalidInput).contains("HOST:PORT"));
        assert!(lookup(ErrorKind::Other).contains("does not resolve"));
    }

    #[test]
    fn what_greets_first_is_not_a_fizz_and_later_codes_are_left_room() {
        // SSH, HTTP, SMTP, an alert of TLS, MySQL.
        for first in *b"SH2\x15\x4a" {
            assert!(matches!(DialProblem::of_answer(first, Epoch(0)), DialProblem::NotFizz));
        }
        assert!(matches!(DialProblem::of_answer(0xe9, Epoch(0)), DialProblem::Unknown(0xe9)));
    }
}
