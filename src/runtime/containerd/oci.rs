//! The documents that an image is described by: index, manifest, configuration.
//!
//! OCI image specification 1.1, and Docker's image manifest version 2, which differs in media types only.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::messages::Descriptor;
use crate::runtime::digest::sha256;

/// The longest document that is read.
pub(super) const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// Media types of lists of manifests.
pub(super) const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Media types of manifests.
pub(super) const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// A list of manifests, one a platform, or the manifest itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Document {
    /// Its own kind.
    pub(super) media_type: Option<String>,
    /// A list's manifests.
    pub(super) manifests: Option<Vec<Blob>>,
    /// A manifest's configuration.
    pub(super) config: Option<Blob>,
    /// A manifest's layers, the lowest first.
    pub(super) layers: Vec<Blob>,
}

/// Where a blob is and how large.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Blob {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: i64,
    pub(super) platform: Option<Platform>,
    /// Where it may be fetched besides; layers that may not be passed on are only there.
    pub(super) urls: Vec<String>,
}

/// For which machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) os: String,
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
}

/// An image's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ImageConfig {
    pub(super) created: Option<String>,
    #[serde(flatten)]
    pub(super) platform: Platform,
    pub(super) config: Option<Defaults>,
    pub(super) rootfs: RootFs,
}

/// Its layers as they are unpacked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    pub(super) diff_ids: Vec<String>,
}

/// What its containers are made with where nothing else is said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Defaults {
    pub(super) user: Option<String>,
    pub(super) env: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) volumes: Option<BTreeMap<String, serde_json::Value>>,
    pub(super) working_dir: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) stop_signal: Option<String>,
    pub(super) healthcheck: Option<Healthcheck>,
}

/// Docker's `HEALTHCHECK`; times in nanoseconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Healthcheck {
    pub(super) test: Vec<String>,
    pub(super) interval: u64,
    pub(super) timeout: u64,
    pub(super) start_period: u64,
    pub(super) start_interval: u64,
    pub(super) retries: u32,
}

impl Platform {
    /// `linux/arm64/v8`; the architecture in any of its names.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.split('/');
        let os = parts.next().unwrap_or_default().to_lowercase();
        let mut architecture = parts.next().unwrap_or_default();
        let mut variant = parts.next();
        architecture = match architecture {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            "armhf" => {
                variant = variant.or(Some("v7"));
                "arm"
            }
            other => other,
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// This machine's.
    pub(super) fn own() -> Self {
        Self::parse(&format!("linux/{}", std::env::consts::ARCH))
    }

    /// Whether what is made for this one runs where `wanted` is asked for.
    pub(super) fn suits(&self, wanted: &Self) -> bool {
        let variant = |it: &Self| match (it.variant.as_deref(), it.architecture.as_str()) {
            (None, "arm64") => Some("v8".to_owned()),
            (None, "arm") => Some("v7".to_owned()),
            (variant, _) => variant.map(str::to_owned),
        };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || variant(self) == variant(wanted))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().filter(|it| !it.is_empty()).try_for_each(|it| write!(f, "/{it}"))
    }
}

impl Blob {
    /// In containerd's terms.
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest.clone(),
            size: self.size,
            annotations: BTreeMap::new(),
        }
    }
}

impl From<&Descriptor> for Blob {
    fn from(it: &Descriptor) -> Self {
        Self {
            media_type: it.media_type.clone(),
            digest: it.digest.clone(),
            size: it.size,
            platform: None,
            urls: Vec::new(),
        }
    }
}

/// The manifest of a list that suits a platform best: the first that does.
pub(super) fn suiting<'a>(manifests: &'a [Blob], wanted: &Platform) -> Option<&'a Blob> {
    let suits = |it: &&Blob| it.platform.as_ref().is_none_or(|has| has.suits(wanted));
    // One that says for what it is goes before one that does not.
    manifests
        .iter()
        .filter(|it| it.platform.is_some())
        .find(suits)
        .or_else(|| manifests.iter().find(suits))
}

/// The names of the layered file systems, from the lowest to the whole (image specification,
/// "Layer ChainID").
pub(super) fn chain(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for id in diff_ids {
        chain.push(match chain.last() {
            None => id.clone(),
            Some(below) => sha256(format!("{below} {id}").as_bytes()),
        });
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_for_this_machine_is_found() {
        let manifest = |platform: &str| Blob {
            platform: Some(Platform::parse(platform)),
            digest: platform.to_owned(),
            ..Blob::default()
        };
        let list = [manifest("linux/amd64"), manifest("linux/arm/v7"), manifest("linux/arm64")];
        for (wanted, found) in [
            ("linux/x86_64", Some("linux/amd64")),
            ("linux/arm64/v8", Some("linux/arm64")),
            ("linux/arm", Some("linux/arm/v7")),
            ("linux/arm/v6", None),
            ("linux/riscv64", None),
        ] {
            let seen = suiting(&list, &Platform::parse(wanted)).map(|it| it.digest.as_str());
            assert_eq!(seen, found, "{wanted}");
        }
    }

    #[test]
    fn layers_are_named_by_all_that_is_below_them() {
        let ids = ["sha256:a".to_owned(), "sha256:b".to_owned()];
        let chain = chain(&ids);
        assert_eq!(chain[0], "sha256:a");
        assert_eq!(chain[1], sha256(b"sha256:a sha256:b"));
        assert_eq!(
            sha256(b""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
