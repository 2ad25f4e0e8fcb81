//! No WireGuard: whether the kernel or a process can carry the mesh.

use super::{Check, Finding, Looked};

const NAME: &str = "wireguard";

/// Which mesh is asked for (`network.driver`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshWanted {
    /// None.
    No,
    /// Whichever works.
    Any,
    /// The kernel's.
    Kernel,
    /// A process's.
    Process,
}

/// Who could speak WireGuard here.
#[derive(Clone, Debug)]
pub struct WireguardFacts {
    /// Which is asked for.
    pub wanted: MeshWanted,
    /// Whether the kernel makes such a device; inside, what it said.
    pub kernel: Looked<Result<(), String>>,
    /// Whether a process could; inside, why not.
    pub process: Result<(), String>,
}

pub(super) fn check(facts: &WireguardFacts) -> Check {
    let kernel = match (&facts.kernel, facts.wanted) {
        (_, MeshWanted::No) => {
            return Check::new(NAME, "no mesh is wanted (`network.driver: bridge`)", vec![]);
        }
        (Err(why), MeshWanted::Any | MeshWanted::Kernel) => {
            return Check::unchecked(NAME, why.clone());
        }
        (Err(_), MeshWanted::Process) => Ok(()),
        (Ok(kernel), _) => kernel.clone(),
    };
    match (facts.wanted, kernel, &facts.process) {
        (MeshWanted::Any | MeshWanted::Kernel | MeshWanted::No, Ok(()), _) => {
            Check::new(NAME, "the kernel makes WireGuard devices", vec![])
        }
        (MeshWanted::Process, _, Ok(())) => {
            Check::new(NAME, "a process can be the WireGuard device, as is asked for", vec![])
        }
        (MeshWanted::Any | MeshWanted::No, Err(kernel), Ok(())) => {
            Check::new(NAME, "", vec![slower(&kernel)])
        }
        (MeshWanted::Kernel, Err(kernel), _) => {
            let seen =
                format!("the kernel says: {kernel}; `network.driver: wireguard` asks for it");
            let found = packages(none("this kernel has no WireGuard", seen));
            let other = "or set `network.driver: auto`: a process does it then, slower";
            Check::new(
                NAME,
                "",
                vec![if facts.process.is_ok() { found.cure(other) } else { found }],
            )
        }
        (MeshWanted::Process, _, Err(process)) => {
            let found = none("a process can't be a WireGuard device here", process.clone());
            Check::new(NAME, "", vec![tun(found)])
        }
        (MeshWanted::Any | MeshWanted::No, Err(kernel), Err(process)) => {
            let seen = format!("the kernel says: {kernel}; a process can't either: {process}");
            Check::new(NAME, "", vec![tun(packages(none("nothing speaks WireGuard here", seen)))])
        }
    }
}

fn none(fault: &str, seen: String) -> Finding {
    Finding::failed(fault)
        .seen(seen)
        .why("the daemon does not start in a cluster: it sends nothing between nodes unencrypted")
}

fn slower(kernel: &str) -> Finding {
    packages(
        Finding::warning("this kernel has no WireGuard: a process does it, slower")
            .seen(format!("the kernel says: {kernel}; /dev/net/tun is there"))
            .why("traffic between containers of different nodes costs more processor time"),
    )
}

fn packages(found: Finding) -> Finding {
    found
        .cure("run `modprobe wireguard` (Linux 5.6 or newer); where there is no such module, install it:")
        .cure("Debian: `apt-get install linux-image-amd64` (or `-arm64`), and reboot into it")
        .cure("Ubuntu: `apt-get install linux-modules-extra-$(uname -r)`")
        .cure("Fedora: `dnf install kernel-modules`, and reboot")
        .cure("Arch: `pacman -S linux`, and reboot")
}

fn tun(found: Finding) -> Finding {
    found.cure("for the process instead: `modprobe tun`; in a container, pass /dev/net/tun in (`--device /dev/net/tun`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn judged(wanted: MeshWanted, kernel: bool, process: bool) -> Check {
        let kernel = if kernel { Ok(()) } else { Err("not supported".to_owned()) };
        let process = if process { Ok(()) } else { Err("/dev/net/tun: no".to_owned()) };
        check(&WireguardFacts { wanted, kernel: Ok(kernel), process })
    }

    #[test]
    fn what_is_asked_for_must_work_and_any_is_as_good_as_the_kernels() {
        use MeshWanted as W;
        for (wanted, kernel, process, grade) in [
            (W::Any, true, false, Grade::Ok),
            (W::Any, false, true, Grade::Warning),
            (W::Any, false, false, Grade::Failed),
            (W::Kernel, true, false, Grade::Ok),
            (W::Kernel, false, true, Grade::Failed),
            (W::Kernel, false, false, Grade::Failed),
            (W::Process, false, true, Grade::Ok),
            (W::Process, true, false, Grade::Failed),
            (W::No, false, false, Grade::Ok),
        ] {
            let check = judged(wanted, kernel, process);
            assert_eq!(check.grade, grade, "{wanted:?} {kernel} {process}: {check:?}");
        }
        let none = judged(W::Any, false, false);
        assert_eq!(none.summary, "nothing speaks WireGuard here");
        for word in ["modprobe wireguard", "Debian", "Ubuntu", "Fedora", "Arch", "modprobe tun"] {
            assert!(none.findings[0].cure.iter().any(|it| it.contains(word)), "{word}: {none:?}");
        }
    }

    #[test]
    fn a_kernel_that_was_not_asked_is_not_checked_where_it_matters() {
        let facts = |wanted| {
            let kernel = Err("only root can ask".to_owned());
            check(&WireguardFacts { wanted, kernel, process: Ok(()) }).grade
        };
        assert_eq!(facts(MeshWanted::Any), Grade::Unchecked);
        assert_eq!(facts(MeshWanted::Process), Grade::Ok);
        assert_eq!(facts(MeshWanted::No), Grade::Ok);
    }
}
