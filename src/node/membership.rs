//! What users and newcomers want of the cluster itself: to come in, to go, new keys, labels.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use super::{Node, Now, Refusal, Response};
use crate::{
    gossip::{Epoch, Key},
    model::{ContainerId, NodeId, NodeName, NodeState},
    state::{Admission, Change, NodeRecord, ReplicaId, SealedSecret, SecretPath},
};

/// Who comes into the cluster.
#[derive(Clone, Debug)]
pub struct AdmitRequest {
    /// Who.
    pub node: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Fizz's version there.
    pub version: String,
    /// As whom it will write.
    pub replica: ReplicaId,
    /// What the cluster's keys are wrapped to.
    pub recipient: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// By what right.
    pub admission: Admission,
}

/// A new key of the cluster, wrapped for each member that is to have it.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Its number: one more than the newest.
    pub epoch: Epoch,
    /// The key, which the shell has on disk.
    pub key: Key,
    /// For the others.
    pub wrapped: BTreeMap<NodeId, SealedSecret>,
}

impl Node {
    /// Lets a node in: it counts from this write on.
    pub(super) fn admit(&mut self, request: AdmitRequest, now: Now) -> Result<Response, Refusal> {
        let AdmitRequest { node, name, version, replica, recipient, address, admission } = request;
        if node == self.me {
            return Err(Refusal::Conflict("this node is in its own cluster already".to_owned()));
        }
        let taken = |(id, it): (&NodeId, &Arc<NodeRecord>)| {
            *id != node && it.name == name && !self.state.has_left(*id)
        };
        if self.state.nodes().iter().any(taken) {
            return Err(Refusal::Conflict(format!(
                "a node named `{name}` is in the cluster already: give one of them another name \
                 (`node.name` in its configuration)"
            )));
        }
        let known = self.state.nodes().get(&node);
        let record = NodeRecord {
            address: Some(address),
            replica,
            incarnation: known.map_or(0, |it| it.incarnation),
            admission: Some(admission),
            recipient,
            key_epoch: self.key_epoch().0,
            version,
            assigned: known.map(|it| it.assigned.clone()).unwrap_or_default(),
            ..NodeRecord::unmeasured(name, NodeState::Joining, now.wall)
        };
        self.commit(Change::Node(node, Some(Arc::new(record))), now);
        self.notify_peer(node, NodeState::Joining);
        Ok(Response::Done)
    }

    /// Lets a member that was set back in again, as another writer.
    pub(super) fn readmit(
        &mut self,
        node: NodeId,
        replica: ReplicaId,
        now: Now,
    ) -> Result<Response, Refusal> {
        let missing = || Refusal::NotFound { what: "node", name: node.to_string() };
        let known = self.state.nodes().get(&node).filter(|_| !self.state.has_left(node));
        let mut record = NodeRecord::clone(known.ok_or_else(missing)?);
        record.replica = replica;
        self.commit(Change::Node(node, Some(Arc::new(record))), now);
        Ok(Response::Done)
    }

