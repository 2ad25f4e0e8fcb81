//! A large cluster: hundreds of nodes, a thousand services, and a little that goes wrong.

use crate::{
    orchestra::Orchestra,
    queue::{MILLI, Micros, SECOND},
    stacks::{Kind, Stack},
    world::{What, World},
};

/// Between two newcomers, and between two deployments.
const PACE: Micros = 50 * MILLI;

/// How many deployments are changed.
const CHANGED: usize = 20;

impl World {
    /// So many services come, some change, and nodes crash, are cut off and are drained meanwhile.
    pub(crate) fn crowd(&mut self, services: usize) {
        self.endow();
        let random = &mut self.random;
        let stack = |it: usize| {
            let stack = Stack::new(it, Some(Kind::Replicated), random);
            Stack { replicas: 1 + (stack.replicas - 1) % 2, ..stack }
        };
        let stacks = (0..services).map(stack).collect();
        let orchestra = Orchestra { stacks, is_calm: true, ..Orchestra::default() };
        self.orchestra = Some(Box::new(orchestra));
        self.found();
        for newcomer in 1..self.machines.len() {
            self.pass(PACE);
            let introducer = self.random.below(newcomer.div_ceil(2));
            self.join(newcomer, introducer);
        }
        self.pass(20 * SECOND);
        self.let_all_in();
        self.tell_of_time("all are there");
        for index in 0..services {
            self.up(index);
            self.pass(PACE);
        }
        self.come_to_rest("the first deployments");
        self.tell_of_time("all run");
        for index in 0..CHANGED.min(services) {
            self.renew(index, index % 5 != 4);
        }
        self.come_to_rest("some changes");
        self.tell_of_time("some have changed");
        self.upset();
        self.come_to_rest("all faults");
        self.tell_of_time("all faults are over");
        self.stay_at_rest();
        self.tell_of_time("nothing happened for a minute");
    }

    /// Three nodes crash, one of them with all that runs on it, and a part of the network is cut off.
    fn upset(&mut self) {
        self.orchestra().is_calm = false;
        let count = self.machines.len();
        for (at, away) in [(count / 2, 2 * SECOND), (count / 3, 15 * SECOND)] {
            self.crash(at);
            self.queue.put(self.queue.now + away, What::Boot(at));
        }
        self.cut_off(count / 4);
        self.queue.put(self.queue.now + 20 * SECOND, What::Boot(count / 4));
        self.pass(SECOND);
        let is_apart = |at: usize| at.is_multiple_of(3);
        for from in 0..count {
            for to in (0..count).filter(|to| is_apart(from) != is_apart(*to)) {
                self.network.cut.insert((from, to));
            }
        }
        self.tally.count("partitions");
        for index in CHANGED..(2 * CHANGED).min(self.orchestra().stacks.len()) {
            self.renew(index, true);
        }
        self.pass(20 * SECOND);
        self.mend();
        self.pass(SECOND);
    }

    /// Who asked somebody that was no member itself asks again.
    fn let_all_in(&mut self) {
        let outside = self.machines.iter().filter(|it| !it.is_member());
        let outside: Vec<usize> = outside.map(|it| it.index).collect();
        for at in outside {
            self.join(at, 0);
            self.pass(PACE);
        }
        self.pass(20 * SECOND);
        if self.machines.iter().any(|it| !it.is_member()) {
            self.complain("some were not let in".to_owned());
        }
    }

    fn tell_of_time(&self, what: &str) {
        use std::io::Write as _;
        let seconds = self.queue.now / SECOND;
        let line = format!("{seconds:>6} virtual seconds: {what}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}
