//! Lists whose items have a key: of two items with the same key the later one counts, in the place
//! of the earlier.
//!
//! The keys are those of the Compose specification's chapter on merging.

use std::{borrow::Cow, collections::BTreeMap};

use super::volumes;
use crate::compose::{
    places,
    tree::{Node, Value},
};

type KeyOf = fn(&Node) -> Option<Cow<'_, str>>;

const KEYED: &[(&str, KeyOf)] = &[
    ("networks.*.labels", name),
    ("services.*.annotations", name),
    ("services.*.build.additional_contexts", name),
    ("services.*.build.args", name),
    ("services.*.build.labels", name),
    ("services.*.build.tags", whole),
    ("services.*.cap_add", whole),
    ("services.*.cap_drop", whole),
    ("services.*.configs", config),
    ("services.*.deploy.labels", name),
    ("services.*.devices", device),
    ("services.*.dns", whole),
    ("services.*.dns_opt", name),
    ("services.*.dns_search", whole),
    ("services.*.env_file", file),
    ("services.*.expose", whole),
    ("services.*.labels", name),
    ("services.*.links", whole),
    ("services.*.networks.*.aliases", whole),
    ("services.*.networks.*.link_local_ips", whole),
    ("services.*.ports", port),
    ("services.*.profiles", whole),
    ("services.*.secrets", secret),
    ("services.*.environment", name),
    ("services.*.sysctls", name),
    ("services.*.tmpfs", name),
    ("services.*.volumes", mount),
];

/// Leaves one item for each key.
pub fn unique(root: &mut Node) {
    for (pattern, key_of) in KEYED {
        places::each(root, pattern, &mut |node, _| one_for_each_key(node, *key_of));
    }
}

/// Whether anything is there more than once.
pub(in crate::compose) fn repeats<T: Ord>(mut items: Vec<T>) -> bool {
    items.sort();
    items.windows(2).any(|pair| pair[0] == pair[1])
}

fn one_for_each_key(node: &mut Node, key_of: KeyOf) {
    let Value::List(list) = &mut node.value else { return };
    if !repeats(list.iter().filter_map(key_of).collect()) {
        return;
    }
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(list.len());
    for item in std::mem::take(list) {
        let Some(key) = key_of(&item) else {
            kept.push(item);
            continue;
        };
        match places.get(key.as_ref()) {
            Some(place) => kept[*place] = item,
            None => {
                places.insert(key.into_owned(), kept.len());
                kept.push(item);
            }
        }
    }
    *list = kept;
}

fn text<'a>(node: &'a Node, key: &str) -> Option<Cow<'a, str>> {
    Some(node.get(key)?.as_text()?.into())
}

fn whole(item: &Node) -> Option<Cow<'_, str>> {
    Some(item.as_text()?.into())
}

fn name(item: &Node) -> Option<Cow<'_, str>> {
    let text = item.as_text()?;
    Some(text.split_once('=').map_or(text, |(name, _)| name).into())
}

fn file(item: &Node) -> Option<Cow<'_, str>> {
    whole(item).or_else(|| text(item, "path"))
}

fn secret(item: &Node) -> Option<Cow<'_, str>> {
    granted(item, "/run/secrets")
}

fn config(item: &Node) -> Option<Cow<'_, str>> {
    granted(item, "")
}

fn granted<'a>(item: &'a Node, folder: &str) -> Option<Cow<'a, str>> {
    let source = || whole(item).or_else(|| text(item, "source"));
    text(item, "target").or_else(|| Some(format!("{folder}/{}", source()?).into()))
}

fn device(item: &Node) -> Option<Cow<'_, str>> {
    let Some(text_form) = item.as_text() else { return text(item, "target") };
    let mut parts = text_form.split(':');
    let source = parts.next()?;
    Some(parts.next().unwrap_or(source).into())
}

fn mount(item: &Node) -> Option<Cow<'_, str>> {
    match item.as_text() {
        Some(short) => volumes::parse(short).ok().map(|it| it.target.into()),
        None => text(item, "target"),
    }
}

fn port(item: &Node) -> Option<Cow<'_, str>> {
    if item.as_text().is_some() {
        return whole(item);
    }
    let or = |key, default| text(item, key).unwrap_or(Cow::Borrowed(default));
    let (ip, published) = (or("host_ip", "0.0.0.0"), or("published", ""));
    Some(format!("{ip}:{published}:{}/{}", text(item, "target")?, or("protocol", "tcp")).into())
}
