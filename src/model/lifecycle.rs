//! The lives of containers and nodes: two enums, one rule each.

use std::fmt;

/// Where a container is in its run.
///
/// `stopped` and `failed` end a run. A container that is started again, by a restart policy or by
/// a person, begins a new run at `pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerState {
    /// Recorded, not yet started.
    Pending,
    /// Started; health unknown, or no health check is set.
    Running,
    /// Its health check passes.
    Healthy,
    /// Its health check fails.
    Unhealthy,
    /// It ended as it should: it was stopped, or it completed with status 0.
    Stopped,
    /// It ended otherwise: it crashed, could not start, or stayed unhealthy.
    Failed,
}

/// What can happen to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerEvent {
    /// The runtime started its process.
    Started,
    /// A health check's verdict: well.
    Passed,
    /// A health check's verdict: not well, `retries` times in a row.
    Sickened,
    /// Not well for as many checks again.
    GaveUp,
    /// Its process ended after a stop was asked for, or with status 0.
    Ended,
    /// Its process ended otherwise, or could not be started.
    Crashed,
}

/// Where a node is in its membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// Connecting to its cluster.
    Joining,
    /// Answers probes.
    Alive,
    /// Missed probes; may be failing.
    Suspicious,
    /// Confirmed gone.
    Dead,
    /// Departed on its own wish.
    Left,
    /// Could not join.
    Failed,
}

/// What can happen to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeEvent {
    /// The cluster took it in.
    Joined,
    /// The cluster did not take it in.
    Refused,
    /// It missed its probes.
    Missed,
    /// It showed that it lives.
    Refuted,
    /// Its suspicion ran out.
    Confirmed,
    /// It said good-bye.
    Departed,
}

/// An event that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal<S, E> {
    /// The state.
    pub state: S,
    /// The event.
    pub event: E,
}

impl ContainerState {
    /// The one rule of a container's life.
    pub fn next(self, event: ContainerEvent) -> Result<Self, Illegal<Self, ContainerEvent>> {
        use ContainerEvent as E;
        match (self, event) {
            (Self::Pending, E::Started) => Ok(Self::Running),
            (Self::Pending, E::Crashed) => Ok(Self::Failed),
            (Self::Running | Self::Healthy | Self::Unhealthy, E::Passed) => Ok(Self::Healthy),
            (Self::Running | Self::Healthy | Self::Unhealthy, E::Sickened) => Ok(Self::Unhealthy),
            (Self::Unhealthy, E::GaveUp) => Ok(Self::Failed),
            (Self::Running | Self::Healthy | Self::Unhealthy, E::Ended) => Ok(Self::Stopped),
            (Self::Running | Self::Unhealthy, E::Crashed) => Ok(Self::Failed),
            (state, event) => Err(Illegal { state, event }),
        }
    }

    /// Whether its process should be alive.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Running | Self::Healthy | Self::Unhealthy)
    }

    /// Whether its run is over.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }
}

impl NodeState {
    /// The one rule of a node's membership.
    pub fn next(self, event: NodeEvent) -> Result<Self, Illegal<Self, NodeEvent>> {
        use NodeEvent as E;
        match (self, event) {
            (Self::Joining, E::Joined) => Ok(Self::Alive),
            (Self::Joining, E::Refused) => Ok(Self::Failed),
            (Self::Alive, E::Missed) => Ok(Self::Suspicious),
            (Self::Suspicious, E::Refuted) => Ok(Self::Alive),
            (Self::Suspicious, E::Confirmed) => Ok(Self::Dead),
            (Self::Alive, E::Departed) => Ok(Self::Left),
            (state, event) => Err(Illegal { state, event }),
        }
    }
}

impl fmt::Display for ContainerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Joining => "joining",
            Self::Alive => "alive",
            Self::Suspicious => "suspicious",
            Self::Dead => "dead",
            Self::Left => "left",
            Self::Failed => "failed",
        })
    }
}

impl<S: fmt::Debug, E: fmt::Debug> fmt::Display for Illegal<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot happen in state {:?}", self.event, self.state)
    }
}

impl<S: fmt::Debug, E: fmt::Debug> std::error::Error for Illegal<S, E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_moves_only_along_the_architectures_arrows() {
        use {ContainerEvent as E, ContainerState as S};
        let states = [S::Pending, S::Running, S::Healthy, S::Unhealthy, S::Stopped, S::Failed];
        let events = [E::Started, E::Passed, E::Sickened, E::GaveUp, E::Ended, E::Crashed];
        let legal = [
            (S::Pending, E::Started, S::Running),
            (S::Pending, E::Crashed, S::Failed),
            (S::Running, E::Passed, S::Healthy),
            (S::Running, E::Sickened, S::Unhealthy),
            (S::Running, E::Ended, S::Stopped),
            (S::Running, E::Crashed, S::Failed),
            (S::Healthy, E::Passed, S::Healthy),
            (S::Healthy, E::Sickened, S::Unhealthy),
            (S::Healthy, E::Ended, S::Stopped),
            (S::Unhealthy, E::Passed, S::Healthy),
            (S::Unhealthy, E::Sickened, S::Unhealthy),
            (S::Unhealthy, E::GaveUp, S::Failed),
            (S::Unhealthy, E::Ended, S::Stopped),
            (S::Unhealthy, E::Crashed, S::Failed),
        ];
        for state in states {
            for event in events {
                let wanted = legal.iter().find(|it| it.0 == state && it.1 == event).map(|it| it.2);
                assert_eq!(state.next(event).ok(), wanted, "{state} on {event:?}");
            }
        }
    }

    #[test]
    fn a_node_moves_only_along_the_architectures_arrows() {
        use {NodeEvent as E, NodeState as S};
        let states = [S::Joining, S::Alive, S::Suspicious, S::Dead, S::Left, S::Failed];
        let events = [E::Joined, E::Refused, E::Missed, E::Refuted, E::Confirmed, E::Departed];
        let legal = [
            (S::Joining, E::Joined, S::Alive),
            (S::Joining, E::Refused, S::Failed),
            (S::Alive, E::Missed, S::Suspicious),
            (S::Suspicious, E::Refuted, S::Alive),
            (S::Suspicious, E::Confirmed, S::Dead),
            (S::Alive, E::Departed, S::Left),
        ];
        for state in states {
            for event in events {
                let wanted = legal.iter().find(|it| it.0 == state && it.1 == event).map(|it| it.2);
                assert_eq!(state.next(event).ok(), wanted, "{state} on {event:?}");
            }
        }
    }
}
