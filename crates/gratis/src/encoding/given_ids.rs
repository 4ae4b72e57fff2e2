//! Completions that bring the token ids they were sampled as: the ids are used as they are, and this
//! finds where in the text of the completion each of them begins.

use gratis_model::{Decoding, SpecialText, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// What to do with the token ids that completions bring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum TokenIds {
    /// Use them as they are; their text is not tokenized again.
    #[default]
    Use,
    /// Ignore them and tokenize the text.
    Ignore,
}

impl TokenIds {
    /// Whether nothing else was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How the text that the ids decode to compares with that of the completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// The same, but for white space around it.
    Same,
    /// Another text with most of the completion's text in it.
    Differs,
    /// A text that has little to do with it: the ids are those of another tokenizer.
    Foreign,
}

/// Given token ids in the text of their completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Byte of the text at which each token begins, white space aside: `[n_tokens]`.
    pub(super) starts: Vec<usize>,
    /// Whether the text is that of the ids.
    pub(super) agreement: Agreement,
}

/// Places token ids in the text of their completion.
pub(super) fn place(tokenizer: &Tokenizer, ids: &[u32], text: &str) -> Result<Placed> {
    let mut decoding = tokenizer.decode_with_offsets(ids, SpecialText::Skip)?;
    if decoding.text != text {
        let whole = tokenizer.decode_with_offsets(ids, SpecialText::Keep)?;
        if whole.text.trim() == text.trim() {
            decoding = whole;
        }
    }
    let Decoding { text: decoded, offsets } = &decoding;
    let shared = Shared::of(decoded, text);
    let start = |range: &std::ops::Range<usize>| {
        let of_token = decoded.get(range.clone()).unwrap_or_default();
        let space = of_token.len() - of_token.trim_start().len();
        shared.place(range.start + if space < of_token.len() { space } else { 0 })
    };
    let agreement = if decoded.trim() == text.trim() {
        Agreement::Same
    } else if 2 * (shared.prefix + shared.suffix) >= decoded.len().min(text.len()) {
        Agreement::Differs
    } else {
        Agreement::Foreign
    };
    Ok(Placed { starts: offsets.iter().map(start).collect(), agreement })
}

/// What two texts have in common at their beginnings and at their ends, white space around them
/// aside, in bytes.
#[derive(Debug, Clone, Copy)]
struct Shared {
    prefix: usize,
    suffix: usize,
    /// Where the decoded text begins and ends without the white space around it.
    decoded: (usize, usize),
    /// The same for the text of the completion.
    text: (usize, usize),
    n_text: usize,
}

impl Shared {
    fn of(decoded: &str, text: &str) -> Self {
        let [of_decoded, of_text] = [decoded, text].map(|text| {
            let start = text.len() - text.trim_start().len();
            (start, start + text.trim().len())
        });
        let (decoded, n_text, text) = (decoded.trim(), text.len(), text.trim());
        let pairs = decoded.chars().zip(text.chars());
        let prefix = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        let pairs = decoded[prefix..].chars().rev().zip(text[prefix..].chars().rev());
        let suffix = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        Self { prefix, suffix, decoded: of_decoded, text: of_text, n_text }
    }

    /// The byte of the text for a byte of the decoded text. What lies between the common parts begins
    /// where the first one ends.
    fn place(&self, at: usize) -> usize {
        let (start, end) = self.decoded;
        if at <= start {
            at.min(self.text.0)
        } else if at > end {
            (self.text.1 + (at - end)).min(self.n_text)
        } else if at - start <= self.prefix {
            self.text.0 + (at - start)
        } else if end - at <= self.suffix {
            self.text.1 - (end - at)
        } else {
            self.text.0 + self.prefix
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_the_decoded_text_are_found_in_the_other() {
        let places = |decoded: &str, text: &str| {
            let shared = Shared::of(decoded, text);
            (0..=decoded.len()).map(|at| shared.place(at)).collect::<Vec<_>>()
        };
        assert_eq!(places("abc", "abc"), [0, 1, 2, 3]);
        assert_eq!(places(" ab\n", "ab"), [0, 0, 1, 2, 2], "stripped on both sides");
        assert_eq!(places("ab", "\nab"), [0, 2, 3], "the first token begins the text");
        assert_eq!(places("abSTOP", "ab"), [0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(places("thought ab", "ab"), [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(places("aXb", "aé!b"), [0, 1, 4, 5]);
    }
}
