//! Runtime missing or too old.

use super::{Check, Finding, Looked};

const NAME: &str = "runtime";

/// What was found of the container runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeSeen {
    /// None is wanted (`runtime.kind: none`).
    NotWanted,
    /// It answers.
    Up {
        /// `docker`.
        name: String,
        /// `28.2.2`.
        version: String,
        /// Containers outlive its restart (Docker's `live-restore`).
        live_restore: bool,
    },
    /// None is there, or the one that is named is not.
    Absent(String),
    /// Its socket may not be opened.
    Forbidden(String),
    /// It is there and does not answer.
    Silent(String),
    /// It is too old, or not the one that is asked for.
    Unfit(String),
    /// It answers with an error.
    Broken(String),
}

/// The container runtime.
#[derive(Clone, Debug)]
pub struct RuntimeFacts {
    /// What was found.
    pub seen: Looked<RuntimeSeen>,
}

pub(super) fn check(facts: &RuntimeFacts) -> Check {
    let seen = match &facts.seen {
        Ok(seen) => seen,
        Err(why) => return Check::unchecked(NAME, why.clone()),
    };
    let why = "no container starts on this node";
    let finding = match seen {
        RuntimeSeen::NotWanted => {
            return Check::new(NAME, "none is wanted (`runtime.kind: none`)", vec![]);
        }
        RuntimeSeen::Up { name, version, live_restore } => {
            let lacks = name == "docker" && !live_restore;
            let found = lacks.then(no_live_restore);
            return Check::new(NAME, format!("{name} {version}"), found.into_iter().collect());
        }
        RuntimeSeen::Absent(said) => install(Finding::failed("no container runtime is here").seen(said)),
        RuntimeSeen::Forbidden(said) => Finding::failed("the runtime's socket may not be opened")
            .seen(said)
            .cure("run `fizz daemon` as root, and `fizz doctor` with sudo where no daemon runs"),
        RuntimeSeen::Silent(said) => Finding::failed("the container runtime does not answer")
            .seen(said)
            .cure("start it: `systemctl enable --now docker` (or `podman.socket`, or `containerd`), and look at its log: `journalctl -u docker`")
            .cure("or set `runtime.socket` in /etc/fizz/config.yaml to where it listens, and restart fizz"),
        RuntimeSeen::Unfit(said) => upgrade(Finding::failed("the container runtime will not do").seen(said)),
        RuntimeSeen::Broken(said) => Finding::failed("the container runtime is out of order")
            .seen(said)
            .cure("look at its log (`journalctl -u docker`), and restart it"),
    };
    Check::new(NAME, "", vec![finding.why(why)])
}

fn install(found: Finding) -> Finding {
    found
        .cure("Debian, Ubuntu: `apt-get install docker.io`, or `podman netavark aardvark-dns` and `systemctl enable --now podman.socket`")
        .cure("Fedora: `dnf install moby-engine && systemctl enable --now docker`, or `systemctl enable --now podman.socket`")
        .cure("Arch: `pacman -S docker && systemctl enable --now docker`")
        .cure("or set `runtime.socket` to where one is, or `runtime.kind: none` for a node without containers")
}

fn upgrade(found: Finding) -> Finding {
    found
        .cure("Fizz works with Docker 20.10 or newer, Podman 4.0 or newer, and containerd 1.6 or newer: upgrade it")
        .cure("where another one is meant: set `runtime.kind` and `runtime.socket` in /etc/fizz/config.yaml, and restart fizz")
}

fn no_live_restore() -> Finding {
    Finding::warning("Docker stops all containers when it restarts")
        .seen("`live-restore` is off")
        .why("an upgrade of Docker takes every container of this node down at once")
        .cure("put `\"live-restore\": true` into /etc/docker/daemon.json, and `systemctl reload docker`: no container is touched by that")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn judged(seen: RuntimeSeen) -> Check {
        check(&RuntimeFacts { seen: Ok(seen) })
    }

    fn up(name: &str, live_restore: bool) -> RuntimeSeen {
        RuntimeSeen::Up { name: name.to_owned(), version: "4.3.1".to_owned(), live_restore }
    }

    #[test]
    fn a_runtime_that_answers_is_well_and_dockers_should_restore() {
        assert_eq!(judged(up("docker", true)).summary, "docker 4.3.1");
        let docker = judged(up("docker", false));
        assert_eq!(docker.grade, Grade::Warning);
        assert_eq!(docker.summary, "Docker stops all containers when it restarts");
        assert_eq!(judged(up("podman", false)).grade, Grade::Ok);
        assert_eq!(judged(RuntimeSeen::NotWanted).grade, Grade::Ok);
    }

    #[test]
    fn each_way_of_not_having_one_fails_with_its_own_cure() {
        let said = || "said".to_owned();
        for (seen, fault, cure) in [
            (
                RuntimeSeen::Absent(said()),
                "no container runtime is here",
                "apt-get install docker.io",
            ),
            (RuntimeSeen::Forbidden(said()), "the runtime's socket may not be opened", "sudo"),
            (
                RuntimeSeen::Silent(said()),
                "the container runtime does not answer",
                "systemctl enable",
            ),
            (RuntimeSeen::Unfit(said()), "the container runtime will not do", "20.10 or newer"),
            (RuntimeSeen::Broken(said()), "the container runtime is out of order", "journalctl"),
        ] {
            let check = judged(seen);
            assert_eq!((check.grade, check.summary.as_str()), (Grade::Failed, fault));
            assert!(check.findings[0].cure.iter().any(|it| it.contains(cure)), "{check:?}");
            assert_eq!(check.findings[0].seen, "said");
        }
        let hidden = check(&RuntimeFacts { seen: Err("no".to_owned()) });
        assert_eq!(hidden.grade, Grade::Unchecked);
    }
}
