//! The kernel's device, over generic netlink (`include/uapi/linux/wireguard.h` describes the messages).

use std::{collections::BTreeMap, io};

use ipnet::IpNet;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use rtnetlink::{Error, Handle, LinkWireguard};

use super::{
    PeerSeen,
    diff::{Change, PeerChange, PeerSet, Seen},
    genetlink::{Ask, ask},
};
use crate::{
    model::PublicKey,
    model::WallTime,
    network::{
        Namespace, NetworkError,
        error::Fault,
        links::{self, Kind},
    },
};

/// What the kernel is asked to make, to see whether it can.
const PROBE: &str = "fizz-wg-probe";

/// Whether the kernel makes such devices.
pub(super) async fn probe(host: &Namespace) -> Result<(), NetworkError> {
    let doing = "make a WireGuard device";
    let made = host.work(doing, async |handle| ensure(handle, PROBE).await).await;
    let removed = remove(host, PROBE).await;
    supported(doing, made).and(removed)
}

/// Makes the link unless it is there; whether it was made.
pub(super) async fn make(host: &Namespace, name: &str) -> Result<bool, NetworkError> {
    let doing = format!("make the WireGuard device {name}");
    let made = host.work(&doing, async |handle| ensure(handle, name).await).await;
    supported(&doing, made)
}

async fn ensure(handle: &Handle, name: &str) -> Result<bool, Fault> {
    if links::ours(handle, name, Kind::Wireguard).await?.is_some() {
        return Ok(false);
    }
    match handle.link().add(LinkWireguard::new(name).build()).execute().await {
        Ok(()) => Ok(true),
        Err(Error::NetlinkError(why)) if why.raw_code() == -nix::libc::EEXIST => Ok(false),
        Err(why) => Err(why.into()),
    }
}

/// Without its module the kernel does not know the kind of link (`rtnl_newlink` in `net/core/rtnetlink.c`).
fn supported<T>(doing: &str, made: Result<T, NetworkError>) -> Result<T, NetworkError> {
    match made {
        Err(NetworkError::Refused { why, .. })
            if why.raw_os_error() == Some(nix::libc::EOPNOTSUPP) =>
        {
            Err(NetworkError::Unsupported { doing: doing.to_owned(), wanted: "WireGuard devices" })
        }
        other => other,
    }
}

/// How it is.
pub(super) async fn look(host: &Namespace, name: &str) -> io::Result<Seen> {
    let attributes = vec![WireguardAttribute::IfName(name.to_owned())];
    let message = WireguardMessage { cmd: WireguardCmd::GetDevice, attributes };
    Ok(seen(ask(host, Ask::Dump, vec![message]).await?))
}

/// Changes it.
pub(super) async fn apply(host: &Namespace, name: &str, changes: &[Change]) -> io::Result<()> {
    let messages = changes.iter().map(|it| message(name, it)).collect();
    ask(host, Ask::Do, messages).await.map(drop)
}

/// Takes it away.
pub(super) async fn remove(host: &Namespace, name: &str) -> Result<(), NetworkError> {
    let doing = format!("remove the WireGuard device {name}");
    host.work(&doing, async |handle| links::remove(handle, name, Kind::Wireguard).await).await
}

/// A dump comes in parts, and a peer with many addresses in several of them.
fn seen(parts: Vec<WireguardMessage>) -> Seen {
    let mut seen = Seen::default();
    for attribute in parts.into_iter().flat_map(|it| it.attributes) {
        if let WireguardAttribute::PublicKey(key) = attribute {
            seen.key = Some(PublicKey(key));
        } else if let WireguardAttribute::ListenPort(port) = attribute {
            seen.port = port;
        } else if let WireguardAttribute::Fwmark(mark) = attribute {
            seen.mark = mark;
        } else if let WireguardAttribute::Peers(peers) = attribute {
            peers.into_iter().for_each(|it| merge(&mut seen.peers, it));
        }
    }
    seen
}

fn merge(peers: &mut BTreeMap<PublicKey, PeerSeen>, part: WireguardPeer) {
    let key = part.iter().find_map(|it| {
        let WireguardPeerAttribute::PublicKey(key) = it else { return None };
        Some(PublicKey(*key))
    });
    let Some(key) = key else { return };
    let peer = peers.entry(key).or_default();
    peer.key = key;
    for attribute in part.0 {
        if let WireguardPeerAttribute::Endpoint(endpoint) = attribute {
            peer.endpoint = Some(endpoint);
        } else if let WireguardPeerAttribute::PersistentKeepalive(seconds) = attribute {
            peer.keepalive_seconds = seconds;
        } else if let WireguardPeerAttribute::RxBytes(bytes) = attribute {
            peer.received_bytes = bytes;
        } else if let WireguardPeerAttribute::TxBytes(bytes) = attribute {
            peer.sent_bytes = bytes;
        } else if let WireguardPeerAttribute::AllowedIps(all) = attribute {
            peer.allowed.extend(all.iter().filter_map(net));
        } else if let WireguardPeerAttribute::LastHandshake(at) = attribute {
            // 0 is never.
            let millis =
                at.seconds.saturating_mul(1_000).saturating_add(at.nano_seconds / 1_000_000);
            peer.handshake = u64::try_from(millis).ok().filter(|it| *it != 0).map(WallTime);
        }
    }
}

