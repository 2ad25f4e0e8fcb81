//! Which system calls a container may make: a profile in Docker's form, as the runtime takes it.
//!
//! Without a profile nothing is filtered: there is no built-in one, which the guide says aloud.

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{model::spec::Security, runtime::RuntimeError};

/// A profile, in Docker's form: conditions beside each rule.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<Architecture>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

/// An architecture, and the narrower ones that it runs too.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Architecture {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

/// One rule and when it holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    /// The form of before names.
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Value>>,
    #[serde(default)]
    includes: Condition,
    #[serde(default)]
    excludes: Condition,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
}

/// `linux.seccomp`, if the container has a profile.
pub(super) fn profile(security: &Security) -> Result<Option<Value>, RuntimeError> {
    let said = security.options.iter().rev().find_map(|it| {
        let (name, value) = it.split_once(['=', ':'])?;
        (name == "seccomp").then_some(value)
    });
    let Some(path) = said.filter(|it| *it != "unconfined" && !security.privileged) else {
        return Ok(None);
    };
    let failed = |why: String| RuntimeError::Failed {
        doing: format!("read seccomp profile {path}"),
        why: format!("{why}; name a JSON file of this node, or `unconfined`"),
    };
    if path == "builtin" {
        return Err(failed("Fizz has none built in for containerd".to_owned()));
    }
    let text = if path.starts_with('{') {
        path.to_owned()
    } else {
        fs::read_to_string(path).map_err(|error| failed(error.to_string()))?
    };
    let profile: Profile =
        serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    Ok(Some(rendered(profile, security)))
}

fn rendered(profile: Profile, security: &Security) -> Value {
    let own = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    let mut architectures = profile.architectures;
    for it in profile.arch_map.into_iter().filter(|it| it.architecture == own) {
        architectures.push(it.architecture);
        architectures.extend(it.sub_architectures.into_iter().flatten());
    }
    let rules = profile.syscalls.into_iter().filter(|it| holds(it, security)).map(|it| {
        let mut rule = json!({
            "names": it.names.into_iter().chain(it.name).collect::<Vec<_>>(),
            "action": it.action,
        });
        if let Some(args) = it.args.filter(|it| !it.is_empty()) {
            rule["args"] = json!(args);
        }
        if let Some(number) = it.errno_ret {
            rule["errnoRet"] = json!(number);
        }
        rule
    });
    let mut seccomp = json!({
        "defaultAction": profile.default_action,
        "architectures": architectures,
        "syscalls": rules.collect::<Vec<_>>(),
    });
    if let Some(number) = profile.default_errno_ret {
        seccomp["defaultErrnoRet"] = json!(number);
    }
    seccomp
}

fn holds(rule: &Rule, security: &Security) -> bool {
    let has = |wanted: &String| {
        let short = wanted.trim_start_matches("CAP_");
        security.cap_add.iter().any(|it| {
            let it = it.to_uppercase();
            it == "ALL" || it.trim_start_matches("CAP_") == short
        })
    };
    let is_own = |it: &String| match it.as_str() {
        "amd64" | "x86_64" => cfg!(target_arch = "x86_64"),
        "arm64" | "aarch64" => cfg!(target_arch = "aarch64"),
        _ => false,
    };
    let some = |list: &Option<Vec<String>>| list.clone().filter(|it| !it.is_empty());
    let includes = some(&rule.includes.caps).is_none_or(|it| it.iter().all(has))
        && some(&rule.includes.arches).is_none_or(|it| it.iter().any(is_own));
    let excludes = some(&rule.excludes.caps).is_some_and(|it| it.iter().any(has))
        || some(&rule.excludes.arches).is_some_and(|it| it.iter().any(is_own));
    includes && !excludes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_holds_for_the_capabilities_that_it_names() {
        let text = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
            { "names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": { "caps": ["CAP_BPF"] } } ] }"#;
        for (cap, count) in [("BPF", 2), ("CHOWN", 1)] {
            let security = Security {
                options: vec![format!("seccomp={text}")],
                cap_add: vec![cap.to_owned()],
                ..Security::default()
            };
            let seccomp = profile(&security).unwrap().unwrap();
            assert_eq!(seccomp["syscalls"].as_array().unwrap().len(), count, "{cap}");
        }
    }
}
