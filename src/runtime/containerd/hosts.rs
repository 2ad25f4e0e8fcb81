//! A container's `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`: files of the node, mounted.

use std::{fmt::Write, fs, io, net::IpAddr, path::Path};

use crate::model::spec::ContainerSpec;

/// The files' names, here and in the container's `/etc`.
pub(super) const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// `host-gateway` with no bridge: the node itself, which a container in its network sees as this.
const NODE: &str = "127.0.0.1";

/// Writes them.
pub(super) fn write(
    directory: &Path,
    spec: &ContainerSpec,
    hostname: &str,
    on_host: bool,
) -> io::Result<()> {
    let node_hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let node_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let texts = [
        hosts(spec, on_host.then_some(&node_hosts)),
        format!("{hostname}\n"),
        resolv(spec, &node_resolv, on_host),
    ];
    for (name, text) in FILES.iter().zip(texts) {
        fs::write(directory.join(name), text)?;
    }
    Ok(())
}

fn hosts(spec: &ContainerSpec, node: Option<&String>) -> String {
    let mut text = node.cloned().unwrap_or_else(|| {
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
            .to_owned()
    });
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for (name, address) in &spec.extra_hosts {
        let address = if address == "host-gateway" { NODE } else { address };
        // Writing to text cannot fail.
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

/// The node's, with what the service says in place of it. A resolver on the node's loopback answers only in
/// the node's own network.
fn resolv(spec: &ContainerSpec, node: &str, on_host: bool) -> String {
    let on_loopback = |it: &str| it.parse().is_ok_and(|it: IpAddr| it.is_loopback());
    let replaced = |line: &str| match line.split_whitespace().next() {
        Some("nameserver") => {
            let unreachable = line.split_whitespace().nth(1).is_some_and(on_loopback) && !on_host;
            unreachable || !spec.dns.is_empty()
        }
        Some("search" | "domain") => !spec.dns_search.is_empty(),
        Some("options") => !spec.dns_options.is_empty(),
        Some(_) | None => false,
    };
    let mut lines: Vec<String> =
        node.lines().filter(|it| !replaced(it)).map(str::to_owned).collect();
    lines.extend(spec.dns.iter().map(|it| format!("nameserver {it}")));
    // `.` is how Compose says none.
    let search: Vec<_> = spec.dns_search.iter().filter(|it| *it != ".").cloned().collect();
    if !search.is_empty() {
        lines.push(format!("search {}", search.join(" ")));
    }
    if !spec.dns_options.is_empty() {
        lines.push(format!("options {}", spec.dns_options.join(" ")));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says_replaces_the_nodes_own() {
        let spec = ContainerSpec {
            dns: vec!["9.9.9.9".to_owned()],
            dns_search: vec!["x.org".to_owned()],
            extra_hosts: vec![("db".to_owned(), "192.0.2.1".to_owned())],
            ..ContainerSpec::default()
        };
        let text = resolv(&spec, "nameserver 1.1.1.1\noptions rotate\ndomain y\n", true);
        assert_eq!(text, "options rotate\nnameserver 9.9.9.9\nsearch x.org\n");
        let own = ContainerSpec::default();
        let nodes = "nameserver 127.0.0.53\nnameserver 9.9.9.9\n";
        assert_eq!(resolv(&own, nodes, true), nodes);
        assert_eq!(resolv(&own, nodes, false), "nameserver 9.9.9.9\n");
        assert!(hosts(&spec, None).ends_with("192.0.2.1\tdb\n"));
    }
}
