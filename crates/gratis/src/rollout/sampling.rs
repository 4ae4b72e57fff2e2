//! Sampling K solutions per problem.

use std::collections::BTreeMap;

use gratis_engine::{FinishReason, Generate, Sample, SampleRequest, SamplingSettings};
use serde_json::Value;

use crate::cost::{JobWork, Work};
use crate::data::{Completion, Rollout};
use crate::encoding::Encoder;
use crate::error::{Error, Result};
use crate::observer::{Figure, Observer};

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
    /// How they are drawn, for the column [`Self::COLUMN`].
    pub provenance: Value,
}

/// The passes of a problem's samples: as run, with the prompt once, and as counted when every solution
/// goes through on its own. `n_tokens` are those that were drawn for each.
fn work_of(n_prompt: usize, n_tokens: &[usize]) -> JobWork {
    let mut as_counted = Work::default();
    for &n_tokens in n_tokens {
        as_counted += Work::of_samples(n_prompt, &[n_tokens]);
    }
    JobWork { as_run: Work::of_samples(n_prompt, n_tokens), as_counted }
}

impl Sampler<'_> {
    /// Column that says how the completions were drawn.
    pub const COLUMN: &'static str = "sampling";

    /// Each problem with sampled completions and their token ids, in their order; completions that it has are ignored.
    /// `first` is the number of the first problem in its file: a problem's samples depend on its number
    /// and the seed, not on its chunk.
    ///
    /// # Errors
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) if no solution is asked for; those of the encoder and the engine.
    pub fn sample(
        &self,
        problems: &[Rollout],
        first: u64,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Rollout>> {
        let mut rollouts = Vec::with_capacity(problems.len());
        self.sample_each(problems, first, observer, &mut |rollout, _| {
            rollouts.push(rollout);
            Ok(())
        })?;
        Ok(rollouts)
    }

    /// As [`Self::sample`], but each rollout is handed over, with the passes that it took, as soon as it and
    /// all before it are there.
    ///
    /// # Errors
    /// As [`Self::sample`], and those of `take`, after which nothing more is handed over.
    #[doc(hidden)]
    pub fn sample_each(
        &self,
        problems: &[Rollout],
        first: u64,
        observer: &mut dyn Observer,
        take: &mut dyn FnMut(Rollout, JobWork) -> Result<()>,
    ) -> Result<()> {
        if self.n_samples == 0 {
            return Err(Error::setting("samples", "at least 1", 0));
        }
        let mut requests = Vec::with_capacity(problems.len());
        for (problem, key) in problems.iter().zip(first..) {
            let prompt = self.encoder.prompt_of(problem)?;
            requests.push(SampleRequest {
                prompt,
                key,
                first_sample: 0,
                n_samples: self.n_samples,
            });
        }
        // Problems that finish before one that comes earlier wait for it.
        let mut waiting: BTreeMap<usize, Vec<Sample>> = BTreeMap::new();
        let mut n_taken = 0;
        let mut taken = Ok(());
        let mut n_repeated = self.engine.activity().unwrap_or_default().n_repeated;
        self.engine.sample(&requests, &self.settings, &mut |idx, samples| {
            waiting.insert(idx, samples);
            while taken.is_ok()
                && let Some(samples) = waiting.remove(&n_taken)
            {
                let rollout = self.rollout(&problems[n_taken], &samples);
                let n_prompt = requests[n_taken].prompt.len();
                n_taken += 1;
                taken = rollout.and_then(|rollout| {
                    let is_cut = |sample: &&Sample| sample.finish == FinishReason::Length;
                    let n_cut = samples.iter().filter(is_cut).count() as u64;
                    let n_tokens = samples.iter().map(|sample| sample.tokens.len());
                    let n_tokens: Vec<usize> = n_tokens.collect();
                    let n_all = n_tokens.iter().sum::<usize>() as u64;
                    let mut figures =
                        vec![Figure::Amount("tokens", n_all), Figure::Count("cut short", n_cut)];
                    if let Some(activity) = self.engine.activity() {
                        let n_more = activity.n_repeated.saturating_sub(n_repeated);
                        n_repeated = activity.n_repeated;
                        figures.push(Figure::Count("repeated requests", n_more));
                        figures.push(Figure::Number("in flight", activity.n_in_flight));
                    }
                    observer.advance(1, &figures);
                    take(rollout, work_of(n_prompt, &n_tokens))
                });
            }
        })?;
        taken
    }

    /// The samples of a problem as its rollout.
    fn rollout(&self, problem: &Rollout, samples: &[Sample]) -> Result<Rollout> {
        let mut completions = Vec::with_capacity(samples.len());
        for sample in samples {
            let text = match sample.finish {
                FinishReason::Stop => &sample.tokens[..sample.tokens.len() - 1],
                FinishReason::Length => &sample.tokens,
            };
            let text = self.encoder.tokenizer().decode(text)?;
            let (token_ids, finish_reason) = (Some(sample.tokens.clone()), Some(sample.finish));
            completions.push(Completion { token_ids, finish_reason, ..text.into() });
        }
        let mut rollout = problem.with_completions(&[]);
        rollout.completions = completions;
        rollout.extra.retain(|column, _| !Rollout::is_per_completion(column));
        rollout.extra.insert(Self::COLUMN.to_owned(), self.provenance.clone());
        Ok(rollout)
    }
}
