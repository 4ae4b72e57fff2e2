//! `generation_config.json`: the tokens at which sampling stops.
//!
//! Instruction-tuned models end a turn with a different token than a text; only this file names it.

use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

const FILE: &str = "generation_config.json";

/// `eos_token_id` of a folder's `generation_config.json`, one token or several; `None` if there is
/// no such file or field. It overrides `config.json`, as in `transformers`.
///
/// # Errors
/// [`Error::Io`], [`Error::MalformedFile`], or [`Error::InvalidConfig`] for what is no token.
pub fn stop_tokens(folder: &Path) -> Result<Option<Vec<u32>>> {
    let path = folder.join(FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { action: "read", path, source }),
    };
    let config: Value = serde_json::from_str(&text)
        .map_err(|error| Error::MalformedFile { path: path.clone(), reason: error.to_string() })?;
    let token = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens = match config.get("eos_token_id") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(token).collect(),
        Some(one) => token(one).map(|id| vec![id]),
    };
    tokens.map(Some).ok_or_else(|| Error::InvalidConfig {
        path,
        field: "eos_token_id".to_owned(),
        expected: "a token or a list of tokens".to_owned(),
        got: config["eos_token_id"].to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_or_several_end_a_sample() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |text: &str| {
            std::fs::write(folder.path().join(FILE), text).expect("written");
            stop_tokens(folder.path())
        };
        assert_eq!(stop_tokens(folder.path()).expect("absent"), None);
        assert_eq!(read(r#"{"eos_token_id": 2}"#).expect("one"), Some(vec![2]));
        let several = read(r#"{"eos_token_id": [128001, 128008, 128009]}"#).expect("several");
        assert_eq!(several, Some(vec![128_001, 128_008, 128_009]));
        assert_eq!(read(r#"{"eos_token_id": null, "top_p": 0.9}"#).expect("none"), None);
        let message = read(r#"{"eos_token_id": [1, "</s>"]}"#).expect_err("text").to_string();
        assert!(
            message.contains("generation_config.json`: field `eos_token_id` must"),
            "{message}"
        );
        let message = read("{").expect_err("truncated").to_string();
        assert!(message.contains("generation_config.json` is malformed"), "{message}");
    }
}
