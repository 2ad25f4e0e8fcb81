//! A name as it is looked for (RFC 1035, 3.1; compared without regard to case as RFC 4343 has it).

use std::{fmt::Write, net::IpAddr};

use ipnet::IpNet;

/// What every name of the cluster ends with. `internal` is reserved for private use (ICANN, 2024).
pub const DOMAIN: &str = "fizz.internal";

/// A label's longest, and a whole name's as text (RFC 1035, 2.3.4).
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 253;

/// A name in lower case, without the final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsName(String);

impl DnsName {
    /// From labels as they are on the wire. What no name of ours has in a label is escaped, as RFC 1035, 5.1
    /// does it, so that it equals nothing but itself.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut text = String::with_capacity(64);
        for label in labels {
            if !text.is_empty() {
                text.push('.');
            }
            for byte in label {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                    text.push(byte.to_ascii_lowercase().into());
                } else {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        Self(text)
    }

    /// From text, in any case and with or without the final dot. For what is not on the wire.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
    }

    /// The name by which an address is asked about (RFC 1035, 3.5; RFC 3596, 2.5).
    #[must_use]
    pub fn of_address(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(it) => {
                let [a, b, c, d] = it.octets();
                Self(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
            }
            IpAddr::V6(it) => {
                let digits = format!("{:032x}", u128::from(it));
                let digits = digits.chars().rev().map(|it| format!("{it}."));
                Self(digits.chain(["ip6.arpa".to_owned()]).collect())
            }
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before [`DOMAIN`], empty for that itself; `None` for names outside of it.
    #[must_use]
    pub fn within_domain(&self) -> Option<&str> {
        let before = self.0.strip_suffix(DOMAIN)?;
        if before.is_empty() { Some(before) } else { before.strip_suffix('.') }
    }
}

/// The part of a range that a reverse name stands for (RFC 1035, 3.5; RFC 3596, 2.5), which is one address
/// when the name is whole; and whether there is something below that stands for nothing.
pub(super) fn reversed(name: &str) -> Option<(IpNet, bool)> {
    let (text, radix, digits, whole, bits) = if let Some(text) = name.strip_suffix(".in-addr.arpa")
    {
        (text, 10, 3, 4, 8)
    } else {
        (name.strip_suffix(".ip6.arpa")?, 16, 1, 32, 4)
    };
    let (mut value, mut labels, mut strange) = (0_u128, 0_u8, false);
    for label in text.rsplit('.') {
        let leading_zero = radix == 10 && label.starts_with('0') && label != "0";
        let plain = label.bytes().all(|it| it.is_ascii_hexdigit());
        let right = labels < whole && plain && !leading_zero && label.len() <= digits;
        let part = u128::from_str_radix(label, radix).ok().filter(|it| right && *it < 1 << bits);
        let Some(part) = part else {
            strange = true;
            break;
        };
        value = value << bits | part;
        labels += 1;
    }
    let missing = u32::from((whole - labels) * bits);
    let shifted = value.checked_shl(missing).unwrap_or(0);
    let address = if radix == 10 {
        IpAddr::V4(u32::try_from(shifted).ok()?.into())
    } else {
        IpAddr::V6(shifted.into())
    };
    Some((IpNet::new(address, labels * bits).ok()?, strange))
}

/// Whether a name within [`DOMAIN`] can be put into a message at all: names in a Compose file can be longer.
pub(super) fn fits(before: &str) -> bool {
    before.len() + 1 + DOMAIN.len() <= NAME_BYTES_MAX
        && before.split('.').all(|it| !it.is_empty() && it.len() <= LABEL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_regard_to_case_and_strange_bytes_equal_nothing_else() {
        let name = |labels: &[&str]| DnsName::of_labels(labels.iter().map(|it| it.as_bytes()));
        assert_eq!(name(&["Web", "SHOP"]), DnsName::of_text("web.shop."));
        assert_eq!(name(&["web.shop"]).as_str(), "web\\046shop");
        assert_eq!(name(&[]).as_str(), "");
    }

    #[test]
    fn what_is_within_the_domain_is_told_from_what_only_ends_alike() {
        let within = |text: &str| DnsName::of_text(text).within_domain().map(str::to_owned);
        assert_eq!(within("Web.Shop.Fizz.Internal."), Some("web.shop".to_owned()));
        assert_eq!(within("fizz.internal"), Some(String::new()));
        assert_eq!(within("soda-fizz.internal"), None);
        assert_eq!(within("internal"), None);
    }

    #[test]
    fn a_reverse_name_stands_for_an_address_or_for_part_of_a_range() {
        let net = |name: &str| reversed(name).map(|it| (it.0.to_string(), it.1));
        let whole = format!("1{}.d.f.ip6.arpa", ".0".repeat(29));
        for (name, range, strange) in [
            ("7.4.100.10.in-addr.arpa", "10.100.4.7/32", false),
            ("100.10.in-addr.arpa", "10.100.0.0/16", false),
            ("1.1.d.f.ip6.arpa", "fd11::/16", false),
            (&whole, "fd00::1/128", false),
            ("256.10.in-addr.arpa", "10.0.0.0/8", true),
            ("01.10.in-addr.arpa", "10.0.0.0/8", true),
            ("0.1.2.3.4.in-addr.arpa", "4.3.2.1/32", true),
            ("+1.in-addr.arpa", "0.0.0.0/0", true),
            ("_udp.10.ip6.arpa", "::/0", true),
            (".in-addr.arpa", "0.0.0.0/0", true),
        ] {
            assert_eq!(net(name), Some((range.to_owned(), strange)), "{name}");
        }
        assert_eq!((net("in-addr.arpa"), net("example.com")), (None, None));
    }

    #[test]
    fn what_is_too_long_for_a_message_is_told() {
        assert!(fits("1.web.shop") && fits(&"a".repeat(63)));
        assert!(!fits(&"a".repeat(64)) && !fits("a..b") && !fits(".a"));
        assert!(!fits(&[&*"a".repeat(63); 4].join(".")));
    }
}
