//! Canonical tree in, typed specs out: every value is checked and converted here, once.
//!
//! The tree is what `fizz config` prints: long forms, no variables. The same function runs on the
//! command line, where the tree has positions, and in the daemon, where it comes from JSON. What a
//! value means follows the Compose specification and, where that is silent, `docker compose`.

mod base64;
mod container;
mod contents;
pub(super) mod cursor;
mod deploy;
mod health;
mod limits;
mod mount;
mod network;
mod resource;
mod service;
pub(super) mod text;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    mem,
};

pub use contents::{CONTENT_BYTES_MAX, attach_contents, secret_values};

use super::{extension, places, problem::Problems, tree::Node};
use crate::model::{
    ProjectName, ServiceName,
    spec::{ProjectSpec, ServiceSpec},
};
use cursor::Cursor;

/// Decodes a canonical tree. Notes every problem; `None` if any of them is an error.
pub fn project(root: &Node, problems: &mut Problems) -> Option<ProjectSpec> {
    noting(root, problems, true)
}

/// Decodes what is left of a project: its services may refer to others that are gone.
pub fn part(root: &Node, problems: &mut Problems) -> Option<ProjectSpec> {
    noting(root, problems, false)
}

fn noting(root: &Node, problems: &mut Problems, whole: bool) -> Option<ProjectSpec> {
    let before = problems.has_errors();
    let sink = RefCell::new(mem::take(problems));
    let spec = decode(&Cursor::root(root, &sink), whole);
    *problems = sink.into_inner();
    spec.filter(|_| before || !problems.has_errors())
}

fn decode(root: &Cursor<'_>, whole: bool) -> Option<ProjectSpec> {
    let name = root.key("name");
    if !name.is_set() {
        name.error("the project has no name");
    }
    let name: ProjectName = name.name()?;
    let known = Known::of(root, &name, whole);
    let service = |(key, place): (&str, Cursor<'_>)| {
        let name = parse_service(key, &place)?;
        Some((name.clone(), service::decode(&place, &known, name)))
    };
    let services: BTreeMap<ServiceName, ServiceSpec> =
        root.key("services").members().into_iter().filter_map(service).collect();
    if whole {
        check_pre_deploy(root, &services);
    }
    Some(ProjectSpec {
        networks: resource::each(root, "networks", |it, key| resource::network(it, &name, key)),
        volumes: resource::each(root, "volumes", |it, key| resource::volume(it, &name, key)),
        configs: resource::each(root, "configs", |it, key| resource::config(it, &name, key)),
        secrets: resource::each(root, "secrets", |it, key| resource::secret(it, &name, key)),
        extension: extension::project(&root.key("x-fizz")),
        services,
        name,
    })
}

/// What comes before a service must end, and must not wait for it.
fn check_pre_deploy(root: &Cursor<'_>, services: &BTreeMap<ServiceName, ServiceSpec>) {
    for (name, spec) in services {
        let Some((first, job)) =
            spec.extension.pre_deploy.as_ref().and_then(|it| services.get_key_value(it))
        else {
            continue;
        };
        let message = if !job.deploy.mode.is_job() || job.extension.cron.is_some() {
            format!("`{first}` is no job that completes; give it `x-fizz.job`")
        } else if let Some(circle) = circle(services, first, name) {
            format!("`{first}` waits for this service itself ({circle}); take one of these out")
        } else {
            continue;
        };
        let place = root.key("services");
        place.key(name.as_str()).key("x-fizz").key("pre_deploy").error(message);
    }
}

/// How a service comes to wait for another, if it does: by `depends_on`, or by `pre_deploy`.
fn circle(
    services: &BTreeMap<ServiceName, ServiceSpec>,
    from: &ServiceName,
    to: &ServiceName,
) -> Option<String> {
    let mut came_from: BTreeMap<&ServiceName, &ServiceName> = BTreeMap::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        for next in services.get(name).into_iter().flat_map(|it| it.depends_on.keys()) {
            if next != from && !came_from.contains_key(next) {
                came_from.insert(next, name);
                open.push(next);
            }
        }
    }
    let mut way = vec![to];
    while let Some(before) = way.last().and_then(|it| came_from.get(it)) {
        way.push(before);
    }
    let names: Vec<&str> = way.iter().rev().map(|it| it.as_str()).collect();
    (1 < names.len()).then(|| names.join(" -> "))
}

/// What a service may refer to.
pub(super) struct Known<'a> {
    project: &'a ProjectName,
    whole: bool,
    services: BTreeSet<&'a str>,
    networks: BTreeSet<&'a str>,
    volumes: BTreeSet<&'a str>,
    configs: BTreeSet<&'a str>,
    secrets: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(root: &Cursor<'a>, project: &'a ProjectName, whole: bool) -> Self {
        let keys = |section| {
            let section = root.node().into_iter().flat_map(|it| places::section(it, section));
            section.map(|(key, _)| key).collect::<BTreeSet<_>>()
        };
        Self {
            project,
            whole,
            services: keys("services"),
            networks: keys("networks"),
            volumes: keys("volumes"),
            configs: keys("configs"),
            secrets: keys("secrets"),
        }
    }

    /// A reference to a service of this project.
    pub(super) fn service(&self, name: &str, place: &Cursor<'_>) -> Option<ServiceName> {
        if self.whole && !self.services.contains(name) {
            place.error(format!(
                "there is no service `{name}` in this project; declare it under `services`, or \
                 enable its profile"
            ));
            return None;
        }
        parse_service(name, place)
    }
}

fn parse_service(name: &str, place: &Cursor<'_>) -> Option<ServiceName> {
    name.parse().map_err(|error: crate::model::InvalidName| place.error(error.to_string())).ok()
}

/// Notes a reference to something that the file does not declare.
fn declared(known: &BTreeSet<&str>, section: &str, name: &str, place: &Cursor<'_>) {
    if !known.contains(name) {
        place.error(format!("`{name}` is not declared under the top-level `{section}`"));
    }
}

#[cfg(test)]
mod tests;
