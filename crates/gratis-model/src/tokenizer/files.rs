//! The files of a tokenizer, read as by `transformers` 5 and sanitised.
//!
//! `tokenizer.json` is untrusted. Settings that would change a text (`dropout`, truncation,
//! padding) are ignored, patterns on which the pipeline fails are rejected, and remaining panics
//! are caught in one place ([`guarded`]). `tokenizer_config.json` adds tokens and names the special
//! ones.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use super::{SETTINGS_FILE, TOKENIZER_FILE};
use crate::error::{Error, Result};
use crate::guard;

/// The special tokens that have a name, as `transformers` lists them.
pub(super) const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Files of earlier versions, whose content later ones put into `tokenizer_config.json`.
const SPECIAL_FILE: &str = "special_tokens_map.json";
const ADDED_FILE: &str = "added_tokens.json";

/// Largest number that a setting of the pipeline may hold. Nothing real is near it.
const LARGEST_SETTING: u64 = 1 << 20;

/// A pipeline without its vocabulary, which takes most of the file.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    decoder: Value,
    #[serde(default)]
    model: ModelOutline,
}

#[derive(Deserialize, Default)]
struct ModelOutline {
    #[serde(default)]
    dropout: Value,
}

/// The pipeline of a `tokenizer.json` without dropout, padding and truncation.
pub(super) fn pipeline(json: &str, folder: &Path) -> Result<tokenizers::Tokenizer> {
    let malformed =
        |reason: String| Error::MalformedFile { path: folder.join(TOKENIZER_FILE), reason };
    let outline: Outline =
        serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
    for (part, value) in [
        ("normalizer", &outline.normalizer),
        ("pre_tokenizer", &outline.pre_tokenizer),
        ("decoder", &outline.decoder),
    ] {
        check_part(part, value).map_err(&malformed)?;
    }
    let mut changed = None;
    let is_set = [&outline.padding, &outline.truncation, &outline.model.dropout];
    if is_set.iter().any(|value| !value.is_null()) {
        let mut whole: Value =
            serde_json::from_str(json).map_err(|error| malformed(error.to_string()))?;
        whole["padding"] = Value::Null;
        whole["truncation"] = Value::Null;
        if let Some(dropout) = whole["model"].get_mut("dropout") {
            *dropout = Value::Null;
        }
        changed = Some(whole.to_string());
    }
    // `FromStr` is the one way in that is compiled with its own crate: the generic ones make this
    // crate compile every tokenizer a second time.
    let parse = || changed.as_deref().unwrap_or(json).parse::<tokenizers::Tokenizer>();
    guarded("cannot read the tokenizer", parse).map_err(|error| malformed(reason(&error)))
}

/// Rejects settings on which the pipeline would fail: patterns that match nothing at all, and
/// numbers that memory is taken for.
fn check_part(place: &str, part: &Value) -> Result<(), String> {
    match part {
        Value::Object(map) => {
            if let Some(pattern) = map.get("pattern") {
                let text = ["String", "Regex"].iter().find_map(|kind| pattern.get(kind)?.as_str());
                if text == Some("") {
                    return Err(format!("`{place}` holds an empty `pattern`"));
                }
            }
            map.iter().try_for_each(|(name, value)| check_part(&format!("{place}.{name}"), value))
        }
        Value::Array(list) => list
            .iter()
            .enumerate()
            .try_for_each(|(idx, value)| check_part(&format!("{place}[{idx}]"), value)),
        Value::Number(number)
            if number.as_f64().is_none_or(|x| x.abs() > LARGEST_SETTING as f64) =>
        {
            Err(format!("`{place}` = {number} is too large"))
        }
        Value::Number(number) if place.ends_with(".length") && number.as_u64() == Some(0) => {
            Err(format!("`{place}` is 0"))
        }
        _ => Ok(()),
    }
}

