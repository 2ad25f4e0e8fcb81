//! What containerd answers, sorted into [`RuntimeError`]s that say what to do.

use std::{error::Error, fmt};

use tonic::{Code, Status};

use crate::runtime::RuntimeError;

/// What containerd did instead of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No answer, or none in time.
    Silent(String),
    /// What was named is not there.
    Missing(String),
    /// It is there already.
    Taken(String),
    /// It is in no state for that.
    NotNow(String),
    /// Anything else, in its own words.
    Said(String),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        let said = status.message().to_owned();
        // What this side adds has a cause; what containerd says has none.
        if let Some(cause) = status.source() {
            return Self::Silent(deepest(cause).to_string());
        }
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Silent(said),
            Code::NotFound => Self::Missing(said),
            Code::AlreadyExists => Self::Taken(said),
            Code::FailedPrecondition => Self::NotNow(said),
            Code::Ok
            | Code::Unknown
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::Said(said),
        }
    }
}

/// The first cause: those above it only say that something failed.
fn deepest<'a>(mut cause: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(said)
            | Self::Missing(said)
            | Self::Taken(said)
            | Self::NotNow(said)
            | Self::Said(said) => f.write_str(said),
        }
    }
}

/// What a call is about, for its error: doing `doing` to the `what` called `name`.
#[derive(Clone, Debug)]
pub(super) struct About {
    doing: &'static str,
    what: &'static str,
    name: String,
}

pub(super) fn about(doing: &'static str, what: &'static str, name: impl Into<String>) -> About {
    About { doing, what, name: name.into() }
}

impl About {
    /// What was asked for failed here, on this side.
    pub(super) fn failed(&self, why: impl fmt::Display) -> RuntimeError {
        let doing = format!("{} {} {}", self.doing, self.what, self.name);
        RuntimeError::Failed { doing, why: why.to_string() }
    }

    /// What it is about is not there.
    pub(super) fn missing(&self) -> RuntimeError {
        RuntimeError::NotFound { what: self.what, name: self.name.clone() }
    }

    /// It cannot be done now.
    pub(super) fn conflict(&self, why: impl fmt::Display) -> RuntimeError {
        RuntimeError::Conflict(format!("cannot {} {} {}: {why}", self.doing, self.what, self.name))
    }
}

/// A refusal as the error that the caller sees.
pub(super) fn error(address: &str, refusal: Refusal, about: &About) -> RuntimeError {
    match refusal {
        Refusal::Silent(why) => unreachable(address, why),
        Refusal::Missing(_) => about.missing(),
        Refusal::Taken(why) | Refusal::NotNow(why) => about.conflict(why),
        Refusal::Said(why) => about.failed(why),
    }
}

pub(super) fn unreachable(address: &str, why: impl Into<String>) -> RuntimeError {
    let address = address.to_owned();
    RuntimeError::Unreachable { runtime: "containerd", address, why: why.into() }
}

/// What containerd cannot do, and what to do instead.
pub(super) fn unsupported(what: impl fmt::Display, instead: impl fmt::Display) -> RuntimeError {
    RuntimeError::Unsupported(format!("containerd has no {what}; {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_containerd_says_is_told_from_its_silence() {
        let said = Refusal::from(Status::not_found("container \"x\" in namespace \"fizz\""));
        assert!(matches!(said, Refusal::Missing(_)));
        let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let silent = Refusal::from(Status::from_error(Box::new(broken)));
        assert!(matches!(silent, Refusal::Silent(_)));
        let error = error("/s", silent, &about("start", "container", "x"));
        assert!(error.is_silence() && error.to_string().contains("start it"), "{error}");
    }
}
