//! How containers are joined to networks, reached and named.

use std::collections::BTreeMap;

use super::{Known, cursor::Cursor, declared, text};
use crate::model::{
    ServiceName,
    spec::{GatewayPriority, NetworkAttachment, NetworkMode, PortSpec, Protocol, PublishedPorts},
};

/// `network_mode` and `networks`.
pub(super) fn mode(service: &Cursor<'_>, known: &Known<'_>) -> NetworkMode {
    let place = service.key("network_mode");
    let Some(text) = place.string() else {
        return NetworkMode::Networks(attachments(&service.key("networks"), known));
    };
    if !service.key("networks").members().is_empty() {
        place.error("excludes `networks`; remove one of the two");
    }
    if let Some(name) = text.strip_prefix("service:") {
        return known.service(name, &place).map_or(NetworkMode::None, NetworkMode::Service);
    }
    if let Some(name) = text.strip_prefix("container:") {
        return NetworkMode::Container(name.to_owned());
    }
    match text.as_str() {
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        "bridge" | "default" => NetworkMode::Bridge,
        _ => NetworkMode::Named(text),
    }
}

fn attachments(place: &Cursor<'_>, known: &Known<'_>) -> BTreeMap<String, NetworkAttachment> {
    let one = |(key, place): (&str, Cursor<'_>)| {
        declared(&known.networks, "networks", key, &place);
        (key.to_owned(), attachment(&place))
    };
    place.members().into_iter().map(one).collect()
}

fn attachment(place: &Cursor<'_>) -> NetworkAttachment {
    let ipv4 = |text: &str| text::address(text).filter(|it| it.is_ipv4());
    let ipv6 = |text: &str| text::address(text).filter(|it| it.is_ipv6());
    let link_local = place.key("link_local_ips");
    NetworkAttachment {
        aliases: place.key("aliases").strings(),
        ipv4: place.key("ipv4_address").parse("an IPv4 address", ipv4),
        ipv6: place.key("ipv6_address").parse("an IPv6 address", ipv6),
        link_local: link_local
            .items()
            .iter()
            .filter_map(|it| it.parse("an IP address", text::address))
            .collect(),
        mac_address: mac_address(&place.key("mac_address")),
        interface_name: place.key("interface_name").string(),
        driver_options: place.key("driver_opts").pairs(),
        priority: place.key("priority").integer(i64::MIN, i64::MAX).unwrap_or(0),
        gateway_priority: place.key("gw_priority").integer(i64::MIN, i64::MAX).map(GatewayPriority),
    }
}

/// `mac_address`.
pub(super) fn mac_address(place: &Cursor<'_>) -> Option<String> {
    place.parse("a MAC address such as `02:42:ac:11:00:02`", |text| {
        text::is_mac(text).then(|| text.to_owned())
    })
}

/// `ports`.
pub(super) fn ports(place: &Cursor<'_>) -> Vec<PortSpec> {
    place.items().iter().filter_map(port).collect()
}

fn port(place: &Cursor<'_>) -> Option<PortSpec> {
    let target = place.key("target");
    if !target.is_set() {
        place.error("names no container port; add `target`");
    }
    let protocols = Protocol::ALL.map(|it| (it.name(), it));
    let published = place.key("published").parse(
        "a port or a range; use 1 to 65535, `8080-8090`, or 0 for a free one",
        |text| match text::ports(text)? {
            (0, 0) => Some(PublishedPorts::Any),
            (0, _) => None,
            (first, last) if first == last => Some(PublishedPorts::One(first)),
            (first, last) => Some(PublishedPorts::Range(first, last)),
        },
    );
    Some(PortSpec {
        target: target.integer(1, u16::MAX.into())?,
        published: published.unwrap_or(PublishedPorts::Any),
        host_ip: place.key("host_ip").parse("an IP address", text::address),
        protocol: place.key("protocol").word(&protocols).unwrap_or_default(),
        host_mode: place.key("mode").word(&[("ingress", false), ("host", true)]).unwrap_or(false),
        name: place.key("name").string(),
        app_protocol: place.key("app_protocol").string(),
    })
}

/// `expose`.
pub(super) fn expose(place: &Cursor<'_>) -> Vec<String> {
    let port = |text: &str| {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let right = text::ports(range).is_some_and(|(first, _)| first != 0)
            && Protocol::named(protocol).is_some();
        right.then(|| text.to_owned())
    };
    let items = place.items();
    items.iter().filter_map(|it| it.parse("a port, `8080-8090` or `53/udp`", port)).collect()
}

/// `dns`.
pub(super) fn dns_servers(place: &Cursor<'_>) -> Vec<String> {
    let server = |text: &str| text::address(text).map(|_| text.to_owned());
    place.items().iter().filter_map(|it| it.parse("an IP address", server)).collect()
}

/// `extra_hosts`: `name=address` in the canonical form; `name:address` is read too.
pub(super) fn extra_hosts(place: &Cursor<'_>) -> Vec<(String, String)> {
    let host = |text: &str| {
        let (name, address) = text.split_once('=').or_else(|| text.split_once(':'))?;
        let bare = address.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let address = bare.unwrap_or(address);
        let right = address == "host-gateway" || text::address(address).is_some();
        (right && !name.is_empty()).then(|| (name.to_owned(), address.to_owned()))
    };
    let what = "a host and its address; use `name=ADDRESS` or `name=host-gateway`";
    place.items().iter().filter_map(|it| it.parse(what, host)).collect()
}

/// `links`: `service` or `service:alias`.
pub(super) fn links(place: &Cursor<'_>, known: &Known<'_>) -> Vec<(ServiceName, String)> {
    let one = |place: &Cursor<'_>| {
        let text = place.string()?;
        let (service, alias) = text.split_once(':').unwrap_or((&text, &text));
        Some((known.service(service, place)?, alias.to_owned()))
    };
    place.items().iter().filter_map(one).collect()
}

/// `external_links`: `container` or `container:alias`.
pub(super) fn external_links(place: &Cursor<'_>) -> Vec<(String, String)> {
    let one = |place: &Cursor<'_>| {
        let text = place.string()?;
        let (container, alias) = text.split_once(':').unwrap_or((&text, &text));
        Some((container.to_owned(), alias.to_owned()))
    };
    place.items().iter().filter_map(one).collect()
}
