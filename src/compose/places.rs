//! Places in the tree by pattern: `services.*.ports.[].target`, where `*` is any key of a mapping
//! and `[]` any item of a list. Rules that hold in many places are tables of such patterns.
//!
//! A descent is as deep as its pattern is long, whatever the file.

use super::tree::{Map, Node, Trail, Value};

/// Calls `visit` with every value that is at a place, and changes it there.
pub(super) fn each(root: &mut Node, pattern: &str, visit: &mut dyn FnMut(&mut Node, &Trail<'_>)) {
    let steps: Vec<&str> = pattern.split('.').collect();
    descend(root, &Trail::default(), &steps, visit);
}

fn descend(
    node: &mut Node,
    path: &Trail<'_>,
    steps: &[&str],
    visit: &mut dyn FnMut(&mut Node, &Trail<'_>),
) {
    let Some((step, rest)) = steps.split_first() else { return visit(node, path) };
    match (&mut node.value, *step) {
        (Value::Map(map), "*") => {
            for (key, entry) in map {
                descend(&mut entry.node, &path.key(key), rest, visit);
            }
        }
        (Value::List(list), "[]") => {
            for (index, item) in list.iter_mut().enumerate() {
                descend(item, &path.index(index), rest, visit);
            }
        }
        (Value::Map(map), key) => {
            if let Some(entry) = map.get_mut(key) {
                descend(&mut entry.node, &path.key(key), rest, visit);
            }
        }
        (Value::Null | Value::Scalar(_) | Value::List(_), _) => {}
    }
}

/// Whether a path fits a pattern.
pub(super) fn fits(path: &[String], pattern: &str) -> bool {
    let mut steps = pattern.split('.');
    path.iter().all(|key| steps.next().is_some_and(|step| step == "*" || step == key))
        && steps.next().is_none()
}

/// The named values of a top-level section such as `services`, none if it is missing.
pub(super) fn section<'a>(root: &'a Node, name: &str) -> impl Iterator<Item = (&'a str, &'a Node)> {
    members(root.get(name)).into_iter().flatten()
}

fn members(node: Option<&Node>) -> Option<impl Iterator<Item = (&str, &Node)>> {
    let map: &Map = node?.as_map()?;
    Some(map.iter().map(|(key, entry)| (key.as_str(), &entry.node)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tree::{Entry, Path, Position};

    #[test]
    fn a_pattern_visits_every_place_it_fits() {
        let at = Position::default();
        let list = Value::List(vec![Node::int(80, at), Node::int(443, at)]);
        let service = [("ports".to_owned(), Entry { key_at: at, node: Node::new(list, at) })];
        let mut services = Map::new();
        for name in ["db", "web"] {
            let node = Node::new(Value::Map(service.clone().into()), at);
            services.insert(name.to_owned(), Entry { key_at: at, node });
        }
        let node = Node::new(Value::Map(services), at);
        let root = [("services".to_owned(), Entry { key_at: at, node })];
        let mut root = Node::new(Value::Map(root.into()), at);
        let mut seen = Vec::new();
        each(&mut root, "services.*.ports.[]", &mut |_, path| {
            seen.push(Path::from(path).to_string())
        });
        let expected =
            ["services.db.ports[0]", "services.db.ports[1]", "services.web.ports[0]"].to_vec();
        assert_eq!(seen[..3], expected);
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn a_pattern_fits_paths_of_its_own_length() {
        let path = ["services", "web", "build"].map(str::to_owned);
        assert!(fits(&path, "services.*.build"));
        assert!(!fits(&path, "services.*"));
        assert!(!fits(&path, "services.*.build.args"));
    }
}
