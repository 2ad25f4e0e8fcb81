//! Stories about what runs where: deployments come, change, go bad and back, grow, move and go, first
//! while all is well, then while everything else goes wrong.

use std::collections::BTreeMap;

use fizz::{
    model::{ProjectName, Random, RuntimeState, WallTime},
    node::{DownRequest, Request, RollbackRequest, ServiceVerb},
    state::Availability,
};

use crate::{
    effort::Effort,
    engine::Deed,
    guarantees::Guarantees,
    queue::{Micros, SECOND},
    stacks::{KINDS, Kind, Stack},
    users::Purpose,
    world::{What, World},
};

/// What is deployed.
#[derive(Default)]
pub(crate) struct Orchestra {
    pub(crate) stacks: Vec<Stack>,
    /// How many web servers of a deployment must be well, as long as nothing goes wrong.
    pub(crate) floors: BTreeMap<ProjectName, u32>,
    /// What was begun or written for a deployment: how often.
    pub(crate) begun: BTreeMap<ProjectName, u64>,
    /// Writes of anything else.
    pub(crate) written: u64,
    /// Nothing goes wrong but what users ask for.
    pub(crate) is_calm: bool,
    /// Nothing goes wrong that services which must never run twice are not proof against.
    pub(crate) is_fenced: bool,
    /// No node was closed so far: all that has a place at all has one at once.
    pub(crate) is_open: bool,
    pub(crate) effort: Effort,
    pub(crate) guarantees: Guarantees,
}

/// What a user does to a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Good,
    Bad,
    Scale,
    Avail,
    Rebalance,
    Rollback,
    Down,
    Kill,
}

const CALM: &[Wish] = &[
    Wish::Good,
    Wish::Good,
    Wish::Good,
    Wish::Bad,
    Wish::Bad,
    Wish::Scale,
    Wish::Scale,
    Wish::Avail,
    Wish::Avail,
    Wish::Rebalance,
    Wish::Rollback,
];

const WILD: &[Wish] = &[
    Wish::Good,
    Wish::Good,
    Wish::Bad,
    Wish::Scale,
    Wish::Avail,
    Wish::Rebalance,
    Wish::Rollback,
    Wish::Down,
    Wish::Kill,
];

impl World {
    /// One whole story.
    pub(crate) fn concert(&mut self, stacks: usize, seed: u64) {
        self.set_up(stacks, KINDS[seed as usize % KINDS.len()]);
        self.found();
        let most = self.machines.len();
        let first = if 10 < most { most } else { most - self.random.below(2).min(most - 2) };
        for newcomer in 1..first {
            self.pass(SECOND / 5);
            self.join(newcomer, 0);
        }
        self.pass(2 * SECOND);
        let count = self.orchestra().stacks.len();
        for index in 0..count {
            self.up(index);
        }
        self.queue.put(self.queue.now, What::Look);
        self.come_to_rest("the first deployments");
        self.await_ticks();
        self.play_calmly();
        if self.complaint.is_none() && self.random.below(4) != 0 {
            let is_fenced = self.random.below(3) == 0;
            let orchestra = self.orchestra();
            (orchestra.is_calm, orchestra.is_fenced) = (false, is_fenced);
            orchestra.floors.clear();
            let length = 10 + self.random.below(30) as Micros;
            self.go_wild(length * SECOND, is_fenced, seed as usize);
        }
        self.end_concert();
    }

    /// Machines have this and that.
    pub(crate) fn endow(&mut self) {
        for machine in &mut self.machines {
            machine.cpus = 1 + u32::try_from(self.random.below(4)).unwrap();
            machine.memory_bytes = (2 + self.random.below(7) as u64) << 30;
            let kind = if self.random.below(2) == 0 { "ssd" } else { "disk" };
            machine.labels = BTreeMap::from([("disk".into(), kind.into())]);
        }
    }

    fn set_up(&mut self, stacks: usize, first: Kind) {
        self.endow();
        let kind = |it: usize| (it == 0).then_some(first);
        let stacks = (0..stacks).map(|it| Stack::new(it, kind(it), &mut self.random)).collect();
        let orchestra = Orchestra {
            stacks,
            is_calm: true,
            is_fenced: true,
            is_open: true,
            ..Orchestra::default()
        };
        self.orchestra = Some(Box::new(orchestra));
    }

    pub(crate) fn orchestra(&mut self) -> &mut Orchestra {
        self.orchestra.get_or_insert_default()
    }

