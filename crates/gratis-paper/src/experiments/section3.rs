//! Section 3: the log-ratio of an outcome model is a Q value, and lies between the soft and the
//! hard estimate (Propositions 3.1 and 3.2).

use gratis::evaluation::Interval;
use gratis::objective::{Ce, Objective};
use gratis::observer::Silent;
use gratis::theory::{
    MonteCarloSettings, MonteCarloSummary, Prefix, PrefixEstimate, check, estimate,
};
use gratis_engine::{FinishReason, Generate as _, SampleRequest, SamplingSettings};

use crate::cache::Cache;
use crate::cast::Cast as _;
use crate::error::Result;
use crate::outcome::{Claim, Outcome, PlainTable};
use crate::rows::tuned;
use crate::trainer::{self, BATCH_TOKENS};
use crate::world::{N_DERIVED, Split, Strength};

/// Betas of the enumeration.
const BETAS: [f64; 4] = [0.05, 0.3, 1.0, 10.0];
/// Tokens that the enumerated models know, and tokens of their sequences.
const VOCAB: usize = 4;
const LENGTH: usize = 6;
/// Problems, prefixes of each, and continuations of a prefix, on the trained models.
const N_PROBLEMS: usize = 12;
const N_PREFIXES: usize = 4;
const N_CONTINUATIONS: usize = 512;

/// Enumerates small models, and samples from trained ones.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let mut exact = PlainTable {
        caption: format!(
            "Random models over {VOCAB} tokens, all sequences of {LENGTH}: the largest deviation \
             over all prefixes"
        ),
        header: ["beta", "prefixes", "|q - exponential average|", "violation of soft <= q <= hard"]
            .map(str::to_owned)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut worst: (f64, f64) = (0.0, 0.0);
    for beta in BETAS {
        let found = check(VOCAB, LENGTH, beta, cache.settings.seeds.first().copied().unwrap_or(0))?;
        worst = (worst.0.max(found.max_difference), worst.1.max(found.max_violation));
        exact.rows.push(vec![
            beta.to_string(),
            found.n_prefixes.to_string(),
            format!("{:.1e}", found.max_difference),
            format!("{:.1e}", found.max_violation),
        ]);
    }
    let mut drawn = PlainTable {
        caption: format!(
            "The CE reward model and its reference, by Monte Carlo: {N_PROBLEMS} problems x \
             {N_PREFIXES} prefixes x {N_CONTINUATIONS} continuations by the reference"
        ),
        header: [
            "seed",
            "prefixes",
            "mean |q - average|, nats x beta",
            "within two standard errors",
            "soft <= q",
            "q <= hard",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: Vec::new(),
    };
    let mut within = Vec::new();
    for seed in cache.settings.seeds.clone() {
        let estimates = on_trained(cache, seed)?;
        let summary = MonteCarloSummary::of(&estimates);
        within.extend(estimates.iter().map(|estimate| f64::from(estimate.is_within_bounds())));
        drawn.rows.push(vec![
            seed.to_string(),
            summary.n_prefixes.to_string(),
            format!("{:.4}", summary.mean_difference),
            summary.n_within_two_errors.to_string(),
            summary.n_above_soft.to_string(),
            summary.n_below_hard.to_string(),
        ]);
    }
    let exactly = |value: f64| Interval { mean: value, low: value, high: value };
    Ok(Outcome {
        name: "Section 3".to_owned(),
        title: "outcome models are Q functions".to_owned(),
        question: "Is the sum of a prefix's log-ratios the exponential average of the outcome \
                   reward over its continuations, and does it lie between the mean and the maximum?"
            .to_owned(),
        tables: vec![exact, drawn],
        claims: vec![
            Claim::below(
                "q is the exponential average of the outcome reward",
                "Proposition 3.1",
                "largest deviation by enumeration",
                exactly(worst.0),
                1e-9,
            )
            .in_numbers(),
            Claim::below(
                "q lies between the soft and the hard estimate",
                "Proposition 3.2",
                "largest violation by enumeration",
                exactly(worst.1),
                1e-9,
            )
            .in_numbers(),
            Claim::above(
                "on trained models q lies between the estimates within two standard errors",
                "Proposition 3.2",
                "share of prefixes",
                cache.settings.bootstrap.interval(&within),
                0.9,
            )
            .in_numbers(),
        ],
        conditions: cache.conditions(),
        ..Outcome::default()
    })
}

/// Estimates at prefixes of responses of the reference.
fn on_trained(cache: &mut Cache<'_>, seed: u64) -> Result<Vec<PrefixEstimate>> {
    let recipe = tuned(Objective::Ce(Ce::default())).recipe;
    cache.begin_row(recipe.objective.name(), seed);
    let model = cache.implicit_model(seed, &recipe)?;
    let start = cache.generator(seed, Strength::Medium)?;
    let policy = cache.load(&model)?;
    let reference = cache.load(&start)?;
    let encoder = trainer::encoder(cache.tokenizer(), &reference)?;
    let end_token = encoder.end_token()?;
    let problems = Split::Test.draw(N_PROBLEMS, N_DERIVED, seed);
    let mut requests = Vec::new();
    for (key, problem) in (0..).zip(&problems) {
        let prompt = encoder.prompt(&problem.prompt())?;
        requests.push(SampleRequest { prompt, key, first_sample: 0, n_samples: 1 });
    }
    let sampling = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: trainer::MAX_NEW_TOKENS,
        stop_tokens: vec![end_token],
        seed,
    };
    let samples = reference.sample_all(&requests, &sampling)?;
    let mut prefixes = Vec::new();
    for (request, samples) in requests.iter().zip(&samples) {
        for sample in samples.iter().filter(|sample| sample.finish == FinishReason::Stop) {
            prefixes.extend(Prefix::of(&request.prompt, &sample.tokens, N_PREFIXES));
        }
    }
    let settings = MonteCarloSettings {
        beta: recipe.objective.beta(),
        n_continuations: N_CONTINUATIONS,
        max_tokens: trainer::MAX_NEW_TOKENS,
        end_token,
        seed,
        batch_tokens: BATCH_TOKENS,
    };
    cache.observer.stage("continuations", None);
    Ok(estimate(&policy, &reference, &prefixes, &settings, &mut Silent)?)
}
