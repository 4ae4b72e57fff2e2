//! What a reward model reads of a completion, in tokens: how many it computes, which they are,
//! and whether the context holds them.

use super::RewardModel;
use crate::data::{Rollout, StepSplitter};
use crate::encoding::OnOverlong;
use crate::error::{Error, Result};
use crate::scoring::TokenRewards;

/// Number of tokens of a problem and of its completions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Tokens of the prompt, which the completions share; 0 for a published format with a head, whose
    /// completions each hold their prompt.
    pub n_prompt: usize,
    /// Tokens per completion, 0 for one that is skipped.
    pub n_completion: Vec<usize>,
}

impl TokenCounts {
    /// Tokens that one pass over the problem computes.
    pub fn total(&self) -> usize {
        self.n_prompt + self.n_completion.iter().sum::<usize>()
    }
}

/// How much of a completion the context holds together with its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// All of it.
    Whole,
    /// Its beginning.
    Part,
    /// Nothing.
    Nothing,
}

impl RewardModel {
    /// How much of a completion the context holds, as it is scored.
    ///
    /// # Errors
    /// Those of the encoder.
    #[doc(hidden)]
    pub fn room(&self, rollout: &Rollout, completion_idx: usize) -> Result<Room> {
        if let Some(published) = &self.published {
            let splitter = StepSplitter::new(&self.settings.step_split)?;
            return published.room(&self.model, rollout, completion_idx, &splitter);
        }
        let encoder = self.encoder(OnOverlong::Skip)?;
        let n_prompt = encoder.prompt_of(rollout)?.len();
        Ok(match encoder.completion(rollout, completion_idx, n_prompt)? {
            Some(_) => Room::Whole,
            None if n_prompt < encoder.context_length() => Room::Part,
            None => Room::Nothing,
        })
    }

    /// From now on scores hold the reward of every token. A published format with a head gives none,
    /// and nothing changes.
    pub fn keep_token_rewards(&mut self) {
        if self.published.is_none() {
            self.settings.tokens = TokenRewards::Write;
        }
    }

    /// The tokens that scoring a rollout takes.
    ///
    /// # Errors
    /// Those of the encoder, for instance for a completion that exceeds the context.
    #[doc(hidden)]
    pub fn count_tokens(&self, rollout: &Rollout) -> Result<TokenCounts> {
        let all = 0..rollout.completions.len();
        if let Some(published) = &self.published {
            let splitter = StepSplitter::new(&self.settings.step_split)?;
            let context_length = self.model.config().context_length;
            let count = |idx| {
                let n_tokens = published.n_tokens(&self.model, rollout, idx, &splitter)?;
                if n_tokens > context_length && self.on_overlong == OnOverlong::Stop {
                    let (problem, completion) = (rollout.name().to_owned(), idx + 1);
                    return Err(Error::TooLong { problem, completion, n_tokens, context_length });
                }
                Ok(n_tokens.min(context_length))
            };
            return Ok(TokenCounts {
                n_prompt: 0,
                n_completion: all.map(count).collect::<Result<_>>()?,
            });
        }
        let encoder = self.encoder(self.on_overlong)?;
        let n_prompt = encoder.prompt_of(rollout)?.len();
        let count = |idx| {
            let tokens = encoder.completion_tokens(rollout, idx, n_prompt)?;
            Ok(tokens.map_or(0, |tokens| tokens.len()))
        };
        Ok(TokenCounts { n_prompt, n_completion: all.map(count).collect::<Result<_>>()? })
    }

    /// The byte of a completion at which each of the tokens begins whose rewards
    /// [`Self::keep_token_rewards`] keeps: `None` for a completion that is skipped, and for a published
    /// format with a head.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn token_starts(&self, rollout: &Rollout, idx: usize) -> Result<Option<Vec<usize>>> {
        if self.published.is_some() {
            return Ok(None);
        }
        let encoder = self.encoder(self.on_overlong)?;
        let n_prompt = encoder.prompt_of(rollout)?.len();
        Ok(encoder.completion(rollout, idx, n_prompt)?.map(|encoded| encoded.starts))
    }
}
