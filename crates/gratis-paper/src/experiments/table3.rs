//! Table 3: shares of generation, reward model and reference when selecting (paper section 5.3.1).

use std::path::Path;

use gratis::cost::paper::InferenceShares;
use gratis::cost::{Architecture, Pass, Work};
use gratis::objective::{Ce, Objective};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cache::{Cache, record_of_samples, since, store};
use crate::cast::Cast as _;
use crate::error::Result;
use crate::measured::interval;
use crate::outcome::{Claim, Outcome, PlainTable};
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

/// Counts and measures every generator of every seed.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let recipe = tuned(Objective::Ce(Ce::default())).recipe;
    let mut rows = Vec::new();
    let (mut counted, mut measured) = (Vec::new(), Vec::new());
    for (idx, strength) in Strength::ALL.into_iter().enumerate() {
        for seed in cache.settings.seeds.clone() {
            let samples = cache.candidate_samples(seed, Split::Test)?[idx].clone();
            let model = cache.implicit_model(seed, &recipe)?;
            let by_operations = by_operations(cache, &samples, &model)?;
            counted.push(vec![by_operations.without_reference()]);
            let times = inference_times(cache, seed, &samples, &model)?;
            let generation = record_of_samples(&samples)?.cpu_seconds;
            let by_time = match (generation, times.reward, times.reference) {
                (Some(generation), Some(reward), Some(reference)) => {
                    Some((generation, InferenceShares::new(generation, reward, reference)))
                }
                _ => None,
            };
            measured.extend(by_time.map(|(_, shares)| vec![shares.without_reference()]));
            let percent = |share: f64| format!("{:.1}", 100.0 * share);
            let or_nothing = |of: &dyn Fn(f64, InferenceShares) -> String| {
                by_time.map_or_else(String::new, |(seconds, shares)| of(seconds, shares))
            };
            rows.push(vec![
                format!("{}, seed {seed}", strength.name()),
                or_nothing(&|seconds, _| format!("{seconds:.2}")),
                or_nothing(&|_, shares| percent(shares.reward)),
                or_nothing(&|_, shares| percent(shares.reference)),
                or_nothing(&|_, shares| percent(shares.without_reference())),
                percent(by_operations.reward),
                percent(by_operations.without_reference()),
            ]);
        }
    }
    let bootstrap = cache.settings.bootstrap;
    let claim = |statement: &str, shares: &[Vec<f64>]| {
        Claim::above(
            statement,
            "section 5.3.1, table 3",
            "cost without reference over cost with it; half would be double, paper 66.6 to 90.9 %",
            interval(&bootstrap, shares),
            0.5,
        )
        .in_numbers()
    };
    let mut claims =
        vec![claim("the reference does not double the operations of inference", &counted)];
    if !measured.is_empty() {
        claims.push(claim("the reference does not double the time of inference", &measured));
    }
    Ok(Outcome {
        name: "Table 3".to_owned(),
        title: "the reference model at inference".to_owned(),
        question: "What share of best-of-N sampling do the passes of the reward model and of the \
                   reference over the candidates take? All three generators have the reward model's \
                   size here, as in the paper's second column."
            .to_owned(),
        tables: vec![PlainTable {
            caption:
                "Reward model and reference in percent of generation. Measured: processor time of \
                 sampling and grading, and of each model's pass over the candidates with \
                 duplicates computed once. By operations: every sequence on its own, where the \
                 reference costs as much as the reward model. The paper has 66.6, 70.8 and 90.9 % \
                 for the cost without the reference over the cost with it"
                    .to_owned(),
            header: [
                "generator",
                "generation, s",
                "reward model",
                "reference",
                "without / with reference",
                "reward model, by operations",
                "without / with, by operations",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows,
        }],
        claims,
        conditions: cache.conditions(),
        ..Outcome::default()
    })
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
