//! The tokenizer of a GGUF file, as the pipeline that a `tokenizer.json` would describe.
//!
//! llama.cpp stores two kinds: `llama`, a SentencePiece vocabulary whose scores order the merges,
//! and `gpt2`, byte-level BPE with its merges written out and its splitting named.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::GgufFile;
use super::header::MetadataValue;
use crate::error::{Error, Result};
use crate::tokenizer::{Tokenizer, begin_with};

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// Longest piece that merges are sought for, in bytes; those of real vocabularies are far shorter.
const MAX_PIECE: usize = 512;

/// How Llama 3 splits text before its merges.
const LLAMA3_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How Qwen2 does: digit by digit.
const QWEN2_SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// llama.cpp's numbers for kinds of tokens.
mod kind {
    pub(super) const NORMAL: i64 = 1;
    pub(super) const UNKNOWN: i64 = 2;
    pub(super) const CONTROL: i64 = 3;
    pub(super) const USER_DEFINED: i64 = 4;
}

/// The vocabulary as the file lists it.
struct Vocabulary<'a> {
    tokens: &'a [String],
    kinds: Vec<i64>,
    ids: HashMap<&'a str, usize>,
}

impl GgufFile {
    /// The tokenizer, which begins and ends a sequence as the file says.
    ///
    /// # Errors
    /// [`Error::UnsupportedConfig`] for a kind of tokenizer or of splitting that is not known,
    /// [`Error::MalformedFile`] for a vocabulary that contradicts itself.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let vocabulary = self.vocabulary()?;
        let (mut description, has_bos) = match self.text("tokenizer.ggml.model") {
            Some("llama") => (self.sentence_piece(&vocabulary)?, true),
            Some("gpt2") => self.byte_level(&vocabulary)?,
            other => {
                let got = other.unwrap_or("nothing");
                return Err(self.unsupported("tokenizer.ggml.model", got, "llama, gpt2"));
            }
        };
        let special = |key: &str| -> Result<Option<&String>> {
            let Some(id) = self.token(key)? else { return Ok(None) };
            let token = vocabulary.tokens.get(id as usize);
            token.map(Some).ok_or_else(|| {
                self.malformed(format!("`{key}` is {id}, which the vocabulary lacks"))
            })
        };
        let bos = special("tokenizer.ggml.bos_token_id")?;
        let eos = special("tokenizer.ggml.eos_token_id")?;
        let begins_with_bos = self.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(has_bos);
        description["version"] = json!("1.0");
        description["added_tokens"] = vocabulary.added_tokens();
        if let Some(bos) = bos.filter(|_| begins_with_bos) {
            description["post_processor"] = begin_with(bos, vocabulary.ids[bos.as_str()]);
        }
        let settings = json!({
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": special("tokenizer.ggml.padding_token_id")?,
            "chat_template": self.text("tokenizer.chat_template"),
        });
        Tokenizer::parse(description.to_string(), settings.to_string(), &self.path)
    }

    fn vocabulary(&self) -> Result<Vocabulary<'_>> {
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let kinds = match self.header.metadata.get("tokenizer.ggml.token_type") {
            Some(MetadataValue::Integers(kinds)) if kinds.len() == tokens.len() => kinds.clone(),
            None => vec![kind::NORMAL; tokens.len()],
            Some(_) => return Err(self.malformed("`tokenizer.ggml.token_type` is not one a token")),
        };
        let mut ids = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if ids.insert(token.as_str(), id).is_some() {
                return Err(self.malformed(format!("the token `{token}` appears twice")));
            }
        }
        Ok(Vocabulary { tokens, kinds, ids })
    }

    /// SentencePiece: of two neighbours, those merge first whose union has the highest score.
    fn sentence_piece(&self, vocabulary: &Vocabulary<'_>) -> Result<Value> {
        let scores = match self.header.metadata.get("tokenizer.ggml.scores") {
            Some(MetadataValue::Floats(scores)) if scores.len() == vocabulary.tokens.len() => {
                scores
            }
            _ => return Err(self.malformed("`tokenizer.ggml.scores` is not one a token")),
        };
        let mut merges = Vec::new();
        for (id, token) in vocabulary.tokens.iter().enumerate() {
            if vocabulary.kinds[id] != kind::NORMAL || token.len() > MAX_PIECE {
                continue;
            }
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(left_id), Some(right_id)) =
                    (vocabulary.ids.get(left), vocabulary.ids.get(right))
                {
                    merges.push((scores[id], id, *left_id, *right_id));
                }
            }
        }
        merges.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let merges: Vec<Value> = merges
            .into_iter()
            .map(|(_, _, left, right)| json!([vocabulary.tokens[left], vocabulary.tokens[right]]))
            .collect();
        let unknown = vocabulary.kinds.iter().position(|kind| *kind == kind::UNKNOWN);
        let mut normalizers = vec![json!({
            "type": "Replace", "pattern": { "String": " " }, "content": SPACE
        })];
        let mut decoders = vec![
            json!({ "type": "Replace", "pattern": { "String": SPACE }, "content": " " }),
            json!({ "type": "ByteFallback" }),
            json!({ "type": "Fuse" }),
        ];
        if self.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true) {
            normalizers.insert(0, json!({ "type": "Prepend", "prepend": SPACE }));
            decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
        }
        Ok(json!({
            "normalizer": { "type": "Sequence", "normalizers": normalizers },
            "decoder": { "type": "Sequence", "decoders": decoders },
            "model": {
                "type": "BPE",
                "unk_token": unknown.map(|id| &vocabulary.tokens[id]),
                "fuse_unk": true,
                "byte_fallback": true,
                "vocab": vocabulary.ids,
                "merges": merges,
            },
        }))
    }

    /// Byte-level BPE, and whether it begins with BOS unless the file says otherwise.
    fn byte_level(&self, vocabulary: &Vocabulary<'_>) -> Result<(Value, bool)> {
        let merges = self
            .texts("tokenizer.ggml.merges")?
            .iter()
            .map(|merge| match merge.split_once(' ') {
                Some((left, right)) => Ok(json!([left, right])),
                None => Err(self.malformed(format!("`{merge}` is not a merge of two tokens"))),
            })
            .collect::<Result<Vec<Value>>>()?;
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel",
                "add_prefix_space": false,
                "trim_offsets": true,
                "use_regex": use_regex,
            })
        };
        let split = |pattern: &str| {
            json!({
                "type": "Split",
                "pattern": { "Regex": pattern },
                "behavior": "Isolated",
                "invert": false,
            })
        };
        let digits = json!({ "type": "Digits", "individual_digits": true });
        let key = "tokenizer.ggml.pre";
        let name = self.text(key).unwrap_or("gpt-2");
        let is_llama3 = matches!(name, "llama-bpe" | "llama3" | "llama-v3");
        let pre_tokenizers = match name {
            "gpt-2" => vec![byte_level(true)],
            "starcoder" | "smollm" => vec![digits, byte_level(true)],
            "qwen2" | "deepseek-r1-qwen" => vec![split(QWEN2_SPLIT), byte_level(false)],
            _ if is_llama3 => vec![split(LLAMA3_SPLIT), byte_level(false)],
            other => {
                let supported = "gpt-2, llama-bpe, qwen2, deepseek-r1-qwen, starcoder, smollm";
                return Err(self.unsupported(key, other, supported));
            }
        };
        let is_qwen = name.ends_with("qwen2") || name.ends_with("qwen");
        let description = json!({
            "normalizer": is_qwen.then(|| json!({ "type": "NFC" })),
            "pre_tokenizer": { "type": "Sequence", "pretokenizers": pre_tokenizers },
            "decoder": byte_level(true),
            "model": {
                "type": "BPE",
                "ignore_merges": is_llama3,
                "vocab": vocabulary.ids,
                "merges": merges,
            },
        });
        Ok((description, is_llama3))
    }

    fn text(&self, key: &str) -> Option<&str> {
        match self.header.metadata.get(key) {
            Some(MetadataValue::String(text)) => Some(text),
            _ => None,
        }
    }

    fn texts(&self, key: &str) -> Result<&[String]> {
        match self.header.metadata.get(key) {
            Some(MetadataValue::Strings(texts)) => Ok(texts),
            _ => Err(self.malformed(format!("`{key}` is not an array of strings"))),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.header.metadata.get(key) {
            None => Ok(None),
            Some(MetadataValue::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.malformed(format!("`{key}` is not a boolean"))),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> Error {
        Error::MalformedFile { path: self.path.clone(), reason: reason.into() }
    }
}

impl Vocabulary<'_> {
    /// The tokens that are found in a text before anything is split or merged.
    fn added_tokens(&self) -> Value {
        let is_added =
            |kind: &i64| matches!(*kind, kind::UNKNOWN | kind::CONTROL | kind::USER_DEFINED);
        self.kinds
            .iter()
            .enumerate()
            .filter(|(_, kind)| is_added(kind))
            .map(|(id, kind)| {
                json!({
                    "id": id,
                    "content": self.tokens[id],
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": *kind != kind::USER_DEFINED,
                })
            })
            .collect()
    }
}
