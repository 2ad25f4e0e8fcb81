//! Where containers may run: constraints on nodes, and labels to spread over.
//!
//! The words are Docker's (swarmkit, `manager/constraint/constraint.go`): two operators, values compared
//! without regard to case, and a label that a node does not have equal to nothing.

use std::{fmt, str::FromStr};

/// Where containers may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacementSpec {
    /// What must hold of a node, all of it.
    pub constraints: Vec<Constraint>,
    /// Labels of nodes over whose values to spread, the first before the second.
    pub spread: Vec<SpreadLabel>,
    /// At most this many on a node.
    pub per_node_max: Option<u32>,
}

/// What must hold of a node: `node.labels.zone == a`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Constraint {
    /// What is compared.
    pub fact: NodeFact,
    /// Whether it must be equal, or must not.
    pub equal: bool,
    /// With what.
    pub value: String,
}

/// What a constraint can be about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeFact {
    /// `node.id`
    Id,
    /// `node.hostname`: the node's name.
    Hostname,
    /// `node.role`: every node is `manager` and `worker`.
    Role,
    /// `node.platform.os`
    Os,
    /// `node.platform.arch`: `amd64` and `x86_64` are the same.
    Architecture,
    /// `node.labels.NAME`, or `engine.labels.NAME`, as nodes have one set of labels.
    Label(String),
    /// Something that no node says of itself; Docker takes it, and runs the service nowhere.
    Unknown(String),
}

/// A label of nodes over whose values containers are spread: `node.labels.zone`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpreadLabel(pub String);

/// Text that is no constraint, or no label to spread over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlacement {
    /// There is no operator.
    #[error(
        "`{0}` is not a constraint: it has neither `==` nor `!=`; write it as \
         `node.labels.zone == a`"
    )]
    Operator(String),
    /// What is compared is not a name.
    #[error(
        "`{0}` is not something that a node has; use `node.id`, `node.hostname`, `node.role`, \
         `node.platform.os`, `node.platform.arch` or `node.labels.NAME`"
    )]
    Fact(String),
    /// What it is compared with is missing, or has a character that no value has.
    #[error("`{0}` is not a value; use letters, digits, spaces and any of `:-_.*()?+[]\\^$|/`")]
    Value(String),
    /// It is no label of nodes.
    #[error("`{0}` is not a label of nodes; write it as `node.labels.zone`")]
    Label(String),
}

const NODE_LABELS: &str = "node.labels.";
const ENGINE_LABELS: &str = "engine.labels.";

impl FromStr for Constraint {
    type Err = InvalidPlacement;

    fn from_str(text: &str) -> Result<Self, InvalidPlacement> {
        let split = [("==", true), ("!=", false)].into_iter().find_map(|(sign, equal)| {
            text.split_once(sign).map(|(fact, value)| (fact, equal, value))
        });
        let (fact, equal, value) =
            split.ok_or_else(|| InvalidPlacement::Operator(text.to_owned()))?;
        let (fact, value) = (fact.trim(), value.trim());
        if !is_fact(fact) {
            return Err(InvalidPlacement::Fact(fact.to_owned()));
        }
        if value.is_empty() || !value.chars().all(is_value) {
            return Err(InvalidPlacement::Value(value.to_owned()));
        }
        Ok(Self { fact: NodeFact::of(fact), equal, value: value.to_owned() })
    }
}

impl NodeFact {
    fn of(text: &str) -> Self {
        if let Some(label) = label_of(text) {
            return Self::Label(label.to_owned());
        }
        match text.to_ascii_lowercase().as_str() {
            "node.id" => Self::Id,
            "node.hostname" => Self::Hostname,
            "node.role" => Self::Role,
            "node.platform.os" => Self::Os,
            "node.platform.arch" => Self::Architecture,
            _ => Self::Unknown(text.to_owned()),
        }
    }
}

impl FromStr for SpreadLabel {
    type Err = InvalidPlacement;

    fn from_str(text: &str) -> Result<Self, InvalidPlacement> {
        let label = label_of(text.trim()).map(|it| Self(it.to_owned()));
        label.ok_or_else(|| InvalidPlacement::Label(text.to_owned()))
    }
}

/// The label that a constraint or a preference names; its prefix in whatever case.
fn label_of(text: &str) -> Option<&str> {
    let after = |prefix: &str| {
        let (start, label) = text.split_at_checked(prefix.len())?;
        (start.eq_ignore_ascii_case(prefix) && !label.is_empty()).then_some(label)
    };
    after(NODE_LABELS).or_else(|| after(ENGINE_LABELS))
}

/// swarmkit's `^(?i)[a-z_][a-z0-9\-_.]+$`, and what else a label's name may hold here.
fn is_fact(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    text.len() > 1
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(rest)
}

/// swarmkit's `(?i)[a-z0-9:\-_\s\.\*\(\)\?\+\[\]\\\^\$\|\/]`.
fn is_value(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || ":-_.*()?+[]\\^$|/".contains(c)
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.equal { "==" } else { "!=" };
        write!(f, "{} {sign} {}", self.fact, self.value)
    }
}

impl fmt::Display for NodeFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => f.write_str("node.id"),
            Self::Hostname => f.write_str("node.hostname"),
            Self::Role => f.write_str("node.role"),
            Self::Os => f.write_str("node.platform.os"),
            Self::Architecture => f.write_str("node.platform.arch"),
            Self::Label(label) => write!(f, "{NODE_LABELS}{label}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for SpreadLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NODE_LABELS}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_reads_as_docker_reads_it() {
        for (text, fact, equal, value) in [
            ("node.labels.zone==a", NodeFact::Label("zone".to_owned()), true, "a"),
            ("Node.Labels.Zone != b c", NodeFact::Label("Zone".to_owned()), false, "b c"),
            ("engine.labels.disk == ssd", NodeFact::Label("disk".to_owned()), true, "ssd"),
            (" node.hostname == n-1 ", NodeFact::Hostname, true, "n-1"),
            ("node.role != manager", NodeFact::Role, false, "manager"),
            ("node.id == 7f", NodeFact::Id, true, "7f"),
            ("node.platform.arch == arm64", NodeFact::Architecture, true, "arm64"),
            ("node.platform.os == linux", NodeFact::Os, true, "linux"),
            ("node.ip == 10.0.0.1", NodeFact::Unknown("node.ip".to_owned()), true, "10.0.0.1"),
        ] {
            let constraint: Constraint = text.parse().unwrap();
            assert_eq!(constraint, Constraint { fact, equal, value: value.to_owned() });
            assert_eq!(constraint.to_string().parse(), Ok(constraint), "{text}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused_with_what_would_be_right() {
        for (text, message) in [
            ("node.role = manager", "it has neither `==` nor `!=`"),
            ("", "it has neither"),
            ("== a", "`` is not something that a node has"),
            ("no de == a", "`no de` is not something that a node has"),
            ("node.id ==", "`` is not a value"),
            ("node.id == a,b", "`a,b` is not a value"),
        ] {
            let error = text.parse::<Constraint>().unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!("zone".parse::<SpreadLabel>().is_err());
        assert!("node.labels.".parse::<SpreadLabel>().is_err());
        assert_eq!("node.labels.rack".parse(), Ok(SpreadLabel("rack".to_owned())));
    }
}
