//! Rollouts as tokens: prompt template, end of turn, context length.

use std::ops::{AddAssign, Range};

use gratis_engine::{FinishReason, ModelDescription};
use gratis_model::chat_template::Opening;
use gratis_model::{End, Tokenizer};
use serde::{Deserialize, Serialize};

use super::corpus::Corpus;
use super::given_ids::{self, Agreement, TokenIds};
use super::prompt::{Begin, Conversations, PromptTemplate, begin_of};
use crate::data::Error as DataError;
use crate::data::{Completion, Rollout};
use crate::error::{Error, Result};

/// What to do with a response that does not fit into the context with its prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum OnOverlong {
    /// Stop with an error that names the completion.
    #[default]
    Stop,
    /// Truncate it; its last token becomes the end of turn, as in the authors' recipe.
    Truncate,
    /// Skip it.
    Skip,
}

/// A completion as tokens, the end of turn last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EncodedText {
    /// The tokens.
    pub(crate) tokens: Vec<u32>,
    /// Byte of the text at which each token begins, white space aside: `[n_tokens]`. A token of
    /// nothing but white space begins where that begins.
    pub(crate) starts: Vec<usize>,
    /// Byte of the text at which it was cut to fit the context; `None` if it is whole.
    pub(crate) cut_at: Option<usize>,
    /// If the tokens are those that the completion brings: whether they decode to its text.
    pub(crate) given: Option<Agreement>,
}

/// Encodes a problem and its solution as a prompt and a response.
#[derive(Debug, Clone)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    template: PromptTemplate,
    conversations: Option<Conversations>,
    context_length: usize,
    vocab_size: usize,
    on_overlong: OnOverlong,
    token_ids: TokenIds,
}

