//! Services that wait for each other in a circle.
//!
//! A depth-first walk with a stack of its own, so that a long chain of services costs no stack of
//! ours. Every service and every dependency is looked at once; of circles that share services the
//! first is told.

use std::collections::BTreeMap;

use super::Project;
use crate::compose::{
    problem::Problems,
    tree::{Entry, Path},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Open,
    Done,
}

/// Notes each circle that the walk meets.
pub(super) fn check(project: &Project<'_>, problems: &mut Problems) {
    let mut visits: BTreeMap<&str, Visit> = BTreeMap::new();
    for start in project.services.keys() {
        if project.active.contains(*start) && !visits.contains_key(start) {
            walk(start, project, &mut visits, problems);
        }
    }
}

fn walk<'a>(
    start: &'a str,
    project: &Project<'a>,
    visits: &mut BTreeMap<&'a str, Visit>,
    problems: &mut Problems,
) {
    let needs = |name: &str| {
        let on = project.services.get(name).and_then(|it| it.get("depends_on")?.as_map());
        on.into_iter().flatten()
    };
    let mut trail = vec![(start, needs(start))];
    visits.insert(start, Visit::Open);
    let mut told = false;
    while let Some((name, rest)) = trail.last_mut() {
        let name = *name;
        let Some((needed, entry)) = rest.next() else {
            visits.insert(name, Visit::Done);
            trail.pop();
            continue;
        };
        match visits.get(needed.as_str()) {
            Some(Visit::Done) => {}
            Some(Visit::Open) if told => {}
            Some(Visit::Open) => {
                told = true;
                let names: Vec<&str> = trail.iter().map(|(name, _)| *name).collect();
                tell(&names, needed, entry, problems);
            }
            None if project.active.contains(needed) => {
                visits.insert(needed, Visit::Open);
                trail.push((needed, needs(needed)));
            }
            None => {}
        }
    }
}

fn tell(trail: &[&str], back_to: &str, entry: &Entry, problems: &mut Problems) {
    let from = trail.iter().position(|it| *it == back_to).unwrap_or(0);
    let mut circle = trail[from..].to_vec();
    circle.push(back_to);
    let last = trail.last().copied().unwrap_or_default();
    let path = Path::default().key("services").key(last).key("depends_on").key(back_to);
    let why = format!("dependency cycle: {}; take one of these out", circle.join(" -> "));
    problems.error(entry.key_at, &path, why);
}
