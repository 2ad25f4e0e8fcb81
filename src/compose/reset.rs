//! `!reset` and `!override`: what a file says about the files before it.
//!
//! Both tags are taken out of a tree before it is merged and become a list of places. Those are
//! cleared in what earlier files came to; then the ordinary merge brings what `!override` says.

use super::tree::{Node, Path, Step, Tag, Trail, Value};

/// Takes the tags out of a tree, and the values that `!reset` stands on. Returns their places.
pub(super) fn take(root: &mut Node) -> Vec<Path> {
    let mut places = Vec::new();
    root.tag = None;
    take_below(root, &Trail::default(), &mut Some(&mut places));
    places
}

/// Inside lists, and inside what is overridden as a whole, places mean nothing: `places` is `None`.
fn take_below(node: &mut Node, path: &Trail<'_>, places: &mut Option<&mut Vec<Path>>) {
    match &mut node.value {
        Value::Map(map) => map.retain(|key, entry| {
            let path = path.key(key);
            let tag = entry.node.tag.take();
            match (tag, &mut *places) {
                (Some(_), Some(places)) => {
                    take_below(&mut entry.node, &path, &mut None);
                    places.push(Path::from(&path));
                }
                _ => take_below(&mut entry.node, &path, places),
            }
            tag != Some(Tag::Reset)
        }),
        Value::List(list) => list.retain_mut(|item| {
            let tag = item.tag.take();
            take_below(item, path, &mut None);
            tag != Some(Tag::Reset)
        }),
        Value::Null | Value::Scalar(_) => {}
    }
}

/// Clears the places in a tree.
pub(super) fn apply(root: &mut Node, places: &[Path]) {
    for place in places {
        clear(root, place.steps());
    }
}

fn clear(node: &mut Node, steps: &[Step]) {
    let [Step::Key(key), rest @ ..] = steps else { return };
    let Some(map) = node.as_map_mut() else { return };
    match rest {
        [] => {
            map.remove(key);
        }
        _ => {
            if let Some(entry) = map.get_mut(key) {
                clear(&mut entry.node, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{problem::Problems, tree::SourceId, yaml},
        *,
    };

    fn tree(text: &str) -> Node {
        yaml::parse(text.as_bytes(), SourceId(0), &mut Problems::default()).unwrap().remove(0)
    }

    #[test]
    fn reset_clears_and_override_clears_what_it_brings_itself() {
        let text = "a: {b: !reset null, c: !override [1]}\nd: !reset {}\nl: [!reset x, y]\n";
        let mut over = tree(text);
        let places = take(&mut over);
        let shown: Vec<String> = places.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a.b", "a.c", "d"]);
        assert!(over.get("d").is_none());
        assert!(over.get("a").unwrap().get("c").is_some());
        assert_eq!(over.get("l").unwrap().as_list().unwrap().len(), 1);

        let mut base = tree("a: {b: 1, c: [2], e: 3}\nd: {f: 4}\n");
        apply(&mut base, &places);
        assert_eq!(base.get("a").unwrap().as_map().unwrap().keys().collect::<Vec<_>>(), ["e"]);
        assert!(base.get("d").is_none());
    }
}
