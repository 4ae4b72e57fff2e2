//! Shares of generation, reward model and reference in the tiny world, by operations and measured, for
//! table 3.

use std::path::Path;

use gratis::cost::{Architecture, Pass, Work};
use gratis::objective::{Ce, Objective};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cache::{Cache, record_of_samples, since, store};
use crate::calculator::InferenceShares;
use crate::cast::Inference;
use crate::error::Result;
use crate::rows::tuned;
use crate::trainer;
use crate::world::{Split, Strength};

/// Processor seconds of passes over one generator's candidates, copies once and prompts shared, the
/// model's loading included; where the observer measures them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct InferenceTimes {
    /// The reward model's.
    reward: Option<f64>,
    /// The reference's.
    reference: Option<f64>,
}

/// Counts and measures every generator of a seed.
pub(super) fn inference(cache: &mut Cache<'_>, seed: u64) -> Result<Vec<Inference>> {
    let recipe = tuned(Objective::Ce(Ce::default())).recipe;
    let mut all = Vec::new();
    for (idx, strength) in Strength::ALL.into_iter().enumerate() {
        let samples = cache.candidate_samples(seed, Split::Test)?[idx].clone();
        let model = cache.implicit_model(seed, &recipe)?;
        let by_operations = by_operations(cache, &samples, &model)?;
        let times = inference_times(cache, seed, &samples, &model)?;
        let generation = record_of_samples(&samples)?.cpu_seconds;
        let by_time = match (generation, times.reward, times.reference) {
            (Some(generation), Some(reward), Some(reference)) => {
                Some((generation, InferenceShares::new(generation, reward, reference)))
            }
            _ => None,
        };
        all.push(Inference { generator: strength.name().to_owned(), by_operations, by_time });
    }
    Ok(all)
}

/// Shares of operations without sharing.
fn by_operations(cache: &mut Cache<'_>, samples: &Path, model: &Path) -> Result<InferenceShares> {
    let rollouts = cache.rollouts(samples)?;
    let engine = cache.load(model)?;
    let architecture = Architecture::from(engine.config());
    let encoder = trainer::encoder(cache.tokenizer(), &engine)?;
    let (mut generated, mut scored) = (Work::default(), Work::default());
    for rollout in rollouts.iter() {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        for candidate in 0..rollout.completions.len() {
            let completion = encoder.completion(rollout, candidate, n_prompt)?;
            let length = completion.map_or(0, |c| c.tokens.len());
            generated += Work::of_samples(n_prompt, &[length]);
            scored += Work::of_response(n_prompt, length);
        }
    }
    let operations = |work: &Work| architecture.flops(work, Pass::Forward).total();
    let scored = operations(&scored);
    Ok(InferenceShares::new(operations(&generated), scored, scored))
}

/// The times of `model` and of the medium generator, its reference.
fn inference_times(
    cache: &mut Cache<'_>,
    seed: u64,
    samples: &Path,
    model: &Path,
) -> Result<InferenceTimes> {
    let key = json!({ "samples": store::name(samples), "model": store::name(model) });
    if let Some(times) = cache.find_value("inference", &key)? {
        return Ok(times);
    }
    let candidates = cache.candidates(seed, samples)?;
    let reference = cache.generator(seed, Strength::Medium)?;
    let time = |folder: &Path| -> Result<Option<f64>> {
        let before = cache.observer.processor_seconds();
        candidates.log_probs(&mut cache.load(folder)?)?;
        Ok(since(before, cache.observer))
    };
    let times = InferenceTimes { reward: time(model)?, reference: time(&reference)? };
    cache.store.make_value("inference", &key, &times)?;
    Ok(times)
}
