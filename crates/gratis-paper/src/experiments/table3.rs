//! Table 3: shares of generation, reward model and reference when selecting (paper section 5.3.1).

use crate::calculator::InferenceShares;
use crate::cast::{Cast, Inference};
use crate::error::Result;
use crate::measured::interval;
use crate::outcome::{Claim, Outcome, PlainTable};

/// Counts and measures every generator of every seed.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let mut rows = Vec::new();
    let (mut counted, mut measured) = (Vec::new(), Vec::new());
    let seeds = cast.seeds();
    let mut by_seed: Vec<(u64, Vec<Inference>)> = Vec::new();
    for &seed in &seeds {
        by_seed.push((seed, cast.inference(seed)?));
    }
    for (idx, generator) in cast.generators().into_iter().enumerate() {
        for (seed, all) in &by_seed {
            let Some(Inference { by_operations, by_time, .. }) = all.get(idx) else { continue };
            counted.push(vec![by_operations.without_reference()]);
            measured.extend(by_time.map(|(_, shares)| vec![shares.without_reference()]));
            let percent = |share: f64| format!("{:.1}", 100.0 * share);
            let or_nothing = |of: &dyn Fn(f64, InferenceShares) -> String| {
                by_time.map_or_else(String::new, |(seconds, shares)| of(seconds, shares))
            };
            rows.push(vec![
                format!("{generator}, seed {seed}"),
                or_nothing(&|seconds, _| format!("{seconds:.2}")),
                or_nothing(&|_, shares| percent(shares.reward)),
                or_nothing(&|_, shares| percent(shares.reference)),
                or_nothing(&|_, shares| percent(shares.without_reference())),
                percent(by_operations.reward),
                percent(by_operations.without_reference()),
            ]);
        }
    }
    let bootstrap = cast.bootstrap();
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
    let mut claims = Vec::new();
    if !counted.is_empty() {
        claims.push(claim("the reference does not double the operations of inference", &counted));
    }
    if !measured.is_empty() {
        claims.push(claim("the reference does not double the time of inference", &measured));
    }
    Ok(Outcome {
        name: "Table 3".to_owned(),
        title: "the reference model at inference".to_owned(),
        question: "What share of best-of-N sampling do the passes of the reward model and of the \
                   reference over the candidates take?"
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
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}
