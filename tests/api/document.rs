//! The OpenAPI document is the router's, and the module's own table is the document's.

use std::collections::BTreeSet;

use hyper::Method;
use serde_json::Value;

use crate::{client::request, world::World};

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS.iter().filter(|method| item.get(**method).is_some()) {
            found.insert((method.to_uppercase(), path.clone()));
        }
    }
    found
}

#[tokio::test]
async fn every_documented_operation_is_answered_and_no_other() {
    let world = World::new();
    let document = world.get("/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let documented = operations(&document);
    assert!(documented.len() > 35, "{} operations", documented.len());
    let paths: BTreeSet<_> = documented.iter().map(|(_, path)| path.clone()).collect();
    for path in paths {
        let real = path.replace("{project}", "p").replace("{service}", "s");
        let real = real.replace("{id}", "x").replace("{name}", "x");
        for method in METHODS.map(str::to_uppercase) {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            if method == Method::GET && path == "/v1/events" {
                continue; // Never ends; it has stories of its own.
            }
            let answer = world.send(request(method.clone(), &real, None)).await;
            let known = documented.contains(&(method.to_string(), path.clone()));
            assert_eq!(answer.status != 405, known, "{method} {path}: {}", answer.status);
            if answer.status == 404 {
                let problem: Value = answer.json();
                assert_eq!(problem["type"], "urn:fizz:not-found", "{method} {path}");
            }
        }
    }
}

#[test]
fn every_reference_of_the_document_resolves() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(to)) = map.get("$ref") {
                    found.insert(to.clone());
                }
                map.values().for_each(|it| references(it, found));
            }
            Value::Array(list) => list.iter().for_each(|it| references(it, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document = serde_json::to_value(fizz::api::document()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for (method, path) in operations(&document) {
        let operation = &document["paths"][&path][method.to_lowercase()];
        assert!(operation["summary"].is_string(), "{method} {path} says nothing");
        assert!(operation["responses"].as_object().unwrap().len() > 1, "{method} {path}");
    }
}

#[test]
fn the_table_of_routes_in_the_source_is_complete() {
    let source = include_str!("../../src/api/mod.rs");
    let table: String = source.lines().filter(|it| it.starts_with("//! |")).collect();
    let document = serde_json::to_value(fizz::api::document()).unwrap();
    for (method, path) in operations(&document) {
        let plain = path.replace("{id}", "").replace("{name}", "");
        let last = plain.rsplit('/').find(|it| !it.is_empty()).unwrap();
        assert!(table.contains(&method), "{method}");
        assert!(table.contains(last), "{method} {path} is not in the table");
    }
}
