//! Which services count: those whose profile is on, or those that were asked for and all that they
//! need. What no service uses any more goes too.
//!
//! The tree must be normalised. Follows `docker compose`.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    places,
    problem::Problems,
    tree::{Map, Node, Path, Position},
};

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Profiles that are on; `*` is all of them.
    pub profiles: Vec<String>,
    /// Services asked for by name; none means all.
    pub services: Vec<String>,
    /// Whether to keep resources that no service uses.
    pub all_resources: bool,
}

impl Choice {
    /// The services whose profiles are on, without regard to names asked for.
    #[must_use]
    pub fn by_profile(&self, root: &Node) -> BTreeSet<String> {
        with_profiles(root, &self.profiles)
    }

    /// Leaves in the tree what was asked for.
    pub fn apply(&self, root: &mut Node, problems: &mut Problems) {
        let kept = self.kept(root, problems);
        let services = root.as_map_mut().and_then(|it| it.get_mut("services"));
        if let Some(services) = services.and_then(|it| it.node.as_map_mut()) {
            services.retain(|name, _| kept.contains(name));
        }
        if !self.services.is_empty() {
            drop_dependencies(root, &kept);
        }
        if !self.all_resources {
            drop_unused(root);
        }
    }

    fn kept(&self, root: &Node, problems: &mut Problems) -> BTreeSet<String> {
        if self.services.is_empty() {
            return self.by_profile(root);
        }
        // Asking for a service by name turns its profiles on.
        let mut profiles = self.profiles.clone();
        let active = self.by_profile(root);
        for (name, service) in places::section(root, "services") {
            if self.services.iter().any(|it| it == name) && !active.contains(name) {
                profiles.extend(profiles_of(service).map(str::to_owned));
            }
        }
        let active = with_profiles(root, &profiles);
        reach(root, &self.services, &active, problems)
    }
}

