//! What models look like in print.

use super::super::{problem::Problems, tree::SourceId, yaml as reader};
use super::*;

fn tree(text: &str) -> Node {
    let mut problems = Problems::default();
    let mut documents = reader::parse(text.as_bytes(), SourceId(0), &mut problems).unwrap();
    assert!(!problems.has_errors(), "{problems}\n{text}");
    documents.remove(0)
}

/// A tree without its places, to compare.
fn bare_tree(node: &Node) -> String {
    json(node, Style::Tree)
}

#[test]
fn keys_are_in_the_order_of_the_specification() {
    let model = tree(
        "volumes: {data: {name: d}}\nservices: {web: {x-a: 1, volumes: [{target: /d, type: volume}], \
         image: i, build: {dockerfile: D, context: /c}}}\nname: p\n",
    );
    assert_eq!(
        yaml(&model, Style::Project),
        "name: p\nservices:\n  web:\n    build:\n      context: /c\n      dockerfile: D\n    image: \
         i\n    volumes:\n      - type: volume\n        target: /d\n    x-a: 1\nvolumes:\n  data:\n    \
         name: d\n"
    );
    assert!(json(&model, Style::Tree).starts_with("{\n  \"name\": \"p\",\n  \"services\": {\n"));
}

#[test]
fn texts_are_quoted_where_they_would_mean_something_else() {
    for (text, printed) in [
        ("plain text", "plain text"),
        ("80", "\"80\""),
        ("true", "\"true\""),
        ("yes", "\"yes\""),
        ("null", "\"null\""),
        ("", "\"\""),
        ("1:30", "\"1:30\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("*a", "'*a'"),
        ("a: b", "'a: b'"),
        ("it's: x", "'it''s: x'"),
        (" a", "' a'"),
        ("-", "'-'"),
        ("-a", "-a"),
        ("a\tb", "\"a\\tb\""),
        ("8080:80", "8080:80"),
        ("$$HOME", "$$HOME"),
    ] {
        let node = Node::string(text, Position::default());
        assert_eq!(yaml(&node, Style::Tree).trim_end(), printed);
    }
}

#[test]
fn what_is_printed_reads_the_same() {
    for text in [
        "a\nb",
        "a\nb\n",
        "a\nb\n\n",
        "\na",
        " a\n b",
        "a \nb",
        "\ttab\nx",
        "a\n\n  b\n",
        "\n",
        "a\r\nb",
        "é\u{1}",
        "- x",
        "? y",
        "key: v",
        "#c",
        "a #c",
        "'q'",
        "\"q\"",
        "%d",
        "0x10",
        "1e3",
        "~",
        ".inf",
        "=",
        "<<",
        "a\u{85}b",
    ] {
        let mut map = Map::new();
        let entry = |node| Entry { key_at: Position::default(), node };
        map.insert("k".into(), entry(Node::string(text, Position::default())));
        map.insert(text.into(), entry(Node::int(1, Position::default())));
        let inner = Node::new(
            Value::List(vec![Node::new(Value::Map(map), Position::default())]),
            Position::default(),
        );
        let root =
            Node::new(Value::Map(Map::from([("l".into(), entry(inner))])), Position::default());
        let printed = yaml(&root, Style::Tree);
        assert_eq!(bare_tree(&tree(&printed)), bare_tree(&root), "{text:?}\n{printed}");
        let printed = json(&root, Style::Tree);
        assert_eq!(bare_tree(&tree(&printed)), bare_tree(&root), "{text:?}\n{printed}");
    }
}

#[test]
fn dollars_are_doubled() {
    let model = printable(tree("services: {a: {image: 'x$y', labels: {'$k': 1}}}\n"));
    let text = yaml(&model, Style::Project);
    assert!(text.contains("image: x$$y") && text.contains(" $k: 1"), "{text}");
}
