//! What the service needs of a reward model.

use gratis::TokenCounts;
use gratis::data::{ProblemScores, Rollout, ScoreOrigin};
use gratis::reward_model::RewardModel;
use gratis::selection::Aggregation;
use gratis::{Error, Silent};

/// What is known about a reward model, for answers and for the page.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// How the scores are computed.
    pub origin: ScoreOrigin,
    /// How steps become a completion's reward, unless a request names another way.
    pub aggregation: Aggregation,
    /// The prompt, with `{prompt}` for the problem.
    pub template: String,
    /// The text of the token that begins a sequence, if there is one.
    pub bos: Option<String>,
    /// The texts of the tokens that end a turn.
    pub ends: Vec<String>,
    /// Longest prompt and completion together, in tokens.
    pub context_length: usize,
    /// Tokens in a batch.
    pub batch_tokens: usize,
}

/// A reward model as the service uses it. The scores of a completion depend on the batch that it is
/// in by the last bit at most.
pub trait Scorer: Send + Sync {
    /// The scores of all completions, with token rewards where the model has them.
    ///
    /// # Errors
    /// Those of the model.
    fn score(&self, rollouts: &[Rollout]) -> Result<Vec<ProblemScores>, Error>;

    /// The tokens that scoring takes.
    ///
    /// # Errors
    /// Those of the encoder.
    fn count_tokens(&self, rollout: &Rollout) -> Result<TokenCounts, Error>;

    /// The byte of a completion at which each token begins; `None` if tokens have no rewards.
    ///
    /// # Errors
    /// Those of the encoder.
    fn token_starts(&self, rollout: &Rollout, idx: usize) -> Result<Option<Vec<usize>>, Error>;
}

impl Scorer for RewardModel {
    fn score(&self, rollouts: &[Rollout]) -> Result<Vec<ProblemScores>, Error> {
        Self::score(self, rollouts, &mut Silent)
    }

    fn count_tokens(&self, rollout: &Rollout) -> Result<TokenCounts, Error> {
        Self::count_tokens(self, rollout)
    }

    fn token_starts(&self, rollout: &Rollout, idx: usize) -> Result<Option<Vec<usize>>, Error> {
        Self::token_starts(self, rollout, idx)
    }
}

/// What is known about a reward model that takes `batch_tokens` tokens at a time.
///
/// # Errors
/// A fault of the file that names the tokens that end a turn.
pub fn about(reward_model: &RewardModel, batch_tokens: usize) -> Result<About, Error> {
    let model = reward_model.model();
    let tokenizer = model.tokenizer();
    let ends = model.stop_tokens()?;
    Ok(About {
        origin: reward_model.origin(),
        aggregation: reward_model.aggregation(),
        template: reward_model.template().to_owned(),
        bos: tokenizer.bos().and_then(|id| tokenizer.id_to_token(id)),
        ends: ends.into_iter().filter_map(|id| tokenizer.id_to_token(id)).collect(),
        context_length: model.config().context_length,
        batch_tokens,
    })
}
