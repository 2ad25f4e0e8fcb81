//! What the guide says of every Compose key is what the code does.
//!
//! `UPDATE=1 cargo test --test support` rewrites the guide's table.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use fizz::{
    compose::{
        decode,
        json::to_tree,
        problem::Problems,
        schema,
        support::{self, Support, When},
    },
    model::spec::ProjectSpec,
};
use serde_json::{Value, json};

#[path = "support/samples.rs"]
mod samples;

const BEGIN: &str = "<!-- begin: made from src/compose/support by tests/support.rs -->\n";
const END: &str = "<!-- end -->\n";

#[test]
fn the_guide_lists_what_the_code_does_with_every_key() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/guide/compose.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the guide has the begin marker");
    let (_, tail) = rest.split_once(END).expect("the guide has the end marker");
    let right = format!("{head}{BEGIN}{}{END}{tail}", listing());
    if page != right && env::var_os("UPDATE").is_some() {
        fs::write(&path, &right).unwrap();
        return;
    }
    assert!(page == right, "run with UPDATE=1, or put this between the markers:\n{}", listing());
}

fn listing() -> String {
    let mut text = String::from("\n| Key | | |\n|---|---|---|\n");
    let ignored = support::ignored_when_spanning();
    for key in support::keys().into_values() {
        let (verdict, mut detail) = match key.support {
            Support::Honoured => ("honoured", String::new()),
            Support::Differs(how) => ("differs", how.to_owned()),
            Support::Warned(why) => ("warning", format!("{}{why}", values(key.when))),
            Support::Refused(why) => ("error", format!("{}{why}", values(key.when))),
        };
        if let Some((when, why)) = ignored.get(key.path) {
            let before = if detail.is_empty() { "" } else { "; " };
            detail +=
                &format!("{before}**in a cluster** ignored with a warning: {}{why}", values(*when));
        }
        text.push_str(&format!("| `{}` | {verdict} | {detail} |\n", key.path));
    }
    text + "\n"
}

fn values(when: When) -> String {
    let quoted = |texts: &[&str]| texts.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>();
    match when {
        When::Set => String::new(),
        When::Is(texts) => format!("only {}: ", quoted(texts).join(" and ")),
        When::Not(texts) => format!("all but {}: ", quoted(texts).join(" and ")),
        When::Several => "more than one: ".to_owned(),
    }
}

#[test]
fn the_table_covers_the_specifications_keys_and_no_others() {
    let keys = support::keys();
    let schema: BTreeSet<String> = schema::key_paths().collect();
    assert!(schema.len() > 300, "the schema has {} keys", schema.len());
    let covered = |path: &str| keys.contains_key(path) || goes_with_a_parent(path);
    let missing: Vec<&String> = schema.iter().filter(|path| !covered(path)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
    let is_ours = |path: &str| path.split('.').any(|step| step == "x-fizz");
    let foreign: Vec<&&str> =
        keys.keys().filter(|path| !schema.contains(**path) && !is_ours(path)).collect();
    assert!(foreign.is_empty(), "not in the specification: {foreign:#?}");
    let twice: Vec<&&str> = keys.keys().filter(|path| goes_with_a_parent(path)).collect();
    assert!(twice.is_empty(), "decided by a parent: {twice:#?}");
}

/// Whether a key lies below one that is warned about or refused.
fn goes_with_a_parent(path: &str) -> bool {
    support::keys().into_values().any(|key| {
        let below = path.strip_prefix(key.path).is_some_and(|rest| rest.starts_with(['.', '[']));
        below && matches!(key.support, Support::Warned(_) | Support::Refused(_))
    })
}

/// Keys that are no part of what a container or a service is: the loader has resolved them, the
/// image's builder reads them from the model, or there is nothing to do for them.
const READ_ELSEWHERE: [&str; 7] = [
    "services.*.build.",
    "services.*.deploy.endpoint_mode",
    "services.*.env_file",
    "services.*.extends",
    "services.*.label_file",
    "services.*.profiles",
    "services.*.volumes[].consistency",
];

#[test]
fn every_honoured_key_of_a_service_arrives_in_its_spec() {
    let mut untried = Vec::new();
    for (path, key) in support::keys() {
        let Some(rest) = path.strip_prefix("services.*.") else { continue };
        let ignored = matches!(key.support, Support::Warned(_) | Support::Refused(_));
        if ignored && key.when == When::Set
            || READ_ELSEWHERE.iter().any(|it| path.starts_with(it))
            || is_tried_by_its_parts(path)
        {
            continue;
        }
        let Some(value) = samples::value(rest) else {
            untried.push(rest);
            continue;
        };
        let (with, without) = samples::services(rest, value);
        let (with, without) = (project(with), project(without));
        assert!(with.services != without.services, "{path} has no effect");
    }
    assert!(untried.is_empty(), "no sample for {untried:#?}");
}

fn is_tried_by_its_parts(path: &str) -> bool {
    let part = |it: &str| it.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
    path != "services.*.build" && support::keys().into_keys().any(part)
}

fn project(service: Value) -> ProjectSpec {
    let root = json!({
        "name": "p",
        "services": {"web": service, "db": {"image": "db", "deploy": {"mode": "replicated-job"}}},
        "networks": {"n": {}},
        "volumes": {"n": {}},
        "configs": {"n": {"content": ""}, "m": {"content": ""}},
        "secrets": {"n": {"environment": "N"}, "m": {"environment": "M"}},
    });
    let mut problems = Problems::default();
    let project = decode::project(&to_tree(&root), &mut problems);
    project.unwrap_or_else(|| panic!("{root}: {problems}"))
}
