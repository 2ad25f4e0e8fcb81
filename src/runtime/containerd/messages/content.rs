//! Images, the blobs they are made of, and the file systems unpacked from them.

use std::collections::BTreeMap;

use prost::Message;

use super::{Descriptor, Empty, FieldMask, MountPoint, Timestamp, calls};

/// A name of an image.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Image {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(in super::super) labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "3")]
    pub(in super::super) target: Option<Descriptor>,
    #[prost(message, optional, tag = "7")]
    pub(in super::super) created_at: Option<Timestamp>,
}

/// One by its name.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetImage {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OneImage {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) image: Option<Image>,
}

/// Keeps a new name.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct NewImage {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) image: Option<Image>,
}

/// Lets a name mean another image.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct UpdateImage {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) image: Option<Image>,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) update_mask: Option<FieldMask>,
}

/// All that any of the filters lets through.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ListImages {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) filters: Vec<String>,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Images {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) images: Vec<Image>,
}

/// Forgets a name; what only it kept is cleared away.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteImage {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
    #[prost(bool, tag = "2")]
    pub(in super::super) sync: bool,
}

calls! { "images.v1.Images":
    GetImage => "Get" OneImage;
    NewImage => "Create" OneImage;
    UpdateImage => "Update" OneImage;
    ListImages => "List" Images;
    DeleteImage => "Delete" Empty;
}

/// What is known of a blob.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct BlobInfo {
    #[prost(string, tag = "1")]
    pub(in super::super) digest: String,
    #[prost(int64, tag = "2")]
    pub(in super::super) size: i64,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(in super::super) labels: BTreeMap<String, String>,
}

/// Looks at a blob.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetBlob {
    #[prost(string, tag = "1")]
    pub(in super::super) digest: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OneBlob {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) info: Option<BlobInfo>,
}

/// Changes a blob's labels.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct UpdateBlob {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) info: Option<BlobInfo>,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) update_mask: Option<FieldMask>,
}

/// Reads a blob: the answers are [`BlobPart`]s.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ReadBlob {
    #[prost(string, tag = "1")]
    pub(in super::super) digest: String,
    #[prost(int64, tag = "2")]
    pub(in super::super) offset: i64,
    #[prost(int64, tag = "3")]
    pub(in super::super) size: i64,
}

/// Part of a blob.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct BlobPart {
    #[prost(int64, tag = "1")]
    pub(in super::super) offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub(in super::super) data: Vec<u8>,
}

/// What to do with a part that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(in super::super) enum WriteAction {
    /// Tell how far it is.
    Stat = 0,
    /// Take it.
    Write = 1,
    /// Take it, check all and keep it.
    Commit = 2,
}

/// One step of writing a blob.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WriteBlob {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(in super::super) action: i32,
    #[prost(string, tag = "2")]
    pub(in super::super) name: String,
    #[prost(int64, tag = "3")]
    pub(in super::super) total: i64,
    #[prost(string, tag = "4")]
    pub(in super::super) expected: String,
    #[prost(int64, tag = "5")]
    pub(in super::super) offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    pub(in super::super) data: Vec<u8>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(in super::super) labels: BTreeMap<String, String>,
}

/// How far it is.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct BlobWritten {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(in super::super) action: i32,
    #[prost(int64, tag = "4")]
    pub(in super::super) offset: i64,
    #[prost(string, tag = "6")]
    pub(in super::super) digest: String,
}

calls! { "content.v1.Content":
    GetBlob => "Info" OneBlob;
    UpdateBlob => "Update" OneBlob;
    ReadBlob => "Read" BlobPart;
    WriteBlob => "Write" BlobWritten;
}

/// Makes a file system that can be written, upon a finished one.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct PrepareSnapshot {
    #[prost(string, tag = "1")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(in super::super) key: String,
    #[prost(string, tag = "3")]
    pub(in super::super) parent: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(in super::super) labels: BTreeMap<String, String>,
}

/// How a file system is mounted.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetMounts {
    #[prost(string, tag = "1")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(in super::super) key: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Mounts {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) mounts: Vec<MountPoint>,
}

/// Finishes a file system under a name.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CommitSnapshot {
    #[prost(string, tag = "1")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(in super::super) name: String,
    #[prost(string, tag = "3")]
    pub(in super::super) key: String,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(in super::super) labels: BTreeMap<String, String>,
}

/// Clears a file system away.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct RemoveSnapshot {
    #[prost(string, tag = "1")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(in super::super) key: String,
}

/// Looks at a file system; what it answers is only whether it is there.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct StatSnapshot {
    #[prost(string, tag = "1")]
    pub(in super::super) snapshotter: String,
    #[prost(string, tag = "2")]
    pub(in super::super) key: String,
}

calls! { "snapshots.v1.Snapshots":
    PrepareSnapshot => "Prepare" Mounts;
    GetMounts => "Mounts" Mounts;
    CommitSnapshot => "Commit" Empty;
    RemoveSnapshot => "Remove" Empty;
    StatSnapshot => "Stat" Empty;
}

/// Unpacks a layer upon a mounted file system.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ApplyLayer {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) diff: Option<Descriptor>,
    #[prost(message, repeated, tag = "2")]
    pub(in super::super) mounts: Vec<MountPoint>,
}

/// The layer as it is unpacked.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LayerApplied {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) applied: Option<Descriptor>,
}

calls! { "diff.v1.Diff": ApplyLayer => "Apply" LayerApplied; }

/// Keeps what is made until it is let go, though nothing refers to it yet.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CreateLease {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(in super::super) labels: BTreeMap<String, String>,
}

/// Lets it go.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteLease {
    #[prost(string, tag = "1")]
    pub(in super::super) id: String,
}

calls! { "leases.v1.Leases":
    CreateLease => "Create" Empty;
    DeleteLease => "Delete" Empty;
}