fn net(allowed: &WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut length) = (None, None);
    for attribute in &allowed.0 {
        if let WireguardAllowedIpAttr::IpAddr(it) = attribute {
            address = Some(*it);
        } else if let WireguardAllowedIpAttr::Cidr(it) = attribute {
            length = Some(*it);
        }
    }
    IpNet::new(address?, length?).ok()
}

fn message(name: &str, change: &Change) -> WireguardMessage {
    let Change { secret, port, mark, peers } = change;
    let mut attributes = vec![WireguardAttribute::IfName(name.to_owned())];
    attributes.extend(secret.iter().map(|it| WireguardAttribute::PrivateKey(*it.bytes())));
    attributes.extend(port.map(WireguardAttribute::ListenPort));
    attributes.extend(mark.map(WireguardAttribute::Fwmark));
    if !peers.is_empty() {
        let peers = peers.iter().map(|(key, it)| WireguardPeer(peer(*key, it)));
        attributes.push(WireguardAttribute::Peers(peers.collect()));
    }
    WireguardMessage { cmd: WireguardCmd::SetDevice, attributes }
}

fn peer(key: PublicKey, change: &PeerChange) -> Vec<WireguardPeerAttribute> {
    let mut attributes = vec![WireguardPeerAttribute::PublicKey(key.0)];
    let PeerSet { only_if_there, endpoint, keepalive, replace, allowed } = match change {
        PeerChange::Remove => {
            attributes.push(WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe));
            return attributes;
        }
        PeerChange::Set(set) => set,
    };
    let mut flags = WireguardPeerFlags::empty();
    flags.set(WireguardPeerFlags::UpdateOnly, *only_if_there);
    flags.set(WireguardPeerFlags::ReplaceAllowedIps, *replace);
    if !flags.is_empty() {
        attributes.push(WireguardPeerAttribute::Flags(flags));
    }
    attributes.extend(endpoint.map(WireguardPeerAttribute::Endpoint));
    attributes.extend(keepalive.map(WireguardPeerAttribute::PersistentKeepalive));
    if !allowed.is_empty() {
        let all = allowed.iter().map(allowed_ip).collect();
        attributes.push(WireguardPeerAttribute::AllowedIps(all));
    }
    attributes
}

fn allowed_ip(net: &IpNet) -> WireguardAllowedIp {
    let family = match net {
        IpNet::V4(_) => WireguardAddressFamily::Ipv4,
        IpNet::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(net.addr()),
        WireguardAllowedIpAttr::Cidr(net.prefix_len()),
    ])
}

#[cfg(test)]
mod tests {
    use netlink_packet_wireguard::WireguardTimeSpec;
    use rtnetlink::packet_core::Emitable as _;

    use super::*;
    use crate::network::wireguard::{
        SecretKey,
        diff::{ALLOWED_MAX, PEERS_MAX},
    };

    #[test]
    fn a_change_of_any_size_fits_into_a_message() {
        let v6 = |it: u128| IpNet::from(std::net::IpAddr::from(it.to_be_bytes()));
        let set = |count: u128| PeerSet {
            only_if_there: true,
            endpoint: Some("[fd00::1]:51820".parse().unwrap()),
            keepalive: Some(25),
            replace: true,
            allowed: (0..count).map(v6).collect(),
        };
        let peers = (0..PEERS_MAX).map(|it| {
            let count = if it == 0 { ALLOWED_MAX as u128 } else { 0 };
            (PublicKey([u8::try_from(it).unwrap(); 32]), PeerChange::Set(set(count)))
        });
        let secret = Some(SecretKey::new(&[1; 32]));
        let change = Change { secret, port: Some(1), mark: Some(0), peers: peers.collect() };
        let message = message("fizz1", &change);
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        assert!(bytes.len() < usize::from(u16::MAX), "{}", bytes.len());
    }

    #[test]
    fn a_peer_in_several_parts_is_one() {
        let part = |attributes: Vec<WireguardPeerAttribute>| WireguardMessage {
            cmd: WireguardCmd::GetDevice,
            attributes: vec![WireguardAttribute::Peers(vec![WireguardPeer(attributes)])],
        };
        let key = WireguardPeerAttribute::PublicKey([7; 32]);
        let allowed =
            |it: &str| WireguardPeerAttribute::AllowedIps(vec![allowed_ip(&it.parse().unwrap())]);
        let handshake = WireguardTimeSpec { seconds: 3, nano_seconds: 4_000_000 };
        let first = vec![
            key.clone(),
            WireguardPeerAttribute::RxBytes(5),
            WireguardPeerAttribute::LastHandshake(handshake),
            allowed("10.100.4.0/24"),
        ];
        let seen = seen(vec![part(first), part(vec![key, allowed("fd00::/120")])]);
        let peer = &seen.peers[&PublicKey([7; 32])];
        assert_eq!((peer.received_bytes, peer.handshake), (5, Some(WallTime(3_004))));
        assert_eq!(peer.allowed.len(), 2);
    }
}
