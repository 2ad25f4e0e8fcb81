//! The other members: each is asked by datagram and by stream, and tells what it hears of this node.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::time::{sleep, timeout};

use super::{Inside, machine};
use crate::{
    api::{self, wire},
    daemon::config::Config,
    doctor::{Looked, Path, Peer, Told},
    model::{Millis, Moment, NodeId, NodeState},
    network::echo,
    node::{ClusterView, Contact, Event},
};

/// How many members are asked at a time.
const ASKED_MAX: usize = 32;

/// How long a datagram and its answer may be under way, before another is sent.
const UNDER_WAY: Duration = Duration::from_millis(1_000);

/// How long the node may take to show what came: its picture is made anew each second.
const SHOWN_MAX: Duration = Duration::from_millis(1_500);

/// What came within so long is new: all of the above.
const RECENT: Millis = Millis(3_500);

/// How long a member may take to tell, which gives datagrams their time, too.
const TOLD_MAX: Duration = Duration::from_secs(8);

/// How long ago somebody else may have spoken as a member does.
const STRAY_MAX: Millis = Millis(60_000);

impl Inside {
    pub(super) fn clock_error_ms(&self) -> Option<i64> {
        self.office.view().cluster.as_ref()?.clock_error_ms
    }

    /// All other members.
    pub(super) async fn peers(&self) -> Looked<Vec<Peer>> {
        let view = self.office.view();
        if view.cluster.is_none() {
            return Err("this node is in no cluster".to_owned());
        }
        let state = &view.state;
        let others = state.nodes().iter().map(|(id, _)| *id);
        let others = others.filter(|it| *it != self.me && !state.has_left(*it));
        let others: Vec<NodeId> = others.collect();
        let mut all: Vec<(NodeId, Peer)> = stream::iter(others)
            .map(async |it| (it, self.peer(it).await))
            .buffer_unordered(ASKED_MAX)
            .collect()
            .await;
        self.note_handshakes(&mut all).await;
        all.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        Ok(all.into_iter().map(|it| it.1).collect())
    }

    /// When this node's device last agreed on keys with each, by one look at it.
    async fn note_handshakes(&self, all: &mut [(NodeId, Peer)]) {
        let Some(fabric) = &self.fabric else { return };
        let seen = fabric.peers().await.unwrap_or_default();
        let (state, now) = (self.office.view().state.clone(), self.clock.now().wall.0);
        for (id, peer) in all {
            let mesh = state.nodes().get(id).and_then(|it| it.mesh.as_ref());
            let device = seen.iter().find(|it| Some(it.key) == mesh.map(|it| it.key));
            let handshake = device.and_then(|it| it.handshake);
            if let Some(path) = &mut peer.path {
                path.handshake = handshake.map(|it| Millis(now.saturating_sub(it.0)));
            }
        }
    }

    async fn peer(&self, id: NodeId) -> Peer {
        self.seek(id).await;
        let address = self.address_of(id);
        let (told, path, ()) =
            tokio::join!(self.told(id, address), self.path(id), sleep(UNDER_WAY));
        self.seek(id).await;
        self.shown().await;
        let view = self.office.view();
        let contact = contact_of(view.cluster.as_ref(), id);
        let now = self.clock.now().moment;
        let standing = view.cluster.as_ref().and_then(|it| it.standings.get(&id));
        let name = view.state.nodes().get(&id).map(|it| it.name.to_string());
        let run = told.as_ref().ok().map(|(run, _)| run.clone());
        Peer {
            name: name.unwrap_or_else(|| id.to_string()),
            address,
            state: standing.map_or(NodeState::Joining, |it| it.state),
            answers: is_recent(contact.answered, now),
            heard: is_recent(contact.heard, now),
            told: told.map(|(_, told)| told),
            path,
            doubles: self.doubles(id, run, &contact, now).await,
        }
    }

    /// Has the node ask a member by a datagram whether it is there. What is full will be asked again.
    async fn seek(&self, id: NodeId) {
        drop(timeout(UNDER_WAY, self.events.send(Event::Seek(vec![id]))).await);
    }

    /// Waits until the node shows what has come meanwhile.
    async fn shown(&self) {
        drop(timeout(SHOWN_MAX, self.office.next_view()).await);
    }

    fn address_of(&self, id: NodeId) -> Option<SocketAddr> {
        let view = self.office.view();
        let seen = view.cluster.as_ref().and_then(|it| it.endpoints.get(&id).copied());
        let seen = seen.or_else(|| view.state.nodes().get(&id)?.address);
        self.office.ways_to(id, seen).first().copied()
    }