/// Runs a part of the `tokenizers` crate, which panics on some pipelines and texts.
///
/// # Errors
/// [`Error::Tokenizer`] with `what`, for its errors and its panics.
pub(super) fn guarded<T>(
    what: &str,
    run: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T> {
    let failed = |reason: String| Error::Tokenizer { what: what.to_owned(), reason };
    // Nothing is used again after a panic but tables that encoding and decoding do not change.
    match guard::run(run) {
        Ok(outcome) => outcome.map_err(|error| failed(error.to_string())),
        Err(message) => {
            Err(failed(format!("`tokenizer.json` describes a pipeline that panics ({message})")))
        }
    }
}

fn reason(error: &Error) -> String {
    match error {
        Error::Tokenizer { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

/// `tokenizer_config.json`, with the files of earlier versions put in where it lacks
/// `added_tokens_decoder`, as `transformers` does.
pub(super) struct Settings {
    pub(super) map: Map<String, Value>,
    /// The text to be written beside the model: the file's own, unless something was put in.
    pub(super) text: String,
}

impl Settings {
    pub(super) fn parse(text: String, folder: &Path) -> Result<Self> {
        let map = match text.as_str() {
            "" => Map::new(),
            text => object(text, &folder.join(SETTINGS_FILE))?,
        };
        Ok(Self { map, text })
    }

    /// Reads the older files of `folder`, where they count.
    pub(super) fn with_older_files(mut self, folder: &Path) -> Result<Self> {
        if self.map.contains_key("added_tokens_decoder") {
            return Ok(self);
        }
        let older = |name: &str| -> Result<Option<Map<String, Value>>> {
            let path = folder.join(name);
            super::read(&path)?.map(|text| object(&text, &path)).transpose()
        };
        let mut is_changed = false;
        for (field, token) in older(SPECIAL_FILE)?.unwrap_or_default() {
            if NAMED.contains(&field.as_str()) && self.map.get(&field) != Some(&token) {
                self.map.insert(field, token);
                is_changed = true;
            }
        }
        if let Some(added) = older(ADDED_FILE)?.filter(|added| !added.is_empty()) {
            let special: Vec<&str> =
                NAMED.iter().filter_map(|name| text_of(self.map.get(*name)?)).collect();
            let decoder: Map<String, Value> = added
                .iter()
                .map(|(token, id)| {
                    let is_special = special.contains(&token.as_str());
                    let entry = json!({
                        "content": token, "lstrip": false, "rstrip": false, "single_word": false,
                        "normalized": !is_special, "special": is_special,
                    });
                    (id.to_string(), entry)
                })
                .collect();
            self.map.insert("added_tokens_decoder".to_owned(), decoder.into());
            is_changed = true;
        }
        if is_changed {
            self.text = format!("{:#}\n", Value::Object(self.map.clone()));
        }
        Ok(self)
    }

    /// The text of a named special token.
    pub(super) fn special(&self, name: &str) -> Option<&str> {
        text_of(self.map.get(name)?)
    }

    /// Adds the tokens that stand only here, in the order of `transformers`: those of
    /// `added_tokens_decoder` by their ids, the named special ones, the other special ones. A name
    /// that no text is scored with, such as `pad_token`, may be a new token; it takes the next id.
    pub(super) fn add_tokens(
        &self,
        tokenizer: &mut tokenizers::Tokenizer,
        folder: &Path,
    ) -> Result<()> {
        let malformed =
            |reason: String| Error::MalformedFile { path: folder.join(SETTINGS_FILE), reason };
        let known = tokenizer.get_added_tokens_decoder();
        let mut declared = Vec::new();
        let decoder = self.map.get("added_tokens_decoder").and_then(Value::as_object);
        for (id, entry) in decoder.into_iter().flatten() {
            let invalid = || malformed(format!("`added_tokens_decoder` has an invalid `{id}`"));
            let number: u32 = id.parse().map_err(|_| invalid())?;
            let token = added_token(entry).ok_or_else(invalid)?;
            if known.get(&number) != Some(&token) {
                declared.push((number, token));
            }
        }
        declared.sort_by_key(|(id, _)| *id);
        let mut tokens: Vec<AddedToken> = declared.iter().map(|(_, token)| token.clone()).collect();
        let mut contents: HashSet<String> =
            known.into_values().chain(tokens.iter().cloned()).map(|token| token.content).collect();
        let named = NAMED.iter().filter_map(|name| Some((*name, self.map.get(*name)?)));
        let others = ["additional_special_tokens", "extra_special_tokens"].into_iter();
        let others = others.filter_map(|name| Some((name, self.map.get(name)?.as_array()?)));
        let others = others.flat_map(|(name, list)| list.iter().map(move |value| (name, value)));
        for (name, value) in named.chain(others) {
            let Some(text) = text_of(value).filter(|text| !text.is_empty()) else { continue };
            if !contents.insert(text.to_owned()) {
                continue;
            }
            // A new token that begins or ends every text would have no trained embedding.
            let must_exist = matches!(name, "bos_token" | "eos_token");
            if must_exist && tokenizer.token_to_id(text).is_none() {
                return Err(malformed(format!("`{name}` `{text}` is not in the vocabulary")));
            }
            let mut token = added_token(value).unwrap_or_else(|| AddedToken::from(text, true));
            token.special = true;
            tokens.push(token);
        }
        if tokens.is_empty() {
            return Ok(());
        }
        guarded("cannot add tokens", || tokenizer.add_tokens(tokens))
            .map_err(|error| malformed(reason(&error)))?;
        for (id, AddedToken { content, .. }) in declared {
            let became = tokenizer.token_to_id(&content);
            if became != Some(id) {
                let became = became.map_or_else(|| "none".to_owned(), |id| id.to_string());
                return Err(malformed(format!(
                    "`added_tokens_decoder` says that `{content}` is token {id}, and by \
                     `{TOKENIZER_FILE}` it is {became}"
                )));
            }
        }
        Ok(())
    }
}

/// The text of a token that stands as itself or as an object.
fn text_of(value: &Value) -> Option<&str> {
    value.get("content").unwrap_or(value).as_str()
}

/// A token with its marks; `None` for what has no text.
fn added_token(value: &Value) -> Option<AddedToken> {
    let content = value.get("content")?.as_str()?.to_owned();
    let flag = |name: &str| value.get(name).and_then(Value::as_bool);
    let special = flag("special").unwrap_or(false);
    Some(AddedToken {
        content,
        single_word: flag("single_word").unwrap_or(false),
        lstrip: flag("lstrip").unwrap_or(false),
        rstrip: flag("rstrip").unwrap_or(false),
        normalized: flag("normalized").unwrap_or(!special),
        special,
    })
}

fn object(text: &str, path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_str(text)
        .map_err(|error| Error::MalformedFile { path: path.to_owned(), reason: error.to_string() })
}
