//! A cluster of foca on the same virtual network: `Config::new_lan`, identities of 8 bytes that renew,
//! its own postcard codec. `notify_down_members`, which is on in that, can be off.

use std::{num::NonZeroU32, time::Duration};

use foca::{Config, Foca, Identity, Member, Notification, PostcardCodec, Runtime, Timer};
use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::network::{Micros, Network, What};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Id {
    node: u32,
    life: u32,
}

impl Identity for Id {
    type Addr = u32;

    fn renew(&self) -> Option<Self> {
        Some(Self { node: self.node, life: self.life + 1 })
    }

    fn addr(&self) -> u32 {
        self.node
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        other.life < self.life
    }
}

/// What is on its way: a packet, or a timer of foca's.
pub(crate) enum Item {
    Packet(Vec<u8>),
    Timer(Timer<Id>),
}

/// What a foca wants, until it can be done.
#[derive(Default)]
struct Wishes {
    sends: Vec<(Id, Vec<u8>)>,
    timers: Vec<(Timer<Id>, Duration)>,
    downs: Vec<Id>,
    /// It was told that it is down itself.
    renamed: bool,
}

impl Runtime<Id> for Wishes {
    fn notify(&mut self, notification: Notification<'_, Id>) {
        match notification {
            Notification::MemberDown(id) => self.downs.push(*id),
            Notification::Rejoin(_) | Notification::Defunct => self.renamed = true,
            Notification::MemberUp(_)
            | Notification::Rename(..)
            | Notification::Active
            | Notification::Idle => {}
        }
    }

    fn send_to(&mut self, to: Id, data: &[u8]) {
        self.sends.push((to, data.to_vec()));
    }

    fn submit_after(&mut self, event: Timer<Id>, after: Duration) {
        self.timers.push((event, after));
    }
}

pub(crate) struct Cluster {
    pub(crate) network: Network<Item>,
    focas: Vec<Option<Foca<Id, PostcardCodec, StdRng, foca::NoCustomBroadcast>>>,
    /// Who saw whom go down, and when.
    pub(crate) downs: Vec<(Micros, usize, usize)>,
    /// How often a running member was told that it is down.
    pub(crate) renamed: usize,
}

impl Cluster {
    /// So many that all know each other and have just begun; whether they notify whom they hold for down.
    pub(crate) fn new(count: usize, seed: u64, notifies: bool) -> Self {
        let size = NonZeroU32::new(count as u32).unwrap();
        let config = || Config { notify_down_members: notifies, ..Config::new_lan(size) };
        let mut cluster =
            Self { network: Network::new(count, seed), focas: vec![], downs: vec![], renamed: 0 };
        for node in 0..count {
            let id = Id { node: node as u32, life: 0 };
            let random = StdRng::seed_from_u64(seed << 16 | node as u64);
            cluster.focas.push(Some(Foca::new(id, config(), random, PostcardCodec)));
        }
        for node in 0..count {
            let others = (0..count).filter(|it| *it != node);
            let others: Vec<_> =
                others.map(|it| Member::alive(Id { node: it as u32, life: 0 })).collect();
            let mut wishes = Wishes::default();
            let foca = cluster.focas[node].as_mut().unwrap();
            foca.apply_many(others.into_iter(), false, &mut wishes).unwrap();
            cluster.grant(node, wishes);
        }
        cluster.downs.clear();
        cluster
    }

    pub(crate) fn crash(&mut self, node: usize) {
        self.focas[node] = None;
    }

    pub(crate) fn pass(&mut self, micros: Micros) {
        let until = self.network.now + micros;
        while self.step(until) {}
    }

    pub(crate) fn until(
        &mut self,
        micros: Micros,
        is_so: impl Fn(&Self) -> bool,
    ) -> Option<Micros> {
        let until = self.network.now + micros;
        let mut checked = 0;
        loop {
            // Looking at all of them takes longer than a step does.
            if checked + 10_000 < self.network.now {
                checked = self.network.now;
                if is_so(self) {
                    return Some(self.network.now);
                }
            }
            if !self.step(until) {
                return None;
            }
        }
    }

    /// Whether every running one knows every running one, and nobody else.
    pub(crate) fn is_whole(&self) -> bool {
        let running = self.focas.iter().flatten().count();
        self.focas.iter().flatten().all(|it| it.num_members() + 1 == running)
    }

    fn step(&mut self, until: Micros) -> bool {
        let Some(what) = self.network.next(until) else { return false };
        if let What::Packet { to, packet, .. } = what
            && let Some(foca) = self.focas[to].as_mut()
        {
            let mut wishes = Wishes::default();
            // It says what it made of hostile or late packets; nothing here is hostile.
            let _told = match packet {
                Item::Packet(data) => foca.handle_data(&data, &mut wishes),
                Item::Timer(timer) => foca.handle_timer(timer, &mut wishes),
            };
            self.grant(to, wishes);
        }
        true
    }

    fn grant(&mut self, node: usize, wishes: Wishes) {
        for (to, data) in wishes.sends {
            let bytes = data.len() as u64;
            self.network.send(node, to.node as usize, Item::Packet(data), bytes);
        }
        for (timer, after) in wishes.timers {
            self.network.later(node, Item::Timer(timer), after.as_micros() as u64);
        }
        let now = self.network.now;
        self.downs.extend(wishes.downs.iter().map(|it| (now, node, it.node as usize)));
        self.renamed += usize::from(wishes.renamed);
    }
}