    /// What a member tells by stream, and which run of its daemon that is.
    async fn told(&self, id: NodeId, at: Option<SocketAddr>) -> Looked<(String, Told)> {
        let asked = timeout(TOLD_MAX, self.ask(id, at)).await;
        let slow = || Err(format!("no answer within {} s", TOLD_MAX.as_secs()));
        let (sight, sent, received) = asked.unwrap_or_else(|_| slow())?;
        let (there, back) = (signed(sight.asked_ms) - sent, signed(sight.answers_ms) - received);
        let busy = sight.answers_ms.saturating_sub(sight.asked_ms);
        let told = Told {
            hears: sight.heard_ms.is_some_and(|it| Millis(it) <= RECENT),
            machine: sight.machine,
            overlay: sight.overlay.parse().map_err(|_| "its answer is not understood")?,
            node_prefix: sight.node_prefix,
            // As NTP has it (RFC 5905, section 8).
            ahead_ms: i64::midpoint(there, back),
            took: Millis(u64::try_from(received - sent).unwrap_or(0).saturating_sub(busy)),
        };
        Ok((sight.run, told))
    }

    /// A member's sight, and when it was asked and answered by this clock.
    async fn ask(
        &self,
        id: NodeId,
        at: Option<SocketAddr>,
    ) -> Result<(wire::Sight, i64, i64), String> {
        let stream = self.office.dial_at(id, at).await?;
        let sent = signed(self.clock.now().wall.0);
        let path = format!("/v1/nodes/{id}/sight?of={}", self.me);
        let sight = api::get_of_member(stream, &path).await?;
        Ok((sight, sent, signed(self.clock.now().wall.0)))
    }

    /// What passes through the mesh; nothing is known where both are in none.
    async fn path(&self, id: NodeId) -> Option<Path> {
        let fabric = self.fabric.as_ref()?;
        let record = self.office.view().state.nodes().get(&id).cloned()?;
        let theirs = record.mesh.as_ref()?;
        let (to, mtu) = fabric.way_to(id);
        let passes = echo::largest(fabric.way_to(self.me).0, to, mtu).await;
        if let Err(why) = &passes {
            tracing::debug!(node = %id, %why, "no echo was sent through the mesh");
        }
        Some(Path {
            port: theirs.endpoints.first().map_or(0, SocketAddr::port),
            mtu,
            handshake: None,
            passes: passes.ok().flatten(),
        })
    }

    /// Where else a daemon proves that it has a member's key, and is not the one that was asked.
    async fn doubles(
        &self,
        id: NodeId,
        run: Option<String>,
        contact: &Contact,
        now: Moment,
    ) -> Vec<SocketAddr> {
        let Some(run) = run else { return vec![] };
        let mut found = vec![];
        for (address, at) in &contact.strays {
            if STRAY_MAX < now - *at {
                continue;
            }
            let answer = timeout(TOLD_MAX, self.ask(id, Some(*address))).await;
            if let Ok(Ok((sight, ..))) = answer
                && sight.run != run
            {
                found.push(*address);
            }
        }
        found
    }

    /// What this node hears of a member.
    pub(super) async fn sight(&self, config: &Config, of: NodeId) -> Result<wire::Sight, String> {
        let asked_ms = self.clock.now().wall.0;
        self.seek(of).await;
        sleep(UNDER_WAY).await;
        self.seek(of).await;
        self.shown().await;
        let view = self.office.view();
        let cluster = view.cluster.as_ref().ok_or("this node is in no cluster")?;
        let now = self.clock.now();
        let heard = contact_of(Some(cluster), of).heard;
        Ok(wire::Sight {
            run: self.run.clone(),
            machine: machine::id().ok().flatten(),
            overlay: config.network.overlay.to_string(),
            node_prefix: config.network.node_prefix,
            heard_ms: heard.map(|it| (now.moment - it).0),
            asked_ms,
            answers_ms: now.wall.0,
        })
    }
}

fn contact_of(cluster: Option<&ClusterView>, id: NodeId) -> Contact {
    cluster.and_then(|it| it.contacts.get(&id)).cloned().unwrap_or_default()
}

fn is_recent(at: Option<Moment>, now: Moment) -> bool {
    at.is_some_and(|it| now - it <= RECENT)
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}