impl<'a> Encoder<'a> {
    /// An encoder for the model that `description` is of. `template` holds `{prompt}` once, or
    /// `{prompt|trim}`, after `{no_bos}` or not: see [`super::chat_prompt_for`].
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) for another template.
    pub fn new(
        tokenizer: &'a Tokenizer,
        template: &str,
        description: &ModelDescription,
        on_overlong: OnOverlong,
    ) -> Result<Self> {
        Ok(Self {
            tokenizer,
            template: PromptTemplate::parse(template)?,
            conversations: None,
            context_length: description.context_length,
            vocab_size: description.vocab_size,
            on_overlong,
            token_ids: TokenIds::default(),
        })
    }

    /// The same encoder, which treats the token ids of completions in this way.
    #[must_use]
    pub fn with_token_ids(self, token_ids: TokenIds) -> Self {
        Self { token_ids, ..self }
    }

    /// The same encoder, which renders prompts with earlier messages in this way.
    #[must_use]
    pub fn with_conversations(self, conversations: Option<Conversations>) -> Self {
        Self { conversations, ..self }
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &'a Tokenizer {
        self.tokenizer
    }

    /// The tag that every prompt ends in, such as `<think>`; see
    /// [`Opening::repeated`](gratis_model::chat_template::Opening::repeated) for a completion that
    /// begins with it as well.
    pub fn opening(&self) -> Option<Opening<'_>> {
        self.template.opening()
    }

    /// Longest prompt and response together, in tokens.
    pub fn context_length(&self) -> usize {
        self.context_length
    }

    /// The token that ends a response.
    ///
    /// # Errors
    /// [`gratis_model::Error::MissingSpecialToken`].
    pub fn end_token(&self) -> Result<u32> {
        let missing = gratis_model::Error::MissingSpecialToken { which: "eos_token" };
        Ok(self.tokenizer.eos().ok_or(missing)?)
    }

    /// The token before a text that has no prompt: the one that begins a sequence, or else the one
    /// that ended the text before.
    ///
    /// # Errors
    /// As [`Encoder::end_token`].
    pub(crate) fn begin_token(&self) -> Result<u32> {
        self.tokenizer.bos().map_or_else(|| self.end_token(), Ok)
    }

    /// The tokens of a problem as the model reads it, never empty.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn prompt(&self, problem: &str) -> Result<Vec<u32>> {
        self.encode(&self.template.fill(problem), self.template.begin())
    }

    /// The tokens of a problem with what was said before it.
    ///
    /// # Errors
    /// [`Error::Conversation`] if something was said and the prompt is no chat template; those of the
    /// template and of the tokenizer.
    pub fn prompt_of(&self, rollout: &Rollout) -> Result<Vec<u32>> {
        if rollout.context.is_empty() {
            return self.prompt(&rollout.prompt);
        }
        let conversations = self
            .conversations
            .as_ref()
            .ok_or_else(|| Error::Conversation { problem: rollout.name().to_owned() })?;
        let text = conversations.render(&rollout.context, &rollout.prompt)?;
        self.encode(&text, begin_of(self.tokenizer, &text))
    }

    fn encode(&self, text: &str, begin: Begin) -> Result<Vec<u32>> {
        let tokens = match begin {
            Begin::Tokenizer => self.tokenizer.encode_prompt(text)?,
            Begin::AsWritten => self.tokenizer.encode(text)?.ids,
        };
        if tokens.is_empty() { Ok(vec![self.begin_token()?]) } else { Ok(tokens) }
    }

    /// The tokens of completion `idx` of `rollout` with the end of turn, or `None` if it is skipped. Token
    /// ids that it brings are used as they are, without an end token of our own.
    ///
    /// # Errors
    /// [`Error::TooLong`] if it does not fit after `n_prompt` tokens, unless such completions are truncated
    /// or skipped; [`Error::TokenId`] for an id outside the vocabulary.
    pub fn completion_tokens(
        &self,
        rollout: &Rollout,
        idx: usize,
        n_prompt: usize,
    ) -> Result<Option<Vec<u32>>> {
        Ok(self.completion(rollout, idx, n_prompt)?.map(|encoded| encoded.tokens))
    }

    /// As [`Encoder::completion_tokens`], with where the tokens are in the text.
    pub(crate) fn completion(
        &self,
        rollout: &Rollout,
        idx: usize,
        n_prompt: usize,
    ) -> Result<Option<EncodedText>> {
        let mut encoded = match self.given_ids(&rollout.completions[idx]) {
            Some(ids) => self.given(rollout, idx, ids)?,
            None => self.text(&rollout.completions[idx])?,
        };
        let n_tokens = n_prompt + encoded.tokens.len();
        if n_tokens <= self.context_length {
            return Ok(Some(encoded));
        }
        match self.on_overlong {
            OnOverlong::Skip => Ok(None),
            // Nothing can be read after such a prompt.
            OnOverlong::Truncate if n_prompt >= self.context_length => Ok(None),
            OnOverlong::Truncate if n_prompt < self.context_length => {
                let n_left = self.context_length - n_prompt;
                encoded.cut_at = Some(encoded.starts[n_left]);
                encoded.tokens.truncate(n_left);
                encoded.starts.truncate(n_left);
                if let Some(last) = encoded.tokens.last_mut() {
                    *last = self.end_token()?;
                }
                Ok(Some(encoded))
            }
            OnOverlong::Stop | OnOverlong::Truncate => Err(Error::TooLong {
                problem: rollout.name().to_owned(),
                completion: idx + 1,
                n_tokens,
                context_length: self.context_length,
            }),
        }
    }
}

impl Encoder<'_> {
    /// The token ids of a completion, if it brings some and they are to be used.
    fn given_ids<'c>(&self, completion: &'c Completion) -> Option<&'c [u32]> {
        let ids = completion.token_ids.as_deref().filter(|ids| !ids.is_empty())?;
        (self.token_ids == TokenIds::Use).then_some(ids)
    }

    /// Token ids as they are.
    fn given(&self, rollout: &Rollout, idx: usize, ids: &[u32]) -> Result<EncodedText> {
        if let Some(position) = ids.iter().position(|&id| id as usize >= self.vocab_size) {
            return Err(Error::TokenId {
                problem: rollout.name().to_owned(),
                completion: idx + 1,
                position: position + 1,
                id: ids[position],
                vocab_size: self.vocab_size,
            });
        }
        let placed = given_ids::place(self.tokenizer, ids, &rollout.completions[idx].text)?;
        let given_ids::Placed { starts, agreement } = placed;
        Ok(EncodedText { tokens: ids.to_vec(), starts, cut_at: None, given: Some(agreement) })
    }

    /// The text of a completion as tokens.
    fn text(&self, completion: &Completion) -> Result<EncodedText> {
        let Part { range, end, .. } = self.part(completion);
        let text = &completion.text[range.clone()];
        let encoding = self.tokenizer.encode_completion(text, end)?;
        // Byte-level tokens begin at the space before a word, and the word decides the step.
        let start = |token: Range<usize>| {
            let text = text.get(token.clone()).unwrap_or_default();
            let space = text.len() - text.trim_start().len();
            range.start + token.start + if space < text.len() { space } else { 0 }
        };
        let starts = encoding.offsets.into_iter().map(start).collect();
        Ok(EncodedText { tokens: encoding.ids, starts, cut_at: None, given: None })
    }
}

