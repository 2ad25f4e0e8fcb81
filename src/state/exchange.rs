//! How two members come to agree: what differs, and only that.
//!
//! Anti-entropy of delta-state CRDTs (Almeida, Shoker, Baquero, 2018, section 6). Digests say whether
//! there is anything to do, bucket digests where, and vectors what. A delta is every write that
//! stands and that the peer has not seen; [`ClusterState::join`] ends it. `docs/PROTOCOL.md` has the
//! arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    change::{Change, Kind, Place, Write},
    clock::{Dot, ReplicaId},
    cluster::ClusterState,
    digest::{BUCKETS, Digest},
    step::Step,
    vector::VersionVector,
};
use crate::model::WallTime;

/// What a full exchange tells beside the writes: which writes stand at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What the sender has seen.
    pub(super) seen: VersionVector,
    /// The writes that stand there.
    pub(super) live: BTreeSet<Dot>,
    /// What it has collected.
    pub(super) collected: BTreeMap<Kind, VersionVector>,
}

impl Inventory {
    /// What the sender has seen.
    #[must_use]
    pub fn seen(&self) -> &VersionVector {
        &self.seen
    }

    /// Whether the sender had seen a write.
    fn knows(&self, dot: Dot) -> bool {
        self.seen.has(dot) || self.live.contains(&dot)
    }
}

