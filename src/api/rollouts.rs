//! Versions, explanations and moves as they travel: pure conversions, as [`super::render`].

use std::collections::{BTreeMap, BTreeSet};

use super::{lookup::name_of, render, wire};
use crate::{
    model::{NodeId, ProjectName, ServiceKey, ServiceName, Slot, WallTime},
    node::{Explained, View},
    scheduler::Move,
    state::{RevisionKey, RevisionRecord, Template},
};

/// The versions of a deployment that are kept, newest first.
pub(super) fn history(view: &View, project: &ProjectName) -> Vec<wire::Revision> {
    let kept: Vec<(&RevisionKey, &RevisionRecord)> =
        view.state.revisions_of(project).map(|(key, it)| (key, it.as_ref())).collect();
    let mut current: BTreeMap<&ServiceName, &Template> =
        view.state.services_of(project).map(|(key, it)| (&key.service, &it.template)).collect();
    let newest_first = kept.iter().rev().map(|(key, record)| {
        // What is the same in several versions counts for the newest of them.
        let runs: Vec<&ServiceName> = record
            .services
            .iter()
            .filter(|(name, it)| current.get(name).is_some_and(|now| now.is_same(it)))
            .map(|(name, _)| name)
            .collect();
        for name in &runs {
            current.remove(name);
        }
        revision(view, &kept, (key, record), &runs)
    });
    newest_first.collect()
}

fn revision(
    view: &View,
    kept: &[(&RevisionKey, &RevisionRecord)],
    (key, record): (&RevisionKey, &RevisionRecord),
    runs: &[&ServiceName],
) -> wire::Revision {
    let conflict = kept.iter().any(|(it, _)| it.version == key.version && it != &key);
    // Two that were applied at once have the same version before them.
    let before = kept.iter().rev().find(|(it, _)| it.version < key.version);
    wire::Revision {
        version: key.version,
        content: key.content.to_string(),
        name: match conflict {
            true => format!("{}.{}", key.version, key.short()),
            false => key.version.to_string(),
        },
        conflict,
        at_ms: record.at.0,
        by: record.by.to_string(),
        by_name: name_of(view, record.by),
        returns_to: record.returns_to,
        services: record.services.keys().map(ToString::to_string).collect(),
        changes: before.map(|(_, before)| changes(before, record)).unwrap_or_default(),
        runs: runs.iter().map(ToString::to_string).collect(),
    }
}

fn changes(before: &RevisionRecord, after: &RevisionRecord) -> Vec<wire::RevisionChange> {
    let names: BTreeSet<&ServiceName> =
        before.services.keys().chain(after.services.keys()).collect();
    let change = |name: &ServiceName| match (before.services.get(name), after.services.get(name)) {
        (Some(old), Some(new)) if old.is_same(new) => None,
        (Some(_), Some(_)) => Some("changed"),
        (None, Some(_)) => Some("added"),
        (Some(_), None) => Some("removed"),
        (None, None) => None,
    };
    let told = names.into_iter().filter_map(|name| {
        let change = change(name)?.to_owned();
        Some(wire::RevisionChange { service: name.to_string(), change })
    });
    told.collect()
}

/// Why a service's replicas are where they are.
pub(super) fn explanation(
    view: &View,
    key: &ServiceKey,
    told: Explained,
    now: WallTime,
) -> wire::Explanation {
    let runs_on = |slot: Slot| -> BTreeSet<NodeId> {
        let of_it = view.state.containers().filter(|it| it.service == *key && it.slot == slot);
        let runs = of_it.filter(|it| it.one_off.is_none() && it.state.is_up());
        runs.map(|it| it.node).collect()
    };
    // Where each node has one, all have the same slot.
    let posts = &told.posts;
    let shared = |slot: Slot| 1 < posts.iter().filter(|it| it.0 == slot).count();
    let replica = |slot: Slot, node: Option<NodeId>, why: &str| wire::ReplicaPlace {
        slot: slot.0,
        node: node.map(|it| it.to_string()),
        node_name: node.map(|it| name_of(view, it)),
        why: why.to_owned(),
        runs_on: runs_on(slot)
            .into_iter()
            .filter(|it| !shared(slot) || node == Some(*it))
            .map(|it| name_of(view, it))
            .collect(),
    };
    let placed = posts.iter().map(|(slot, node, why)| replica(*slot, Some(*node), why));
    let unplaced = told.unplaced.iter().map(|(slot, why)| replica(*slot, None, why));
    let mut replicas: Vec<wire::ReplicaPlace> = placed.chain(unplaced).collect();
    replicas.sort_by(|a, b| (a.slot, &a.node_name).cmp(&(b.slot, &b.node_name)));
    let verdict = |(node, objections): (NodeId, Vec<String>)| wire::NodeVerdict {
        node: node.to_string(),
        name: name_of(view, node),
        objections,
    };
    let mut nodes: Vec<wire::NodeVerdict> = told.nodes.into_iter().map(verdict).collect();
    nodes.sort_by(|a, b| (&a.name, &a.node).cmp(&(&b.name, &b.node)));
    wire::Explanation {
        project: key.project.to_string(),
        service: key.service.to_string(),
        replicas,
        nodes,
        with: told.with.iter().map(ToString::to_string).collect(),
        cron: render::cron(view, key, now),
    }
}

/// A replica that goes from one node to another.
pub(super) fn moved(view: &View, it: Move) -> wire::Move {
    wire::Move {
        project: it.service.project.to_string(),
        service: it.service.service.to_string(),
        slot: it.slot.0,
        from: it.from.to_string(),
        from_name: name_of(view, it.from),
        to: it.to.to_string(),
        to_name: name_of(view, it.to),
    }
}
