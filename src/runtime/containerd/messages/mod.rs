//! What is said to containerd and what it answers: the part of its gRPC interface that Fizz uses.
//!
//! Written by hand from the interface's definition (`api/` in containerd's repository, which only ever
//! gets new fields), so that building Fizz takes no compiler for it. `docs/decisions/017` says why.

mod containers;
mod content;
mod metrics;
mod tasks;

use std::collections::BTreeMap;

use prost::Message;

pub(super) use self::{containers::*, content::*, metrics::*, tasks::*};

/// A request that is answered once.
pub(super) trait Call: Message + 'static {
    /// Where it is sent: service and method.
    const PATH: &'static str;
    /// What comes back.
    type Answer: Message + Default + 'static;
}

/// Names a request's method and answer.
macro_rules! calls {
    ($service:literal: $($request:ty => $method:literal $answer:ty;)+) => {
        $(impl super::Call for $request {
            const PATH: &'static str = concat!("/containerd.services.", $service, "/", $method);
            type Answer = $answer;
        })+
    };
}
use calls;

/// An answer without content.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Empty {}

/// A message of a kind that its address names.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// Since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// Which fields an update is about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldMask {
    #[prost(string, repeated, tag = "1")]
    pub(super) paths: Vec<String>,
}

/// One mount(2).
#[derive(Clone, PartialEq, Message)]
pub(super) struct MountPoint {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) source: String,
    #[prost(string, tag = "3")]
    pub(super) target: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) options: Vec<String>,
}

/// A blob of the content store.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Descriptor {
    #[prost(string, tag = "1")]
    pub(super) media_type: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(int64, tag = "3")]
    pub(super) size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(super) annotations: BTreeMap<String, String>,
}

/// Asks for the version.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct GetVersion {}

/// containerd's version.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Version {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    #[prost(string, tag = "2")]
    pub(super) revision: String,
}

impl Call for GetVersion {
    const PATH: &'static str = "/containerd.services.version.v1.Version/Version";
    type Answer = Version;
}

/// One of containerd's namespaces.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Namespace {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) labels: BTreeMap<String, String>,
}

/// Makes a namespace.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CreateNamespace {
    #[prost(message, optional, tag = "1")]
    pub(super) namespace: Option<Namespace>,
}

impl Call for CreateNamespace {
    const PATH: &'static str = "/containerd.services.namespaces.v1.Namespaces/Create";
    type Answer = CreateNamespace;
}

/// Begins to listen: the answers are [`Envelope`]s.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscribe {
    #[prost(string, repeated, tag = "1")]
    pub(super) filters: Vec<String>,
}

impl Call for Subscribe {
    const PATH: &'static str = "/containerd.services.events.v1.Events/Subscribe";
    type Answer = Envelope;
}

/// Something that happened.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
    #[prost(string, tag = "3")]
    pub(super) topic: String,
    #[prost(message, optional, tag = "4")]
    pub(super) event: Option<Any>,
}

/// The beginning that every event about a task has in common: whose it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskEvent {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
}

/// A process of a container ended: its own, or one that was run in it.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TaskExit {
    #[prost(string, tag = "1")]
    pub(super) container_id: String,
    #[prost(string, tag = "2")]
    pub(super) id: String,
}
