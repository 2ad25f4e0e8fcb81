//! What is wrong with a machine, and what to do about it: facts in, findings out.
//!
//! The shell looks (`daemon::doctor`); here is judged what it saw. Each file is one check, with the facts that
//! it needs. A fact that could not be looked at says why, and its check is *not checked*, never well.

mod bpf;
mod clock;
mod disk;
mod forwarding;
mod identity;
mod mtu;
mod names;
mod peer;
mod range;
mod ruleset;
mod runtime;
mod udp;
mod wireguard;

pub use bpf::BpfFacts;
pub use clock::ClockFacts;
pub use disk::Space;
pub use forwarding::ForwardingFacts;
pub use identity::IdentityFacts;
pub use mtu::MtuFacts;
pub use names::{NamesFacts, Resolver};
pub use peer::{Path, Peer, Told};
pub use range::{RangeFacts, Route};
pub use ruleset::{Barrier, barriers, legacy_barriers};
pub use runtime::{RuntimeFacts, RuntimeSeen};
pub use udp::{Holder, PortFacts};
pub use wireguard::{MeshWanted, WireguardFacts};

/// A fact, or why it could not be looked at.
pub type Looked<T> = Result<T, String>;

/// How a check came out, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// All is well.
    Ok,
    /// It could not be looked at.
    Unchecked,
    /// It works, and may not for long, or less well than it could.
    Warning,
    /// Something does not work.
    Failed,
}

impl Grade {
    /// As the API has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unchecked => "unchecked",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What is wrong, in one line.
    pub fault: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What to do, one step or one way each.
    pub cure: Vec<String>,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name: `udp`.
    pub name: &'static str,
    /// Its worst finding's; without any, whether it was looked at.
    pub grade: Grade,
    /// In one line.
    pub summary: String,
    /// What is wrong, the worst first.
    pub findings: Vec<Finding>,
}

impl Check {
    /// All is well unless there are findings.
    fn new(name: &'static str, well: impl Into<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|it| std::cmp::Reverse(it.grade));
        let worst = findings.first();
        let grade = worst.map_or(Grade::Ok, |it| it.grade);
        let summary = worst.map_or_else(|| well.into(), |it| it.fault.clone());
        Self { name, grade, summary, findings }
    }

    fn unchecked(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, grade: Grade::Unchecked, summary: why.into(), findings: vec![] }
    }
}

impl Finding {
    fn failed(fault: impl Into<String>) -> Self {
        Self::of(Grade::Failed, fault.into())
    }

    fn warning(fault: impl Into<String>) -> Self {
        Self::of(Grade::Warning, fault.into())
    }

    /// A part of a check that could not be looked at.
    fn unchecked(fault: impl Into<String>) -> Self {
        Self::of(Grade::Unchecked, fault.into())
    }

    fn of(grade: Grade, fault: String) -> Self {
        Self { grade, fault, seen: String::new(), why: String::new(), cure: vec![] }
    }

    fn seen(mut self, seen: impl Into<String>) -> Self {
        self.seen = seen.into();
        self
    }

    fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    fn cure(mut self, step: impl Into<String>) -> Self {
        self.cure.push(step.into());
        self
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The ports that other members send to.
    pub ports: Vec<PortFacts>,
    /// The other members; why nobody can tell, where the machine has no daemon or is in no cluster.
    pub peers: Looked<Vec<Peer>>,
    /// The largest packets.
    pub mtu: MtuFacts,
    /// Who could speak WireGuard here.
    pub wireguard: WireguardFacts,
    /// Programs in the kernel.
    pub bpf: BpfFacts,
    /// The clock.
    pub clock: ClockFacts,
    /// Containers' addresses.
    pub range: RangeFacts,
    /// Who this machine is.
    pub identity: IdentityFacts,
    /// The container runtime.
    pub runtime: RuntimeFacts,
    /// Whether packets are led on.
    pub forwarding: ForwardingFacts,
    /// The host's resolvers.
    pub names: NamesFacts,
    /// The file systems that are written to.
    pub disks: Vec<Looked<Space>>,
}

/// Judges all that was looked at.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Check> {
    let mesh = facts.wireguard.wanted;
    vec![
        udp::check(&facts.ports, &facts.peers),
        mtu::check(&facts.mtu, &facts.peers, mesh),
        wireguard::check(&facts.wireguard),
        bpf::check(&facts.bpf),
        clock::check(&facts.clock, &facts.peers),
        range::check(&facts.range, &facts.peers, mesh),
        identity::check(&facts.identity, &facts.peers),
        runtime::check(&facts.runtime),
        forwarding::check(&facts.forwarding, mesh),
        names::check(&facts.names),
        disk::check(&facts.disks),
    ]
}

/// Some names as a sentence has them: `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(all: &[T]) -> String {
    match all {
        [] => "none".to_owned(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_as_bad_as_its_worst_finding_and_says_that_first() {
        let check = Check::new("x", "well", vec![Finding::warning("w"), Finding::failed("f")]);
        assert_eq!((check.grade, check.summary.as_str()), (Grade::Failed, "f"));
        assert_eq!(check.findings[1].fault, "w");
        let check = Check::new("x", "well", vec![]);
        assert_eq!((check.grade, check.summary.as_str()), (Grade::Ok, "well"));
        assert!(Grade::Unchecked < Grade::Warning && Grade::Warning < Grade::Failed);
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed::<&str>(&[]), "none");
    }
}