    /// Users ask for this and that, and nothing goes wrong.
    fn play_calmly(&mut self) {
        let is_timed = self.orchestra().stacks.iter().any(|it| it.style.kind == Kind::Timed);
        for _ in 0..2 + self.random.below(5) {
            if self.complaint.is_some() {
                return;
            }
            if is_timed {
                let a_while = self.random.below(60_000) as Micros * 1_000;
                self.pass(a_while);
            }
            self.set_floors();
            let wish = CALM[self.random.below(CALM.len())];
            self.play(wish);
            if self.random.below(3) == 0 {
                let most = [2, 10][self.random.below(2)];
                let a_while = self.random.below(1_000 * most) as Micros * 1_000;
                self.pass(a_while);
                let wish = CALM[self.random.below(CALM.len())];
                self.play(wish);
            }
            self.come_to_rest("what users asked for");
            if self.orchestra().is_open {
                self.count_ticks();
            }
        }
    }

    /// All deployments are as they should be: from now on they stay well.
    fn set_floors(&mut self) {
        let (well, done) = (self.well(), self.done());
        let orchestra = self.orchestra();
        for stack in &mut orchestra.stacks {
            stack.rests = done.contains(&stack.key());
        }
        let floor =
            |it: &Stack| (it.name.clone(), it.floor(well.get(&it.name).map_or(0, |it| *it)));
        orchestra.floors = orchestra.stacks.iter().map(floor).collect();
    }

    /// Waits until everything is as it should be.
    pub(crate) fn come_to_rest(&mut self, after: &str) {
        let end = self.queue.now + self.patience();
        let mut why = None;
        while self.complaint.is_none() && self.queue.now < end {
            self.pass(SECOND);
            if self.quiet {
                // Who is counted by none of the others any more has to come again.
                self.let_in_the_waiting();
            }
            why = self.discord();
            if why.is_none() {
                return self.weigh_effort();
            }
        }
        if let Some(why) = why {
            self.describe_services();
            self.complain(format!("after {after} it does not come to rest: {why}"));
        }
    }

    fn patience(&self) -> Micros {
        (150 + 4 * self.machines.len() as u64) * SECOND
    }

    fn end_concert(&mut self) {
        if self.complaint.is_some() {
            return;
        }
        self.calm();
        self.come_to_rest("all faults");
        self.settle();
        // What was bad may have begun to go back meanwhile.
        self.come_to_rest("all faults");
        if self.complaint.is_some() {
            return;
        }
        self.stay_at_rest();
        if let Some(why) = self.discord().filter(|_| self.complaint.is_none()) {
            // What runs by the clock may be running just now.
            if self.orchestra().stacks.iter().any(|it| it.style.kind == Kind::Timed) {
                return self.come_to_rest("a minute in which nothing happened");
            }
            self.complain(format!("it does not stay as it should be: {why}"));
        }
    }

    /// All is well: a minute goes by in which nothing is done and nothing is written.
    pub(crate) fn stay_at_rest(&mut self) {
        let (before, written) = (self.orchestra().begun.clone(), self.orchestra().written);
        // What is bad now may go back meanwhile, and be well then.
        let mut excused = self.troubled();
        self.pass(60 * SECOND);
        let after = self.orchestra().begun.clone();
        excused.append(&mut self.troubled());
        let timed = self.orchestra().stacks.iter().filter(|it| it.style.kind == Kind::Timed);
        excused.extend(timed.map(|it| it.name.clone()).collect::<Vec<_>>());
        let busy = |it: &(&ProjectName, &u64)| before.get(it.0) != Some(it.1);
        let busy: Vec<_> = after.iter().filter(busy).filter(|it| !excused.contains(it.0)).collect();
        if !busy.is_empty() {
            self.describe_services();
            self.complain(format!("something is done although all is well: {busy:?}"));
        }
        if self.orchestra().written != written {
            self.complain("something is written although all is well".to_owned());
        }
    }

    /// Something that a user does in the wild.
    pub(crate) fn play_wildly(&mut self) {
        let wish = WILD[self.random.below(WILD.len())];
        self.play(wish);
    }

    fn play(&mut self, wish: Wish) {
        let count = self.orchestra().stacks.len();
        let index = self.random.below(count);
        let stack = self.orchestra().stacks[index].clone();
        match wish {
            Wish::Bad if stack.style.kind == Kind::Timed => self.renew(index, true),
            Wish::Good | Wish::Bad => self.renew(index, wish == Wish::Good),
            Wish::Scale => self.scale(index),
            Wish::Avail => self.avail(),
            Wish::Rebalance => {
                self.tally.count("rebalances");
                self.orchestra().effort.shock();
                self.wish(Request::Rebalance { dry_run: false });
            }
            Wish::Rollback => {
                self.tally.count("rollbacks asked for");
                self.note_wish(index);
                self.orchestra().stacks[index].certain = None;
                self.forget_runs(index);
                let request = RollbackRequest {
                    project: stack.name,
                    service: None,
                    version: None,
                    content: None,
                    if_version: None,
                    dry_run: false,
                };
                self.wish(Request::Rollback(Box::new(request)));
            }
            Wish::Down => {
                self.tally.count("deployments removed");
                self.note_wish(index);
                let project = stack.name;
                self.wish(Request::Down(DownRequest {
                    project,
                    services: vec![],
                    volumes: false,
                    images: None,
                    grace: None,
                }));
            }
            Wish::Kill => self.kill_one(),
        }
    }

