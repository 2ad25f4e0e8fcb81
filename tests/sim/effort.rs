//! How much is done for what is wanted: no more than there is reason for, and nothing once all is well.
//!
//! Whatever users ask for, a replica changes at most once, and once back where that went wrong. What goes
//! wrong by itself is tried again, once each time. So a bound on what is made follows from how often
//! something was asked for or went wrong, and two nodes that undo each other's work are above it soon.

use std::collections::BTreeMap;

use fizz::model::ProjectName;

use crate::{
    queue::{Micros, SECOND},
    world::World,
};

/// What was done since all was last at rest, and what for.
#[derive(Default)]
pub(crate) struct Effort {
    projects: BTreeMap<ProjectName, Work>,
    /// What concerns all deployments: a node came, went, was not heard, or takes something else now.
    shocks: u64,
    since: Micros,
}

/// What was done for a deployment, and what for.
#[derive(Default)]
pub(crate) struct Work {
    made: u64,
    stopped: u64,
    /// Times that something was asked for.
    wishes: u64,
    /// What ended by itself, could not be made or started, or was given up.
    failures: u64,
    /// How many replicas there can have been at a time.
    width: u64,
    /// One of them was nowhere.
    lacks: bool,
}

impl Effort {
    fn of(&mut self, project: &ProjectName) -> &mut Work {
        if !self.projects.contains_key(project) {
            self.projects.insert(project.clone(), Work::default());
        }
        self.projects.entry(project.clone()).or_default()
    }

    pub(crate) fn made(&mut self, project: &ProjectName) {
        self.of(project).made += 1;
    }

    pub(crate) fn stopped(&mut self, project: &ProjectName) {
        self.of(project).stopped += 1;
    }

    pub(crate) fn failed(&mut self, project: &ProjectName) {
        self.of(project).failures += 1;
    }

    pub(crate) fn shock(&mut self) {
        self.shocks += 1;
    }
}

impl World {
    /// Something is asked for.
    pub(crate) fn note_wish(&mut self, index: usize) {
        self.widen(index).wishes += 1;
    }

    /// There are so many replicas of a deployment now.
    pub(crate) fn widen(&mut self, index: usize) -> &mut Work {
        let machines = self.machines.len();
        let orchestra = self.orchestra();
        let stack = &orchestra.stacks[index];
        let work = orchestra.effort.of(&stack.name);
        work.width = work.width.max(stack.width(machines));
        work
    }

    /// All is at rest: it took no more than there was reason for. From here on it is counted anew.
    pub(crate) fn weigh_effort(&mut self) {
        let machines = self.machines.len();
        let now = self.queue.now;
        // What still goes wrong is not at rest: what is done about it later has its reasons now.
        let (troubled, lacking) = (self.troubled(), self.lacking());
        let Some(orchestra) = &mut self.orchestra else { return };
        let mut effort = std::mem::take(&mut orchestra.effort);
        orchestra.effort.since = now;
        let minutes = 1 + (now - effort.since) / (60 * SECOND);
        let others: u64 = effort.projects.values().map(|it| it.wishes + it.failures).sum();
        let mut most = 0;
        for stack in &orchestra.stacks {
            let width = stack.width(machines);
            let Some(work) = effort.projects.get(&stack.name) else { continue };
            let runs = if stack.style.kind == crate::stacks::Kind::Timed { minutes } else { 0 };
            let room = if work.lacks { others } else { 0 };
            let reasons = work.wishes + effort.shocks + runs + room;
            // Each replica once for each reason, and once back.
            let replaced = 2 * width.max(work.width) * reasons;
            let made_max = replaced + work.failures;
            // What was there before, and what was made, each once; and what was given up once more.
            let stopped_max = replaced + work.made + work.failures;
            if made_max < work.made || stopped_max < work.stopped {
                let why = format!(
                    "{}: {} made and {} stopped, for {} wishes, {} shocks and {} failures of {width}",
                    stack.name, work.made, work.stopped, work.wishes, effort.shocks, work.failures
                );
                self.complaint.get_or_insert(why);
                return;
            }
            most = most.max((100 * work.made).checked_div(made_max).unwrap_or_default());
        }
        let projects = std::mem::take(&mut effort.projects).into_iter();
        let projects = projects.filter(|(name, _)| troubled.contains(name));
        let projects = projects
            .map(|(name, work)| (name, Work { wishes: work.wishes + effort.shocks, ..work }));
        orchestra.effort.projects = projects.collect();
        for name in lacking {
            orchestra.effort.of(&name).lacks = true;
        }
        self.say(|| format!("at rest: at most {most} % of what may be made"));
    }
}
