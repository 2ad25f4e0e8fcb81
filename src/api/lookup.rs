//! Finding what a client means: by id, by name, or by the beginning of an id.

use std::{collections::BTreeSet, sync::Arc};

use super::problem::{Answer, Failure};
use crate::{
    model::{ContainerId, NodeId, ProjectName, RuntimeId, ServiceName},
    node::View,
    state::{ContainerRecord, NodeRecord},
};

/// The container that this text means.
pub(super) fn container(view: &View, text: &str) -> Answer<Arc<ContainerRecord>> {
    let all = view.state.containers().map(|it| (it.id.to_string(), it.name.as_str(), it));
    one("container", text, all).map(Arc::clone)
}

/// The node that this text means.
pub(super) fn node<'a>(view: &'a View, text: &str) -> Answer<(NodeId, &'a NodeRecord)> {
    let has_left = |id: NodeId| view.state.has_left(id);
    let all = || view.state.nodes().iter();
    let form = |(id, it): (&NodeId, &'a Arc<NodeRecord>)| {
        (id.to_string(), it.name.as_str(), (*id, it.as_ref()))
    };
    // A name goes to who is there before who was.
    match one("node", text, all().filter(|(id, _)| !has_left(**id)).map(form)) {
        Err(Failure::NotFound { .. }) => one("node", text, all().map(form)),
        found => found,
    }
}

/// What people call a node.
pub(super) fn name_of(view: &View, id: NodeId) -> String {
    view.state.nodes().get(&id).map_or_else(|| id.to_string(), |it| it.name.to_string())
}

/// A whole id or name decides; otherwise there must be exactly one whose id begins so.
fn one<'a, T>(
    what: &'static str,
    text: &str,
    all: impl Iterator<Item = (String, &'a str, T)>,
) -> Answer<T> {
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    for (id, name, it) in all {
        if id == text || name == text {
            named.push((id, name, it));
        } else if !text.is_empty() && id.starts_with(&text.to_ascii_lowercase()) {
            begun.push((id, name, it));
        }
    }
    let mut found = if named.is_empty() { begun } else { named };
    if found.len() > 1 {
        let candidates = found.iter().map(|(id, name, _)| format!("{name} ({id})")).collect();
        return Err(Failure::Ambiguous { what, text: text.to_owned(), candidates });
    }
    let missing = || Failure::NotFound { what, name: text.to_owned() };
    found.pop().map(|(_, _, it)| it).ok_or_else(missing)
}

/// The container as this node's runtime knows it.
pub(super) fn runtime_id(view: &View, record: &ContainerRecord) -> Answer<RuntimeId> {
    here(view, record)?;
    record.runtime_id.clone().ok_or_else(|| {
        Failure::Unfit(format!("`{}` is {} and not made yet", record.name, record.state))
    })
}

/// That this node runs it.
pub(super) fn here(view: &View, record: &ContainerRecord) -> Answer<()> {
    if record.node == view.me {
        return Ok(());
    }
    Err(Failure::Elsewhere { what: record.name.to_string(), node: name_of(view, record.node) })
}

/// Which containers a stream or a listing is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Of this project.
    pub(super) project: Option<ProjectName>,
    /// Of one of these services; empty is all.
    pub(super) services: BTreeSet<ServiceName>,
    /// This one.
    pub(super) container: Option<ContainerId>,
    /// Also containers of `fizz run`. One that is asked for itself always is.
    pub(super) one_offs: bool,
}

impl Filter {
    /// Reads `project=`, `service=` (several with commas between) and `container=`, all of which must
    /// be there.
    pub(super) fn parse(
        view: &View,
        project: Option<&str>,
        services: Option<&str>,
        container: Option<&str>,
    ) -> Answer<Self> {
        let mut filter =
            Self { project: project.map(parse_project).transpose()?, ..Self::default() };
        for service in services.into_iter().flat_map(|list| list.split(',')) {
            filter.services.insert(parse_service(service)?);
        }
        if let Some(text) = container.filter(|text| !text.is_empty()) {
            filter.container = Some(self::container(view, text)?.id);
        }
        filter.known(view)?;
        Ok(filter)
    }

