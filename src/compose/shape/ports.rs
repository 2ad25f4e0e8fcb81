//! Published ports in the short form: `[[HOST_IP:]HOST[-HOST]:]CONTAINER[-CONTAINER][/PROTOCOL]`.

use std::net::IpAddr;

/// One container port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) host_ip: String,
    pub(super) target: u16,
    pub(super) published: String,
    pub(super) protocol: String,
}

/// The ports that a text stands for.
pub(super) fn parse(text: &str) -> Result<Vec<Port>, String> {
    let (address, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host) = match address.rsplit_once(':') {
        Some((ip, host)) => (ip, host),
        None => ("", address),
    };
    let host_ip = host_ip(ip)?;
    let (container, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        other => return Err(format!("{other:?} is not a protocol; use tcp, udp or sctp")),
    };
    if container.is_empty() {
        return Err(format!("{text:?} names no container port"));
    }
    let (first, last) = range(container)?;
    let host_range = if host.is_empty() { None } else { Some(range(host)?) };
    let one = |target: u16, published: String| Port {
        host_ip: host_ip.clone(),
        target,
        published,
        protocol: protocol.to_owned(),
    };
    match host_range {
        None => Ok((first..=last).map(|target| one(target, String::new())).collect()),
        // A single container port gets one port out of the host's range.
        Some((low, high)) if first == last && low != high => {
            Ok(vec![one(first, format!("{low}-{high}"))])
        }
        Some((low, high)) if high - low == last - first => Ok((first..=last)
            .zip(low..=high)
            .map(|(target, published)| one(target, published.to_string()))
            .collect()),
        Some(_) => Err(format!("the ranges {host} and {container} are not equally long")),
    }
}

fn host_ip(text: &str) -> Result<String, String> {
    let bare = match text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        Some(bare) => bare,
        None if text.contains(':') => {
            return Err(format!("write the IPv6 address {text} in brackets: [{text}]"));
        }
        None => text,
    };
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("{bare:?} is not an IP address"));
    }
    Ok(bare.to_owned())
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let number = |part: &str| {
        let digits = part.bytes().all(|it| it.is_ascii_digit());
        part.parse::<u16>()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| format!("{part:?} is not a port; use a number up to 65535"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if last < first {
        return Err(format!("the range {text} ends before it begins"));
    }
    Ok((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        let ports = parse(text).unwrap();
        let said: Vec<String> = ports
            .iter()
            .map(|it| format!("{}|{}>{}/{}", it.host_ip, it.published, it.target, it.protocol))
            .collect();
        said.join(" ")
    }

    #[test]
    fn every_short_form_is_read() {
        for (text, expected) in [
            ("80", "|>80/tcp"),
            ("80/UDP", "|>80/udp"),
            ("80/", "|>80/tcp"),
            ("8080:80", "|8080>80/tcp"),
            ("8080:80/sctp", "|8080>80/sctp"),
            ("3000-3002", "|>3000/tcp |>3001/tcp |>3002/tcp"),
            ("9090-9091:8080-8081", "|9090>8080/tcp |9091>8081/tcp"),
            ("8000-9000:80", "|8000-9000>80/tcp"),
            ("127.0.0.1:8001:8001", "127.0.0.1|8001>8001/tcp"),
            ("127.0.0.1::80", "127.0.0.1|>80/tcp"),
            ("[::1]:6001:6001", "::1|6001>6001/tcp"),
            ("127.0.0.1:5000-5001:5000-5001", "127.0.0.1|5000>5000/tcp 127.0.0.1|5001>5001/tcp"),
            ("0:80", "|0>80/tcp"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
        assert_eq!(parse("0-65535").unwrap().len(), 65536);
    }

    #[test]
    fn what_is_not_a_port_is_refused() {
        for text in [
            "",
            ":",
            "80:",
            "a",
            "80:http",
            "99999",
            "-1",
            "1-",
            "5-4",
            "1-2:1-3",
            "80/foo",
            "::1:80:80",
            "host:80:80",
            "1.2.3:80:80",
            "8080:80:",
            "+80",
            "1-2-3",
            "80/tcp/udp",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