impl ClusterState {
    /// What the vector comes to. Members whose digests are equal have nothing to exchange.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.context.sums().whole()
    }

    /// What each bucket of the vector comes to.
    #[must_use]
    pub fn bucket_digests(&self) -> [Digest; BUCKETS] {
        self.context.sums().buckets()
    }

    /// Whether a write came before those that it comes after, so that the vector does not say all.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.context.has_gaps()
    }

    /// The last write that was seen of a writer, in order or out of it; 0 for none.
    #[must_use]
    pub fn last_seen_of(&self, replica: ReplicaId) -> u64 {
        self.context.highest(replica)
    }

    /// Whether a write was seen, in order or out of it.
    #[must_use]
    pub fn knows(&self, dot: Dot) -> bool {
        self.context.has(dot)
    }

    /// Whether a delta is enough for a peer. One that has not seen a removal that was collected here
    /// may hold what it removed, and nothing in a delta would end that: it needs a full exchange.
    #[must_use]
    pub fn can_serve(&self, peer: &VersionVector) -> bool {
        Kind::ALL.iter().all(|kind| peer.covers(self.collections.collected(*kind)))
    }

    /// Every write that stands and that a peer with this vector has not seen, by writer and number.
    /// The iterator may be cut anywhere. Once all of it was applied, and not before, the peer may
    /// [`join`](Self::join) the vector of this very state.
    pub fn delta_since<'a>(&'a self, peer: &'a VersionVector) -> impl Iterator<Item = Write> + 'a {
        self.context.since(peer).filter_map(|(dot, place)| self.write_at(dot, place))
    }

    fn write_at(&self, dot: Dot, place: &Place) -> Option<Write> {
        self.collections.writes_of(place).into_iter().find(|it| it.dot == dot)
    }

    /// Ends an exchange: everything that the sender has seen was seen here too. Right only after all
    /// of its delta was applied: then what it has seen and does not hold was ended by what is here
    /// now, or collected, which the sender may do only if this member has seen it.
    pub fn join(&mut self, sender: &VersionVector) -> Step {
        let mut step = Step::default();
        self.context.join(sender, &mut step);
        step
    }

    /// What a full exchange tells beside the delta.
    #[must_use]
    pub fn inventory(&self) -> Inventory {
        let collected = Kind::ALL.map(|it| (it, self.collections.collected(it).clone()));
        Inventory {
            seen: self.seen().clone(),
            live: self.context.live().keys().copied().collect(),
            collected: collected.into_iter().filter(|(_, it)| it.iter().next().is_some()).collect(),
        }
    }

    /// Ends a full exchange, after all of the delta was applied: what the sender has seen and does
    /// not hold is over.
    pub fn join_all(&mut self, sender: &Inventory) -> Step {
        let mut step = Step::default();
        self.adopt(sender, &mut step);
        step
    }

    /// Ends the full exchange with which a replica enters the cluster, or comes back after it was
    /// forgotten, with the member that admits it and after all of its delta was applied.
    ///
    /// Others may have collected a removal without waiting for this replica. A value of that key in a
    /// map that it brings, and nobody has heard of, would compete with the removal where that is still
    /// held, and not where it is gone. So what stands of the key here is written anew, as a write that
    /// follows every removal.
    ///
    /// A replica that is outside collects nothing that it ever had in common with the cluster.
    pub fn enter(&mut self, sender: &Inventory, now: WallTime) -> Step {
        let mut step = Step::default();
        let unheard = self.unheard_of(sender);
        self.adopt(sender, &mut step);
        for write in unheard {
            self.write(write.change, now, &mut step);
        }
        step
    }

    /// What stands of each key of a map that has a value here of which the sender has not heard, and
    /// none there: a removal that the value did not know of may be gone elsewhere.
    fn unheard_of(&self, sender: &Inventory) -> Vec<Write> {
        let live = self.context.live().iter();
        let unknown = live.filter(|(dot, place)| place.kind().is_map() && !sender.knows(**dot));
        let places: BTreeSet<&Place> = unknown.map(|(_, place)| place).collect();
        let needs = |place: &&Place| {
            let writes = self.collections.writes_of(place);
            let mut values = writes.iter().filter(|it| !it.change.is_removal());
            let unheard = values.clone().any(|it| !sender.knows(it.dot));
            unheard && !values.any(|it| sender.live.contains(&it.dot))
        };
        places.into_iter().filter(needs).filter_map(|it| self.collections.standing(it)).collect()
    }

    fn adopt(&mut self, sender: &Inventory, step: &mut Step) {
        let live = self.context.live().iter();
        let is_over = |dot: &Dot| sender.seen.has(*dot) && !sender.live.contains(dot);
        let over: Vec<(Dot, Place)> = live
            .filter(|(dot, _)| is_over(dot))
            .map(|(dot, place)| (*dot, place.clone()))
            .collect();
        for (dot, place) in over {
            self.end(&place, dot, step);
        }
        self.context.join(&sender.seen, step);
        for (&kind, writes) in &sender.collected {
            self.note_collected(kind, writes, step);
        }
    }

    /// What this state may say that it has seen, for others to [`collect`](Self::collect) by. Nothing
    /// while a write stands that came out of order from a writer that is no member: the vector does
    /// not speak for it, and nobody else may ever send what is missing.
    #[must_use]
    pub fn acknowledgement(&self, is_member: impl Fn(ReplicaId) -> bool) -> Option<&VersionVector> {
        let ahead: BTreeSet<ReplicaId> = self.context.writers_ahead().collect();
        ahead.into_iter().all(is_member).then(|| self.seen())
    }

    /// Whether others may rely on what it has seen when they collect: it has an
    /// [`acknowledgement`](Self::acknowledgement) towards its own nodes.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        self.acknowledgement(|it| self.is_a_nodes(it)).is_some()
    }

    /// What stands of the keys of which a write stands that came out of order from a writer that is no
    /// member: to be written anew, where what is missing does not come any more.
    #[must_use]
    pub fn orphans(&self) -> Vec<Change> {
        let ahead = self.context.since(self.seen());
        let orphans = ahead.filter(|(dot, _)| !self.is_a_nodes(dot.replica));
        let places: BTreeSet<&Place> = orphans.map(|(_, place)| place).collect();
        places.into_iter().filter_map(|it| Some(self.collections.standing(it)?.change)).collect()
    }

    /// Drops the removals that nobody can need any more: those that are causally stable.
    ///
    /// `members` are all other members and what each is known to have durably seen. A member that was
    /// forgotten stays among them until each of the others has seen the write that forgot it. A
    /// removal goes if everyone has seen it and what it had seen, and if this state has seen all that
    /// the members had written themselves, and all that they had of others who are no members: then
    /// whatever else comes was written by someone who knew of the removal. `docs/PROTOCOL.md` has the
    /// proof.
    pub fn collect(&mut self, members: &BTreeMap<ReplicaId, Arc<VersionVector>>) -> Step {
        let mut step = Step::default();
        if !self.has_bare_removals() || !self.has_caught_up_with(members) {
            return step;
        }
        // Most have seen the same, and share it.
        let mut everyone: Vec<Arc<VersionVector>> = members.values().cloned().collect();
        everyone.push(self.seen_shared());
        everyone.sort_unstable_by_key(Arc::as_ptr);
        everyone.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let is_stable = |dot: Dot, past: &VersionVector| {
            everyone.iter().all(|it| it.has(dot) && it.covers(past))
        };
        for (place, over) in self.collections.collectable(&is_stable) {
            for write in self.collections.writes_of(&place) {
                self.end(&place, write.dot, &mut step);
            }
            self.note_collected(place.kind(), &over, &mut step);
        }
        step
    }

    /// Whether there is anything that [`collect`](Self::collect) could drop: a key with nothing but
    /// removals.
    #[must_use]
    pub fn has_bare_removals(&self) -> bool {
        self.collections.has_bare()
    }

    fn has_caught_up_with(&self, members: &BTreeMap<ReplicaId, Arc<VersionVector>>) -> bool {
        let speaks_for_itself = |writer, about| writer != about && members.contains_key(&about);
        let mut covered: Option<&Arc<VersionVector>> = None;
        members.iter().all(|(&writer, vector)| {
            if covered.is_some_and(|it| Arc::ptr_eq(it, vector)) || self.seen().covers(vector) {
                covered = Some(vector);
                return true;
            }
            let mut told = vector.iter().filter(|it| !speaks_for_itself(writer, it.replica));
            told.all(|dot| self.seen().has(dot))
        })
    }

    fn note_collected(&mut self, kind: Kind, writes: &VersionVector, step: &mut Step) {
        self.collections.note_collected(kind, writes);
        let now = self.collections.collected(kind);
        let moved = writes.iter().map(|it| Dot { sequence: now.last(it.replica), ..it });
        step.collected.extend(moved.map(|dot| (kind, dot)));
    }
}
