//! Texts that say that they give no answer.

use std::sync::LazyLock;

use regex::Regex;

use super::plain::is_plain;

static REFUSAL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\bI(?: am|'m) (?:sorry|unable|not (?:sure|able))|\bI (?:cannot|can't|can not|don't know|do not know|won't|am unable)|cannot be determined|not enough information|insufficient information|as an AI\b").ok()
});

/// What [`REFUSAL`] finds at the beginning of a word, in lower case.
const OF_SELF: [&str; 14] = [
    "i am sorry",
    "i am unable",
    "i am not sure",
    "i am not able",
    "i'm sorry",
    "i'm unable",
    "i'm not sure",
    "i'm not able",
    "i cannot",
    "i can't",
    "i can not",
    "i don't know",
    "i do not know",
    "i won't",
];
/// What it finds anywhere.
const OF_PROBLEM: [&str; 3] =
    ["cannot be determined", "not enough information", "insufficient information"];
/// What it finds at the end of a word.
const OF_MODEL: &str = "as an ai";

/// Whether a text says that it gives no answer, as [`REFUSAL`] finds it.
pub(super) fn is_refusal(text: &str) -> bool {
    if !is_plain(text) {
        return REFUSAL.as_ref().is_none_or(|refusal| refusal.is_match(text));
    }
    if !may_refuse(text) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_of_self = |phrase: &&str| {
        lower.match_indices(*phrase).any(|(start, _)| !lower[..start].ends_with(is_word))
    };
    let is_of_model =
        |(start, phrase): (usize, &str)| !lower[start + phrase.len()..].starts_with(is_word);
    OF_SELF.iter().any(is_of_self)
        || OF_PROBLEM.iter().any(|phrase| lower.contains(phrase))
        || lower.match_indices(OF_MODEL).any(is_of_model)
}

/// Whether a text has one of the words `I`, `AI`, `determined` and `information`, as each of these phrases
/// has: looked for by their letter i.
fn may_refuse(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr::memchr2_iter(b'i', b'I', bytes).any(|at| {
        let (before, after) = (&bytes[..at], &bytes[at + 1..]);
        let ends = |with: &[u8]| {
            let start = before.len().saturating_sub(with.len());
            before[start..].eq_ignore_ascii_case(with)
        };
        let begins = |with: &[u8]| {
            after.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
        };
        let ends_word = !after.first().is_some_and(u8::is_ascii_alphabetic);
        let begins_word = !before.last().is_some_and(u8::is_ascii_alphabetic);
        (ends_word && (begins_word || ends(b"a"))) || begins(b"nformation") || ends(b"determ")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn refusals_are_those_of_the_pattern(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(OF_SELF.to_vec()),
                    prop::sample::select(OF_PROBLEM.to_vec()),
                    prop::sample::select(vec![
                        OF_MODEL, "as an AI", "I", "'m", " am ", "sorry", " not sure", " can't", "Cannot be ",
                        "determined", "INFORMATION", "not enough ", "a", "_", "1", "'", ".", "×", "ſ", "\u{212a}", "é",
                    ]),
                ],
                0..6,
            ),
        ) {
            let text = parts.concat();
            let refuses = REFUSAL.as_ref().expect("a pattern").is_match(&text);
            prop_assert_eq!(is_refusal(&text), refuses, "{:?}", text);
        }
    }
}