    fn wish(&mut self, request: Request) {
        let members = self.machines.iter().filter(|it| it.is_member() && it.is_running());
        let members: Vec<usize> = members.map(|it| it.index).collect();
        if let Some(at) = members.get(self.random.below(members.len())) {
            self.ask(*at, request, Purpose::Nothing);
        }
    }

    pub(crate) fn up(&mut self, index: usize) {
        self.note_wish(index);
        let request = self.orchestra().stacks[index].request();
        self.wish(request);
    }

    pub(crate) fn renew(&mut self, index: usize, is_well: bool) {
        self.tally.count(if is_well { "good changes" } else { "bad changes" });
        let mut stack = self.orchestra().stacks[index].clone();
        let before = stack.certain.clone();
        stack.change(is_well, &mut self.random);
        self.forget_runs(index);
        (stack.certain, stack.fails) = match (is_well, stack.style.action) {
            (true, _) => (Some(stack.image.clone()), false),
            // What has run is nothing to go back to.
            (false, _) if stack.style.kind.is_job() => (None, false),
            // What was not at rest yet did not prove itself: it goes back to what did, or to this. Of
            // nothing nothing fails.
            (false, "rollback") => (
                before.filter(|_| {
                    stack.rests && (stack.replicas != 0 || !stack.style.kind.is_counted())
                }),
                true,
            ),
            // What went wrong before stays so until the next that is well.,
            (false, _) => (None, false),
        };
        stack.rests = false;
        self.orchestra().stacks[index] = stack;
        self.up(index);
    }

    fn scale(&mut self, index: usize) {
        let stack = self.orchestra().stacks[index].clone();
        if !stack.style.kind.is_counted() {
            return;
        }
        self.tally.count("scalings");
        let most = stack.style.replicas_max() as usize + 1;
        let replicas = u32::try_from(self.random.below(most)).unwrap();
        self.widen(index);
        self.orchestra().stacks[index].replicas = replicas;
        self.note_wish(index);
        self.forget_runs(index);
        let orchestra = self.orchestra();
        let floor = stack.floor(replicas);
        if let Some(known) = orchestra.floors.get_mut(&stack.name) {
            *known = floor.min(*known);
        }
        let verb = ServiceVerb::Scale(BTreeMap::from([(stack.key().service, replicas)]));
        self.wish(Request::Services(stack.name, vec![], verb));
    }

    /// What has run to completion may run again.
    fn forget_runs(&mut self, index: usize) {
        let orchestra = self.orchestra();
        let stack = &orchestra.stacks[index];
        // A tick is one, whatever its run is made from.
        if stack.style.kind != Kind::Timed {
            orchestra.guarantees.renew(&stack.name);
        }
    }

    /// A node is drained, cordoned, or takes everything again.
    fn avail(&mut self) {
        self.orchestra().effort.shock();
        let kinds = [Availability::Draining, Availability::Cordoned, Availability::Open];
        let kind = kinds[self.random.below(3)];
        self.orchestra().is_open &= kind == Availability::Open;
        self.tally.count(match kind {
            Availability::Draining => "drains",
            Availability::Cordoned => "cordons",
            Availability::Open => "uncordons",
        });
        self.wish(Request::Avail(kind));
    }

    /// A container ends by itself.
    fn kill_one(&mut self) {
        let machines = self.machines.iter().filter(|it| it.is_member());
        let running = machines.flat_map(|machine| {
            machine.containers.iter().filter_map(move |(id, it)| match it.state {
                RuntimeState::Running { since, .. } => Some((machine.index, id.clone(), since)),
                RuntimeState::Created | RuntimeState::Exited { .. } | RuntimeState::Broken => None,
            })
        });
        let running: Vec<(usize, _, WallTime)> = running.collect();
        if running.is_empty() {
            return;
        }
        let (at, id, since) = running[self.random.below(running.len())].clone();
        let outages = self.machines[at].outages;
        self.queue.put(self.queue.now, What::Deed(at, outages, Deed::Die(id, since, 1)));
    }
}

/// How many deployments a story has.
pub(crate) fn stacks(machines: usize, random: &mut Random) -> usize {
    if 10 < machines { 10 + random.below(10) } else { 1 + random.below(4) }
}
