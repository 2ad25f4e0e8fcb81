//! `fizz doctor`, with each fault made for real: on machines without a daemon, and between real members.

mod machine;
mod members;

use serde_json::Value;

/// The state and the findings' faults of a check; without findings, its summary.
fn found(examination: &Value, check: &str) -> (String, Vec<String>) {
    let checks = examination["checks"].as_array().unwrap();
    let it = checks.iter().find(|it| it["check"] == check).unwrap_or_else(|| panic!("{check}"));
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let findings = it["findings"].as_array().unwrap();
    let faults: Vec<String> = findings.iter().map(|it| text(&it["fault"])).collect();
    let faults = if faults.is_empty() { vec![text(&it["summary"])] } else { faults };
    (text(&it["state"]), faults)
}

/// All that is to be done about a check's findings.
fn cures(examination: &Value, check: &str) -> String {
    let checks = examination["checks"].as_array().unwrap();
    let it = checks.iter().find(|it| it["check"] == check).unwrap();
    let findings = it["findings"].as_array().unwrap().iter();
    let steps = findings.flat_map(|it| it["cure"].as_array().unwrap().clone());
    steps.map(|it| it.as_str().unwrap().to_owned() + "\n").collect()
}
