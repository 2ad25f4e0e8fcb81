//! Container runtimes behind one trait.
//!
//! A runtime only carries: it makes what it is told to make and reports what it sees. Restart
//! policies, health checks, order and naming are decided above; the runtime's own are turned off.

mod containerd;
mod contract;
mod digest;
mod docker;
mod find;
mod machine;
mod none;
mod progress;

pub use crate::model::{Observed, ObservedPort, RuntimeId, RuntimeState};
pub use containerd::{Containerd, helper};
pub use contract::{
    AttachRequest, BuildRequest, ContainerStats, CreateContainer, Credentials, ExecRequest,
    ExecSession, Held, ImageInfo, LogLine, LogsRequest, MountedFile, ProcessList, Progress, Reply,
    ResolvedNetwork, Runtime, RuntimeError, RuntimeEvent, RuntimeEventKind, RuntimeInfo, Sandbox,
    SandboxRequest, Session, SessionInput, SessionOutput, StreamKind, VolumeInfo, labels,
};
pub use docker::{Docker, Flavour};
pub use find::find;
pub use machine::memory_bytes;
pub use none::NoRuntime;
