//! Which word was meant: advice for a word that is not known.

/// Advice: `did you mean `x`?` if one of the words is near, else all of them.
pub(in crate::compose) fn choice(word: &str, words: &[&str]) -> String {
    let near = words.iter().map(|it| (distance(word, it), it)).min();
    match near {
        Some((distance, it)) if distance <= 2 && distance < it.len() => {
            format!("did you mean `{it}`?")
        }
        _ => {
            let quoted: Vec<String> = words.iter().map(|it| format!("`{it}`")).collect();
            format!("use {}", quoted.join(", "))
        }
    }
}

/// The longest word that is compared: hostile input must not cost a square of its length.
const WORD_BYTES_MAX: usize = 64;

/// How many characters to add, drop or replace to turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    if a.len().max(b.len()) > WORD_BYTES_MAX {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_brings_the_one_that_was_meant() {
        let words = ["placement", "partition", "health"];
        assert_eq!(choice("placment", &words), "did you mean `placement`?");
        assert_eq!(choice("helth", &words), "did you mean `health`?");
        assert_eq!(choice("x", &words), "use `placement`, `partition`, `health`");
        assert!(choice(&"p".repeat(100_000), &words).starts_with("use "));
    }
}
