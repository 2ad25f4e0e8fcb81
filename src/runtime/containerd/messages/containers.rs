//! `containerd.services.containers.v1`: what containers are made from, without their processes.

use std::collections::BTreeMap;

use prost::Message;

use super::{Any, Empty, FieldMask, Timestamp, calls};

/// A container as containerd keeps it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Container {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in super::super) labels: BTreeMap<String, String>,
    #[prost(string, tag = "3")]
    pub(in super::super) image: String,
    #[prost(message, optional, tag = "4")]
    pub(in super::super) runtime: Option<OciRuntime>,
    #[prost(message, optional, tag = "5")]
    pub(in super::super) spec: Option<Any>,
    #[prost(string, tag = "6")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "7")]
    pub(in super::super) snapshot_key: String,
    #[prost(message, optional, tag = "8")]
    pub(in super::super) created_at: Option<Timestamp>,
    #[prost(btree_map = "string, message", tag = "10")]
    pub(in super::super) extensions: BTreeMap<String, Any>,
}

/// What runs it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OciRuntime {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) options: Option<Any>,
}

/// `containerd.runc.v1.Options`.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct RuncOptions {
    #[prost(string, tag = "6")]
    pub(in super::super) binary_name: String,
}

/// One by its id.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetContainer {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

/// The answer to [`GetContainer`] and the like.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OneContainer {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) container: Option<Container>,
}

/// All that any of the filters lets through.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ListContainers {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) filters: Vec<String>,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Containers {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) containers: Vec<Container>,
}

/// Keeps a new one.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct NewContainer {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) container: Option<Container>,
}

/// Changes some of its fields.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct UpdateContainer {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) container: Option<Container>,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) update_mask: Option<FieldMask>,
}

/// Forgets it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteContainer {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

calls! { "containers.v1.Containers":
    GetContainer => "Get" OneContainer;
    ListContainers => "List" Containers;
    NewContainer => "Create" OneContainer;
    UpdateContainer => "Update" OneContainer;
    DeleteContainer => "Delete" Empty;
}