    /// As part of a query, to ask another member with. Names need no escapes.
    pub(super) fn query(&self) -> String {
        let mut query = String::new();
        if let Some(project) = &self.project {
            query.push_str(&format!("&project={project}"));
        }
        if !self.services.is_empty() {
            let services: Vec<&str> = self.services.iter().map(ServiceName::as_str).collect();
            query.push_str(&format!("&service={}", services.join(",")));
        }
        if let Some(container) = self.container {
            query.push_str(&format!("&container={container}"));
        }
        query
    }

    /// That what it names is there.
    fn known(&self, view: &View) -> Answer<()> {
        let Some(project) = &self.project else { return Ok(()) };
        // A list of what a project has is empty while it has nothing: watching one may begin before
        // it is deployed.
        if !self.project_is_there(view) {
            return Ok(());
        }
        let known: BTreeSet<&ServiceName> = (view.state.services_of(project))
            .map(|(key, _)| &key.service)
            .chain(view.state.containers().map(|it| &it.service.service))
            .collect();
        match self.services.iter().find(|service| !known.contains(service)) {
            Some(service) => {
                Err(Failure::NotFound { what: "service", name: format!("{project}/{service}") })
            }
            None => Ok(()),
        }
    }

    /// Whether anything of its project is there.
    pub(super) fn project_is_there(&self, view: &View) -> bool {
        self.project.as_ref().is_none_or(|project| {
            view.state.deployments().get(project).is_some()
                || view.state.containers().any(|it| it.service.project == *project)
        })
    }

    /// Whether this container is meant.
    pub(super) fn takes(&self, record: &ContainerRecord) -> bool {
        let key = &record.service;
        self.container.is_none_or(|id| id == record.id)
            && self.project.as_ref().is_none_or(|project| *project == key.project)
            && (self.services.is_empty() || self.services.contains(&key.service))
            && (self.one_offs || self.container.is_some() || record.one_off.is_none())
    }

    /// The containers that are meant, by project, service and slot.
    pub(super) fn containers(&self, view: &View) -> Vec<Arc<ContainerRecord>> {
        let mut found: Vec<_> =
            view.state.containers().filter(|it| self.takes(it)).map(Arc::clone).collect();
        found.sort_by(|a, b| {
            (&a.service, a.slot, a.created, a.id).cmp(&(&b.service, b.slot, b.created, b.id))
        });
        found
    }
}

/// A project's name.
pub(super) fn parse_project(text: &str) -> Answer<ProjectName> {
    text.parse().map_err(|why| Failure::Address(format!("{why}")))
}

/// A service's name.
pub(super) fn parse_service(text: &str) -> Answer<ServiceName> {
    text.parse().map_err(|why| Failure::Address(format!("{why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Answer<u8> {
        let all = [("aa01", "shop-web-1", 1), ("aa02", "shop-web-2", 2), ("bb03", "aa", 3)];
        one("container", text, all.into_iter().map(|(id, name, it)| (id.to_owned(), name, it)))
    }

    #[test]
    fn an_id_a_name_and_an_unambiguous_beginning_find_one() {
        assert_eq!(found("aa01").unwrap(), 1);
        assert_eq!(found("shop-web-2").unwrap(), 2);
        assert_eq!(found("BB").unwrap(), 3);
        assert_eq!(found("aa").unwrap(), 3, "a whole name goes before a beginning");
    }

    #[test]
    fn an_ambiguous_beginning_names_the_candidates_and_nothing_finds_nothing() {
        let Err(Failure::Ambiguous { candidates, .. }) = found("a") else {
            panic!("not ambiguous")
        };
        assert_eq!(candidates, ["shop-web-1 (aa01)", "shop-web-2 (aa02)"]);
        assert!(matches!(found("cc"), Err(Failure::NotFound { .. })));
        assert!(matches!(found(""), Err(Failure::NotFound { .. })));
    }
}
