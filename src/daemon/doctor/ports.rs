//! Who has the ports that other members send to (proc_pid_net(5): `/proc/net/udp` and its like).

use std::{fs, net::SocketAddr, path::Path};

use nix::net::if_::if_nametoindex;

use super::{ONLY_ROOT, is_root};
use crate::{
    daemon::{config::Config, fabric::MESH},
    doctor::{Holder, Looked, MeshWanted, PortFacts},
};

/// The state of a TCP socket that listens (`TCP_LISTEN` of `include/net/tcp_states.h`).
const LISTENS: &str = "0A";

/// All that are wanted, and who has each.
pub(super) fn look(config: &Config, mesh: MeshWanted) -> Vec<PortFacts> {
    let members = config.cluster.listen;
    let device = SocketAddr::new([0, 0, 0, 0].into(), config.network.port);
    let mut wanted = vec![("UDP", members, "cluster.listen"), ("TCP", members, "cluster.listen")];
    if mesh != MeshWanted::No {
        wanted.push(("UDP", device, "network.port"));
    }
    let facts = |(protocol, address, setting): (&'static str, SocketAddr, &'static str)| {
        PortFacts { protocol, address, setting, holder: holder(protocol, address) }
    };
    wanted.into_iter().map(facts).collect()
}

/// Who has a port of this host, `UDP` or `TCP`.
pub(in crate::daemon) fn holder(protocol: &str, wanted: SocketAddr) -> Looked<Holder> {
    let mut inodes = vec![];
    for (table, is_tcp) in [("udp", false), ("udp6", false), ("tcp", true), ("tcp6", true)] {
        if is_tcp != (protocol == "TCP") {
            continue;
        }
        let text = fs::read_to_string(format!("/proc/net/{table}"));
        inodes.extend(text.unwrap_or_default().lines().filter_map(|it| socket(it, wanted, is_tcp)));
    }
    let Some(inode) = inodes.first() else { return Ok(Holder::Nobody) };
    match process_of(inode) {
        Some((_, true)) => Ok(Holder::Fizz),
        Some((who, false)) => Ok(Holder::Other(who)),
        // The kernel's WireGuard is no process.
        None if if_nametoindex(MESH).is_ok() => Ok(Holder::Fizz),
        None if is_root() => {
            Ok(Holder::Other("the kernel, or a process of another namespace".into()))
        }
        None => Err(format!("it is taken, and {ONLY_ROOT}")),
    }
}

/// The inode of a line's socket, if it is in the way of an address.
fn socket(line: &str, wanted: SocketAddr, is_tcp: bool) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (address, port) = words.get(1)?.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != wanted.port() {
        return None;
    }
    if is_tcp && words.get(3) != Some(&LISTENS) {
        return None;
    }
    let everywhere = address.bytes().all(|it| it == b'0');
    let clashes = everywhere || wanted.ip().is_unspecified() || is(address, wanted);
    clashes.then(|| (*words.get(9).unwrap_or(&"0")).to_owned())
}

/// Whether an address of `/proc/net` is this one: the words of it are in the machine's own order.
fn is(text: &str, wanted: SocketAddr) -> bool {
    let bytes: Vec<u8> = match wanted {
        SocketAddr::V4(it) => it.ip().octets().into(),
        SocketAddr::V6(it) => it.ip().octets().into(),
    };
    let words = bytes.as_chunks::<4>().0.iter();
    text == words.map(|it| format!("{:08X}", u32::from_ne_bytes(*it))).collect::<String>()
}

/// The process that has a socket, and whether it is a Fizz.
fn process_of(inode: &str) -> Option<(String, bool)> {
    let link = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|it| it.bytes().all(|it| it.is_ascii_digit())) else {
            continue;
        };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        let has = files
            .flatten()
            .any(|it| fs::read_link(it.path()).is_ok_and(|it| it.as_os_str() == link.as_str()));
        if has {
            let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some((format!("{} (process {pid})", comm.trim()), is_fizz(&entry.path())));
        }
    }
    None
}

fn is_fizz(process: &Path) -> bool {
    let Ok(program) = fs::read_link(process.join("exe")) else { return false };
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // A program that was replaced while it runs has this at the end.
    name.strip_suffix(" (deleted)").unwrap_or(&name) == "fizz"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernels_tables_is_read_for_its_address_its_port_and_its_state() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let udp = "  12: 0100007F:1E64 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0 0";
        assert_eq!(socket(udp, at("127.0.0.1:7780"), false).as_deref(), Some("4711"));
        assert_eq!(socket(udp, at("0.0.0.0:7780"), false).as_deref(), Some("4711"));
        assert_eq!(socket(udp, at("127.0.0.2:7780"), false), None);
        assert_eq!(socket(udp, at("127.0.0.1:7781"), false), None);
        let connected = udp.replace(" 07 ", " 01 ");
        assert_eq!(socket(&connected, at("127.0.0.1:7780"), true), None);
        let listens = udp.replace(" 07 ", " 0A ");
        assert!(socket(&listens, at("127.0.0.1:7780"), true).is_some());
        let everywhere = "1: 00000000000000000000000000000000:1E64 0:0 07 0:0 0:0 0 0 0 9";
        assert_eq!(socket(everywhere, at("192.0.2.1:7780"), false).as_deref(), Some("9"));
    }

    #[test]
    fn a_port_that_this_process_has_is_found_with_it() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let wanted = socket.local_addr().unwrap();
        let Holder::Other(who) = holder("UDP", wanted).unwrap() else { panic!("not found") };
        assert!(who.ends_with(&format!("(process {})", std::process::id())), "{who}");
        drop(socket);
        assert_eq!(holder("UDP", wanted), Ok(Holder::Nobody));
    }
}
