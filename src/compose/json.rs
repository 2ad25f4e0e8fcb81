//! The canonical model as JSON: what `fizz up` sends to the daemon, and what the daemon decodes.
//!
//! Nothing is escaped: a `$` stands for itself, because interpolation is over.

use serde_json::{Number, Value as Json};

use super::tree::{Entry, Map, Node, Position, Scalar, ScalarKind, Value};

/// The tree of a JSON value. It was written nowhere, so it has no positions.
#[must_use]
pub fn to_tree(json: &Json) -> Node {
    let at = Position::default();
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => return Node::bool(*truth, at),
        Json::String(text) => return Node::string(text, at),
        Json::Number(number) => {
            let float = ScalarKind::Float(number.as_f64().unwrap_or(f64::NAN));
            let kind = number.as_i64().map_or(float, ScalarKind::Int);
            Value::Scalar(Scalar { text: number.to_string(), kind })
        }
        Json::Array(items) => Value::List(items.iter().map(to_tree).collect()),
        Json::Object(members) => {
            let entry = |json| Entry { key_at: at, node: to_tree(json) };
            let map: Map = members.iter().map(|(key, json)| (key.clone(), entry(json))).collect();
            Value::Map(map)
        }
    };
    Node::new(value, at)
}

/// The JSON of a tree. Numbers that JSON cannot hold become strings.
#[must_use]
pub fn from_tree(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(scalar) => from_scalar(scalar),
        Value::List(items) => Json::Array(items.iter().map(from_tree).collect()),
        Value::Map(map) => {
            let member = |(key, entry): (&String, &Entry)| (key.clone(), from_tree(&entry.node));
            Json::Object(map.iter().map(member).collect())
        }
    }
}

fn from_scalar(scalar: &Scalar) -> Json {
    let text = || Json::String(scalar.text.clone());
    match scalar.kind {
        ScalarKind::String => text(),
        ScalarKind::Bool(truth) => Json::Bool(truth),
        ScalarKind::Int(number) => Json::Number(number.into()),
        ScalarKind::Float(number) => {
            let whole = scalar.text.parse::<u64>().ok().map(Number::from);
            whole.or_else(|| Number::from_f64(number)).map_or_else(text, Json::Number)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_reads_back_as_it_was_written() {
        let model = json!({
            "name": "shop",
            "services": {"web": {
                "command": null, "cpus": 0.001, "init": false, "ports": [{"target": 80}],
                "environment": {"PRICE": "5$"}, "large": u64::MAX, "deploy": {"replicas": -1},
            }},
        });
        assert_eq!(from_tree(&to_tree(&model)), model);
    }

    #[test]
    fn a_number_that_json_cannot_hold_becomes_a_string() {
        let scalar = Scalar { text: ".inf".to_owned(), kind: ScalarKind::Float(f64::INFINITY) };
        let node = Node::new(Value::Scalar(scalar), Position::default());
        assert_eq!(from_tree(&node), json!(".inf"));
    }
}
