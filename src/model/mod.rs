//! The nouns of Fizz, as types that cannot hold a wrong value.

mod id;
mod label;
mod lifecycle;
mod moment;
mod observed;
mod random;
mod schedule;
pub mod spec;

pub use id::{
    ClusterId, ContainerId, ContainerName, ImageId, InvalidName, NodeId, NodeName, ProjectName,
    PublicKey, Revision, ServiceKey, ServiceName, Slot, TokenId,
};
pub use label::check_label;
pub use lifecycle::{ContainerEvent, ContainerState, Illegal, NodeEvent, NodeState};
pub use moment::{CLOCK_ERROR_MAX, Millis, Moment, Now, WallTime};
pub use observed::{Observed, ObservedPort, RuntimeId, RuntimeState};
pub use random::{Random, mix};
pub use schedule::{Schedule, Tick, Zone};
