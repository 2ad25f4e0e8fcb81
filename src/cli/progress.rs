//! How far a service's change is, in words, and what it comes to for who waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use super::{
    Invocation,
    board::Mood,
    history,
    watch::{Snapshot, Verdict, Wanted},
};
use crate::api::wire::{Plan, Service};

/// `2/10 updated, 1 failing`
#[must_use]
pub(super) fn status(service: &Service) -> (String, Mood) {
    let failed = service.failed.as_ref().map(|it| format!(": {}", it.why)).unwrap_or_default();
    let count = count(service);
    match service.stage.as_str() {
        "paused" => (format!("Paused at {count}{failed}"), Mood::Warning),
        "returning" => (format!("Going back, {count}{failed}"), Mood::Warning),
        "canary" => (format!("{count}, canary"), mood(service)),
        "done" if service.failed.is_some() => (format!("Went back{failed}"), Mood::Failed),
        "done" => (count, Mood::Done),
        _ => (count, mood(service)),
    }
}

fn mood(service: &Service) -> Mood {
    match service.failing {
        0 if service.replicas <= service.updated => Mood::Done,
        0 => Mood::Working,
        _ => Mood::Warning,
    }
}

/// How many are as they should be, and how many are in trouble.
#[must_use]
pub(super) fn count(service: &Service) -> String {
    let word = match (service.stage.as_str(), &service.previous) {
        ("returning", _) => "well",
        ("done", _) | (_, Some(_)) => "updated",
        (_, None) => "up",
    };
    let of = if service.mode.starts_with("global") {
        service.updated.to_string()
    } else {
        format!("{}/{}", service.updated, service.replicas)
    };
    match service.failing {
        0 => format!("{of} {word}"),
        failing => format!("{of} {word}, {failing} failing"),
    }
}

/// Whether a change of several replicas goes on that is worth a line of its own.
#[must_use]
pub(super) fn is_worth_showing(service: &Service) -> bool {
    let several = 1 < service.replicas || service.mode.starts_with("global");
    let goes_on = match service.stage.as_str() {
        "canary" | "paused" | "returning" => true,
        "going" => service.previous.is_some() || service.updated < service.replicas,
        _ => false,
    };
    several && goes_on && service.intent == "run"
}

/// Who waits for changes: what it knows from before.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Services whose last change had failed before.
    old: BTreeSet<String>,
    /// The revisions that services were to become.
    wanted: Mutex<BTreeMap<String, String>>,
    /// Wait until changes have proven themselves, not only until they are there.
    pub(super) proof: bool,
}

impl Waiting {
    /// For changes that begin after this, or go on.
    #[must_use]
    pub(super) fn from(before: &[Service]) -> Self {
        let failed = before.iter().filter(|it| it.failed.is_some() && it.stage == "done");
        Self { old: failed.map(|it| it.name.clone()).collect(), ..Self::default() }
    }

    /// What this plan changes is judged anew.
    pub(super) fn begins(&mut self, plan: &Plan) {
        let begun = plan.services.iter().filter(|it| is_change(&it.action));
        for service in begun {
            self.old.remove(&service.service);
        }
    }

    /// What it comes to, where `there` says whether all is there if nothing goes wrong.
    pub(super) fn judge(
        &self,
        now: &Snapshot,
        wanted: &Wanted,
        there: impl Fn(&Snapshot, &Wanted) -> Verdict,
    ) -> Verdict {
        let running = || now.services(wanted).filter(|it| it.intent == "run");
        let verdicts: Vec<Verdict> = running().map(|it| self.of(it)).collect();
        let failed = verdicts.iter().find(|it| matches!(it, Verdict::Failed { .. }));
        if let Some(failed) = failed {
            return failed.clone();
        }
        if verdicts.contains(&Verdict::Waiting) {
            return Verdict::Waiting;
        }
        // Where canaries wait for a person, that is all there is to wait for.
        let rest = now.services(wanted).filter(|it| !canaries_are_there(it));
        let rest: Wanted = rest.map(|it| it.name.clone()).collect();
        let waits_for_person = now.services(wanted).any(canaries_are_there);
        match (waits_for_person, rest.is_empty()) {
            (false, _) => there(now, wanted),
            (true, true) => Verdict::Done,
            (true, false) => there(now, &rest),
        }
    }

