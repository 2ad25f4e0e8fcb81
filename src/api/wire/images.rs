//! Of images: what there is, what is fetched and built, and how far it is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Problem, RegistryCredentials};

/// An image.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// Its names.
    pub references: Vec<String>,
    /// Its names by digest: `redis@sha256:...`.
    #[serde(default)]
    pub digests: Vec<String>,
    /// Its size.
    pub size_bytes: u64,
    /// When it was made.
    pub created_ms: u64,
    /// `linux/amd64`.
    pub platform: String,
    /// The containers of the asked project that run it: their names.
    #[serde(default)]
    pub containers: Vec<String>,
}

/// Asks for an image.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pull {
    /// The reference.
    pub image: String,
    /// The platform.
    #[serde(default)]
    pub platform: Option<String>,
    /// Credentials that it may need.
    #[serde(default)]
    pub credentials: Vec<RegistryCredentials>,
}

/// How to build an image (the `request` part of the query, as JSON); the body is a tar stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The names that the image gets.
    pub tags: Vec<String>,
    /// The Dockerfile's path in the context.
    #[serde(default)]
    pub dockerfile: Option<String>,
    /// Build arguments; null takes none.
    #[serde(default)]
    pub args: BTreeMap<String, Option<String>>,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    #[serde(default)]
    pub target: Option<String>,
    /// Images whose layers may be reused.
    #[serde(default)]
    pub cache_from: Vec<String>,
    /// Do not reuse layers.
    #[serde(default)]
    pub no_cache: bool,
    /// Ask the registry for base images.
    #[serde(default)]
    pub pull: bool,
    /// The platform.
    #[serde(default)]
    pub platform: Option<String>,
    /// The network during the build.
    #[serde(default)]
    pub network: Option<String>,
    /// `/dev/shm`.
    #[serde(default)]
    pub shm_bytes: Option<u64>,
    /// Lines for `/etc/hosts`: name and address.
    #[serde(default)]
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits by name: soft and hard.
    #[serde(default)]
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// With all privileges.
    #[serde(default)]
    pub privileged: bool,
}

/// A step of a pull or a build (one JSON document a line). The last one has `image` or `error`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// The layer, when it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// What is being done, or a line of the build's output.
    #[serde(default)]
    pub status: String,
    /// Bytes done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_bytes: Option<u64>,
    /// Bytes in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// It is done: the image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// It has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Problem>,
}
