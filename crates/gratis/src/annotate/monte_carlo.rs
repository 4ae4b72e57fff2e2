//! Math-Shepherd's labels (Wang et al. 2023; paper section 2): continue each step prefix N times
//! and grade the answers, `c_1 .. c_N`.
//!
//! Soft estimation: `l_t = (1/N) sum_i c_i`. Hard estimation: `l_t = max_i c_i`. The last step ends
//! the solution, so it cannot be continued: its label is the outcome label.
//!
//! Solutions of one problem share prefixes: each distinct one is sampled once, and its keys and
//! values are computed once for its N continuations. A continuation depends only on the seed, the
//! problem's number and the prefix's number, so a resumed job gives the same bits.

use std::collections::HashMap;

use gratis_engine::{FinishReason, Generate, Sample, SampleRequest, SamplingSettings};
use gratis_grading::Options;
use gratis_model::End;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cost::Work;
use crate::data::Rollout;
use crate::data::{StepSplit, StepSplitter};
use crate::encoding::Encoder;
use crate::error::{Error, Result};
use crate::observer::{Figure, Observer};
use crate::reward::Rewards;
use crate::scoring::steps_of;

/// Separates the random streams of continuations from those of rollouts, which use only the
/// problem's number.
const STREAMS: u64 = 1 << 63;
/// Number of random streams per problem.
const PREFIXES: u64 = 1 << 24;

/// How the grades of continuations become a label.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// The share of correct continuations.
    #[default]
    Soft,
    /// 1 if any continuation is correct.
    Hard,
}

impl LabelKind {
    /// The label of a step from its continuations.
    pub fn label(self, n_correct: usize, n: usize) -> f64 {
        match self {
            Self::Soft => n_correct as f64 / n.max(1) as f64,
            Self::Hard => f64::from(u8::from(n_correct > 0)),
        }
    }
}

/// Counts of an annotation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct AnnotationCounts {
    /// Problems.
    pub n_problems: u64,
    /// Steps whose prefix had to be continued, duplicates included.
    pub n_prefixes: u64,
    /// Distinct prefixes.
    pub n_distinct: u64,
    /// Continuations sampled.
    pub n_continuations: u64,
    /// Continuations with a correct answer.
    pub n_correct: u64,
    /// Forward passes as run.
    pub as_run: Work,
    /// Forward passes without sharing: every continuation of every prefix on its own.
    pub as_counted: Work,
}

impl AnnotationCounts {
    /// Adds the counts of another part of the data.
    pub fn add(&mut self, other: &Self) {
        self.n_problems += other.n_problems;
        self.n_prefixes += other.n_prefixes;
        self.n_distinct += other.n_distinct;
        self.n_continuations += other.n_continuations;
        self.n_correct += other.n_correct;
        self.as_run += other.as_run;
        self.as_counted += other.as_counted;
    }

    /// Checks that the labels carry information.
    ///
    /// # Errors
    /// [`Error::EveryContinuationWrong`].
    pub fn check(&self) -> Result<()> {
        if self.n_continuations > 0 && self.n_correct == 0 {
            let (n_continuations, n_problems) = (self.n_continuations, self.n_problems);
            return Err(Error::EveryContinuationWrong { n_continuations, n_problems });
        }
        Ok(())
    }
}

/// Labels steps by continuing their prefixes.
pub struct MonteCarlo<'a> {
    /// The generator.
    pub engine: &'a dyn Generate,
    /// Text to tokens and back.
    pub encoder: Encoder<'a>,
    /// How tokens are sampled.
    pub sampling: SamplingSettings,
    /// Continuations per prefix.
    pub n_continuations: usize,
    /// How their grades become a label.
    pub labels: LabelKind,
    /// How completions without `steps` are split.
    pub step_split: StepSplit,
    /// How answers are compared.
    pub grading: Options,
}