    fn of(&self, service: &Service) -> Verdict {
        let failed = |why: String| Verdict::Failed { service: service.name.clone(), why };
        let because = service.failed.as_ref().map(|it| format!(": {}", it.why));
        let stage = service.stage.as_str();
        match (stage, because) {
            ("paused", because) => {
                return failed(format!(
                    "its update is paused at {}{}",
                    count(service),
                    because.unwrap_or_default()
                ));
            }
            ("done", Some(because)) if !self.old.contains(&service.name) => {
                return failed(format!("its update failed, and it went back{because}"));
            }
            ("returning", _) => return Verdict::Waiting,
            _ => {}
        }
        if !self.is_still_wanted(service) {
            return failed("another change came after this one".into());
        }
        let unproven = stage == "going" && service.previous.is_some();
        if self.proof && unproven { Verdict::Waiting } else { Verdict::Done }
    }

    /// Whether a service is to become what it was to become when it was first looked at.
    fn is_still_wanted(&self, service: &Service) -> bool {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let first = wanted.entry(service.name.clone());
        *first.or_insert_with(|| service.revision.clone()) == service.revision
    }
}

/// Whether a plan's action makes new containers.
#[must_use]
pub(super) fn is_change(action: &str) -> bool {
    matches!(action, "create" | "replace")
}

fn canaries_are_there(service: &Service) -> bool {
    let canaries = service.canaries.unwrap_or(service.replicas).min(service.replicas);
    service.intent == "run" && service.stage == "canary" && canaries <= service.updated
}

/// What is left to a person, a line each.
#[must_use]
pub(super) fn left_to_a_person(now: &Snapshot, wanted: &Wanted) -> Vec<String> {
    let canaries = now.services(wanted).filter(|it| canaries_are_there(it));
    let line = |it: &Service| {
        format!(
            "Service {0} waits with its canaries, {1}.\n  `fizz rollout promote {0}` changes the others \
             too, `fizz rollout abort {0}` goes back.",
            it.name,
            count(it)
        )
    };
    canaries.map(line).collect()
}

/// What a service whose change failed runs now, and what to do, as lines below the reason.
pub(super) async fn aftermath(invocation: &Invocation, project: &str, service: &Service) -> String {
    let name = &service.name;
    match service.stage.as_str() {
        "paused" => format!(
            "\n  hint: `fizz rollout resume {name} -p {project}` goes on, `fizz rollout abort {name} -p \
             {project}` goes back"
        ),
        "done" if service.failed.is_some() => {
            // The reason is said either way; the version's number is a kindness.
            let versions = history::versions(invocation, project).await.unwrap_or_default();
            let what = match history::version_of(&versions, name) {
                Some(version) => format!("version {version} of it runs again"),
                None => "what it was before runs again".into(),
            };
            format!(
                "\n  now: {what}, {} of {} replicas well{}\n  hint: `fizz history {name} -p {project}` \
                 shows its versions",
                service.healthy,
                service.replicas,
                on_nodes(service)
            )
        }
        _ => String::new(),
    }
}

/// ` on one (2), two`
fn on_nodes(service: &Service) -> String {
    let node = |it: &crate::api::wire::ServiceNode| match it.containers {
        1 => it.name.clone(),
        several => format!("{} ({several})", it.name),
    };
    let nodes: Vec<String> = service.nodes.iter().map(node).collect();
    if nodes.is_empty() { String::new() } else { format!(" on {}", nodes.join(", ")) }
}

