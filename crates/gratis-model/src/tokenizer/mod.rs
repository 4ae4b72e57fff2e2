//! Tokenizers of Hugging Face folders: text to tokens with exact offsets, and back.
//!
//! A prompt and its completion are encoded separately, so no token straddles the two and a
//! completion's tokens are the same for every prompt. The prompt begins with the
//! beginning-of-sequence token if the model's convention has one; the completion ends with the
//! end-of-sequence token, which counts as a token of the response.

mod build;
mod decode;
mod files;

use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value};

use crate::atomic;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
pub use build::SpecialTokens;
pub(crate) use build::begin_with;
pub use decode::{Decoding, SpecialText};
use files::{NAMED, Settings, guarded};

const TOKENIZER_FILE: &str = "tokenizer.json";
const SETTINGS_FILE: &str = "tokenizer_config.json";

/// Text as tokens, each with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoding {
    /// The tokens.
    pub ids: Vec<u32>,
    /// Bytes of the text that each token stands for: `[n_tokens]`. The tokens of one character
    /// that takes several all have that character's bytes; an appended end of sequence has the
    /// empty range at the text's end.
    pub offsets: Vec<Range<usize>>,
}

/// How an encoded completion ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With the end-of-sequence token: the completion is finished.
    Eos,
    /// With the text: it was cut off, or has its own end in it.
    Open,
}

/// A tokenizer with the special tokens of its model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Without post-processor, which would trim offsets and add tokens of its own.
    inner: tokenizers::Tokenizer,
    /// `tokenizer.json` as it was read, to be written unchanged.
    json: String,
    /// `tokenizer_config.json` likewise; empty if there was none.
    settings: String,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    begins_with_bos: bool,
    /// Names of special tokens and their texts, as a chat template sees them.
    special: Map<String, Value>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model's folder, and `tokenizer_config.json` if there is one.
    ///
    /// # Errors
    /// [`Error::MissingFile`], [`Error::Io`] or [`Error::MalformedFile`].
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(TOKENIZER_FILE);
        let json = read(&path)?.ok_or_else(|| Error::MissingFile {
            path: path.clone(),
            hint: "a model is read with its tokenizer; where there is only a `tokenizer.model`, \
                   save it once with `AutoTokenizer` of `transformers`"
                .to_owned(),
        })?;
        let settings = read(&folder.join(SETTINGS_FILE))?.unwrap_or_default();
        let settings = Settings::parse(settings, folder)?.with_older_files(folder)?;
        Self::new(json, settings, folder)
    }

    /// From the texts of both files; `folder` names them in errors.
    pub(crate) fn parse(json: String, settings: String, folder: &Path) -> Result<Self> {
        Self::new(json, Settings::parse(settings, folder)?, folder)
    }

    fn new(json: String, settings: Settings, folder: &Path) -> Result<Self> {
        let mut inner = files::pipeline(&json, folder)?;
        settings.add_tokens(&mut inner, folder)?;
        let token = |name: &str| settings.special(name).and_then(|text| inner.token_to_id(text));
        let (bos, eos, pad) = (token("bos_token"), token("eos_token"), token("pad_token"));
        let special = NAMED.iter().filter_map(|name| {
            Some((
                (*name).to_owned(),
                settings.special(name).filter(|text| !text.is_empty())?.into(),
            ))
        });
        let special = special.collect();
        // As in `transformers` 5, the post-processor decides, not `add_bos_token`.
        let begin = guarded("cannot post-process a text", || inner.encode("", true))?;
        let begins_with_bos = begin.get_ids().first().is_some_and(|&first| Some(first) == bos);
        inner.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
        let settings = settings.text;
        Ok(Self { inner, json, settings, bos, eos, pad, begins_with_bos, special })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into an existing folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        atomic::write(&folder.join(TOKENIZER_FILE), self.json.as_bytes())?;
        if self.settings.is_empty() {
            return Ok(());
        }
        atomic::write(&folder.join(SETTINGS_FILE), self.settings.as_bytes())
    }

    /// Tokens of `text` and nothing else. A special token written out in the text is that token.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the tokenizer has no token for a part of the text.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        let start = || text.chars().take(60).collect::<String>();
        let encode = || self.inner.encode(text, false);
        let encoding = guarded("cannot encode", encode).map_err(|error| match error {
            Error::Tokenizer { what, reason } => {
                Error::Tokenizer { what: format!("{what} `{}`", start()), reason }
            }
            other => other,
        })?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            offsets: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect(),
        })
    }

    /// Tokens of a prompt: with the beginning-of-sequence token where the tokenizer adds one,
    /// but never two of them, as the output of a chat template may begin with it already.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(prompt)?.ids;
        match self.bos {
            Some(bos) if self.begins_with_bos && ids.first() != Some(&bos) => ids.insert(0, bos),
            _ => {}
        }
        Ok(ids)
    }

    /// Tokens of a completion, closed as `end` says.
    ///
    /// # Errors
    /// As [`Self::encode`]; [`Error::MissingSpecialToken`] if there is no end of sequence to add.
    pub fn encode_completion(&self, completion: &str, end: End) -> Result<Encoding> {
        let mut encoding = self.encode(completion)?;
        if end == End::Eos {
            let eos = self.eos.ok_or(Error::MissingSpecialToken { which: "eos_token" })?;
            encoding.ids.push(eos);
            encoding.offsets.push(completion.len()..completion.len());
        }
        Ok(encoding)
    }

    /// The text of `ids` without special tokens.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        guarded("cannot decode tokens", || self.inner.decode(ids, true))
    }

    /// Number of tokens, special and added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The token whose text, as the vocabulary spells it, is `token`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// How the vocabulary spells a token.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Names of the special tokens and their texts (`bos_token`, `eos_token`, `unk_token`,
    /// `sep_token`, `pad_token`, `cls_token`, `mask_token`, each where there is one): variables that
    /// `transformers` gives to a chat template.
    pub fn special_tokens(&self) -> &Map<String, Value> {
        &self.special
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether [`Self::encode_prompt`] puts the beginning-of-sequence token first.
    pub fn begins_with_bos(&self) -> bool {
        self.begins_with_bos && self.bos.is_some()
    }

    /// The end-of-sequence token.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The padding token, which nothing here uses.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Checks that every token has an embedding. An embedding may have more rows than there are
    /// tokens, and the padding token, which no text is made of, may have none.
    ///
    /// # Errors
    /// [`Error::VocabularyMismatch`].
    pub fn check_fits(&self, config: &ModelConfig) -> Result<()> {
        let vocab_size = config.vocab_size;
        let is_padding = |id: &u32| Some(*id) == self.pad && self.pad != self.eos;
        let ids = self.inner.get_vocab(true).into_values();
        match ids.filter(|id| !is_padding(id)).max() {
            Some(largest) if largest as usize >= vocab_size => {
                Err(Error::VocabularyMismatch { largest, vocab_size })
            }
            _ => Ok(()),
        }
    }
}

/// The text of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { action: "read", path: path.to_owned(), source }),
    }
}