/// The part of a completion's text that is encoded, and how it ends.
struct Part {
    range: Range<usize>,
    end: End,
    unusual: Unusual,
}

impl Encoder<'_> {
    /// What the text of a completion holds of the sequence around it is not encoded twice.
    fn part(&self, completion: &Completion) -> Part {
        let text = completion.text.as_str();
        let mut unusual = Unusual::default();
        let mut start = 0;
        let bos = self.tokenizer.bos().and_then(|id| self.tokenizer.id_to_token(id));
        if let Some(bos) = bos.filter(|bos| !bos.is_empty() && text.starts_with(bos.as_str())) {
            start = bos.len();
            unusual.own_begin = 1;
        }
        if let Some(opening) = self.opening() {
            let repeated = opening.repeated(&text[start..]);
            unusual.repeated_openings = usize::from(repeated > 0);
            start += repeated;
        }
        let eos = self.tokenizer.eos().and_then(|id| self.tokenizer.id_to_token(id));
        let trimmed = text.trim_end();
        if eos.is_some_and(|eos| {
            !eos.is_empty() && trimmed[start.min(trimmed.len())..].ends_with(&eos)
        }) {
            unusual.own_end = 1;
            return Part { range: start..trimmed.len(), end: End::Open, unusual };
        }
        let is_cut = completion.finish_reason == Some(FinishReason::Length) && start < text.len();
        unusual.cut_off = usize::from(is_cut);
        Part { range: start..text.len(), end: if is_cut { End::Open } else { End::Eos }, unusual }
    }

    /// Counts the completions whose text or end is not the usual one.
    pub fn unusual(&self, rollouts: &[Rollout]) -> Unusual {
        let mut all = Unusual::default();
        for completion in rollouts.iter().flat_map(|rollout| &rollout.completions) {
            all += match self.given_ids(completion) {
                Some(ids) => self.unusual_ids(completion, ids),
                None => self.part(completion).unusual,
            };
        }
        all
    }

    fn unusual_ids(&self, completion: &Completion, ids: &[u32]) -> Unusual {
        let placed = given_ids::place(self.tokenizer, ids, &completion.text);
        let is_same = placed.is_ok_and(|placed| placed.agreement == Agreement::Same);
        let is_open = completion.finish_reason != Some(FinishReason::Length)
            && ids.last().copied() != self.tokenizer.eos();
        Unusual {
            given_ids: 1,
            other_text: usize::from(!is_same),
            open_ids: usize::from(is_open),
            ..Unusual::default()
        }
    }
}

/// Numbers of completions that are encoded in another way than most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unusual {
    /// Cut off at a length limit: no end token follows.
    pub cut_off: usize,
    /// With the text of the end token at their end: no second one follows.
    pub own_end: usize,
    /// With the text of the beginning-of-sequence token at their beginning: it is not scored.
    pub own_begin: usize,
    /// With the tag at their beginning that the prompt ends in: it is not repeated.
    pub repeated_openings: usize,
    /// With token ids of their own, which are used as they are.
    pub given_ids: usize,
    /// Of these, with a text that is not the one the ids decode to.
    pub other_text: usize,
    /// Of these, without the end token at the end of the ids, though they were not cut off.
    pub open_ids: usize,
}

