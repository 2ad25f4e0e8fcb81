//! How much one project may ask for. Short forms are short to write and long to keep, so these are
//! checked before anything is lengthened: a file of one mebibyte must not cost more than 64.

use super::{
    places,
    problem::Problems,
    tree::{Node, Path, Position, Value},
};

/// Services of one project.
pub const SERVICES_MAX: usize = 2_000;

/// Mounts, dependencies, networks and other things that services list, of all services together.
pub const PARTS_MAX: usize = 8_000;

/// Networks, volumes, secrets, configs and models of one project.
pub const RESOURCES_MAX: usize = 8_000;

/// What becomes a mapping for each of its items.
const PARTS: [&str; 12] = [
    "build.secrets",
    "configs",
    "depends_on",
    "devices",
    "env_file",
    "gpus",
    "links",
    "models",
    "networks",
    "secrets",
    "ulimits",
    "volumes",
];

/// Whether a file stays within the limits; notes it if not.
pub(super) fn check(root: &Node, problems: &mut Problems) -> bool {
    let mut services = 0;
    let mut parts = 0;
    let mut last = Position::default();
    for (_, service) in places::section(root, "services") {
        services += 1;
        for part in PARTS {
            let node = part.split('.').try_fold(service, |node, key| node.get(key));
            parts += node.map_or(0, |it| match &it.value {
                Value::List(list) => list.len(),
                Value::Map(map) => map.len(),
                Value::Null | Value::Scalar(_) => 0,
            });
        }
        if services > SERVICES_MAX || parts > PARTS_MAX {
            last = service.at;
            break;
        }
    }
    let sections = ["networks", "volumes", "secrets", "configs", "models"];
    let resources: usize = sections.map(|it| places::section(root, it).count()).iter().sum();
    if resources > RESOURCES_MAX {
        let message = format!(
            "more than {RESOURCES_MAX} networks, volumes, secrets, configs and models; split the project"
        );
        problems.error(root.at, Path::default(), message);
    }
    let path = Path::default().key("services");
    if services > SERVICES_MAX {
        let message = format!("more than {SERVICES_MAX} services; split the project");
        problems.error(last, &path, message);
    } else if parts > PARTS_MAX {
        let message = format!(
            "the services list more than {PARTS_MAX} mounts, networks, dependencies and the like; \
             split the project"
        );
        problems.error(last, &path, message);
    }
    services <= SERVICES_MAX && parts <= PARTS_MAX && resources <= RESOURCES_MAX
}

#[cfg(test)]
mod tests {
    use super::{
        super::{tree::SourceId, yaml},
        *,
    };

    #[test]
    fn projects_that_ask_for_too_much_are_refused_where_they_pass_the_limit() {
        let said = |text: &str| {
            let mut problems = Problems::default();
            let root = yaml::parse(text.as_bytes(), SourceId(0), &mut problems).unwrap().remove(0);
            (check(&root, &mut problems), problems.to_string())
        };
        let many: String = (0..=SERVICES_MAX).map(|it| format!("  s{it}: {{}}\n")).collect();
        let (fits, text) = said(&format!("services:\n{many}"));
        assert!(!fits && text.contains("more than 2000 services"), "{text}");
        let many: String = (0..=PARTS_MAX).map(|it| format!("    - /v{it}\n")).collect();
        let (fits, text) = said(&format!("services:\n  a:\n    volumes:\n{many}"));
        assert!(!fits && text.contains("more than 8000 mounts"), "{text}");
        assert!(said("services: {a: {volumes: [/v]}}\n").0);
    }
}
