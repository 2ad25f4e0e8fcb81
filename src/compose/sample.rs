//! Trees for tests, from YAML as people write it, and back into something to compare.

use serde_json::{Value as Json, json};

use super::{
    problem::Problems,
    schema, shape,
    tree::{Node, ScalarKind, SourceId, Value},
    yaml,
};

/// The tree of one YAML document.
pub(super) fn tree(text: &str) -> Node {
    let mut problems = Problems::default();
    let mut documents = yaml::parse(text.as_bytes(), SourceId(0), &mut problems).unwrap();
    assert!(!problems.has_errors(), "{problems}");
    documents.pop().unwrap()
}

/// A checked tree in its long form.
pub(super) fn canonical(text: &str) -> Node {
    let mut problems = Problems::default();
    let mut root = tree(text);
    schema::check(&mut root, &mut problems);
    shape::canonical(&mut root, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    root
}

/// A service `web` with these further lines, checked and in its long form.
pub(super) fn service(lines: &str) -> Node {
    canonical(&wrap(lines)).get("services").unwrap().get("web").unwrap().clone()
}

/// A file with one service `web` that has these further lines.
pub(super) fn wrap(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
    format!("services:\n  web:\n    image: i\n{}\n", lines.join("\n"))
}

/// What a tree holds, without places.
pub(super) fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::List(list) => Json::Array(list.iter().map(plain).collect()),
        Value::Map(map) => {
            map.iter().map(|(key, entry)| (key.clone(), plain(&entry.node))).collect()
        }
        Value::Scalar(scalar) => match scalar.kind {
            ScalarKind::String => json!(scalar.text),
            ScalarKind::Bool(truth) => json!(truth),
            ScalarKind::Int(number) => json!(number),
            ScalarKind::Float(number) => json!(number),
        },
    }
}

/// What a text holds under a key, without places.
pub(super) fn under(node: &Node, keys: &str) -> Json {
    let found = keys.split('.').try_fold(node, |node, key| node.get(key));
    found.map_or(Json::Null, plain)
}

/// Every problem as a line.
pub(super) fn lines(problems: &Problems) -> Vec<String> {
    problems.sorted().into_iter().map(|it| problems.line(it)).collect()
}