/// Where a service's containers are.
#[must_use]
pub(super) fn nodes_text(service: &Service) -> String {
    on_nodes(service).trim_start_matches(" on ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::watch::tests::service, *};
    use crate::api::wire::ServicePlan;
    use serde_json::{Value, json};

    fn web(more: Value) -> Service {
        let mut all = json!({"replicas": 10, "stage": "going", "previous": "r0", "updated": 2});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service("web", all)
    }

    fn now(services: Vec<Service>) -> Snapshot {
        Snapshot { deployed: true, services, ..Snapshot::default() }
    }

    fn judged(waiting: &Waiting, service: Service) -> Verdict {
        waiting.judge(&now(vec![service]), &Wanted::new(), |_, _| Verdict::Done)
    }

    fn failed(why: &str) -> Verdict {
        Verdict::Failed { service: "web".into(), why: why.into() }
    }

    fn fault() -> Value {
        json!({"revision": "r1", "why": "shop-web-1: no"})
    }

    #[test]
    fn a_change_says_how_far_it_is() {
        let text = |more| status(&web(more)).0;
        assert_eq!(text(json!({})), "2/10 updated");
        assert_eq!(text(json!({"failing": 1})), "2/10 updated, 1 failing");
        assert_eq!(text(json!({"previous": null})), "2/10 up");
        assert_eq!(text(json!({"mode": "global"})), "2 updated");
        assert_eq!(text(json!({"stage": "canary"})), "2/10 updated, canary");
        assert_eq!(text(json!({"stage": "returning"})), "Going back, 2/10 well");
        let paused = json!({"stage": "paused", "failed": fault()});
        assert_eq!(text(paused), "Paused at 2/10 updated: shop-web-1: no");
        assert_eq!(text(json!({"stage": "done", "updated": 10})), "10/10 updated");
        assert_eq!(text(json!({"stage": "done", "failed": fault()})), "Went back: shop-web-1: no");
    }

    #[test]
    fn a_change_of_one_replica_has_no_line_of_its_own() {
        assert!(is_worth_showing(&web(json!({}))));
        assert!(!is_worth_showing(&web(json!({"replicas": 1}))));
        assert!(!is_worth_showing(&web(json!({"stage": "done"}))));
        assert!(!is_worth_showing(&web(json!({"previous": null, "updated": 10}))));
    }

    #[test]
    fn a_change_that_went_back_or_was_paused_fails_who_waits_for_it() {
        let waiting = Waiting::default();
        let back = json!({"stage": "returning", "failed": fault()});
        assert_eq!(judged(&waiting, web(back)), Verdict::Waiting);
        let back = json!({"stage": "done", "failed": fault()});
        let why = "its update failed, and it went back: shop-web-1: no";
        assert_eq!(judged(&waiting, web(back)), failed(why));
        let paused = json!({"stage": "paused", "failed": fault()});
        let why = "its update is paused at 2/10 updated: shop-web-1: no";
        assert_eq!(judged(&waiting, web(paused)), failed(why));
    }

    #[test]
    fn what_failed_before_is_old_news_unless_it_is_changed_again() {
        let service = || web(json!({"stage": "done", "failed": fault()}));
        let mut waiting = Waiting::from(&[service()]);
        assert_eq!(judged(&waiting, service()), Verdict::Done);
        let change = |action: &str| Plan {
            services: vec![ServicePlan {
                service: "web".into(),
                action: action.into(),
                ..ServicePlan::default()
            }],
            ..Plan::default()
        };
        waiting.begins(&change("keep"));
        assert_eq!(judged(&waiting, service()), Verdict::Done);
        waiting.begins(&change("replace"));
        assert!(matches!(judged(&waiting, service()), Verdict::Failed { .. }));
    }

    #[test]
    fn proof_is_waited_for_only_where_it_was_asked_for() {
        let mut waiting = Waiting::default();
        assert_eq!(judged(&waiting, web(json!({}))), Verdict::Done);
        waiting.proof = true;
        assert_eq!(judged(&waiting, web(json!({}))), Verdict::Waiting);
        assert_eq!(judged(&waiting, web(json!({"previous": null}))), Verdict::Done);
        assert_eq!(judged(&waiting, web(json!({"stage": "done"}))), Verdict::Done);
    }

    #[test]
    fn who_was_overtaken_or_aborted_is_told() {
        let waiting = Waiting::default();
        assert_eq!(judged(&waiting, web(json!({}))), Verdict::Done);
        let aborted = json!({"stage": "returning", "revision": "r0"});
        assert_eq!(judged(&waiting, web(aborted)), Verdict::Waiting);
        let other = judged(&waiting, web(json!({"stage": "done", "revision": "r0"})));
        assert_eq!(other, failed("another change came after this one"));
    }

    #[test]
    fn canaries_that_are_there_are_left_to_a_person() {
        let canary = |updated: u32| {
            let more = json!({"stage": "canary", "canaries": 2, "updated": updated});
            now(vec![web(more), service("db", json!({}))])
        };
        let (waiting, all) = (Waiting::default(), Wanted::new());
        let there = |_: &Snapshot, wanted: &Wanted| match wanted.contains("db") {
            true => Verdict::Done,
            false => Verdict::Waiting,
        };
        assert_eq!(waiting.judge(&canary(1), &all, there), Verdict::Waiting);
        assert_eq!(waiting.judge(&canary(2), &all, there), Verdict::Done);
        assert_eq!(left_to_a_person(&canary(1), &all).len(), 0);
        assert!(left_to_a_person(&canary(2), &all)[0].contains("fizz rollout promote web"));
    }
}
