//! Networks, volumes, configs and secrets of a project.

use std::collections::BTreeMap;

use super::{base64, contents::CONTENT_BASE64, cursor::Cursor, text};
use crate::model::{
    ProjectName,
    spec::{ConfigSpec, IpamPool, IpamSpec, NetworkSpec, SecretSpec, VolumeSpec},
};

/// Decodes every resource of a section of the top level.
pub(super) fn each<T>(
    root: &Cursor<'_>,
    section: &str,
    decode: impl Fn(&Cursor<'_>, &str) -> T,
) -> BTreeMap<String, T> {
    root.key(section)
        .members()
        .iter()
        .map(|(key, place)| ((*key).to_owned(), decode(place, key)))
        .collect()
}

/// A resource's name outside the file.
fn name(place: &Cursor<'_>, project: &ProjectName, key: &str) -> String {
    let silent = || if external(place) { key.to_owned() } else { format!("{project}_{key}") };
    place.key("name").string().unwrap_or_else(silent)
}

fn external(place: &Cursor<'_>) -> bool {
    place.key("external").flag().unwrap_or(false)
}

pub(super) fn network(place: &Cursor<'_>, project: &ProjectName, key: &str) -> NetworkSpec {
    NetworkSpec {
        name: name(place, project, key),
        external: external(place),
        driver: place.key("driver").string(),
        driver_options: place.key("driver_opts").pairs(),
        internal: place.key("internal").flag().unwrap_or(false),
        attachable: place.key("attachable").flag().unwrap_or(false),
        enable_ipv4: place.key("enable_ipv4").flag(),
        enable_ipv6: place.key("enable_ipv6").flag(),
        ipam: ipam(&place.key("ipam")),
        labels: place.key("labels").pairs(),
    }
}

fn ipam(place: &Cursor<'_>) -> IpamSpec {
    let cidr = |place: &Cursor<'_>| {
        let network = |text: &str| text::is_network(text).then(|| text.to_owned());
        place.parse("a network such as `10.1.0.0/24`", network)
    };
    let address = |text: &str| text::address(text).map(|_| text.to_owned());
    let pool = |place: &Cursor<'_>| IpamPool {
        subnet: cidr(&place.key("subnet")),
        gateway: place.key("gateway").parse("an IP address", address),
        ip_range: cidr(&place.key("ip_range")),
        reserved: place.key("aux_addresses").pairs(),
    };
    IpamSpec {
        driver: place.key("driver").string(),
        pools: place.key("config").items().iter().map(pool).collect(),
        options: place.key("options").pairs(),
    }
}

pub(super) fn volume(place: &Cursor<'_>, project: &ProjectName, key: &str) -> VolumeSpec {
    VolumeSpec {
        name: name(place, project, key),
        external: external(place),
        driver: place.key("driver").string(),
        driver_options: place.key("driver_opts").pairs(),
        labels: place.key("labels").pairs(),
    }
}

pub(super) fn config(place: &Cursor<'_>, project: &ProjectName, key: &str) -> ConfigSpec {
    let bytes = place.key(CONTENT_BASE64).parse("base64", base64::decode);
    let text = place.key("content").text().map(|it| it.as_bytes().to_vec());
    let content = bytes.or(text);
    if content.is_none() && !external(place) {
        place.error(
            "has no content; `file` and `environment` are read where `fizz up` runs, and travel as \
             `content`",
        );
    }
    ConfigSpec { name: name(place, project, key), content, labels: place.key("labels").pairs() }
}

pub(super) fn secret(place: &Cursor<'_>, project: &ProjectName, key: &str) -> SecretSpec {
    SecretSpec {
        name: name(place, project, key),
        external: external(place),
        labels: place.key("labels").pairs(),
    }
}
