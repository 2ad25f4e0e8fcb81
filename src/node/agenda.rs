//! Which projects are to be settled, and when. What happens to one costs what that one is, however
//! many there are.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Moment, ProjectName};

/// Which projects are to be settled, and when.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    all: bool,
    now: BTreeSet<ProjectName>,
    later: BTreeMap<ProjectName, Moment>,
}

impl Agenda {
    /// Something happened to a project.
    pub(super) fn stir(&mut self, project: &ProjectName) {
        if !self.all && !self.now.contains(project) {
            self.now.insert(project.clone());
        }
    }

    /// Something happened to what all projects stand on.
    pub(super) fn stir_all(&mut self) {
        self.all = true;
        self.now.clear();
    }

    /// A project is to be looked at again then, and not before unless something happens.
    pub(super) fn again(&mut self, project: &ProjectName, when: Option<Moment>) {
        match when {
            Some(when) => drop(self.later.insert(project.clone(), when)),
            None => drop(self.later.remove(project)),
        }
    }

    /// A project was just looked at: what stirred it meanwhile was that.
    pub(super) fn looked_at(&mut self, project: &ProjectName) {
        self.now.remove(project);
    }

    /// When the next is due: at once, if something was stirred since the last look.
    pub(super) fn next(&self) -> Option<Moment> {
        let at_once = (self.all || !self.now.is_empty()).then_some(Moment(0));
        at_once.or_else(|| self.later.values().min().copied())
    }

    /// Takes what is due: `None` is everything.
    pub(super) fn take(&mut self, now: Moment) -> Option<BTreeSet<ProjectName>> {
        let due = self.later.iter().filter(|(_, when)| **when <= now);
        let due: Vec<ProjectName> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            self.later.remove(&name);
            self.stir(&name);
        }
        let projects = std::mem::take(&mut self.now);
        if std::mem::take(&mut self.all) { None } else { Some(projects) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_due_and_what_was_stirred_is_taken_once() {
        let mut agenda = Agenda::default();
        agenda.stir(&name("a"));
        agenda.again(&name("b"), Some(Moment(5)));
        agenda.again(&name("c"), Some(Moment(9)));
        assert_eq!(agenda.next(), Some(Moment(0)));
        agenda.looked_at(&name("a"));
        assert_eq!(agenda.next(), Some(Moment(5)));
        agenda.stir(&name("a"));
        assert_eq!(agenda.take(Moment(5)), Some([name("a"), name("b")].into()));
        assert_eq!(agenda.take(Moment(5)), Some(BTreeSet::new()));
        agenda.stir_all();
        assert_eq!(agenda.take(Moment(6)), None);
        assert_eq!(agenda.next(), Some(Moment(9)));
    }
}
