//! Replaces variables in every value of a tree; keys stay as they are.

pub mod template;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    problem::Problems,
    tree::{Node, Position, Scalar, ScalarKind, Trail, Value},
};
use template::{Mention, TemplateError, Variables};

/// The names and values that a file may refer to.
pub type Environment = BTreeMap<String, String>;

/// How much longer all the values of one tree may become together, in bytes.
const GROWTH_BYTES_MAX: usize = 16 << 20;

/// Replaces the variables in a tree. What goes wrong is noted with its place; each variable that
/// has no value is warned about once.
pub fn interpolate(
    root: &mut Node,
    environment: &Environment,
    missed: &mut BTreeSet<String>,
    problems: &mut Problems,
) {
    let mut walk = Walk { environment, missed, problems, growth: GROWTH_BYTES_MAX };
    walk.node(root, &Trail::default());
}

struct Walk<'a> {
    environment: &'a Environment,
    missed: &'a mut BTreeSet<String>,
    problems: &'a mut Problems,
    growth: usize,
}

impl Walk<'_> {
    fn node(&mut self, node: &mut Node, path: &Trail<'_>) {
        match &mut node.value {
            Value::Scalar(scalar) => self.scalar(scalar, node.at, path),
            Value::List(list) => {
                for (index, item) in list.iter_mut().enumerate() {
                    self.node(item, &path.index(index));
                }
            }
            Value::Map(map) => {
                for (key, entry) in map {
                    self.node(&mut entry.node, &path.key(key));
                }
            }
            Value::Null => {}
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, at: Position, path: &Trail<'_>) {
        if scalar.kind != ScalarKind::String || !scalar.text.contains('$') {
            return;
        }
        let missing = Vec::new();
        let mut lookup = Lookup { environment: self.environment, missed: self.missed, missing };
        let result = template::substitute(&scalar.text, &mut lookup).and_then(|text| {
            let grown = text.len().saturating_sub(scalar.text.len());
            self.growth = self.growth.checked_sub(grown).ok_or(TemplateError::Long)?;
            Ok(text)
        });
        for name in lookup.missing {
            let message = format!(
                "the \"{name}\" variable is not set, a blank string is used; set it or write \
                 ${{{name}:-default}}"
            );
            self.problems.warn(at, path, message);
        }
        match result {
            Ok(text) => scalar.text = text,
            Err(error) => self.problems.error(at, path, error.to_string()),
        }
    }
}

struct Lookup<'a> {
    environment: &'a Environment,
    missed: &'a mut BTreeSet<String>,
    /// Those of `missed` that are new.
    missing: Vec<String>,
}

impl Variables for Lookup<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    fn missing(&mut self, name: &str) {
        if !self.missed.contains(name) {
            self.missed.insert(name.into());
            self.missing.push(name.into());
        }
    }
}

/// Every variable that a tree speaks of; of several mentions the last says how.
#[must_use]
pub fn mentions(root: &Node) -> BTreeMap<String, Mention> {
    let mut found = BTreeMap::new();
    collect(root, &mut found);
    found
}

fn collect(node: &Node, found: &mut BTreeMap<String, Mention>) {
    match &node.value {
        Value::Scalar(Scalar { text, kind: ScalarKind::String }) => {
            found.extend(template::mentions(text).into_iter().map(|it| (it.name.clone(), it)));
        }
        Value::List(list) => list.iter().for_each(|it| collect(it, found)),
        Value::Map(map) => map.values().for_each(|it| collect(&it.node, found)),
        Value::Null | Value::Scalar(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, environment: &Environment) -> (Node, Problems) {
        let mut problems = Problems::default();
        let source = problems.source("compose.yaml");
        let mut root =
            super::super::yaml::parse(text.as_bytes(), source, &mut problems).unwrap().remove(0);
        interpolate(&mut root, environment, &mut BTreeSet::new(), &mut problems);
        (root, problems)
    }

    #[test]
    fn values_are_interpolated_and_keys_are_not() {
        let environment = Environment::from([("TAG".into(), "3".into())]);
        let (root, problems) =
            run("image: 'nginx:$TAG'\nlist: ['$TAG']\n$TAG: x\nn: 5\n", &environment);
        assert_eq!(root.get("image").unwrap().as_text(), Some("nginx:3"));
        assert_eq!(root.get("list").unwrap().as_list().unwrap()[0].as_text(), Some("3"));
        assert!(root.get("$TAG").is_some());
        assert_eq!(problems, run("{}", &environment).1);
    }

    #[test]
    fn problems_name_the_place_and_a_missing_variable_is_mentioned_once() {
        let (_, problems) = run(
            "services:\n  web:\n    image: ${TAG\n    command: $GONE $GONE\n    user: $GONE\n",
            &Environment::new(),
        );
        let text = problems.to_string();
        assert!(text.starts_with(
            "compose.yaml:3:12: services.web.image: invalid interpolation format: \"${TAG\""
        ));
        assert_eq!(text.matches("\"GONE\" variable is not set").count(), 1, "{text}");
    }
}