/// A prefix and the number of steps that end with it.
struct Prefix {
    tokens: Vec<u32>,
    n_uses: u64,
}

/// A rollout's steps and where their labels come from.
#[derive(Default)]
struct Plan {
    steps: Vec<Vec<String>>,
    sources: Vec<Vec<Source>>,
    prefixes: Vec<Prefix>,
}

/// Where a label comes from.
#[derive(Clone, Copy)]
enum Source {
    Continuations(usize),
    Outcome,
    /// No label: the prefix fills the context.
    Nothing,
}

impl MonteCarlo<'_> {
    /// The rollouts with their step labels. `first` is the number of the first one in its file.
    ///
    /// # Errors
    /// [`Error::EveryContinuationWrong`] if no continuation at all is correct;
    /// [`InvalidSetting`](crate::data::Error::InvalidSetting) for no continuations; [`NoCorrectness`](crate::data::Error::NoCorrectness) for ungraded
    /// rollouts; those of the encoder and the engine.
    pub fn annotate(
        &mut self,
        rollouts: &[Rollout],
        first: u64,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Rollout>> {
        let (annotated, counts) = self.annotate_counted(rollouts, first, observer)?;
        counts.check()?;
        Ok(annotated)
    }

    /// As [`Self::annotate`], with what it took and found; [`AnnotationCounts::check`] is left to the
    /// caller, who may add up the counts of several parts first.
    ///
    /// # Errors
    /// As [`Self::annotate`], but for [`Error::EveryContinuationWrong`].
    #[doc(hidden)]
    pub fn annotate_counted(
        &mut self,
        rollouts: &[Rollout],
        first: u64,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Rollout>, AnnotationCounts)> {
        if self.n_continuations == 0 {
            return Err(Error::setting("continuations", "at least 1", 0));
        }
        let splitter = StepSplitter::new(&self.step_split)?;
        let mut plans = Vec::new();
        let mut requests = Vec::new();
        for (rollout, problem) in rollouts.iter().zip(first..) {
            rollout.labels("the label of a last step")?;
            let prompt = self.encoder.prompt_of(rollout)?;
            let plan = self.plan(rollout, prompt.len(), &splitter)?;
            for (prefix, nth) in plan.prefixes.iter().zip(0..) {
                requests.push(SampleRequest {
                    prompt: [&prompt[..], &prefix.tokens].concat(),
                    key: STREAMS | (problem.wrapping_mul(PREFIXES) + nth) & (STREAMS - 1),
                    first_sample: 0,
                    n_samples: self.n_continuations,
                });
            }
            plans.push(plan);
        }
        let samples = self.engine.sample_all(&requests, &self.sampling)?;

        let mut all = AnnotationCounts::default();
        let mut drawn = requests.iter().zip(samples);
        let mut annotated = Vec::with_capacity(rollouts.len());
        for (rollout, plan) in rollouts.iter().zip(plans) {
            let mut counts = AnnotationCounts { n_problems: 1, ..AnnotationCounts::default() };
            let mut labels_of_prefix = Vec::with_capacity(plan.prefixes.len());
            for (prefix, (request, samples)) in plan.prefixes.iter().zip(drawn.by_ref()) {
                let n_correct = self.n_correct(rollout, prefix, &samples)?;
                labels_of_prefix.push(self.labels.label(n_correct, samples.len()));
                counts.n_prefixes += prefix.n_uses;
                counts.n_distinct += 1;
                counts.n_continuations += samples.len() as u64;
                counts.n_correct += n_correct as u64;
                let lengths: Vec<usize> = samples.iter().map(|s| s.tokens.len()).collect();
                counts.as_run += Work::of_samples(request.prompt.len(), &lengths);
                for length in lengths {
                    let alone = Work::of_samples(request.prompt.len(), &[length]);
                    counts.as_counted += alone.times(prefix.n_uses);
                }
            }
            let outcomes = rollout.labels("the label of a last step")?;
            let labels = plan.sources.iter().zip(outcomes).map(|(sources, is_correct)| {
                let label = |source: &Source| match *source {
                    Source::Continuations(idx) => Some(labels_of_prefix[idx]),
                    Source::Outcome => Some(f64::from(u8::from(is_correct))),
                    Source::Nothing => None,
                };
                sources.iter().map(label).collect()
            });
            let mut labelled = rollout.clone();
            labelled.set_step_labels(plan.steps, labels.collect());
            annotated.push(labelled);
            let tokens = Figure::Amount("tokens", counts.as_run.n_tokens);
            observer.advance(1, &[tokens, Figure::Amount("samples", counts.n_continuations)]);
            all.add(&counts);
        }
        Ok((annotated, all))
    }

    fn plan(&self, rollout: &Rollout, n_prompt: usize, splitter: &StepSplitter) -> Result<Plan> {
        let mut plan = Plan::default();
        let mut known: HashMap<Vec<u32>, usize> = HashMap::new();
        for (idx, text) in rollout.texts().enumerate() {
            let steps = steps_of(rollout, idx, splitter)?;
            let encoding = self.encoder.tokenizer().encode_completion(text, End::Eos)?;
            let starts: Vec<usize> = encoding.offsets.iter().map(|range| range.start).collect();
            let ends = Rewards::step_ends_in_tokens(&starts, &steps);
            let n_steps = ends.len();
            let mut sources = Vec::with_capacity(n_steps);
            for (nth, end) in ends.into_iter().enumerate() {
                sources.push(if nth + 1 == n_steps {
                    Source::Outcome
                } else if n_prompt + end >= self.encoder.context_length() {
                    Source::Nothing
                } else {
                    let tokens = &encoding.ids[..end];
                    let place = *known.entry(tokens.to_vec()).or_insert_with(|| {
                        plan.prefixes.push(Prefix { tokens: tokens.to_vec(), n_uses: 0 });
                        plan.prefixes.len() - 1
                    });
                    plan.prefixes[place].n_uses += 1;
                    Source::Continuations(place)
                });
            }
            plan.sources.push(sources);
            plan.steps.push(steps.into_iter().map(|step| text[step].to_owned()).collect());
        }
        Ok(plan)
    }

    /// Number of continuations with the correct answer.
    fn n_correct(&self, rollout: &Rollout, prefix: &Prefix, samples: &[Sample]) -> Result<usize> {
        let mut texts = Vec::with_capacity(samples.len());
        for sample in samples {
            let n_kept = match sample.finish {
                FinishReason::Stop => sample.tokens.len() - 1,
                FinishReason::Length => sample.tokens.len(),
            };
            let tokens = [&prefix.tokens[..], &sample.tokens[..n_kept]].concat();
            texts.push(self.encoder.tokenizer().decode(&tokens)?);
        }
        let grading = &self.grading;
        let is_right = |text: &&String| {
            gratis_grading::grade(&rollout.reference, text, grading).verdict.is_correct()
        };
        Ok(texts.par_iter().filter(is_right).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_is_any_and_soft_is_the_share() {
        let labels = |n_correct| [LabelKind::Hard, LabelKind::Soft].map(|k| k.label(n_correct, 8));
        assert_eq!(labels(0), [0.0, 0.0]);
        assert_eq!(labels(1), [1.0, 0.125]);
        assert_eq!(labels(8), [1.0, 1.0]);
    }

    #[test]
    fn labels_that_say_nothing_are_an_error() {
        let counts = |n_correct| AnnotationCounts {
            n_continuations: 16,
            n_correct,
            n_problems: 2,
            ..AnnotationCounts::default()
        };
        assert!(counts(1).check().is_ok());
        let error = counts(0).check().expect_err("all wrong").to_string();
        assert!(error.starts_with("every one of the 16 continuations sampled for 2 problems"));
    }
}
