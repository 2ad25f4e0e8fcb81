//! The text in which a device in a process is spoken to: WireGuard's cross-platform userspace protocol
//! (<https://www.wireguard.com/xplatform/#configuration-protocol>), both sides of it.
//!
//! A request is lines of `key=value` and ends with an empty line, as its answer does. One thing differs: the
//! answer to `get=1` has `own_public_key` where others have `private_key`. A secret that never comes back
//! cannot get lost on the way.

use std::{fmt::Write as _, io, net::SocketAddr, str::FromStr};

use zeroize::Zeroizing;

use super::{
    PeerSeen,
    diff::{Change, PeerChange, PeerSet, Seen},
    key::SecretKey,
};
use crate::model::{PublicKey, WallTime};

/// The most that either side says at once.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// What a device is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// How it is.
    Get,
    /// To be otherwise.
    Set(Change),
}

impl Request {
    /// As it is sent.
    pub(super) fn text(&self) -> Zeroizing<String> {
        // What grows leaves its secrets where it was.
        let mut text = Zeroizing::new(String::with_capacity(256 * 1024));
        match self {
            Self::Get => text.push_str("get=1\n"),
            Self::Set(change) => write_change(&mut text, change),
        }
        text.push('\n');
        text
    }

    /// As it is read.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut lines = Lines::new(text);
        match lines.next().transpose()? {
            Some(("get", "1")) => Ok(Self::Get),
            Some(("set", "1")) => Ok(Self::Set(read_change(lines)?)),
            other => {
                Err(Wrong(format!("{} begins no request", other.map_or("nothing", |it| it.0))))
            }
        }
    }
}

/// A line that is not of the protocol. Values are not in it: one may be a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(String);

impl From<Wrong> for io::Error {
    fn from(why: Wrong) -> Self {
        Self::new(io::ErrorKind::InvalidData, why)
    }
}

/// How a device is, as it answers.
pub(super) fn seen_text(seen: &Seen) -> String {
    let mut text = String::new();
    if let Some(key) = seen.key {
        line(&mut text, "own_public_key", &*hex(&key.0));
    }
    line(&mut text, "listen_port", seen.port);
    line(&mut text, "fwmark", seen.mark);
    for peer in seen.peers.values() {
        line(&mut text, "public_key", &*hex(&peer.key.0));
        if let Some(endpoint) = peer.endpoint {
            line(&mut text, "endpoint", endpoint);
        }
        line(&mut text, "persistent_keepalive_interval", peer.keepalive_seconds);
        if let Some(WallTime(millis)) = peer.handshake {
            line(&mut text, "last_handshake_time_sec", millis / 1_000);
            line(&mut text, "last_handshake_time_nsec", millis % 1_000 * 1_000_000);
        }
        line(&mut text, "rx_bytes", peer.received_bytes);
        line(&mut text, "tx_bytes", peer.sent_bytes);
        for net in &peer.allowed {
            line(&mut text, "allowed_ip", net);
        }
    }
    text + &outcome_text(0)
}

/// How a change went: 0, or a number of errno(3).
pub(super) fn outcome_text(errno: i32) -> String {
    format!("errno={errno}\n\n")
}

/// Reads the answer to either request: an error where the device gave one, and else how it is, which is
/// nothing after a change.
pub(super) fn read_answer(text: &str) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut peer: Option<PeerSeen> = None;
    let mut ended = false;
    for pair in Lines::new(text) {
        let (key, value) = pair?;
        match (key, &mut peer) {
            ("errno", _) => {
                // Some have it negative, as the kernel has.
                let number: i32 = read(key, value)?;
                if number != 0 {
                    return Err(io::Error::from_raw_os_error(number.abs()));
                }
                ended = true;
            }
            ("own_public_key", None) => seen.key = Some(read_key(key, value)?),
            ("listen_port", None) => seen.port = read(key, value)?,
            ("fwmark", None) => seen.mark = read(key, value)?,
            ("public_key", _) => {
                let next = PeerSeen { key: read_key(key, value)?, ..PeerSeen::default() };
                seen.peers.extend(peer.replace(next).map(|it| (it.key, it)));
            }
            (_, Some(peer)) => read_seen_peer(peer, key, value)?,
            // A newer device may say more.
            (_, None) => {}
        }
    }
    seen.peers.extend(peer.map(|it| (it.key, it)));
    if ended { Ok(seen) } else { Err(Wrong("the answer is not whole".to_owned()).into()) }
}

