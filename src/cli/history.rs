//! What a deployment was before: `history`.

use clap::Args;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    format::{ago, now},
    output::{ListFormat, Listing},
    subject::Subject,
    table::columns,
};
use crate::{api::wire::Revision, model::WallTime};

/// `fizz history`.
#[derive(Args, Debug)]
pub(super) struct HistoryArgs {
    /// A project, or a service of the project of this folder or of -p; the project by default
    #[arg(value_name = "PROJECT|SERVICE")]
    pub(super) subject: Option<String>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz history`.
pub(super) async fn history(invocation: &Invocation, args: HistoryArgs) -> Result<(), CliError> {
    let subject = Subject::named(invocation, args.subject.as_deref()).await?;
    let mut list = versions(invocation, &subject.project).await?;
    if let Some(service) = &subject.service {
        list = of_service(list, service);
    }
    let output = &invocation.output;
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => {
            output.line(&history_table(&list, now()))?;
            if let Some(one) = list.iter().find(|it| it.conflict) {
                output.note(&format!(
                    "\nVersions of one number were applied in parts of the cluster that did not reach \
                     each other.\nOne of them runs; `fizz rollback {} {}` goes to this one.",
                    subject.service.as_ref().unwrap_or(&subject.project),
                    one.name
                ));
            }
            Ok(())
        }
    }
}

/// The versions of a project that are kept, newest first.
pub(super) async fn versions(
    invocation: &Invocation,
    project: &str,
) -> Result<Vec<Revision>, CliError> {
    invocation.client.get(&Route::to(&["deployments", project, "revisions"])).await
}

/// Those that changed a service, the oldest that has it, and that which it is now.
fn of_service(list: Vec<Revision>, service: &str) -> Vec<Revision> {
    let has = |it: &Revision| it.services.iter().any(|it| it == service);
    let oldest = list.iter().rposition(has);
    let concerns = |(at, it): &(usize, Revision)| {
        let changed = it.changes.iter().any(|it| it.service == service);
        changed || Some(*at) == oldest || it.runs.iter().any(|it| it == service)
    };
    list.into_iter().enumerate().filter(concerns).map(|(_, it)| it).collect()
}

fn history_table(list: &[Revision], now: WallTime) -> String {
    let rows = list.iter().map(|it| {
        let conflict = if it.conflict { " (conflict)" } else { "" };
        [
            format!("{}{conflict}", it.name),
            ago(now, it.at_ms),
            it.by_name.clone(),
            what(it),
            changes(it),
            runs(it),
        ]
    });
    columns(["VERSION", "WHEN", "BY", "WHAT", "CHANGES", "RUNS"], rows)
}

fn what(revision: &Revision) -> String {
    match revision.returns_to {
        Some(version) => format!("back to {version}"),
        None => "applied".into(),
    }
}

/// `+mail -old ~web`
fn changes(revision: &Revision) -> String {
    if revision.changes.is_empty() {
        return "-".into();
    }
    let change = |it: &crate::api::wire::RevisionChange| {
        let sign = match it.change.as_str() {
            "added" => "+",
            "removed" => "-",
            _ => "~",
        };
        format!("{sign}{}", it.service)
    };
    revision.changes.iter().map(change).collect::<Vec<_>>().join(" ")
}

fn runs(revision: &Revision) -> String {
    match revision.runs.len() {
        0 => "-".into(),
        some if some == revision.services.len() => "all".into(),
        _ => revision.runs.join(", "),
    }
}

/// What came after a version, oldest first, as lines.
pub(super) async fn since(
    invocation: &Invocation,
    project: &str,
    version: u64,
) -> Result<Vec<String>, CliError> {
    Ok(later(&versions(invocation, project).await?, version, now()))
}

fn later(list: &[Revision], version: u64, now: WallTime) -> Vec<String> {
    let later = list.iter().rev().filter(|it| version < it.version);
    let line = |it: &Revision| {
        let (name, when, by) = (&it.name, ago(now, it.at_ms), &it.by_name);
        format!("  version {name}, {when} by {by}, {}: {}", what(it), changes(it))
    };
    later.map(line).collect()
}

/// What people call the version that a service is now, if it is kept.
#[must_use]
pub(super) fn version_of(list: &[Revision], service: &str) -> Option<String> {
    let one = list.iter().find(|it| it.runs.iter().any(|it| it == service));
    one.map(|it| it.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn version(version: u64, name: &str, more: Value) -> Revision {
        let mut all = json!({"version": version, "content": "c", "name": name, "conflict": false,
            "at_ms": 0, "by": "n", "by_name": "one", "returns_to": null, "services": ["db", "web"],
            "changes": [], "runs": []});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn list() -> Vec<Revision> {
        let changed = |service: &str| json!([{"service": service, "change": "changed"}]);
        vec![
            version(4, "4", json!({"returns_to": 2, "changes": changed("web"), "runs": ["db"]})),
            version(
                3,
                "3.ab12",
                json!({"conflict": true, "changes": changed("db"), "runs": ["web"]}),
            ),
            version(
                3,
                "3.9f00",
                json!({"conflict": true, "by_name": "two", "changes": [
                {"service": "mail", "change": "added"}, {"service": "web", "change": "removed"}]}),
            ),
            version(2, "2", json!({})),
        ]
    }

    #[test]
    fn versions_say_who_did_what_and_which_runs() {
        let expected = "\
VERSION             WHEN            BY    WHAT        CHANGES      RUNS
4                   2 minutes ago   one   back to 2   ~web         db
3.ab12 (conflict)   2 minutes ago   one   applied     ~db          web
3.9f00 (conflict)   2 minutes ago   two   applied     +mail -web   -
2                   2 minutes ago   one   applied     -            -";
        assert_eq!(history_table(&list(), WallTime(120_000)), expected);
    }

    #[test]
    fn a_service_has_only_the_versions_that_changed_it_and_the_first() {
        let names = |service: &str| -> Vec<String> {
            of_service(list(), service).into_iter().map(|it| it.name).collect()
        };
        assert_eq!(names("db"), ["4", "3.ab12", "2"]);
        assert_eq!(names("mail"), ["3.9f00"]);
        assert_eq!(version_of(&list(), "web"), Some("3.ab12".into()));
        assert_eq!(version_of(&list(), "mail"), None);
    }

    #[test]
    fn what_came_after_a_plan_is_told_in_order() {
        let lines = later(&list(), 3, WallTime(5000));
        assert_eq!(lines, ["  version 4, 5 seconds ago by one, back to 2: ~web"]);
        assert_eq!(later(&list(), 2, WallTime(5000)).len(), 3);
    }
}
