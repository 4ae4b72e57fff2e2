//! The tokenizer's vocabulary: 69 tokens, of which every text of this world is a concatenation.

use super::problem::{MODULUS, PEOPLE, QUESTION};
use super::solution::ANSWER;

/// Special token that pads; never read or written, kept for tools that insist on one.
pub(crate) const PAD: &str = "<pad>";
/// Special token that begins every prompt.
pub(crate) const BOS: &str = "<s>";
/// Special token that ends every response.
pub(crate) const EOS: &str = "</s>";

/// All phrases without the special tokens: 66 strings. Where one is the beginning of another
/// (`1` and `11`), the longest match is meant.
pub(crate) fn phrases() -> Vec<String> {
    let numbers = (0..MODULUS).map(|n| n.to_string());
    let people = PEOPLE
        .iter()
        .flat_map(|name| [" has ", "'s. ", ": "].map(|ending| format!("{name}{ending}")));
    let rest = [
        " coins. ",
        " more. ",
        " fewer. ",
        " times as many. ",
        "that plus ",
        "that minus ",
        QUESTION,
        "\n",
        " + ",
        " - ",
        " * ",
        " = ",
        ANSWER,
    ];
    numbers.chain(people).chain(rest.map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::world::Problem;

    /// Greedy longest match; `None` if something is left over.
    fn n_phrases(mut text: &str, phrases: &[String]) -> Option<usize> {
        let mut n = 0;
        while !text.is_empty() {
            let longest =
                phrases.iter().filter(|p| text.starts_with(p.as_str())).map(String::len).max()?;
            text = &text[longest..];
            n += 1;
        }
        Some(n)
    }

    #[test]
    fn the_vocabulary_has_69_different_tokens() {
        let special = [PAD, BOS, EOS].map(str::to_owned);
        let unique: HashSet<_> = phrases().into_iter().chain(special).collect();
        assert_eq!(unique.len(), 69);
    }

    proptest! {
        #[test]
        fn every_text_is_a_concatenation_of_phrases(seed: u64) {
            let problem = Problem::draw(&(1..=9), &mut ChaCha8Rng::seed_from_u64(seed));
            let (n, phrases) = (problem.derivations.len(), phrases());
            prop_assert_eq!(n_phrases(&problem.prompt(), &phrases), Some(3 + 3 * n + 2));
            prop_assert_eq!(n_phrases(&problem.solution().to_string(), &phrases), Some(7 * n + 2));
        }
    }
}