fn read_seen_peer(peer: &mut PeerSeen, key: &str, value: &str) -> Result<(), Wrong> {
    match key {
        "endpoint" => peer.endpoint = Some(read::<SocketAddr>(key, value)?),
        "persistent_keepalive_interval" => peer.keepalive_seconds = read(key, value)?,
        "rx_bytes" => peer.received_bytes = read(key, value)?,
        "tx_bytes" => peer.sent_bytes = read(key, value)?,
        "allowed_ip" => drop(peer.allowed.insert(read(key, value)?)),
        "last_handshake_time_sec" => {
            let seconds: u64 = read(key, value)?;
            let millis = seconds.saturating_mul(1_000);
            peer.handshake = Some(WallTime(millis)).filter(|_| seconds != 0);
        }
        "last_handshake_time_nsec" => {
            let millis = read::<u64>(key, value)? / 1_000_000;
            peer.handshake = peer.handshake.map(|it| WallTime(it.0.saturating_add(millis)));
        }
        // A newer device may say more.
        _ => {}
    }
    Ok(())
}

fn write_change(text: &mut String, change: &Change) {
    let Change { secret, port, mark, peers } = change;
    line(text, "set", 1);
    if let Some(secret) = secret {
        line(text, "private_key", &*hex(&secret.bytes()));
    }
    if let Some(port) = port {
        line(text, "listen_port", port);
    }
    if let Some(mark) = mark {
        line(text, "fwmark", mark);
    }
    for (key, change) in peers {
        line(text, "public_key", &*hex(&key.0));
        match change {
            PeerChange::Remove => line(text, "remove", true),
            PeerChange::Set(set) => write_peer(text, set),
        }
    }
}

fn write_peer(text: &mut String, set: &PeerSet) {
    let PeerSet { only_if_there, endpoint, keepalive, replace, allowed } = set;
    if *only_if_there {
        line(text, "update_only", true);
    }
    if let Some(endpoint) = endpoint {
        line(text, "endpoint", endpoint);
    }
    if let Some(seconds) = keepalive {
        line(text, "persistent_keepalive_interval", seconds);
    }
    if *replace {
        line(text, "replace_allowed_ips", true);
    }
    for net in allowed {
        line(text, "allowed_ip", net);
    }
}

fn read_change(lines: Lines<'_>) -> Result<Change, Wrong> {
    let mut change = Change::default();
    for pair in lines {
        let (key, value) = pair?;
        match (key, change.peers.last_mut()) {
            ("private_key", None) => {
                change.secret = Some(SecretKey::new(&*unhex(key, value)?));
            }
            ("listen_port", None) => change.port = Some(read(key, value)?),
            ("fwmark", None) => change.mark = Some(read(key, value)?),
            ("public_key", _) => {
                let peer = (read_key(key, value)?, PeerChange::Set(PeerSet::default()));
                change.peers.push(peer);
            }
            ("remove", Some((_, peer))) if value == "true" => *peer = PeerChange::Remove,
            (_, Some((_, PeerChange::Set(set)))) => read_peer(set, key, value)?,
            _ => return Err(Wrong(format!("{key} is not understood here"))),
        }
    }
    Ok(change)
}

fn read_peer(set: &mut PeerSet, key: &str, value: &str) -> Result<(), Wrong> {
    match key {
        "update_only" if value == "true" => set.only_if_there = true,
        "replace_allowed_ips" if value == "true" => set.replace = true,
        "endpoint" => set.endpoint = Some(read(key, value)?),
        "persistent_keepalive_interval" => set.keepalive = Some(read(key, value)?),
        "allowed_ip" => drop(set.allowed.insert(read(key, value)?)),
        "protocol_version" if value == "1" => {}
        _ => return Err(Wrong(format!("{key} is not understood here"))),
    }
    Ok(())
}

/// The pairs of a message, up to its empty line.
struct Lines<'a>(std::str::Lines<'a>);

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self(text.lines())
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<(&'a str, &'a str), Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.0.next().filter(|it| !it.is_empty())?;
        Some(line.split_once('=').ok_or_else(|| Wrong("a line has no `=`".to_owned())))
    }
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key}={value}");
}

