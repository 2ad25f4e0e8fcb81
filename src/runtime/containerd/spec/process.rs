//! What runs in a container: words, variables, user, capabilities, limits.

use std::{collections::BTreeMap, path::Path};

use serde_json::{Value, json};

use super::super::{errors::unsupported, oci::Defaults, users::User};
use crate::{
    model::spec::{CommandLine, ContainerSpec, Ulimit},
    runtime::RuntimeError,
};

/// What every process finds programs by, if its image says nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What Docker gives every container.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// All of them by their number (capabilities(7)).
const EVERY: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Programs that do nothing but reap and pass signals on, where packages put them.
const INITS: [(&str, &[&str]); 3] = [
    ("/usr/bin/catatonit", &["--"]),
    ("/usr/libexec/catatonit/catatonit", &["--"]),
    ("/usr/bin/tini", &["--"]),
];

/// Where the init process is in a container.
pub(in super::super) const INIT_TARGET: &str = "/sbin/fizz-init";

/// This node's init process, and what comes after its name.
pub(in super::super) fn init_program() -> Option<(&'static str, &'static [&'static str])> {
    INITS.into_iter().find(|(path, _)| Path::new(path).exists())
}

/// The words of the command line, the image's own where nothing replaces them. A new entrypoint takes
/// the image's command away (Docker's rule).
pub(in super::super) fn words(spec: &ContainerSpec, image: &Defaults) -> Vec<String> {
    let own = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    let (entrypoint, replaced) = match &spec.entrypoint {
        CommandLine::Image => (own(&image.entrypoint), false),
        CommandLine::Words(words) => (words.clone(), true),
    };
    let command = match &spec.command {
        CommandLine::Image if replaced => Vec::new(),
        CommandLine::Image => own(&image.cmd),
        CommandLine::Words(words) => words.clone(),
    };
    entrypoint.into_iter().chain(command).collect()
}

/// `process`.
pub(in super::super) fn process(
    spec: &ContainerSpec,
    image: &Defaults,
    user: &User,
    hostname: &str,
    bounding_set: u64,
) -> Result<Value, RuntimeError> {
    let mut args = words(spec, image);
    if spec.init == Some(true)
        && let Some((_, after)) = init_program()
    {
        let before = std::iter::once(INIT_TARGET).chain(after.iter().copied());
        args = before.map(str::to_owned).chain(args).collect();
    }
    let given = spec.working_dir.as_deref().or(image.working_dir.as_deref());
    let cwd = given.filter(|it| !it.is_empty()).unwrap_or("/");
    let security = &spec.security;
    let capabilities = if security.privileged {
        every_capability(bounding_set)
    } else {
        capabilities(&security.cap_add, &security.cap_drop, bounding_set)?
    };
    let mut process = json!({
        "terminal": spec.tty,
        "user": { "uid": user.uid, "gid": user.gid, "additionalGids": user.groups },
        "args": args,
        "env": environment(spec, image, hostname),
        "cwd": cwd,
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
        "rlimits": rlimits(&spec.resources.ulimits),
        "noNewPrivileges": false,
    });
    if let Some(score) = spec.resources.oom_score_adj {
        process["oomScoreAdj"] = json!(score);
    }
    options(&mut process, &security.options)?;
    Ok(process)
}

/// What `security_opt` says of the process; the rest of it is in `security` and `seccomp`.
fn options(process: &mut Value, options: &[String]) -> Result<(), RuntimeError> {
    for option in options {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => process["noNewPrivileges"] = json!(true),
            ("no-new-privileges", "false") | ("seccomp" | "systempaths", _) => {}
            ("apparmor", "unconfined") | ("label", "disable") => {}
            ("apparmor", profile) => process["apparmorProfile"] = json!(profile),
            _ => {
                return Err(unsupported(
                    format!("`security_opt: {option}`"),
                    "use `no-new-privileges`, `seccomp`, `apparmor` or `systempaths`",
                ));
            }
        }
    }
    Ok(())
}

