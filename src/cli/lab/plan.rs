//! What a lab is made of, by name and number: nothing here touches the machine.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// Nodes of one lab: what one /24 and one byte of a MAC address hold, with room to spare.
pub(super) const NODES_MAX: u8 = 250;

/// Labs beside one another: the third byte of their addresses.
pub(super) const LABS_MAX: u8 = 254;

/// The port on which nodes listen for one another.
const CLUSTER_PORT: u16 = 7780;

/// What carries containers on a lab's nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Engine {
    /// A dockerd for each node.
    Docker,
    /// A Podman service for each node.
    Podman,
    /// A containerd for each node, without Docker.
    Containerd,
    /// Nodes run no containers.
    None,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::None => "none",
        })
    }
}

/// A lab's name: part of paths, of control groups and of command lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabName(String);

impl LabName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for LabName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if (1..=32).contains(&text.len()) && text.chars().all(right) && !text.starts_with('-') {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "`{text}` can't be a lab's name: use 1 to 32 small letters, digits and `-`, and no `-` first"
        ))
    }
}

/// A node of a lab, by its number from one: `a` to `z`, then `n27` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabNode(u8);

impl LabNode {
    /// The first of a lab's nodes, which makes the cluster.
    pub(super) const FIRST: Self = Self(1);

    /// The nodes of a lab that has so many.
    pub(super) fn all(count: u8) -> impl Iterator<Item = Self> {
        (1..=count).map(Self)
    }

    /// Its number, from one.
    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// Its address on the lab's switch.
    pub(super) fn address(self, lab: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, lab, self.0)
    }

    /// Where it listens for other nodes.
    pub(super) fn cluster_address(self, lab: u8) -> SocketAddr {
        (self.address(lab), CLUSTER_PORT).into()
    }

    /// Its network card's address. A machine that boots again has the one it had, so that the others
    /// find it at once.
    pub(super) fn mac(self, lab: u8) -> [u8; 6] {
        [0x02, 0x00, 0x0a, 0x63, lab, self.0]
    }

    /// Its port on the switch.
    pub(super) fn port(self) -> String {
        format!("node-{self}")
    }
}

impl fmt::Display for LabNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            letter @ 1..=26 => write!(f, "{}", char::from(b'a' + letter - 1)),
            number => write!(f, "n{number}"),
        }
    }
}

impl FromStr for LabNode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
            _ => text
                .strip_prefix('n')
                .and_then(|it| it.parse().ok())
                .filter(|number| (27..=NODES_MAX).contains(number)),
        };
        // A number may be written in several ways, and a name is written in one.
        number.map(Self).filter(|it| it.to_string() == text).ok_or_else(|| {
            format!("`{text}` is not a node: they are a to z, then n27 to n{NODES_MAX}")
        })
    }
}

impl Serialize for LabNode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LabNode {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What holds a namespace of a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// The network between the nodes.
    Switch,
    /// A node.
    Node(LabNode),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch => f.write_str("switch"),
            Self::Node(node) => node.fmt(f),
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "switch" { Ok(Self::Switch) } else { text.parse().map(Self::Node) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_letters_and_then_numbers_and_read_back_as_written() {
        let names: Vec<String> = LabNode::all(NODES_MAX).map(|it| it.to_string()).collect();
        assert_eq!((names[0].as_str(), names[25].as_str()), ("a", "z"));
        assert_eq!((names[26].as_str(), names[249].as_str()), ("n27", "n250"));
        for (name, node) in names.iter().zip(LabNode::all(NODES_MAX)) {
            assert_eq!(name.parse(), Ok(node));
            assert!(node.port().len() < 16, "an interface's name is too long: {}", node.port());
        }
        for wrong in ["", "A", "aa", "n1", "n26", "n027", "n251", "n300", "n+27", "switch"] {
            let why = wrong.parse::<LabNode>().unwrap_err();
            assert_eq!(why, format!("`{wrong}` is not a node: they are a to z, then n27 to n250"));
        }
    }

    #[test]
    fn every_node_of_every_lab_has_an_address_of_its_own() {
        let [a, b]: [LabNode; 2] = ["a", "n28"].map(|it| it.parse().unwrap());
        assert_eq!(a.address(3), Ipv4Addr::new(10, 99, 3, 1));
        assert_eq!(b.cluster_address(1).to_string(), "10.99.1.28:7780");
        assert_ne!(a.mac(1), a.mac(2));
        assert_eq!(a.mac(1)[0] & 3, 2, "unicast, and nobody's but ours");
    }

    #[test]
    fn a_labs_name_is_fit_for_a_path() {
        assert_eq!("lab-2".parse::<LabName>().unwrap().to_string(), "lab-2");
        let long = "x".repeat(33);
        for wrong in ["", "-a", "A", "a/b", "..", "a b", long.as_str()] {
            let why = wrong.parse::<LabName>().unwrap_err();
            assert!(
                why.starts_with(&format!("`{wrong}` can't be a lab's name: use 1 to")),
                "{why}"
            );
        }
    }
}
