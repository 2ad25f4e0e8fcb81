//! What speaks against a node, in words.

use std::fmt;

use super::site::Standing;
use crate::model::{ServiceKey, ServiceName, Slot, spec::Constraint};

/// What speaks against a node for a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It takes nothing new.
    Closed(Standing),
    /// It cannot run containers.
    NoRuntime,
    /// It is another kind of machine.
    Platform {
        /// What the service asks for.
        asked: String,
        /// What the node is.
        has: String,
    },
    /// The service names the nodes that it may run on, and this is none of them.
    Name {
        /// Which it may run on.
        allowed: Vec<String>,
    },
    /// A label is not what `x-fizz.placement.labels` asks for.
    Label {
        /// Which.
        label: String,
        /// What the node has.
        has: Option<String>,
        /// What is asked for.
        wanted: String,
    },
    /// A constraint does not hold.
    Constraint {
        /// Which.
        constraint: Constraint,
        /// What the node has.
        has: Option<String>,
    },
    /// Another node has a volume of it.
    Volume {
        /// Which.
        volume: String,
        /// Which nodes have it, and how they are when they are not open.
        on: Vec<(String, Standing)>,
    },
    /// As many are there as may be.
    Full {
        /// How many may be.
        most: u32,
    },
    /// Too little of the processors is free.
    Cpus {
        /// Asked for, in thousandths of a core.
        asked_milli: u64,
        /// Free.
        free_milli: u64,
        /// There at all.
        total_milli: u64,
    },
    /// Too little memory is free.
    Memory {
        /// Asked for.
        asked_bytes: u64,
        /// Free.
        free_bytes: u64,
        /// There at all.
        total_bytes: u64,
    },
    /// Somebody has its host port.
    Port {
        /// Which.
        port: u16,
        /// Whose it is.
        by: ServiceKey,
        /// In which slot.
        slot: Slot,
    },
    /// What it is to be near to is elsewhere.
    Near(ServiceName),
    /// What it is to be away from is there.
    Apart(ServiceName),
    /// Another service, which must be on the same node, cannot be there.
    Together(ServiceName, Box<Objection>),
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(standing) => write!(f, "{standing}"),
            Self::NoRuntime => f.write_str("it has no container runtime (runtime.kind: none)"),
            Self::Platform { asked, has } => {
                write!(f, "it is {has}, platform {asked} is asked for")
            }
            Self::Name { allowed } => {
                write!(f, "x-fizz.placement.nodes allows only {}", allowed.join(", "))
            }
            Self::Label { label, has, wanted } => {
                write!(f, "{}, x-fizz.placement.labels wants {wanted}", said(label, has.as_ref()))
            }
            Self::Constraint { constraint, has } => constrained(constraint, has.as_ref(), f),
            Self::Volume { volume, on } => {
                let nodes = on.iter().map(|(name, standing)| match standing {
                    Standing::Open => name.clone(),
                    Standing::Cordoned
                    | Standing::Draining
                    | Standing::Unreachable
                    | Standing::Dead => format!("{name}, which is {standing}"),
                });
                let nodes: Vec<String> = nodes.collect();
                write!(f, "its volume {volume} is on {}", nodes.join(" and "))
            }
            Self::Full { most: 1 } => f.write_str("one is there, and no more may be on a node"),
            Self::Full { most } => write!(f, "{most} are there, and no more may be on a node"),
            Self::Cpus { asked_milli, free_milli, total_milli } => {
                let [asked, free, total] =
                    [asked_milli, free_milli, total_milli].map(|it| cpus(*it));
                write!(f, "{asked} CPUs asked, {free} free of {total}")
            }
            Self::Memory { asked_bytes, free_bytes, total_bytes } => {
                let [asked, free, total] =
                    [asked_bytes, free_bytes, total_bytes].map(|it| bytes(*it));
                write!(f, "{asked} of memory asked, {free} free of {total}")
            }
            Self::Port { port, by, slot } => {
                write!(f, "host port {port} is taken by {}-{}-{slot}", by.project, by.service)
            }
            Self::Near(service) => write!(f, "{service}, to which it is to be near, is not there"),
            Self::Apart(service) => write!(f, "{service}, which it is to be away from, is there"),
            Self::Together(service, objection) => {
                write!(f, "{service} must be on the same node: {objection}")
            }
        }
    }
}

fn said(label: &str, has: Option<&String>) -> String {
    match has {
        Some(value) => format!("label {label} is {value}"),
        None => format!("it has no label {label}"),
    }
}

fn constrained(
    constraint: &Constraint,
    has: Option<&String>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    use crate::model::spec::NodeFact;
    let has = match &constraint.fact {
        NodeFact::Label(label) => said(label, has),
        NodeFact::Id
        | NodeFact::Hostname
        | NodeFact::Role
        | NodeFact::Os
        | NodeFact::Architecture => {
            format!("{} is {}", constraint.fact, has.map_or("unknown", String::as_str))
        }
        NodeFact::Unknown(fact) => format!("no node has {fact}"),
    };
    write!(f, "{has}, constraint wants {constraint}")
}

/// `1.5`
fn cpus(milli: u64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

const UNITS: [(u64, &str); 4] =
    [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// `1.9 GiB`, rounded down to a tenth.
fn bytes(bytes: u64) -> String {
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| *unit <= bytes) else {
        return format!("{bytes} bytes");
    };
    let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
    if tenths == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}
