//! New tokenizers: a byte-level BPE trained on texts, or a fixed list of phrases.

use std::path::Path;

use serde_json::{Value, json};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::{
    AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Trainer,
};

use super::Tokenizer;
use crate::error::{Error, Result};

/// Bytes, each of which is a token of a byte-level tokenizer.
const N_BYTES: usize = 256;
/// Most tokens of a new vocabulary; memory for them is taken at once.
const MAX_VOCAB: usize = 1 << 20;

/// The special tokens of a new tokenizer. They take the first ids, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpecialTokens {
    /// Padding.
    pub pad: Option<String>,
    /// Beginning of a sequence; every prompt then begins with it.
    pub bos: Option<String>,
    /// End of a sequence.
    pub eos: Option<String>,
}

impl SpecialTokens {
    fn names(&self) -> Vec<&String> {
        [&self.pad, &self.bos, &self.eos].into_iter().flatten().collect()
    }

    /// The text of `tokenizer_config.json`.
    fn settings(&self) -> String {
        let settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": false,
            "pad_token": self.pad,
            "bos_token": self.bos,
            "eos_token": self.eos,
        });
        format!("{settings:#}\n")
    }

    /// A tokenizer whose model has these tokens first.
    fn tokenizer(&self, pre_tokenizer: Value, decoder: Value, model: Value) -> Result<Tokenizer> {
        let added: Vec<Value> = self
            .names()
            .iter()
            .enumerate()
            .map(|(id, name)| {
                json!({
                    "id": id, "content": name, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
            .collect();
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": pre_tokenizer,
            "post_processor": self.post_processor(),
            "decoder": decoder,
            "model": model,
        });
        Tokenizer::parse(format!("{tokenizer:#}\n"), self.settings(), Path::new(""))
    }

    /// The post-processor that puts the beginning of sequence first, with its id.
    fn post_processor(&self) -> Value {
        let Some(bos) = &self.bos else { return Value::Null };
        let id = self.names().iter().position(|name| *name == bos);
        begin_with(bos, id.unwrap_or_default())
    }
}

/// The post-processor that puts one token before a text.
pub(crate) fn begin_with(token: &str, id: usize) -> Value {
    let special = json!({"SpecialToken": {"id": token, "type_id": 0}});
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    json!({
        "type": "TemplateProcessing",
        "single": [special, sequence("A")],
        "pair": [special, sequence("A"), sequence("B")],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}

impl Tokenizer {
    /// Trains a byte-level BPE of `vocab_size` tokens on `texts`: any text can be encoded, and
    /// decoding returns it exactly. Digits are single tokens, so a number is always split in the
    /// same way. The result is a function of the texts alone; a small corpus may give fewer tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if `vocab_size` leaves no room for the bytes and the special tokens, or
    /// exceeds 2^20.
    pub fn train_bpe<S: AsRef<str> + Send>(
        texts: impl Iterator<Item = S> + Send,
        vocab_size: usize,
        special: &SpecialTokens,
    ) -> Result<Self> {
        let failed = |reason: String| Error::Tokenizer {
            what: format!("cannot train a tokenizer of {vocab_size} tokens"),
            reason,
        };
        let names = special.names();
        if vocab_size < N_BYTES + names.len() {
            let reason = format!("{N_BYTES} bytes and {} special tokens need a place", names.len());
            return Err(failed(reason));
        }
        if vocab_size > MAX_VOCAB {
            return Err(failed(format!("at most {MAX_VOCAB} tokens are supported")));
        }
        let mut trainer = BpeTrainer::builder()
            .show_progress(false)
            .vocab_size(vocab_size)
            .min_frequency(2)
            .special_tokens(
                names.iter().map(|name| AddedToken::from((*name).clone(), true)).collect(),
            )
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let pre_tokenizer = json!({
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": true}, byte_level()],
        });
        let pre_tokenize = |text: &str| {
            let mut pieces = PreTokenizedString::from(text);
            Digits::new(true).pre_tokenize(&mut pieces)?;
            ByteLevel::new(false, false, true).pre_tokenize(&mut pieces)?;
            let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::None);
            Ok(pieces.into_iter().map(|(piece, ..)| piece.to_owned()).collect())
        };
        let learn = || {
            trainer.feed(texts, pre_tokenize)?;
            let mut model = BPE::default();
            trainer.train(&mut model)?;
            Ok(serde_json::to_value(model)?)
        };
        let model = learn().map_err(|error: tokenizers::Error| failed(error.to_string()))?;
        special.tokenizer(pre_tokenizer, byte_level(), model)
    }

    /// A tokenizer with one token for each of `phrases`, numbered in their order after the special
    /// tokens. A text is read from left to right, the longest phrase first; decoding puts the
    /// phrases together again without anything between them. A text with anything else in it
    /// cannot be encoded.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a phrase is empty or stands twice.
    pub fn from_phrases(phrases: &[String], special: &SpecialTokens) -> Result<Self> {
        let failed = |reason: &str| Error::Tokenizer {
            what: "cannot make a tokenizer of phrases".to_owned(),
            reason: reason.to_owned(),
        };
        let names = special.names();
        let mut vocab = serde_json::Map::new();
        for (id, token) in names.iter().copied().chain(phrases).enumerate() {
            if token.is_empty() {
                return Err(failed("one is empty"));
            }
            if vocab.insert(token.clone(), json!(id)).is_some() {
                return Err(failed(&format!("`{token}` stands twice")));
            }
        }
        let mut longest_first: Vec<&String> = phrases.iter().collect();
        longest_first.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
        let pattern: Vec<String> = longest_first.into_iter().map(|phrase| escape(phrase)).collect();
        let pre_tokenizer = json!({
            "type": "Split",
            "pattern": {"Regex": pattern.join("|")},
            "behavior": "Isolated",
            "invert": false,
        });
        // The token for unknown text is not in the vocabulary: such text is an error.
        let model = json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"});
        special.tokenizer(pre_tokenizer, json!({"type": "Fuse"}), model)
    }
}

/// The step between text and a character for each byte, in both directions.
fn byte_level() -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true,
    })
}