/// The image's variables, then the service's; without a value they are taken away.
fn environment(spec: &ContainerSpec, image: &Defaults, hostname: &str) -> Vec<String> {
    let mut variables: BTreeMap<&str, &str> = [("PATH", PATH), ("HOSTNAME", hostname)].into();
    if spec.tty {
        variables.insert("TERM", "xterm");
    }
    let own = image.env.iter().flatten();
    variables.extend(own.filter_map(|it| it.split_once('=')));
    for (name, value) in &spec.environment {
        match value {
            Some(value) => variables.insert(name, value),
            None => variables.remove(name.as_str()),
        };
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

fn rlimits(limits: &BTreeMap<String, Ulimit>) -> Vec<Value> {
    // -1 is no limit, which the kernel's number for it is too.
    let number = |it: i64| u64::try_from(it).unwrap_or(u64::MAX);
    let limits = limits.iter().map(|(name, it)| {
        let kind = format!("RLIMIT_{}", name.to_uppercase());
        json!({ "type": kind, "soft": number(it.soft), "hard": number(it.hard) })
    });
    limits.collect()
}

fn capabilities(
    add: &[String],
    drop: &[String],
    bounding_set: u64,
) -> Result<Vec<String>, RuntimeError> {
    let (add, drop) = (named(add)?, named(drop)?);
    let mut has: Vec<&str> = match &add {
        None => every(bounding_set).collect(),
        Some(_) => CAPABILITIES.to_vec(),
    };
    match &drop {
        None => has.clear(),
        Some(drop) => has.retain(|it| !drop.contains(it)),
    }
    // What is added by name is there, whatever is dropped.
    has.extend(add.unwrap_or_default());
    has.sort_unstable();
    has.dedup();
    Ok(has.into_iter().map(|it| format!("CAP_{it}")).collect())
}

/// Capabilities by name, with or without `CAP_`; `None` is all of them.
fn named(names: &[String]) -> Result<Option<Vec<&'static str>>, RuntimeError> {
    let mut found = Vec::new();
    for name in names {
        let upper = name.to_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if short == "ALL" {
            return Ok(None);
        }
        let known = EVERY.iter().find(|it| **it == short);
        found.push(*known.ok_or_else(|| {
            unsupported(format!("capability `{name}`"), "use one of capabilities(7), or `ALL`")
        })?);
    }
    Ok(Some(found))
}

/// All that the engine may give: its own bounding set, a bit each (capabilities(7)).
pub(in super::super) fn every_capability(bounding_set: u64) -> Vec<String> {
    every(bounding_set).map(|it| format!("CAP_{it}")).collect()
}

fn every(bounding_set: u64) -> impl Iterator<Item = &'static str> {
    let numbered = EVERY.into_iter().enumerate();
    numbered.filter(move |(number, _)| bounding_set >> number & 1 == 1).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(add: &[&str], drop: &[&str]) -> Vec<String> {
        let owned = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        capabilities(&owned(add), &owned(drop), u64::MAX).unwrap()
    }

    #[test]
    fn capabilities_are_added_and_dropped_by_name_or_all_at_once() {
        assert_eq!(has(&[], &[]).len(), 14);
        assert_eq!(has(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert!(!has(&["ALL"], &["CAP_CHOWN"]).contains(&"CAP_CHOWN".to_owned()));
        assert!(capabilities(&["FLY".to_owned()], &[], u64::MAX).is_err());
        assert_eq!(every_capability(0b101), ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]);
    }

    #[test]
    fn a_new_entrypoint_takes_the_images_command_away() {
        let own = |it: &[&str]| Some(it.iter().map(|it| (*it).to_owned()).collect());
        let image = Defaults { entrypoint: own(&["/e"]), cmd: own(&["c"]), ..Defaults::default() };
        let mut spec = ContainerSpec::default();
        assert_eq!(words(&spec, &image), ["/e", "c"]);
        spec.entrypoint = CommandLine::Words(vec!["/x".to_owned()]);
        assert_eq!(words(&spec, &image), ["/x"]);
        spec.entrypoint = CommandLine::Image;
        spec.command = CommandLine::Words(Vec::new());
        assert_eq!(words(&spec, &image), ["/e"]);
    }
}
