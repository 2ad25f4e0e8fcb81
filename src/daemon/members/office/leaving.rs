//! Leaving: what runs here moves to others first.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::timeout};

use super::Office;
use crate::{
    model::{Millis, NodeId, ProjectName, ServiceKey, spec::ProjectSpec},
    node::{Refusal, Request, Response, View},
    scheduler::Rules,
    state::{Availability, ClusterState, ContainerRecord},
};

/// Of how many services is told why they did not move.
const TOLD_MAX: usize = 5;

impl Office {
    /// Leaves, and goes on with that if whoever asked for it goes away.
    pub(super) async fn leave_to_the_end(
        &self,
        force: bool,
        patience: Millis,
    ) -> Result<(), Refusal> {
        let (office, (done, result)) = (self.clone(), oneshot::channel());
        self.tasks.spawn("leave", async move {
            let left = office.go(force, patience).await;
            if let Err(Err(why)) = done.send(left) {
                tracing::warn!(%why, "this node does not leave");
            }
        });
        let stopping = |_| Refusal::Conflict("the daemon is stopping".to_owned());
        result.await.map_err(stopping)?
    }

    /// Has everything that runs here moved to the others. If not all can go in time, the node takes
    /// containers as it did before.
    pub(super) async fn empty(&self, patience: Millis) -> Result<(), Refusal> {
        let me = self.identity.id();
        let (before, lonely) = {
            let view = self.view.borrow();
            let mine = view.state.nodes().get(&me).map(|it| it.availability);
            (mine.unwrap_or_default(), only_here(me, &view.state, &view.projects))
        };
        if !lonely.is_empty() {
            return Err(Refusal::Conflict(format!(
                "{} on this node only, and without it {} nothing to run with. Back the data up and take \
                 the service down, or use --force: the data stays on this machine, and the service begins \
                 anew elsewhere without it",
                lonely.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
                if lonely.len() == 1 { "its service has" } else { "their services have" },
            )));
        }
        self.ask(Request::Avail(Availability::Draining)).await?;
        tracing::info!(node = %me, "this node is to leave its cluster: what runs here moves");
        let mut view = self.view.clone();
        let all_gone = view.wait_for(|it| staying(me, &it.state).next().is_none());
        let emptied = timeout(Duration::from_millis(patience.0), all_gone).await.map(drop);
        if emptied.is_ok() {
            return Ok(());
        }
        let why = self.why_they_stay(me).await;
        self.ask(Request::Avail(before)).await?;
        Err(Refusal::Conflict(format!(
            "not all that runs here has moved within {} s: {why}. The node goes on as before. Try again \
             with a longer --timeout, or leave with --force: what is left is stopped then",
            patience.0 / 1_000
        )))
    }

    /// What has not moved, and what speaks against the other nodes.
    async fn why_they_stay(&self, me: NodeId) -> String {
        let view = Arc::clone(&self.view.borrow());
        let mut by_service: BTreeMap<&ServiceKey, &Arc<ContainerRecord>> = BTreeMap::new();
        for it in staying(me, &view.state) {
            by_service.entry(&it.service).or_insert(it);
        }
        let mut told = vec![];
        for (&key, it) in by_service.iter().take(TOLD_MAX) {
            let against = match self.ask(Request::Explain(key.clone())).await {
                Ok(Response::Explained(it)) => against(&view, me, &it.nodes),
                Ok(
                    Response::Done
                    | Response::Planned(_)
                    | Response::Recorded(_)
                    | Response::Moves(_),
                )
                | Err(_) => String::new(),
            };
            told.push(format!("{}{against}", it.name));
        }
        match by_service.len().saturating_sub(TOLD_MAX) {
            0 => told.join("; "),
            more => format!("{}; and {more} more services", told.join("; ")),
        }
    }
}

/// The containers that keep a node from leaving: those that could still do something.
fn staying(me: NodeId, state: &ClusterState) -> impl Iterator<Item = &Arc<ContainerRecord>> {
    let mine = state.containers().filter(move |it| it.node == me);
    mine.filter(|it| it.one_off.is_none() || !it.state.is_over())
}

fn against(view: &View, me: NodeId, nodes: &[(NodeId, Vec<String>)]) -> String {
    let name = |id: NodeId| {
        view.state.nodes().get(&id).map_or_else(|| id.short(), |it| it.name.to_string())
    };
    let others = nodes.iter().filter(|(id, against)| *id != me && !against.is_empty());
    let words = others.map(|(id, against)| format!("{}: {}", name(*id), against.join(", ")));
    let words: Vec<String> = words.collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join("; ")) }
}

/// Volumes that no other member has and that services need.
fn only_here(
    me: NodeId,
    state: &ClusterState,
    projects: &BTreeMap<ProjectName, Arc<ProjectSpec>>,
) -> Vec<String> {
    let Some(mine) = state.nodes().get(&me) else { return vec![] };
    let is_elsewhere = |volume: &str| {
        let mut others = state.nodes().iter().filter(|(id, _)| **id != me && !state.has_left(**id));
        others.any(|(_, it)| it.volumes.contains(volume))
    };
    let mut found = vec![];
    for project in projects.values() {
        for service in project.services.values().filter(|it| !it.deploy.mode.is_on_each_node()) {
            let rules = Rules::of(service, project);
            let here = rules.ties().filter(|it| mine.volumes.contains(*it) && !is_elsewhere(it));
            let told =
                here.map(|it| format!("volume `{it}` of {}/{} is", project.name, service.name));
            found.extend(told);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compose::{decode, json::to_tree, problem::Problems},
        model::{NodeState, WallTime},
        state::{Change, NodeRecord, ReplicaId},
    };
    use serde_json::json;

    fn state(volumes: [&[&str]; 2]) -> ClusterState {
        let mut state = ClusterState::new(ReplicaId(1));
        for (id, volumes) in (1..).zip(volumes) {
            let record = NodeRecord {
                volumes: volumes.iter().map(|it| (*it).to_owned()).collect(),
                ..NodeRecord::unmeasured("n".parse().unwrap(), NodeState::Alive, WallTime(0))
            };
            drop(state.commit(Change::Node(NodeId(id), Some(Arc::new(record))), WallTime(0)));
        }
        state
    }

    #[test]
    fn a_volume_that_a_service_needs_and_only_this_node_has_keeps_it() {
        let mount = json!([{"type": "volume", "source": "data", "target": "/data"}]);
        let model = json!({
            "name": "shop",
            "services": {
                "db": {"image": "db", "volumes": mount},
                "log": {"image": "log", "volumes": mount, "deploy": {"mode": "global"}},
            },
            "volumes": {"data": {"name": "shop_data"}},
        });
        let project = decode::project(&to_tree(&model), &mut Problems::default()).unwrap();
        let projects = BTreeMap::from([(project.name.clone(), Arc::new(project))]);
        let found = |here, there| only_here(NodeId(1), &state([here, there]), &projects);
        assert_eq!(found(&["shop_data"], &[]), ["volume `shop_data` of shop/db is"]);
        assert_eq!(found(&["shop_data"], &["shop_data"]), <[&str; 0]>::default());
        assert_eq!(found(&["other"], &[]), <[&str; 0]>::default());
    }
}
