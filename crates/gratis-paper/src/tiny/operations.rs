//! Operations of collecting step labels and of training in the tiny world, which figures 1 and 3 report:
//! CE, DPO and Math-Shepherd.

use gratis::cost::{Architecture, Pass, Work};

use super::model_of;
use crate::cache::{Cache, record_of_model};
use crate::cast::{Operations, Way};
use crate::error::Result;
use crate::trainer;
use crate::world::Strength;

/// Operations of a way with the first `n_responses` responses of each training problem, all
/// problems.
pub(super) fn operations(
    cache: &mut Cache<'_>,
    seed: u64,
    way: Way,
    n_responses: usize,
) -> Result<Operations> {
    let samples = cache.train_samples(seed)?;
    let rollouts = cache.rollouts(&samples)?;
    let engine = {
        let medium = cache.generator(seed, Strength::Medium)?;
        cache.load(&medium)?
    };
    let architecture = Architecture::from(engine.config());
    let encoder = trainer::encoder(cache.tokenizer(), &engine)?;
    let mut responses = Work::default();
    let mut of_pairs = Work::default();
    for rollout in rollouts.iter() {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        let labels = rollout.labels("the count of pairs")?;
        let n = n_responses.min(labels.len());
        let n_correct = labels[..n].iter().filter(|&&correct| correct).count();
        for (idx, &correct) in labels[..n].iter().enumerate() {
            let n_tokens =
                encoder.completion_tokens(rollout, idx, n_prompt)?.map_or(0, |tokens| tokens.len());
            let one = Work::of_response(n_prompt, n_tokens);
            responses += one;
            // The paper trains on the full cross product of pairs.
            of_pairs += one.times(if correct { n - n_correct } else { n_correct } as u64);
        }
    }
    let flops = |work: &Work, pass| architecture.flops(work, pass).total();
    let trained = |work: &Work| flops(work, Pass::ForwardBackward);
    let reference = |work: &Work| flops(work, Pass::Forward);
    Ok(match way {
        // The reference sees each response once and is then cached.
        Way::Ce => {
            let as_counted = trained(&responses) + reference(&responses);
            Operations { as_counted, as_run: as_counted * packing(cache, seed, n_responses)? }
        }
        Way::Dpo => Operations {
            as_counted: trained(&of_pairs) + reference(&of_pairs),
            as_run: (trained(&of_pairs) + reference(&responses))
                * packing(cache, seed, n_responses)?,
        },
        Way::MathShepherd => {
            let head = architecture.with_scalar_head();
            let trained = head.flops(&responses, Pass::ForwardBackward).total();
            let share = n_responses as f64 / cache.settings.train.n_samples as f64;
            let counts = cache.label_record(seed)?.counts;
            // Continuations are counted for all responses; fewer have fewer in proportion.
            Operations {
                as_counted: trained + share * flops(&counts.as_counted, Pass::Forward),
                as_run: trained * packing(cache, seed, n_responses)?
                    + share * flops(&counts.as_run, Pass::Forward),
            }
        }
    })
}

/// Tokens that went through the model over tokens of all sequences: what sharing prompts and copies
/// within a batch leaves, measured on the CE model.
fn packing(cache: &mut Cache<'_>, seed: u64, n_responses: usize) -> Result<f64> {
    let n_all = cache.settings.train.n_samples;
    let part = (n_responses < n_all).then_some(n_responses);
    let model = cache.model(seed, &model_of(Way::Ce, part))?;
    let n_run = record_of_model(&model)?.training.n_tokens;
    let samples = cache.train_samples(seed)?;
    let rollouts = cache.rollouts(&samples)?;
    let engine = cache.load(&model)?;
    let encoder = trainer::encoder(cache.tokenizer(), &engine)?;
    let mut n_counted = 0;
    for rollout in rollouts.iter() {
        let n_prompt = encoder.prompt(&rollout.prompt)?.len();
        for idx in 0..n_responses.min(rollout.completions.len()) {
            let n_tokens =
                encoder.completion_tokens(rollout, idx, n_prompt)?.map_or(0, |tokens| tokens.len());
            n_counted += n_prompt + n_tokens;
        }
    }
    Ok(n_run as f64 / n_counted.max(1) as f64)
}

/// Processor seconds of a way with all responses of a seed: labels and training, where the observer
/// measures them.
pub(super) fn processor_seconds(cache: &mut Cache<'_>, seed: u64, way: Way) -> Result<Option<f64>> {
    let model = cache.model(seed, &model_of(way, None))?;
    let training = record_of_model(&model)?.cpu_seconds;
    Ok(match way {
        Way::Ce | Way::Dpo => training,
        Way::MathShepherd => {
            let labels = cache.label_record(seed)?.cpu_seconds;
            labels.zip(training).map(|(labels, training)| labels + training)
        }
    })
}