    /// Puts a member out of the cluster, and everyone's key with it.
    pub(super) fn remove_node(
        &mut self,
        node: NodeId,
        force: bool,
        rotation: Option<Rotation>,
        now: Now,
    ) -> Result<Response, Refusal> {
        let missing = || Refusal::NotFound { what: "node", name: node.to_string() };
        let known = self.state.nodes().get(&node).filter(|_| !self.state.has_left(node));
        let known = known.cloned().ok_or_else(missing)?;
        if node == self.me {
            let why = "a node does not remove itself: use `fizz leave`";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        let standing = self.standing(node);
        if !force && matches!(standing, Some(NodeState::Alive | NodeState::Suspicious)) {
            return Err(Refusal::Conflict(format!(
                "`{}` is alive: run `fizz leave` on it, or remove it with --force",
                known.name
            )));
        }
        let record = NodeRecord { state: NodeState::Left, since: now.wall, ..(*known).clone() };
        self.commit(Change::Node(node, Some(Arc::new(record))), now);
        if standing.is_none() {
            // Whoever has a standing is told of when it goes.
            self.notify_peer(node, NodeState::Left);
        }
        // Only a container's node writes of it, and this one does no more.
        let theirs = self.state.containers().filter(|it| it.node == node).map(|it| it.id);
        let theirs: Vec<ContainerId> = theirs.collect();
        self.remember_done(&theirs, now);
        self.release_addresses_of(&theirs, now);
        for id in theirs {
            let subject = self.subject(id);
            self.commit(Change::Container(id, None), now);
            if let Some(subject) = subject {
                self.notify("container.removed", subject, None, None);
            }
        }
        match rotation {
            Some(rotation) => self.rotate(rotation, now),
            None => Ok(Response::Done),
        }
    }

    /// Takes another key for the cluster.
    pub(super) fn rotate(&mut self, rotation: Rotation, now: Now) -> Result<Response, Refusal> {
        let Rotation { epoch, key, wrapped } = rotation;
        let newest = self.key_epoch();
        if epoch.0 != newest.0 + 1 {
            let (new, now) = (epoch.0, newest.0);
            return Err(Refusal::Conflict(format!(
                "the cluster's key is number {now} meanwhile, and {new} was to follow: try again"
            )));
        }
        let old = self.state.secrets().iter().map(|(path, _)| path);
        let old: Vec<SecretPath> = old
            .filter(|it| matches!(it, SecretPath::ClusterKey(old, _) if *old + 1 < newest.0))
            .cloned()
            .collect();
        for path in old {
            self.commit(Change::Secret(path, None), now);
        }
        for (node, sealed) in wrapped {
            let path = SecretPath::ClusterKey(epoch.0, node);
            self.commit(Change::Secret(path, Some(Arc::new(sealed))), now);
        }
        self.take_key(epoch, key);
        let reason = Some(format!("number {}", epoch.0).into());
        self.notify("cluster.key", super::Subject::Node, Some("rotated".to_owned()), reason);
        Ok(Response::Done)
    }

    /// Keeps something that is sealed, or drops it.
    pub(super) fn keep(
        &mut self,
        path: SecretPath,
        sealed: Option<SealedSecret>,
        now: Now,
    ) -> Result<Response, Refusal> {
        self.commit(Change::Secret(path, sealed.map(Arc::new)), now);
        Ok(Response::Done)
    }

    /// Gives this node labels, and takes some.
    pub(super) fn label(
        &mut self,
        labels: BTreeMap<String, Option<String>>,
        now: Now,
    ) -> Result<Response, Refusal> {
        let known = self.state.nodes().get(&self.me);
        let mut assigned = known.map(|it| it.assigned.clone()).unwrap_or_default();
        for (key, value) in labels {
            match value {
                Some(value) => drop(assigned.insert(key, value)),
                None if assigned.remove(&key).is_some() => {}
                None if self.facts.labels.contains_key(&key) => {
                    return Err(Refusal::Conflict(format!(
                        "label `{key}` is in the node's configuration (`node.labels`): remove it there"
                    )));
                }
                None => return Err(Refusal::NotFound { what: "label", name: key }),
            }
        }
        self.amend_me(now, |it| it.assigned = assigned);
        Ok(Response::Done)
    }

    /// Leaves. Whoever stays has written so already.
    pub(super) fn leave(&mut self) -> Result<Response, Refusal> {
        if self.cluster.is_none() {
            let why = "this node is in no cluster: there is nothing to leave";
            return Err(Refusal::Conflict(why.to_owned()));
        }
        self.leaving = true;
        Ok(Response::Done)
    }

    fn amend_me(&mut self, now: Now, change: impl FnOnce(&mut NodeRecord)) {
        let Some(known) = self.state.nodes().get(&self.me) else { return };
        let mut record = NodeRecord::clone(known);
        change(&mut record);
        if record != **known {
            self.commit(Change::Node(self.me, Some(Arc::new(record))), now);
        }
    }
}
