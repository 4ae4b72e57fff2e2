//! Sampling K solutions per problem.

use gratis_engine::{FinishReason, Generate, SampleRequest, SamplingSettings};
use gratis_model::chat_template::Message;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::data::record::{Fault, Field, Record, Shape};
use crate::data::rollout::text_or_integer;
use crate::data::{Completion, Rollout};
use crate::encoding::Encoder;
use crate::error::{Error, Result};
use crate::observer::{Figure, Observer};

/// A problem to solve: a line of a problem file, or of a rollout file whose completions are
/// ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Problem {
    /// Names the problem; its line number where absent.
    #[serde(default, deserialize_with = "text_or_integer")]
    pub id: Option<String>,
    /// The problem as the model reads it.
    #[serde(alias = "question", alias = "problem")]
    pub prompt: String,
    /// The gold answer.
    #[serde(default, alias = "answer", alias = "gold")]
    pub reference: String,
    /// Where the problem comes from.
    #[serde(default)]
    pub dataset: String,
    /// What was said before the prompt.
    #[serde(default)]
    pub context: Vec<Message>,
    /// Further columns, carried along unchanged.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Record for Problem {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::optional("id", &Shape::TextOrInteger),
        Field::required("prompt", &Shape::Text).or(&["question", "problem"]),
        Field::optional("reference", &Shape::Text).or(&["answer", "gold"]),
        Field::optional("dataset", &Shape::Text),
    ];

    const IS_ROLLOUT: bool = true;

    fn from_rollout(rollout: Rollout) -> std::result::Result<Self, Fault> {
        let Rollout { id, prompt, reference, dataset, context, extra, .. } = rollout;
        Ok(Self { id, prompt, reference, dataset, context, extra })
    }

    fn from_columns(columns: Self) -> std::result::Result<Self, Fault> {
        if columns.prompt.trim().is_empty() {
            return Err(Fault::new("prompt", "a problem", "empty text"));
        }
        Ok(columns)
    }

    fn number(&mut self, line: u64) {
        self.id.get_or_insert_with(|| line.to_string());
    }
}

impl Problem {
    /// The problem without completions and further columns.
    fn rollout(&self) -> Rollout {
        Rollout {
            id: self.id.clone(),
            prompt: self.prompt.clone(),
            reference: self.reference.clone(),
            dataset: self.dataset.clone(),
            context: self.context.clone(),
            ..Rollout::default()
        }
    }
}

/// Whether sampled completions keep their token ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum SampledIds {
    /// In the column `token_ids`, so that they are scored as they were sampled.
    #[default]
    Write,
    /// Left out.
    Omit,
}

/// Column that says how the completions were drawn.
pub const SAMPLING: &str = "sampling";

/// Samples solutions from a model.
pub struct Sampler<'a> {
    /// The model.
    pub engine: &'a dyn Generate,
    /// Text to tokens and back.
    pub encoder: Encoder<'a>,
    /// How tokens are drawn.
    pub settings: SamplingSettings,
    /// Solutions of each problem.
    pub n_samples: usize,
    /// Whether they keep their token ids.
    pub token_ids: SampledIds,
    /// How they are drawn, for the column [`SAMPLING`].
    pub provenance: Value,
}

impl Sampler<'_> {
    /// A rollout for each problem, in their order. `first` is the number of the first problem in
    /// its file: a problem's samples depend on its number and the seed, not on its chunk.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if no solution is asked for; those of the encoder and the engine.
    pub fn sample(
        &mut self,
        problems: &[Problem],
        first: u64,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Rollout>> {
        if self.n_samples == 0 {
            return Err(Error::setting("samples", "at least 1", 0));
        }
        let mut requests = Vec::with_capacity(problems.len());
        for (problem, key) in problems.iter().zip(first..) {
            let prompt = self.encoder.prompt_of(&problem.rollout())?;
            requests.push(SampleRequest {
                prompt,
                key,
                first_sample: 0,
                n_samples: self.n_samples,
            });
        }
        let samples = self.engine.sample_all(&requests, &self.settings)?;
        let mut rollouts = Vec::with_capacity(problems.len());
        for (problem, samples) in problems.iter().zip(samples) {
            let mut completions = Vec::with_capacity(samples.len());
            let (mut n_tokens, mut n_cut) = (0, 0);
            for sample in samples {
                n_tokens += sample.tokens.len() as u64;
                let text = match sample.finish {
                    FinishReason::Stop => &sample.tokens[..sample.tokens.len() - 1],
                    FinishReason::Length => {
                        n_cut += 1;
                        &sample.tokens
                    }
                };
                let text = self.encoder.tokenizer().decode(text)?;
                let token_ids = (self.token_ids == SampledIds::Write).then_some(sample.tokens);
                let finish_reason = Some(sample.finish);
                completions.push(Completion { token_ids, finish_reason, ..text.into() });
            }
            let figures = [Figure::Amount("tokens", n_tokens), Figure::Count("cut short", n_cut)];
            observer.advance(1, &figures);
            let mut extra = problem.extra.clone();
            extra.retain(|column, _| !Rollout::is_per_completion(column));
            extra.insert(SAMPLING.to_owned(), self.provenance.clone());
            rollouts.push(Rollout { completions, extra, ..problem.rollout() });
        }
        Ok(rollouts)
    }
}