impl AddAssign for Unusual {
    fn add_assign(&mut self, other: Self) {
        self.cut_off += other.cut_off;
        self.own_end += other.own_end;
        self.own_begin += other.own_begin;
        self.repeated_openings += other.repeated_openings;
        self.given_ids += other.given_ids;
        self.other_text += other.other_text;
        self.open_ids += other.open_ids;
    }
}

impl Unusual {
    /// What was done about them, in words; nothing for none.
    pub fn remarks(&self) -> Vec<String> {
        [
            (self.cut_off, "cut off at a length limit: no end token is added to them"),
            (self.own_end, "that end in the text of the end token: no second one is added"),
            (self.own_begin, "that begin with the text of the beginning token: it is dropped"),
            (self.repeated_openings, "that repeat the tag at the end of the prompt: it is dropped"),
            (self.given_ids, "bring their token ids, which are used as they are"),
            (self.other_text, "bring token ids that decode to another text than theirs"),
            (
                self.open_ids,
                "bring token ids without the end token at their end, though they were not cut off: \
                 none is added",
            ),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} completions {what}"))
        .collect()
    }
}

/// A completion in a [`Corpus`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedCompletion {
    /// Index of its rollout.
    pub rollout_idx: usize,
    /// Index among the rollout's completions.
    pub completion_idx: usize,
    /// Index of the response in the corpus; copies share it.
    pub response: usize,
    /// Byte of the completion at which each token begins: `[n_tokens]`.
    pub starts: Vec<usize>,
    /// Tokens that its mask excludes from rewards and training, in rising ranges.
    pub masked: Vec<Range<usize>>,
    /// Byte of the completion at which it was cut to fit the context; `None` if it is whole.
    pub cut_at: Option<usize>,
}

/// Adds the completions of `rollouts` to a corpus; those skipped are not in the result.
///
/// # Errors
/// Those of [`Encoder::completion_tokens`]; [`InvalidSetting`](crate::data::Error::InvalidSetting) for a mask of more tokens than there
/// are; [`Error::ForeignTokenIds`] if most token ids are those of another tokenizer.
pub fn encode_rollouts(
    rollouts: &[Rollout],
    encoder: &Encoder,
    corpus: &mut Corpus,
) -> Result<Vec<EncodedCompletion>> {
    let mut encoded = Vec::new();
    let (mut n_given, mut n_foreign) = (0, 0);
    for (rollout_idx, rollout) in rollouts.iter().enumerate() {
        let prompt = encoder.prompt_of(rollout)?;
        for completion_idx in 0..rollout.completions.len() {
            let Some(EncodedText { tokens, starts, cut_at, given }) =
                encoder.completion(rollout, completion_idx, prompt.len())?
            else {
                continue;
            };
            n_given += usize::from(given.is_some());
            n_foreign += usize::from(given == Some(Agreement::Foreign));
            let prompt_idx = corpus.prompt(&prompt);
            let response = corpus.response(prompt_idx, &tokens);
            let masked = masked_tokens(rollout, completion_idx, &starts)?;
            encoded.push(EncodedCompletion {
                rollout_idx,
                completion_idx,
                response,
                starts,
                masked,
                cut_at,
            });
        }
    }
    if n_foreign >= MIN_FOREIGN && 2 * n_foreign > n_given {
        return Err(Error::ForeignTokenIds { n: n_foreign, n_given });
    }
    Ok(encoded)
}

/// So many completions whose ids have little to do with their texts, if they are the majority, are
/// those of another tokenizer; fewer may be odd texts.
const MIN_FOREIGN: usize = 4;

fn masked_tokens(rollout: &Rollout, idx: usize, starts: &[usize]) -> Result<Vec<Range<usize>>> {
    let completion = &rollout.completions[idx];
    let Some(mask) = &completion.mask else { return Ok(Vec::new()) };
    Ok(mask.tokens(&completion.text, starts).ok_or_else(|| DataError::InvalidSetting {
        field: "masks",
        expected: format!("within the {} tokens of a completion", starts.len()),
        got: format!("more in completion {} of problem `{}`", idx + 1, rollout.name().to_owned()),
    })?)
}
