//! Table 3: shares of generation, reward model and reference when selecting (paper section 5.3.1).

use std::path::Path;

use super::lab::{Lab, sample_record};
use super::measured::{conditions, interval};
use super::outcome::{Claim, Outcome, PlainTable};
use super::{tuning, workshop};
use crate::world::{Split, Strength};
use gratis::cost::paper::InferenceShares;
use gratis::cost::{Architecture, Pass, Work};
use gratis::error::Result;
use gratis::objective::{Ce, Objective};

/// Counts and measures every generator of every seed.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let recipe = tuning::chosen(Objective::Ce(Ce::default())).recipe();
    let mut rows = Vec::new();
    let (mut counted, mut measured) = (Vec::new(), Vec::new());
    for (idx, strength) in Strength::ALL.into_iter().enumerate() {
        for seed in lab.settings.seeds.clone() {
            let samples = lab.candidates(seed, Split::Test)?[idx].clone();
            let model = lab.reward_model(seed, &recipe)?;
            let by_operations = by_operations(lab, &samples, &model)?;
            counted.push(vec![by_operations.without_reference()]);
            let times = lab.inference_times(seed, &samples, &model)?;
            let generation = sample_record(&samples)?.cpu_seconds;
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
    let bootstrap = lab.settings.bootstrap;
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
        title: "Table 3: the reference model at inference".to_owned(),
        question: "How much of best-of-N sampling is the reward model's and the reference's pass \
                   over the candidates? All three generators have the reward model's size here, as \
                   the paper's second column has."
            .to_owned(),
        tables: vec![PlainTable {
            caption:
                "Reward model and reference in percent of generation. Measured: processor time \
                      of sampling and grading, and of each model's pass over the candidates with \
                      copies computed once. By operations: every sequence on its own, where the \
                      reference takes what the reward model takes. The paper has 66.6, 70.8 and \
                      90.9 % for all without the reference over all with it"
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
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// Shares of operations without sharing.
fn by_operations(lab: &mut Lab<'_>, samples: &Path, model: &Path) -> Result<InferenceShares> {
    let rollouts = lab.rollouts(samples)?;
    let engine = lab.load(model)?;
    let architecture = Architecture::from(engine.config());
    let encoder = workshop::encoder(lab.tokenizer(), &engine)?;
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