fn with_profiles(root: &Node, profiles: &[String]) -> BTreeSet<String> {
    let on: BTreeSet<&str> = profiles.iter().map(String::as_str).collect();
    let services = places::section(root, "services");
    services
        .filter(|(_, service)| {
            let mut profiles = profiles_of(service).peekable();
            profiles.peek().is_none() || on.contains("*") || profiles.any(|it| on.contains(it))
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn profiles_of(service: &Node) -> impl Iterator<Item = &str> {
    service
        .get("profiles")
        .and_then(Node::as_list)
        .unwrap_or_default()
        .iter()
        .filter_map(Node::as_text)
}

/// The services asked for and everything that they depend on.
fn reach(
    root: &Node,
    asked: &[String],
    active: &BTreeSet<String>,
    problems: &mut Problems,
) -> BTreeSet<String> {
    let services: BTreeMap<&str, &Node> = places::section(root, "services").collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<&str> = Vec::new();
    for name in asked {
        if active.contains(name) {
            next.push(name);
        } else {
            let at = root.at;
            let why = format!("there is no service {name:?}");
            problems.error(at, Path::default().key("services"), why);
        }
    }
    while let Some(name) = next.pop() {
        if !reached.insert(name.to_owned()) {
            continue;
        }
        let needs = services.get(name).and_then(|it| it.get("depends_on")?.as_map());
        for (needed, entry) in needs.into_iter().flatten() {
            if active.contains(needed) {
                next.push(needed);
            } else if entry.node.get("required").and_then(Node::as_text) != Some("false") {
                let path = Path::default().key("services").key(name).key("depends_on").key(needed);
                let why = match services.get(needed.as_str()) {
                    Some(_) => format!("{needed:?} is off; turn one of its profiles on"),
                    None => format!("there is no service {needed:?}"),
                };
                problems.error(entry.key_at, &path, why);
            }
        }
    }
    reached
}

fn drop_dependencies(root: &mut Node, kept: &BTreeSet<String>) {
    places::each(root, "services.*", &mut |service, _| {
        let Some(service) = service.as_map_mut() else { return };
        let Some(on) = service.get_mut("depends_on").and_then(|it| it.node.as_map_mut()) else {
            return;
        };
        on.retain(|name, _| kept.contains(name));
        if on.is_empty() {
            service.remove("depends_on");
        }
    });
}

/// Drops networks, volumes, secrets, configs and models that no service uses.
fn drop_unused(root: &mut Node) {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (_, service) in places::section(root, "services") {
        for it in service.as_map().map(used_by).unwrap_or_default() {
            used.entry(it.section).or_default().insert(it.name);
        }
    }
    let Some(root) = root.as_map_mut() else { return };
    for section in ["networks", "volumes", "secrets", "configs", "models"] {
        let Some(map) = root.get_mut(section).and_then(|it| it.node.as_map_mut()) else { continue };
        let used = used.remove(section).unwrap_or_default();
        map.retain(|name, _| used.contains(name));
        if map.is_empty() {
            root.remove(section);
        }
    }
}

/// A resource that a service names.
pub(super) struct Use {
    /// The top-level section that it must be in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) name: String,
    /// Where it is named.
    pub(super) at: Position,
}

/// The resources that a service names.
pub(super) fn used_by(service: &Map) -> Vec<Use> {
    let get = |key: &str| service.get(key).map(|it| &it.node);
    let mut uses = Vec::new();
    for section in ["networks", "models"] {
        let keys = get(section).and_then(Node::as_map).into_iter().flatten();
        uses.extend(keys.map(|(name, it)| Use { section, name: name.clone(), at: it.key_at }));
    }
    let mut volumes = items(get("volumes"));
    volumes.retain(|it| it.get("type").and_then(Node::as_text) == Some("volume"));
    for (section, list) in [
        ("volumes", volumes),
        ("secrets", items(get("secrets"))),
        ("secrets", items(get("build").and_then(|it| it.get("secrets")))),
        ("configs", items(get("configs"))),
    ] {
        let sources = list.iter().filter_map(|it| it.get("source"));
        uses.extend(sources.filter_map(|source| {
            let name = source.as_text().filter(|it| !it.is_empty())?.to_owned();
            Some(Use { section, name, at: source.at })
        }));
    }
    uses
}

fn items(list: Option<&Node>) -> Vec<&Node> {
    list.and_then(Node::as_list).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::sample::{canonical, lines, under};

    const PROJECT: &str = "
services:
  web: {image: i, depends_on: [db], networks: [front], volumes: ['vol:/v'], secrets: [s], build: {secrets: [b]}}
  db: {image: i, networks: [back], configs: [c]}
  debug: {image: i, profiles: [debug, all], depends_on: {db: {condition: service_started}}}
  helper: {image: i, profiles: [debug]}
  lost: {image: i, profiles: [lost], depends_on: [debug]}
  maybe: {image: i, depends_on: {helper: {condition: service_started, required: false}}}
networks: {front: , back: , unused: }
volumes: {vol: , spare: }
secrets: {s: {file: f}, b: {file: f}, t: {file: f}}
configs: {c: {file: f}}
";

    fn chosen(profiles: &[&str], services: &[&str]) -> (Node, Vec<String>) {
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect();
        let choice =
            Choice { profiles: owned(profiles), services: owned(services), all_resources: false };
        let mut root = canonical(PROJECT);
        let mut problems = Problems::default();
        choice.apply(&mut root, &mut problems);
        (root, lines(&problems))
    }

    fn names(root: &Node, section: &str) -> String {
        let names: Vec<&str> = places::section(root, section).map(|(name, _)| name).collect();
        names.join(" ")
    }

    #[test]
    fn profiles_and_names_choose_services() {
        for (profiles, services, expected) in [
            (&[][..], &[][..], "db maybe web"),
            (&["debug"], &[], "db debug helper maybe web"),
            (&["all"], &[], "db debug maybe web"),
            (&["*"], &[], "db debug helper lost maybe web"),
            (&["other"], &[], "db maybe web"),
            (&[], &["web"], "db web"),
            (&[], &["db"], "db"),
            (&[], &["debug"], "db debug"),
            (&[], &["maybe"], "maybe"),
            (&["debug"], &["maybe"], "helper maybe"),
            (&["debug"], &["lost"], "db debug lost"),
        ] {
            let (root, problems) = chosen(profiles, services);
            assert_eq!(problems, Vec::<String>::new());
            assert_eq!(names(&root, "services"), expected, "{profiles:?} {services:?}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_told() {
        assert!(chosen(&[], &["gone"]).1[0].contains("no service \"gone\""));
        assert!(chosen(&[], &["lost"]).1[0].contains("\"debug\" is off"));
    }

    #[test]
    fn dependencies_that_are_not_chosen_go() {
        let (root, _) = chosen(&[], &["maybe"]);
        assert_eq!(under(&root, "services.maybe.depends_on"), serde_json::Value::Null);
    }

    #[test]
    fn resources_that_nothing_uses_go() {
        let (root, _) = chosen(&[], &["web"]);
        assert_eq!(names(&root, "networks"), "back front");
        assert_eq!(names(&root, "volumes"), "vol");
        assert_eq!(names(&root, "secrets"), "b s");
        assert_eq!(names(&root, "configs"), "c");
        let (root, _) = chosen(&[], &["db"]);
        assert_eq!(names(&root, "networks"), "back");
        assert!(root.get("volumes").is_none());
        let mut root = canonical(PROJECT);
        let all = Choice { all_resources: true, ..Choice::default() };
        all.apply(&mut root, &mut Problems::default());
        assert_eq!(names(&root, "networks"), "back front unused");
    }
}
