//! Samples from servers, whatever they speak: a request per sample, each with a seed of its own.

use gratis_engine::{
    Error as EngineError, ModelDescription, Sample, SampleRequest, SamplingSettings,
};

use crate::answer::Draw;
use crate::error::Error;
use crate::http::{Client, Fault};
use crate::pool::{Pool, mixed};

/// What sampling is called in messages.
pub(crate) const SAMPLING: &str = "a sampling request";

/// One request for one sample.
pub(crate) type Ask<'a> = dyn Fn(&Client, &Draw<'_>) -> Result<Sample, Fault> + Sync + 'a;

/// Draws samples from the servers of a pool.
pub(crate) struct Sampler<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) description: &'a ModelDescription,
    /// Requests in flight per server.
    pub(crate) n_at_once: usize,
}

impl Sampler<'_> {
    /// All samples of the requests; `done` gets those of a request once, when all are there.
    ///
    /// # Errors
    /// Those of invalid requests, before anything is sent; those of the servers.
    pub(crate) fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        ask: &Ask<'_>,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<(), EngineError> {
        let ModelDescription { context_length, vocab_size, .. } = *self.description;
        check_settings(settings)?;
        for request in requests {
            if let Some(&token) = request.prompt.iter().find(|&&id| id as usize >= vocab_size) {
                return Err(Error::Vocabulary { token, vocab_size }.into());
            }
            let n_tokens = request.prompt.len();
            if n_tokens == 0 {
                let reason = "a prompt without tokens".to_owned();
                return Err(EngineError::InvalidBatch { reason });
            }
            if n_tokens >= context_length {
                return Err(EngineError::ContextOverflow {
                    n_tokens: n_tokens + 1,
                    context_length,
                });
            }
        }
        // The samples of a request until all of them are there.
        let mut waiting: Vec<Vec<Option<Sample>>> = Vec::new();
        waiting.resize_with(requests.len(), Vec::new);
        let mut n_missing: Vec<usize> = requests.iter().map(|request| request.n_samples).collect();
        for (idx, request) in requests.iter().enumerate() {
            if request.n_samples == 0 || settings.max_new_tokens == 0 {
                return Err(EngineError::InvalidBatch {
                    reason: format!("request {idx} asks for no tokens"),
                });
            }
        }
        let jobs: Vec<(usize, usize)> = requests
            .iter()
            .enumerate()
            .flat_map(|(idx, request)| (0..request.n_samples).map(move |nth| (idx, nth)))
            .collect();
        let ask_job = |client: &Client, &&(idx, nth): &&(usize, usize)| {
            let request = &requests[idx];
            let number = request.first_sample + nth as u64;
            let room = context_length - request.prompt.len();
            let draw = Draw {
                prompt: &request.prompt,
                max_new_tokens: settings.max_new_tokens.min(room),
                temperature: settings.temperature,
                top_p: settings.top_p,
                top_k: settings.top_k,
                stop_tokens: &settings.stop_tokens,
                seed: seed_of(settings.seed, request.key, number),
            };
            ask(client, &draw)
        };
        self.pool.run(
            self.n_at_once,
            SAMPLING,
            &mut jobs.iter(),
            &ask_job,
            &mut |job, sample| {
                let (idx, nth) = jobs[job];
                let samples = &mut waiting[idx];
                if samples.is_empty() {
                    samples.resize(requests[idx].n_samples, None);
                }
                samples[nth] = Some(sample);
                n_missing[idx] -= 1;
                if n_missing[idx] == 0 {
                    done(idx, std::mem::take(samples).into_iter().flatten().collect());
                }
            },
        )?;
        Ok(())
    }
}

/// The seed of a sample: it depends on the run, the problem and the number of the sample only.
fn seed_of(run: u64, key: u64, number: u64) -> u64 {
    // Servers read a signed integer.
    mixed(mixed(mixed(run) ^ key) ^ number) >> 2
}

fn check_settings(settings: &SamplingSettings) -> Result<(), EngineError> {
    let SamplingSettings { temperature, top_p, .. } = *settings;
    let refuse = |field, expected, got| Err(EngineError::InvalidSampling { field, expected, got });
    if !(temperature.is_finite() && temperature >= 0.0) {
        return refuse("temperature", "finite and not negative", temperature);
    }
    if !(top_p > 0.0 && top_p <= 1.0) {
        return refuse("top_p", "above 0 and at most 1", top_p);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_has_a_seed_of_its_own() {
        let mut seeds = std::collections::BTreeSet::new();
        for (run, key, number) in (0..3).flat_map(|run| {
            (0..40).flat_map(move |key| (0..40).map(move |number| (run, key, number)))
        }) {
            assert!(seeds.insert(seed_of(run, key, number)));
        }
        assert!(seeds.iter().all(|&seed| seed < 1 << 62));
    }
}