fn read<T: FromStr>(key: &str, value: &str) -> Result<T, Wrong> {
    value.parse().map_err(|_| Wrong(format!("{key} has a wrong value")))
}

fn read_key(key: &str, value: &str) -> Result<PublicKey, Wrong> {
    Ok(PublicKey(*unhex(key, value)?))
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(key: &str, value: &str) -> Result<Zeroizing<[u8; 32]>, Wrong> {
    let wrong = || Wrong(format!("{key} has a wrong value"));
    if value.len() != 64 || !value.bytes().all(|it| it.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&value[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u8) -> PublicKey {
        PublicKey([id; 32])
    }

    #[test]
    fn a_change_is_read_as_it_was_written() {
        let set = PeerSet {
            only_if_there: true,
            endpoint: Some("[fd00::1]:51820".parse().unwrap()),
            keepalive: Some(25),
            replace: true,
            allowed: ["10.100.4.0/24", "fd00::/120"].iter().map(|it| it.parse().unwrap()).collect(),
        };
        let peers = vec![
            (key(0xab), PeerChange::Remove),
            (key(1), PeerChange::Set(set)),
            (key(1), PeerChange::Set(PeerSet::default())),
        ];
        let secret = SecretKey::new(&[7; 32]);
        let change = Change { secret: Some(secret.clone()), port: Some(9), mark: Some(0), peers };
        let text = Request::Set(change.clone()).text();
        assert!(text.starts_with("set=1\nprivate_key=0707") && text.ends_with("\n\n"), "{}", *text);
        let Request::Set(again) = Request::parse(&text).unwrap() else { panic!("it sets") };
        assert_eq!(again.secret.unwrap().public(), secret.public());
        assert_eq!((again.port, again.mark, again.peers), (Some(9), Some(0), change.peers));
        assert!(matches!(Request::parse(&Request::Get.text()), Ok(Request::Get)));
    }

    #[test]
    fn a_device_is_read_as_it_was_written() {
        let peer = |id: u8| PeerSeen {
            key: key(id),
            endpoint: Some(([192, 0, 2, id], 51820).into()),
            handshake: Some(WallTime(1_700_000_000_123)),
            received_bytes: 5,
            sent_bytes: 6,
            allowed: ["10.100.4.0/24".parse().unwrap()].into(),
            keepalive_seconds: 25,
        };
        let silent = PeerSeen { key: key(3), ..PeerSeen::default() };
        let peers = [peer(1), peer(2), silent].map(|it| (it.key, it)).into();
        let seen = Seen { key: Some(key(9)), port: 7, mark: 3, peers };
        assert_eq!(read_answer(&seen_text(&seen)).unwrap(), seen);
        assert_eq!(read_answer(&outcome_text(0)).unwrap(), Seen::default());
    }

    #[test]
    fn what_others_say_is_understood_too() {
        let text = format!(
            "private_key={0}\nlisten_port=7\npublic_key={0}\npreshared_key={0}\nallowed_ip=fd00::/8\n\
             protocol_version=1\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\nerrno=0\n\n",
            "ab".repeat(32)
        );
        let seen = read_answer(&text).unwrap();
        assert_eq!((seen.port, seen.peers[&key(0xab)].handshake), (7, None));
        let error = read_answer("errno=-98\n\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_wrong_is_told_without_its_value() {
        let key = "ab".repeat(32);
        for text in [
            "",
            "get=2\n\n",
            "set=1\nsecret\n\n",
            "set=1\nprivate_key=secret\n\n",
            &format!("set=1\nprivate_key={}\n\n", "+1".repeat(32)),
            "set=1\nallowed_ip=secret\n\n",
            "set=1\nnonsense=secret\n\n",
            &format!("set=1\npublic_key={key}\nallowed_ip=secret\n\n"),
            &format!("set=1\npublic_key={key}\nremove=true\nallowed_ip=fd00::/8\n\n"),
            &format!("set=1\npublic_key={key}\nlisten_port=7\n\n"),
        ] {
            let why = Request::parse(text).unwrap_err().to_string();
            assert!(!why.contains("secret"), "{text}: {why}");
        }
        assert!(read_answer("listen_port=7\n\n").is_err(), "it was cut off");
        assert!(read_answer("listen_port=many\nerrno=0\n\n").is_err());
    }
}
