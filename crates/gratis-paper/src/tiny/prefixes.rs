//! Both propositions of section 3 on the trained models of the tiny world, by Monte Carlo.

use gratis::objective::{Ce, Objective};
use gratis::observer::Silent;
use gratis::theory::{MonteCarloSettings, Prefix, PrefixEstimate, estimate};
use gratis_engine::{FinishReason, Generate as _, SampleRequest, SamplingSettings};

use crate::cache::Cache;
use crate::cast::Propositions;
use crate::error::Result;
use crate::rows::tuned;
use crate::trainer::{self, BATCH_TOKENS};
use crate::world::{N_DERIVED, Split, Strength};

/// Problems, prefixes of each, and continuations of a prefix.
pub(super) const COUNTS: Propositions =
    Propositions { n_problems: 12, n_prefixes: 4, n_continuations: 512 };

/// Estimates at prefixes of responses of the reference.
pub(super) fn estimates(cache: &mut Cache<'_>, seed: u64) -> Result<Vec<PrefixEstimate>> {
    let recipe = tuned(Objective::Ce(Ce::default())).recipe;
    cache.begin_row(recipe.objective.name(), seed);
    let model = cache.implicit_model(seed, &recipe)?;
    let start = cache.generator(seed, Strength::Medium)?;
    let policy = cache.load(&model)?;
    let reference = cache.load(&start)?;
    let encoder = trainer::encoder(cache.tokenizer(), &reference)?;
    let end_token = encoder.end_token()?;
    let problems = Split::Test.draw(COUNTS.n_problems, N_DERIVED, seed);
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
            prefixes.extend(Prefix::of(&request.prompt, &sample.tokens, COUNTS.n_prefixes));
        }
    }
    let settings = MonteCarloSettings {
        beta: recipe.objective.beta(),
        n_continuations: COUNTS.n_continuations,
        max_tokens: trainer::MAX_NEW_TOKENS,
        end_token,
        seed,
        batch_tokens: BATCH_TOKENS,
    };
    cache.observer.stage("continuations", None);
    Ok(estimate(&policy, &reference, &prefixes, &settings, &mut Silent)?)
}