/// `text` as a regular expression that matches it alone.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| [r".+*?()|[]{}^$\".contains(c).then_some('\\'), Some(c)])
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Encoding, End};

    fn special() -> SpecialTokens {
        SpecialTokens { pad: None, bos: Some("<s>".to_owned()), eos: Some("</s>".to_owned()) }
    }

    fn phrases(texts: &[&str]) -> Tokenizer {
        let phrases: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        Tokenizer::from_phrases(&phrases, &special()).expect("valid phrases")
    }

    #[test]
    fn the_longest_phrase_wins_and_decoding_is_exact() {
        let tokenizer = phrases(&["Ann", "Ann has ", "2", "3", "23", "? (*)", " coins.\n"]);
        assert_eq!(tokenizer.vocab_size(), 9);
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad()), (Some(0), Some(1), None));
        let text = "Ann has 23 coins.\nAnn32? (*)";
        let Encoding { ids, offsets } = tokenizer.encode(text).expect("known phrases");
        assert_eq!(ids, [3, 6, 8, 2, 5, 4, 7]);
        assert_eq!(offsets.last(), Some(&(23..28)));
        assert_eq!(tokenizer.decode(&ids).expect("decoded"), text);
        assert_eq!(tokenizer.encode_prompt("23").expect("known"), [0, 6]);
        assert_eq!(tokenizer.encode_prompt("<s>23").expect("known"), [0, 6]);
        let completion = tokenizer.encode_completion("23", End::Eos).expect("known");
        assert_eq!((completion.ids, completion.offsets), (vec![6, 1], vec![0..2, 2..2]));
        assert_eq!(tokenizer.decode(&[0, 6, 1]).expect("decoded"), "23");
    }

    #[test]
    fn what_is_no_phrase_is_refused() {
        let tokenizer = phrases(&["a", "b"]);
        let message = tokenizer.encode("ab?").expect_err("unknown").to_string();
        assert!(message.starts_with("cannot encode `ab?`: "), "{message}");
        for bad in [&["a", ""][..], &["a", "a"], &["<s>"]] {
            let texts: Vec<String> = bad.iter().map(|&text| text.to_owned()).collect();
            Tokenizer::from_phrases(&texts, &special()).expect_err("refused");
        }
    }

    const CORPUS: [&str; 3] = [
        "Ann has 12 apples and buys 30 more apples. Ann has 42 apples.",
        "Ben has 7 apples and sells 3 apples. Ben has 4 apples.",
        "Step 1: Ann has 12 apples.\n\nStep 2: Ann has 42 apples.\n\n",
    ];

    #[test]
    fn a_bpe_is_exact_on_any_text_and_the_same_every_time() {
        let train = || Tokenizer::train_bpe(CORPUS.iter(), 270, &special()).expect("trained");
        let tokenizer = train();
        assert_eq!(tokenizer.json, train().json);
        assert_eq!(tokenizer.vocab_size(), 270);
        let apples = tokenizer.encode(" apples").expect("encoded").ids;
        assert!(apples.len() < 4, "{apples:?}");
        for text in [CORPUS[2], "Zoë zahlt 5 € für 🍎🍏.\r\n\tfin  ", ""] {
            let Encoding { ids, offsets } = tokenizer.encode(text).expect("encoded");
            assert_eq!(tokenizer.decode(&ids).expect("decoded"), text);
            // Every byte has a token, and tokens are in order.
            let mut end = 0;
            for range in offsets {
                assert!(range.start <= end && range.end >= end, "{range:?} after {end}");
                end = range.end;
            }
            assert_eq!(end, text.len());
        }
        assert_eq!(tokenizer.encode("2023").expect("encoded").ids.len(), 4);
        assert_eq!(tokenizer.encode_prompt("").expect("encoded"), [0]);
        Tokenizer::train_bpe(CORPUS.iter(), 257, &special()).expect_err("too small");
        for n in [1_000_000_000, usize::MAX] {
            let message =
                Tokenizer::train_bpe(CORPUS.iter(), n, &special()).expect_err("too large");
            assert!(message.to_string().contains("at most 1048576 tokens"), "{message}");
        }
    }
}
