//! How nodes begin and end, and how they are asked.

use std::collections::BTreeMap;

use fizz::{
    node::{Event, Refusal, Request, RequestId, Response},
    state::{ReplicaId, encode_write},
};

use crate::{
    ledger::Promise,
    machine::{Disk, Place},
    queue::SECOND,
    users::{Pending, Purpose},
    world::{What, World},
};

impl World {
    /// Asks a node for something.
    pub(crate) fn ask(&mut self, at: usize, request: Request, purpose: Purpose) {
        let Some(run) = self.machines[at].run.as_mut() else { return };
        run.requests += 1;
        let (number, id) = (run.number, RequestId(run.requests));
        self.say(|| format!("n{at} is asked: {}", short(&request)));
        self.pending.insert((number, id), Pending { purpose, wrote: None });
        self.queue.put(self.queue.now, What::Tell(at, number, Event::Asked(id, request)));
    }

    pub(crate) fn answered(
        &mut self,
        at: usize,
        number: u64,
        id: RequestId,
        answer: Result<Response, Refusal>,
    ) {
        let Some(pending) = self.pending.remove(&(number, id)) else {
            return self.complain(format!("n{at}: an answer that nobody waits for"));
        };
        self.note(id.0);
        let good = answer.is_ok();
        self.say(|| format!("n{at} answers: {:?}", answer.as_ref().map(|_| ())));
        match pending.purpose {
            Purpose::Write { key } => {
                let kind = if good { "user writes acknowledged" } else { "user writes refused" };
                self.tally.count(kind);
                if let Some(write) = pending.wrote {
                    let bytes = encode_write(&write).unwrap().len();
                    if fizz::gossip::PACKET_BYTES_MAX < bytes {
                        self.tally.count("writes too long for a packet");
                    }
                    self.ledger.promises.push(Promise { dot: write.dot, what: key });
                }
            }
            Purpose::Readmit { client, run, stream, seen } => {
                if good {
                    self.tell_all(client, run, stream, at, &seen, true);
                } else {
                    self.break_off(client, run, stream);
                }
            }
            Purpose::Admit { newcomer, replica } => {
                if good {
                    self.welcome(newcomer, replica, at);
                } else {
                    self.machines[newcomer].place = Place::Outside;
                }
            }
            Purpose::Remove { node, leaves } if good => self.part_with(node, leaves),
            Purpose::Remove { .. } | Purpose::Nothing => {}
        }
    }

    /// A node ends without a word, at any point of a commit.
    pub(crate) fn crash(&mut self, at: usize) {
        let Some(mut run) = self.machines[at].run.take() else { return };
        self.say(|| format!("n{at} crashes"));
        self.tally.count("crashes");
        self.account(&run.node.view());
        let groups = std::mem::take(&mut run.commits).lost();
        let kept = self.random.below(groups.len() + 1);
        for (number, group) in groups.into_iter().enumerate() {
            if number < kept {
                self.store(at, group.rows, &group.writes);
            } else if number == kept {
                self.tally.count("crashes that lost writes");
            }
        }
        // What was on the disk, and what others may have read, is there when it comes back.
        let seen = self.machines[at].disk.state();
        if !seen.seen().covers(run.view.seen()) {
            self.complain(format!("n{at}: the disk lost what was durable"));
        }
    }

    pub(crate) fn boot(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.is_running() || matches!(machine.place, Place::Outside | Place::Joining) {
            return;
        }
        if std::mem::take(&mut machine.set_back) {
            let others = self.machines.iter().filter(|it| it.is_member());
            let others = others.filter_map(|it| it.run.as_ref());
            let others: Vec<_> = others.map(|it| it.node.state().clone()).collect();
            let mine = self.machines[at].disk.state();
            self.ledger.forget(|dot| mine.knows(dot) || others.iter().any(|it| it.knows(dot)));
        }
        let machine = &mut self.machines[at];
        self.runs += 1;
        let (number, seed) = (self.runs, self.random.bits());
        machine.boot(number, seed, self.queue.now);
        let list = machine.containers.values().cloned().collect();
        self.say(|| format!("n{at} begins"));
        self.turn(at, Event::RuntimeFound("docker 1".into()));
        self.turn(at, Event::Observed(list, BTreeMap::new()));
    }

    /// A machine is out of the cluster.
    pub(crate) fn wipe(&mut self, at: usize) {
        let replica = ReplicaId(self.random.bits());
        let machine = &mut self.machines[at];
        if machine.place != Place::Leaving {
            return;
        }
        self.ledger.lost.insert(machine.disk.state().replica());
        machine.run = None;
        machine.disk = Disk::new(replica, machine.disk.keys.clone());
        machine.backup = None;
        machine.containers.clear();
        machine.place = Place::Outside;
        self.say(|| format!("n{at} is out"));
    }

    pub(crate) fn part_with(&mut self, node: usize, leaves: bool) {
        self.somebody_was_put_out = true;
        self.machines[node].place = Place::Leaving;
        self.ledger.lost.insert(self.machines[node].disk.state().replica());
        self.tally.count(if leaves { "leaves" } else { "removals of members" });
        if leaves {
            self.ask(node, Request::Leave, Purpose::Nothing);
        }
        let when = self.soon(10 * SECOND);
        self.queue.put(when, What::Wipe(node));
    }
}

/// A request in a few words.
fn short(request: &Request) -> String {
    format!("{request:?}").chars().take(100).collect()
}
