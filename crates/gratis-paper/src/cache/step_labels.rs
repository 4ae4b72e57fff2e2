//! Labels of steps: Math-Shepherd's by Monte Carlo and the checker's own, and how the former compare
//! with the latter.

use std::path::{Path, PathBuf};

use gratis::AnnotationCounts;
use gratis::annotate::{LabelKind, MonteCarlo};
use gratis::data::Rollout;
use gratis::data::StepSplitter;
use gratis::observer::Silent;
use gratis_cpu::NativeEngine;
use gratis_engine::SamplingSettings;
use gratis_model::Tokenizer;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Cache, RECORD, ROLLOUTS, since, store};
use crate::error::Result;
use crate::rows::Labels;
use crate::trainer;
use crate::truth;
use crate::world::Strength;

/// Continuations of each step prefix (paper section 2, Math-Shepherd).
const N_CONTINUATIONS: usize = 8;
/// Problems whose prefixes are continued together.
const CHUNK: usize = 100;

/// The cost and the quality of the Monte-Carlo labels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LabelRecord {
    /// Continuations and passes.
    pub(crate) counts: AnnotationCounts,
    /// Soft labels compared with the truth at one half.
    pub(crate) soft: LabelQuality,
    /// Hard labels compared with the truth.
    pub(crate) hard: LabelQuality,
    /// Processor time, where the observer measures it.
    pub(crate) cpu_seconds: Option<f64>,
}

/// Labels of steps compared with the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LabelQuality {
    /// Steps before any error.
    pub(crate) n_good: u64,
    /// Share of them labelled at least the limit.
    pub(crate) good_kept: f64,
    /// First wrong steps.
    pub(crate) n_bad: u64,
    /// Share of them labelled below the limit.
    pub(crate) bad_caught: f64,
}

impl Cache<'_> {
    /// The training samples with soft Monte-Carlo labels of their steps.
    ///
    /// # Errors
    /// Those of sampling and grading.
    pub(crate) fn step_labels(&mut self, seed: u64) -> Result<PathBuf> {
        let medium = self.generator(seed, Strength::Medium)?;
        let samples = self.train_samples(seed)?;
        let key = json!({ "samples": store::name(&samples), "generator": store::name(&medium),
                          "n_continuations": N_CONTINUATIONS, "seed": seed });
        if let Some(labels) = self.find("labels", &key)? {
            return Ok(labels);
        }
        self.observer.stage("continuations", None);
        let rollouts = self.rollouts(&samples)?;
        let temperature = self.settings.train.temperature;
        let mut generator = self.load(&medium)?;
        let before = self.observer.processor_seconds();
        let (labelled, counts) =
            continue_prefixes(&mut generator, &self.tokenizer, temperature, seed, &rollouts)?;
        let record = LabelRecord {
            counts,
            soft: label_quality(&labelled, 0.5)?,
            hard: label_quality(&labelled, f64::MIN_POSITIVE)?,
            cpu_seconds: since(before, self.observer),
        };
        self.store.make("labels", &key, |draft| {
            trainer::write_rollouts(&draft.join(ROLLOUTS), &labelled)?;
            store::write_json(&draft.join(RECORD), &record)
        })
    }

    /// The cost of the labels of a seed.
    ///
    /// # Errors
    /// As [`Self::step_labels`].
    pub(crate) fn label_record(&mut self, seed: u64) -> Result<LabelRecord> {
        let labels = self.step_labels(seed)?;
        store::read_json(&labels.join(RECORD))
    }

    /// The artefact that the training rollouts with such labels are read from: the samples as they
    /// were graded, or those that were continued. AutoPSV's begin as graded samples.
    pub(super) fn labelled_samples(&mut self, seed: u64, labels: Labels) -> Result<PathBuf> {
        match labels {
            Labels::MonteCarloSoft | Labels::MonteCarloHard => self.step_labels(seed),
            Labels::Outcome | Labels::AutoPsv | Labels::True | Labels::TrueUpToError => {
                self.train_samples(seed)
            }
        }
    }

    /// The rollouts of [`Self::labelled_samples`] with their labels.
    pub(super) fn labelled(&mut self, samples: &Path, labels: Labels) -> Result<Vec<Rollout>> {
        let mut rollouts = self.rollouts(samples)?.to_vec();
        for rollout in &mut rollouts {
            match labels {
                Labels::Outcome | Labels::MonteCarloSoft | Labels::AutoPsv => {}
                Labels::MonteCarloHard => relabel(rollout, |_, _, share| {
                    // A share above 0 is what any right continuation makes of it.
                    share.map(|share| LabelKind::Hard.label(usize::from(share > 0.0), 1))
                })?,
                Labels::True | Labels::TrueUpToError => {
                    relabel(rollout, |step, first_error, _| match first_error {
                        Some(error) if step >= error => {
                            (labels == Labels::True || step == error).then_some(0.0)
                        }
                        _ => Some(1.0),
                    })?;
                }
            }
        }
        Ok(rollouts)
    }
}

