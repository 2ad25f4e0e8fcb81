//! What a deployment changes, for a person to read before it happens.

use serde_json::Value;

use super::output::{BOLD, FAINT, GREEN, RED, Style, YELLOW, styled};
use crate::api::wire::{FieldChange, Plan, ServicePlan};

/// Parts of names of variables whose values are not shown.
const SECRET_WORDS: [&str; 11] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "PRIVATE",
    "APIKEY",
    "_KEY",
    "AUTH",
    "_PASS",
];

/// What stands for a value that is not shown.
const HIDDEN: &str = "(hidden)";

/// Whether anything changes at all.
#[must_use]
pub(super) fn changes_anything(plan: &Plan) -> bool {
    let services = plan.services.iter().any(|it| it.action != "keep");
    services || !plan.networks.is_empty() || !plan.volumes.is_empty()
}

/// The services that go, with their containers.
#[must_use]
pub(super) fn removed(plan: &Plan) -> Vec<&str> {
    let gone = plan.services.iter().filter(|it| it.action == "remove");
    gone.map(|it| it.service.as_str()).collect()
}

/// The plan as lines.
#[must_use]
pub(super) fn text(plan: &Plan, colour: bool) -> String {
    let mut lines = vec![styled(colour, BOLD, &heading(plan))];
    for (what, names) in [("network", &plan.networks), ("volume", &plan.volumes)] {
        lines.extend(names.iter().map(|name| line(colour, GREEN, '+', &format!("{what} {name}"))));
    }
    for service in plan.services.iter().filter(|it| it.action != "keep") {
        lines.extend(service_lines(service, colour));
    }
    if !plan.orphans.is_empty() {
        lines.push(format!(
            "  orphans, which stay: {} (remove them with --remove-orphans)",
            plan.orphans.join(", ")
        ));
    }
    lines.join("\n")
}

fn heading(plan: &Plan) -> String {
    let kept = plan.services.iter().filter(|it| it.action == "keep").count();
    let (project, version) = (&plan.project, plan.version);
    match (changes_anything(plan), version) {
        (false, _) => format!("Plan for {project}: nothing changes"),
        (true, 0) => format!("Plan for {project}, which is new:"),
        (true, _) if kept == 0 => format!("Plan for {project}, now at version {version}:"),
        (true, _) => {
            let s = if kept == 1 { "" } else { "s" };
            format!("Plan for {project}, now at version {version} ({kept} service{s} unchanged):")
        }
    }
}

fn service_lines(service: &ServicePlan, colour: bool) -> Vec<String> {
    let (style, sign) = match service.action.as_str() {
        "create" | "start" => (GREEN, '+'),
        "remove" => (RED, '-'),
        _ => (YELLOW, '~'),
    };
    let name = &service.service;
    let word = match service.action.as_str() {
        "create" => "created",
        "replace" => "replaced",
        "update" => "updated in place",
        "scale" => "scaled",
        "start" => "started",
        "remove" => "removed",
        other => other,
    };
    let head = format!("service {name}: {word}{}", replicas(service));
    let mut lines = vec![line(colour, style, sign, &head)];
    let width = service.changes.iter().map(|it| it.path.chars().count()).max().unwrap_or(0);
    lines.extend(service.changes.iter().map(|it| change_line(it, width, colour)));
    lines
}

fn replicas(service: &ServicePlan) -> String {
    match (service.replicas_before, service.replicas_after) {
        (before, 0) if service.action == "remove" && before != 0 => format!(" ({before} running)"),
        (before, after) if before == after || service.action == "create" => match after {
            0 | 1 => String::new(),
            _ => format!(" ({after} replicas)"),
        },
        (before, after) => format!(" (replicas {before} -> {after})"),
    }
}

fn change_line(change: &FieldChange, width: usize, colour: bool) -> String {
    let path = format!("{:width$}", change.path);
    let shown = |value: &Value| shown(&change.path, value);
    let change = match (&change.before, &change.after) {
        (Some(before), Some(after)) => format!("{} -> {}", shown(before), shown(after)),
        (None, Some(after)) => format!("+ {}", shown(after)),
        (Some(before), None) => format!("- {}", shown(before)),
        (None, None) => "changes".into(),
    };
    format!("      {}  {change}", styled(colour, FAINT, &path))
}

fn line(colour: bool, style: Style, sign: char, text: &str) -> String {
    format!("  {} {text}", styled(colour, style, &sign.to_string()))
}

