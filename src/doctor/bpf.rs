//! No BPF: what Fizz's ingress in the kernel needs. Nothing else does, and the firewall carries published ports without
//! it, so that nothing here is a failure.

use super::{Check, Finding, Looked};

const NAME: &str = "bpf";

/// The first kernel with links for programs at network devices (tcx).
const TCX: (u32, u32) = (6, 6);

/// What the kernel has for programs.
#[derive(Clone, Debug)]
pub struct BpfFacts {
    /// Whether bpf(2) made a map; inside, what the kernel said.
    pub map: Looked<Result<(), String>>,
    /// The kernel's release: `6.1.0-18-amd64`.
    pub release: String,
    /// It describes its own types (`/sys/kernel/btf/vmlinux`).
    pub types: bool,
    /// A file system for what outlives a process is mounted at `/sys/fs/bpf`.
    pub pins: bool,
    /// How far the kernel is locked down (`none`, `integrity`, `confidentiality`), where it can be.
    pub lockdown: Option<String>,
    /// Why the firewall carries this node's published ports, though programs were to.
    pub degraded: Option<String>,
}

pub(super) fn check(facts: &BpfFacts) -> Check {
    let made = match &facts.map {
        Ok(made) => made,
        Err(why) => return Check::unchecked(NAME, why.clone()),
    };
    let mut findings = vec![];
    if let Err(why) = made {
        findings.push(refused(why));
    }
    if let Some(why) = &facts.degraded {
        let found = Finding::warning(
            "programs in the kernel do not carry this node's published ports",
        )
        .seen(why)
        .cure("mend what it says, and restart fizz; `fizz ingress ls` names the nodes that are so");
        findings.push(costs(found));
    }
    if facts.lockdown.as_deref() == Some("confidentiality") {
        let found = Finding::warning("the kernel is locked down: programs may not read its memory")
            .seen("/sys/kernel/security/lockdown is `confidentiality`")
            .cure("boot with `lockdown=integrity`");
        findings.push(costs(found));
    }
    if !facts.types {
        let found = Finding::warning("the kernel does not describe its types (BTF)")
            .seen("/sys/kernel/btf/vmlinux is not there")
            .cure("use a distribution's kernel, or build yours with CONFIG_DEBUG_INFO_BTF=y");
        findings.push(costs(found));
    }
    if !facts.pins {
        let found = Finding::warning("/sys/fs/bpf is not mounted")
            .seen("no file system of type bpf is at /sys/fs/bpf")
            .cure("`mount -t bpf bpf /sys/fs/bpf`; systemd does so at boot");
        findings.push(costs(found));
    }
    let (release, hook) = (&facts.release, hook(&facts.release));
    Check::new(
        NAME,
        format!("Linux {release} has BPF, with types and pins; hook: {hook}"),
        findings,
    )
}

/// Where programs are put at a device.
fn hook(release: &str) -> &'static str {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit());
    let mut next = || numbers.next().and_then(|it| it.parse::<u32>().ok());
    match (next(), next()) {
        (Some(major), Some(minor)) if TCX <= (major, minor) => "tcx",
        (_, _) => "clsact, as tcx came with Linux 6.6",
    }
}

fn refused(why: &str) -> Finding {
    let found = Finding::warning("the kernel takes no BPF programs")
        .seen(format!("bpf(BPF_MAP_CREATE) says: {why}"))
        .cure("use a kernel with CONFIG_BPF_SYSCALL=y, as all distributions' are");
    costs(found.cure("in a container, run with CAP_BPF and CAP_NET_ADMIN, and a seccomp profile that lets bpf(2) through"))
}

fn costs(found: Finding) -> Finding {
    found.why("published ports are carried by the firewall then, slower and without the clients' addresses")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    type Change = fn(&mut BpfFacts);

    fn facts() -> BpfFacts {
        BpfFacts {
            map: Ok(Ok(())),
            release: "6.18.5".to_owned(),
            types: true,
            pins: true,
            lockdown: Some("none".to_owned()),
            degraded: None,
        }
    }

    #[test]
    fn each_thing_that_is_missing_is_told_and_none_is_a_failure() {
        assert_eq!(check(&facts()).summary, "Linux 6.18.5 has BPF, with types and pins; hook: tcx");
        let cases: [(Change, &str); 5] = [
            (|it| it.map = Ok(Err("EPERM".to_owned())), "the kernel takes no BPF programs"),
            (
                |it| it.degraded = Some("EPERM".to_owned()),
                "programs in the kernel do not carry this node's published ports",
            ),
            (|it| it.types = false, "the kernel does not describe its types (BTF)"),
            (|it| it.pins = false, "/sys/fs/bpf is not mounted"),
            (
                |it| it.lockdown = Some("confidentiality".to_owned()),
                "the kernel is locked down: programs may not read its memory",
            ),
        ];
        for (change, fault) in cases {
            let mut facts = facts();
            change(&mut facts);
            let check = check(&facts);
            assert_eq!((check.grade, check.summary.as_str()), (Grade::Warning, fault));
        }
        let hidden = BpfFacts { map: Err("only root".to_owned()), ..facts() };
        assert_eq!(check(&hidden).grade, Grade::Unchecked);
    }

    #[test]
    fn the_hook_follows_the_kernels_release() {
        assert_eq!(hook("6.6.0-rc1"), "tcx");
        assert_eq!(hook("10.0"), "tcx");
        assert!(hook("6.5.13-amd64").starts_with("clsact"));
        assert!(hook("5.15").starts_with("clsact"));
        assert!(hook("strange").starts_with("clsact"));
    }
}