/// Soft Monte-Carlo labels for all steps.
fn continue_prefixes(
    generator: &mut NativeEngine,
    tokenizer: &Tokenizer,
    temperature: f32,
    seed: u64,
    rollouts: &[Rollout],
) -> Result<(Vec<Rollout>, AnnotationCounts)> {
    let encoder = trainer::encoder(tokenizer, generator)?;
    let sampling = SamplingSettings {
        temperature,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: trainer::MAX_NEW_TOKENS,
        stop_tokens: vec![encoder.end_token()?],
        seed,
    };
    let mut monte_carlo = MonteCarlo {
        engine: generator,
        encoder,
        sampling,
        n_continuations: N_CONTINUATIONS,
        labels: LabelKind::Soft,
        step_split: trainer::STEP_SPLIT,
        grading: gratis_grading::Options::default(),
    };
    let (mut labelled, mut counts) = (Vec::new(), AnnotationCounts::default());
    for (chunk, first) in rollouts.chunks(CHUNK).zip((0..).step_by(CHUNK)) {
        let (rollouts, of_chunk) = monte_carlo.annotate_counted(chunk, first, &mut Silent)?;
        labelled.extend(rollouts);
        counts.add(&of_chunk);
    }
    counts.check()?;
    Ok((labelled, counts))
}

/// Replaces the labels of a rollout's steps: `label` is given the step, the true first error of its
/// solution, and the previous label.
fn relabel(
    rollout: &mut Rollout,
    label: impl Fn(usize, Option<usize>, Option<f64>) -> Option<f64>,
) -> Result<()> {
    let splitter = StepSplitter::new(&trainer::STEP_SPLIT)?;
    let before = rollout.step_labels()?.unwrap_or_default();
    let (mut steps, mut labels) = (Vec::new(), Vec::new());
    for (idx, first_error) in truth::first_errors(rollout).enumerate() {
        let text = &rollout.completions[idx].text;
        let texts: Vec<String> =
            splitter.split(text).into_iter().map(|range| text[range].to_owned()).collect();
        let known = |step: usize| before.get(idx).and_then(|labels| labels.get(step)).copied();
        let of_step = |step| label(step, first_error, known(step).flatten());
        labels.push((0..texts.len()).map(of_step).collect());
        steps.push(texts);
    }
    rollout.set_step_labels(steps, labels);
    Ok(())
}

/// The quality of the `step_labels` of `rollouts` of the tiny world: a label of at least `limit`
/// says that a step is good. Steps after a first error are left out: whether they are wrong is
/// ambiguous.
///
/// # Errors
/// Those of [`Rollout::step_labels`].
fn label_quality(rollouts: &[Rollout], limit: f64) -> Result<LabelQuality> {
    let (mut good, mut kept, mut bad, mut caught) = (0, 0, 0, 0);
    for rollout in rollouts {
        let labels = rollout.step_labels()?.unwrap_or_default();
        for (first_error, labels) in truth::first_errors(rollout).zip(&labels) {
            for (step, label) in labels.iter().enumerate() {
                let Some(label) = label else { continue };
                if first_error.is_none_or(|error| step < error) {
                    good += 1;
                    kept += u64::from(*label >= limit);
                } else if first_error == Some(step) {
                    bad += 1;
                    caught += u64::from(*label < limit);
                }
            }
        }
    }
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let (good_kept, bad_caught) = (share(kept, good), share(caught, bad));
    Ok(LabelQuality { n_good: good, good_kept, n_bad: bad, bad_caught })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One right solution and one whose second step is wrong, with soft labels.
    fn rollout() -> Rollout {
        let mut rollout = Rollout {
            prompt: "Eve has 20 coins. Cal has 4 times as many. Dan has that plus Eve's. \
                     How many does the last one have, counting modulo 23?\n"
                .to_owned(),
            completions: vec![
                "Cal: 20 * 4 = 11\nDan: 11 + 20 = 8\nAnswer: 8".into(),
                "Cal: 20 * 4 = 11\nDan: 11 + 20 = 9\nAnswer: 9".into(),
            ],
            ..Rollout::default()
        };
        let steps = vec![vec!["a".to_owned(); 3]; 2];
        let labels =
            vec![vec![Some(1.0), Some(0.25), None], vec![Some(0.5), Some(0.125), Some(1.0)]];
        rollout.set_step_labels(steps, labels);
        rollout
    }

    #[test]
    fn labels_are_compared_with_the_checker() {
        let hard = label_quality(&[rollout()], 1e-9).expect("valid");
        let kept = LabelQuality { n_good: 3, good_kept: 1.0, n_bad: 1, bad_caught: 0.0 };
        assert_eq!(hard, kept);
        let half = label_quality(&[rollout()], 0.5).expect("valid");
        assert_eq!((half.good_kept, half.bad_caught), (2.0 / 3.0, 1.0));
    }

    #[test]
    fn true_labels_hold_from_the_first_error_or_end_with_it() {
        let relabelled = |label: fn(usize, Option<usize>, Option<f64>) -> Option<f64>| {
            let mut rollout = rollout();
            relabel(&mut rollout, label).expect("valid");
            assert_eq!(
                rollout.completions[1].steps.as_ref().expect("steps")[1],
                "Dan: 11 + 20 = 9\n"
            );
            rollout.step_labels().expect("valid").expect("labels")
        };
        let kept = relabelled(|_, _, label| label);
        assert_eq!(kept[1], [Some(0.5), Some(0.125), Some(1.0)]);
        let true_ones = relabelled(|step, error, _| {
            Some(f64::from(u8::from(error.is_none_or(|error| step < error))))
        });
        assert_eq!(true_ones, [[Some(1.0); 3], [Some(1.0), Some(0.0), Some(0.0)]]);
    }
}
