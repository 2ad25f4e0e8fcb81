//! Reading YAML: places, aliases, merge keys, and the bounds on hostile text.

use super::super::tree::{Scalar, ScalarKind, Tag, Value};
use super::*;

fn read(text: &str) -> Vec<Node> {
    let mut problems = Problems::default();
    let source = problems.source("compose.yaml");
    let documents = parse(text.as_bytes(), source, &mut problems);
    assert!(!problems.has_errors(), "{problems}");
    documents.unwrap()
}

fn complaint(text: impl AsRef<[u8]>) -> String {
    let mut problems = Problems::default();
    let source = problems.source("compose.yaml");
    let _documents = parse(text.as_ref(), source, &mut problems);
    assert!(problems.has_errors());
    problems.to_string()
}

fn text_at<'a>(root: &'a Node, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(root, |node, key| node.get(key))?.as_text()
}

#[test]
fn every_value_and_key_knows_its_place() {
    let root = &read("services:\n  web:\n    image: nginx\n    ports: [ '80', 81 ]\n")[0];
    let web = root.get("services").unwrap().get("web").unwrap();
    let image = &web.as_map().unwrap()["image"];
    assert_eq!((image.key_at.line, image.key_at.column), (3, 5));
    assert_eq!((image.node.at.line, image.node.at.column), (3, 12));
    let ports = web.get("ports").unwrap().as_list().unwrap();
    assert_eq!((ports[1].at.line, ports[1].at.column), (4, 20));
    assert_eq!(ports[0].kind(), "a string");
    assert_eq!(ports[1].kind(), "an integer");
    assert_eq!((web.at.line, web.at.column), (3, 5));
}

#[test]
fn a_file_may_hold_several_documents_or_none() {
    assert_eq!(read("a: 1\n---\nb: 2\n").len(), 2);
    assert_eq!(read("# nothing\n").len(), 0);
    assert_eq!(read("").len(), 0);
    assert_eq!(read("---\n")[0].value, Value::Null);
}

#[test]
fn a_byte_order_mark_and_carriage_returns_are_no_content() {
    let root = &read("\u{feff}a: x\r\nb:\r\n  - y\r\n")[0];
    assert_eq!(text_at(root, &["a"]), Some("x"));
    let utf16: Vec<u8> = "\u{feff}a: ü\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut problems = Problems::default();
    let documents = parse(&utf16, SourceId(0), &mut problems).unwrap();
    assert_eq!(text_at(&documents[0], &["a"]), Some("ü"));
}

#[test]
fn merge_keys_fill_in_what_the_mapping_does_not_say() {
    let text = "x-a: &a {k: a, l: a}\nx-b: &b {l: b, m: b}\nx-c: &c [*a, *b]\n\
                one: {<<: *a, k: own}\nmany: {<<: [*b, *a]}\nlist: {<<: *c}\n";
    let root = &read(text)[0];
    assert_eq!(text_at(root, &["one", "k"]), Some("own"));
    assert_eq!(text_at(root, &["one", "l"]), Some("a"));
    assert_eq!(text_at(root, &["many", "l"]), Some("b"));
    assert_eq!(text_at(root, &["many", "k"]), Some("a"));
    assert_eq!(text_at(root, &["list", "l"]), Some("a"));
    assert!(
        complaint("x-s: &s text\na: {<<: *s}\n").contains("compose.yaml:2:5: a: the merge key")
    );
}

#[test]
fn reset_and_override_are_kept_and_travel_through_aliases() {
    let root = &read("x-r: &r {ports: !reset []}\na: {<<: *r}\nb: !override {k: v}\n")[0];
    assert_eq!(root.get("a").unwrap().get("ports").unwrap().tag, Some(Tag::Reset));
    assert_eq!(root.get("b").unwrap().tag, Some(Tag::Override));
    let root = &read("x-r: &r {ports: [1]}\na: {<<: *r, ports: !reset }\n")[0];
    let ports = root.get("a").unwrap().get("ports").unwrap();
    assert_eq!((ports.tag, ports.as_list().map(<[Node]>::len)), (Some(Tag::Override), Some(1)));
}

#[test]
fn tags_say_what_a_scalar_is() {
    let root = &read("a: !!str 5\nb: !!int '5'\nc: !custom 5\nd: '5'\n")[0];
    let kind = |key: &str| match &root.get(key).unwrap().value {
        Value::Scalar(Scalar { kind, .. }) => *kind,
        Value::Null | Value::List(_) | Value::Map(_) => panic!("no scalar"),
    };
    assert_eq!(kind("a"), ScalarKind::String);
    assert_eq!(kind("b"), ScalarKind::Int(5));
    assert_eq!(kind("c"), ScalarKind::String);
    assert_eq!(kind("d"), ScalarKind::String);
    assert!(complaint("a: !!int x\n").contains("!!int"));
}

#[test]
fn a_key_that_is_there_twice_is_named_with_both_lines() {
    let text = complaint("services:\n  a:\n    image: x\n    tty: true\n    image: y\n");
    assert_eq!(
        text,
        "compose.yaml:5:5: services.a.image: key \"image\" is here again, it was already defined \
         at line 3; keep one\n"
    );
}

#[test]
fn keys_are_text() {
    assert!(complaint("services:\n  123: {}\n").contains("2:3: services: non-string key: 123"));
    assert!(complaint("? [a]\n: b\n").contains("non-string key: a list"));
    assert!(complaint("true: b\n").contains("non-string key: true"));
    read("'123': x\nyes: y\n");
}

#[test]
fn text_that_is_no_yaml_is_refused_at_its_place() {
    assert!(complaint("a:\n\t- b\n").starts_with("compose.yaml:2:"));
    assert!(complaint("a: [1\n").starts_with("compose.yaml:"));
    assert!(complaint(b"a: x\nb: \xff\n").starts_with("compose.yaml:2:4: this is not valid UTF-8"));
    assert!(complaint("a: *nowhere\n").starts_with("compose.yaml:1:4: alias *nowhere"));
    assert!(complaint("a: &x {b: {<<: *x}}\n").contains("cycle"));
}

#[test]
fn hostile_text_is_refused_within_its_budget() {
    const MIB: usize = 1 << 20;
    let mut bomb = String::from("a0: &a0 [x]\n");
    for level in 1..30 {
        let previous = level - 1;
        let many = format!("*a{previous},").repeat(9);
        bomb.push_str(&format!("a{level}: &a{level} [{many}]\n"));
    }
    assert!(complaint(bomb).contains("excessive aliasing"));
    let mut chain = String::from("a0: &a0 [x]\n");
    for level in 1..1000 {
        chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(complaint(chain).contains("deep"));
    let mut merges = String::from("m0: &m0 {k: v}\n");
    for level in 1..150 {
        merges.push_str(&format!("m{level}: &m{level} {{<<: *m{}, k{level}: v}}\n", level - 1));
    }
    assert!(complaint(merges).contains("excessive aliasing"));
    for pattern in ["[", "{", "- ", "? ", "[{a: ", "a: ["] {
        complaint(pattern.repeat(MIB / pattern.len()));
    }
    complaint("[".to_owned() + &"a,".repeat(MIB / 2) + "]");
    let wide: String = (0..MIB / 10).map(|it| format!("k{it}: v\n")).collect();
    assert!(complaint(wide).contains("30000 values"));
    let long = format!("a: {}\n", "x".repeat(MIB));
    assert_eq!(text_at(&read(&long)[0], &["a"]).map(str::len), Some(MIB));
}
