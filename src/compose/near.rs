//! The known word that an unknown one was probably meant to be.

/// Longer words than this are no typing mistake, and would make the search slow.
const WORD_BYTES_MAX: usize = 40;

/// The nearest of the known words, if it is near enough to be worth a question.
pub(super) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if unknown.len() > WORD_BYTES_MAX {
        return None;
    }
    let allowed = (unknown.len() / 3).clamp(1, 3);
    known
        .map(|word| (distance(unknown, word), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word)
}

/// Advice: the word that was probably meant, else all that there are.
pub(super) fn choice(unknown: &str, known: &[&str]) -> String {
    if let Some(word) = nearest(unknown, known.iter().copied()) {
        return format!("did you mean `{word}`?");
    }
    let quoted: Vec<String> = known.iter().map(|word| format!("`{word}`")).collect();
    format!("use {}", quoted.join(", "))
}

/// How many letters must be changed, added, left out or swapped with the next.
fn distance(from: &str, to: &str) -> usize {
    let fold = |text: &str| -> Vec<u8> {
        text.bytes().map(|it| if it == b'-' { b'_' } else { it.to_ascii_lowercase() }).collect()
    };
    let (from, to) = (fold(from), fold(to));
    let mut before = vec![0; to.len() + 1];
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut next = vec![i; to.len() + 1];
        for j in 1..=to.len() {
            let changed = usize::from(from[i - 1] != to[j - 1]);
            next[j] = (row[j - 1] + changed).min(row[j] + 1).min(next[j - 1] + 1);
            let swapped = i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1];
            if swapped {
                next[j] = next[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 5] = ["depends_on", "environment", "image", "ports", "volumes"];

    #[test]
    fn an_unknown_word_brings_the_nearest_or_all() {
        assert_eq!(choice("prots", &WORDS[3..]), "did you mean `ports`?");
        assert_eq!(choice("x", &WORDS[3..]), "use `ports`, `volumes`");
    }

    #[test]
    fn typing_mistakes_find_their_key() {
        for (unknown, known) in [
            ("enviroment", Some("environment")),
            ("image_", Some("image")),
            ("iamge", Some("image")),
            ("depends-on", Some("depends_on")),
            ("Ports", Some("ports")),
            ("volume", Some("volumes")),
            ("something_else", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, WORDS.into_iter()), known, "{unknown}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), WORDS.into_iter()), None);
    }
}
