//! Sampling: many sequences decoded in parallel, each independent of the others.
//!
//! A prompt's keys and values are computed once for all its samples. Each thread decodes up to
//! [`MAX_ROWS`] samples at a time; a finished one leaves and the next of the queue takes its place.
//! With few samples, threads share the matrices of one instead. A sample depends only on the model, its
//! prompt, the settings, its request's key and its number, not on other samples, the batch, the order
//! or the number of threads. Two properties ensure this: its random numbers are a separate stream, and
//! the kernels add up a row's products in an order that does not depend on the other rows.

mod attention;
mod cache;
mod draw;
mod products;
mod team;
#[cfg(test)]
mod tests;
mod tile;
mod worker;

use std::sync::Mutex;

use rayon::prelude::*;

use crate::kernels::decode::MAX_ROWS;
use crate::model::Decoder;
use crate::weights::Weights;
use cache::KeyValues;
use gratis_engine::{Error, Result};
use gratis_engine::{Sample, SampleRequest, SamplingSettings};
use gratis_model::config::ModelConfig;
use worker::{Finished, Job, Queue, Worker};

/// Keys and values that all threads together may hold.
const CACHE_BYTES: usize = 2 << 30;

/// What a processor's nearest caches hold, about.
const NEAR_BYTES: usize = 1 << 20;

/// Samples that are worth a thread of their own: for fewer, reading the weights takes the time, and
/// the threads share that.
const SAMPLES_OF_A_WORKER: usize = 16;

/// How the work is shared out; the samples do not depend on it.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "counts begin with `n_`")]
pub(crate) struct Crew {
    /// Threads that decode.
    pub(crate) n_workers: usize,
    /// Threads that share each product.
    pub(crate) n_sharing: usize,
    /// Samples that each decodes at a time, at most [`MAX_ROWS`].
    pub(crate) n_rows: usize,
}

impl Crew {
    /// Threads that decode at most `n_rows` samples each.
    pub(crate) fn new(n_threads: usize, n_rows: usize) -> Self {
        Self { n_workers: n_threads, n_sharing: 1, n_rows }
    }

    /// The same threads for this number of samples in all.
    fn for_samples(self, n_samples: usize) -> Self {
        let n_workers = self.n_workers.min(n_samples.div_ceil(SAMPLES_OF_A_WORKER)).max(1);
        Self {
            n_workers,
            n_sharing: self.n_workers / n_workers,
            n_rows: self.n_rows.min(n_samples.div_ceil(n_workers)).max(1),
        }
    }
}

/// Checks requests and settings; returns the positions that the longest sample needs.
pub(crate) fn longest(
    requests: &[SampleRequest],
    settings: &SamplingSettings,
    config: &ModelConfig,
) -> Result<usize> {
    let SamplingSettings { temperature, top_p, .. } = *settings;
    let refuse = |field, expected, got| Err(Error::InvalidSampling { field, expected, got });
    if !(temperature.is_finite() && temperature >= 0.0) {
        return refuse("temperature", "finite and not negative", temperature);
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return refuse("top_p", "above 0 and at most 1", top_p);
    }
    let mut longest = 0;
    for SampleRequest { prompt, .. } in requests {
        let (n_tokens, context_length) = (prompt.len(), config.context_length);
        if prompt.is_empty() {
            let reason = "a prompt without tokens".to_owned();
            return Err(Error::InvalidBatch { reason });
        }
        if n_tokens >= context_length {
            return Err(Error::ContextOverflow { n_tokens: n_tokens + 1, context_length });
        }
        let vocab_size = config.vocab_size;
        if let Some(token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
            let reason = format!("token {token} is outside the vocabulary of {vocab_size}");
            return Err(Error::InvalidBatch { reason });
        }
        longest = longest.max(n_tokens + budget(prompt, settings, config));
    }
    Ok(longest)
}

/// Tokens that may be drawn after `prompt`.
fn budget(prompt: &[u32], settings: &SamplingSettings, config: &ModelConfig) -> usize {
    settings.max_new_tokens.min(config.context_length - prompt.len())
}

/// Samples that each of `n_workers` may decode at a time within [`CACHE_BYTES`].
pub(crate) fn rows_within_memory(longest: usize, n_workers: usize, config: &ModelConfig) -> usize {
    let n_bytes = longest * KeyValues::bytes_per_token(config);
    (CACHE_BYTES / (n_workers * n_bytes).max(1)).clamp(1, MAX_ROWS)
}

impl Decoder {
    /// Samples that are best decoded together. More rows save reading weights; where these stay in the
    /// nearest caches anyway, the keys and values of fewer sequences stay there beside them.
    fn n_rows_at_best(&self) -> usize {
        let n_bytes = self.layout.n_parameters() * size_of::<f32>();
        if n_bytes <= NEAR_BYTES { MAX_ROWS / 2 } else { MAX_ROWS }
    }
}

/// Draws the samples of all requests, one list per request. The requests have passed [`longest`] and
/// the decoder knows the angles of that many positions.
pub(crate) fn sample(
    decoder: &Decoder,
    weights: Weights<'_>,
    requests: &[SampleRequest],
    settings: &SamplingSettings,
    crew: Crew,
) -> Result<Vec<Vec<Sample>>> {
    let job = Job { decoder, weights, requests, settings };
    let crew = Crew { n_rows: crew.n_rows.min(decoder.n_rows_at_best()), ..crew };
    let crew = crew.for_samples(requests.iter().map(|request| job.n_to_draw(request)).sum());
    let queue = Queue::default();
    if requests.len() < crew.n_workers {
        queue.read_first_prompt(&job, crew);
    }
    let queue = Mutex::new(queue);
    let finished: Vec<Vec<Finished>> = (0..crew.n_workers)
        .into_par_iter()
        .map(|_| job.with_team(crew.n_sharing, |team| Worker::new(job, crew, team).run(&queue)))
        .collect::<Result<_>>()?;
    let mut drawn: Vec<Vec<(usize, Sample)>> = vec![Vec::new(); requests.len()];
    for Finished { request, number, sample } in finished.into_iter().flatten() {
        drawn[request].push((number, sample));
    }
    let in_order = |(request, mut samples): (&SampleRequest, Vec<(usize, Sample)>)| {
        samples.sort_by_key(|(number, _)| *number);
        let samples = samples.into_iter().map(|(_, sample)| sample);
        // Without randomness all samples are the same, so one is computed.
        let n_copies = if settings.temperature == 0.0 { request.n_samples } else { 1 };
        samples.flat_map(|sample| std::iter::repeat_n(sample, n_copies)).collect()
    };
    Ok(requests.iter().zip(drawn).map(in_order).collect())
}