/// A value as JSON on one line, without what looks like a secret.
fn shown(path: &str, value: &Value) -> String {
    let mut value = value.clone();
    let mut steps = path.rsplit('.');
    let last = steps.next().unwrap_or_default();
    let is_variable = steps.next().is_some_and(|it| matches!(it, "environment" | "args"));
    hide(last, is_variable, &mut value);
    if value == HIDDEN {
        return HIDDEN.to_owned();
    }
    super::format::shortened(&value.to_string(), 120)
}

/// Replaces the values of variables whose names look like secrets, and passwords within URLs.
fn hide(name: &str, is_variable: bool, value: &mut Value) {
    match value {
        Value::Object(members) => {
            let variables = matches!(name, "environment" | "args");
            for (name, member) in members {
                hide(name, variables, member);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|it| hide(name, is_variable, it)),
        Value::Null => {}
        _ if is_variable && looks_secret(name) => *value = HIDDEN.into(),
        Value::String(text) => {
            if let Some(safe) = without_password(text) {
                *text = safe;
            }
        }
        Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a variable's name says that its value is a secret.
#[must_use]
pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || matches!(name.as_str(), "PASS" | "KEY" | "PIN")
}

/// `scheme://user:password@host` without the password.
fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, _) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len()))?;
    let (login, _) = authority.rsplit_once('@')?;
    let (user, password) = login.split_once(':').filter(|(_, password)| !password.is_empty())?;
    let after = rest.get(user.len() + 1 + password.len()..)?;
    Some(format!("{scheme}://{user}:{HIDDEN}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(path: &str, before: Value, after: Value) -> FieldChange {
        let some = |value: Value| Some(value).filter(|it| !it.is_null());
        FieldChange { path: path.into(), before: some(before), after: some(after) }
    }

    #[test]
    fn a_plan_reads_service_by_service_and_field_by_field() {
        let service = |name: &str, action: &str, before, after, changes| ServicePlan {
            service: name.into(),
            action: action.into(),
            replicas_before: before,
            replicas_after: after,
            changes,
        };
        let plan = Plan {
            project: "shop".into(),
            version: 3,
            services: vec![
                service("db", "keep", 1, 1, vec![]),
                service("mail", "create", 0, 2, vec![]),
                service("old", "remove", 1, 0, vec![]),
                service(
                    "web",
                    "replace",
                    2,
                    3,
                    vec![
                        change("image", json!("web:1"), json!("web:2")),
                        change("environment.DB_PASSWORD", json!("a"), json!("b")),
                        change("init", Value::Null, json!(true)),
                    ],
                ),
            ],
            networks: vec!["shop_default".into()],
            volumes: vec![],
            orphans: vec!["cron".into()],
            overlay: false,
        };
        let expected = "\
Plan for shop, now at version 3 (1 service unchanged):
  + network shop_default
  + service mail: created (2 replicas)
  - service old: removed (1 running)
  ~ service web: replaced (replicas 2 -> 3)
      image                    \"web:1\" -> \"web:2\"
      environment.DB_PASSWORD  (hidden) -> (hidden)
      init                     + true
  orphans, which stay: cron (remove them with --remove-orphans)";
        assert_eq!(text(&plan, false), expected);
        assert_eq!(removed(&plan), ["old"]);
    }

    #[test]
    fn nothing_to_do_is_said_in_a_line() {
        let plan = Plan { project: "shop".into(), version: 1, ..Plan::default() };
        assert_eq!(text(&plan, false), "Plan for shop: nothing changes");
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for (path, value, expected) in [
            (
                "environment",
                json!({"API_TOKEN": "x", "A": "1"}),
                r#"{"API_TOKEN":"(hidden)","A":"1"}"#,
            ),
            ("environment.MYSQL_ROOT_PASSWORD", json!("x"), "(hidden)"),
            ("environment.KEYBOARD", json!("us"), "\"us\""),
            ("build.args.NPM_TOKEN", json!("x"), "(hidden)"),
            ("environment.URL", json!("postgres://u:p@db/x"), "\"postgres://u:(hidden)@db/x\""),
            ("secrets", json!(["db_password"]), "[\"db_password\"]"),
            ("environment.URL", json!("http://a:1/@x"), "\"http://a:1/@x\""),
        ] {
            assert_eq!(shown(path, &value), expected, "{path}");
        }
    }
}
