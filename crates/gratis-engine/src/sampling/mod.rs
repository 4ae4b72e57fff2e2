//! Sampling: many sequences decoded at once, each as if it were alone.
//!
//! A prompt's keys and values are computed once for all its samples. Each thread decodes up to
//! [`LANES`] samples at a time; a finished one leaves and the next of the queue takes its place. A
//! sample depends on the model, its prompt, the settings, its request's key and its number, and on
//! nothing else: not on its neighbours, the batch, the order or the number of threads. Two things
//! see to that: its random numbers are a stream of its own, and every product is taken over exactly
//! `LANES` rows, in which a row's arithmetic is that of its own vector lane.

mod cache;
mod draw;
mod tile;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::config::ModelConfig;
use crate::engine::{FinishReason, Sample, SampleRequest, SamplingSettings};
use crate::error::{Error, Result};
use crate::model::Decoder;
use crate::weights::Weights;
use cache::{KeyValues, Sequence};
use draw::Draw;
use tile::{LANES, Tile};

/// Keys and values that all threads together may hold.
const CACHE_BYTES: usize = 2 << 30;

/// How the work is shared out; the samples do not depend on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crew {
    /// Threads that decode.
    pub(crate) n_workers: usize,
    /// Samples that each decodes at a time, at most [`LANES`].
    pub(crate) n_rows: usize,
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
    (CACHE_BYTES / (n_workers * n_bytes).max(1)).clamp(1, LANES)
}

/// Draws the samples of all requests, one list a request. The requests have passed [`longest`] and
/// the decoder knows the angles of that many positions.
pub(crate) fn sample(
    decoder: &Decoder,
    weights: Weights<'_>,
    requests: &[SampleRequest],
    settings: &SamplingSettings,
    crew: Crew,
) -> Result<Vec<Vec<Sample>>> {
    let job = Job { decoder, weights, requests, settings };
    let queue = Mutex::new(Queue::default());
    let finished: Vec<Vec<Finished>> = (0..crew.n_workers)
        .into_par_iter()
        .map(|_| Worker::new(job, crew.n_rows.min(LANES)).run(&queue))
        .collect::<Result<_>>()?;
    let mut drawn: Vec<Vec<(usize, Sample)>> = vec![Vec::new(); requests.len()];
    for Finished { request, number, sample } in finished.into_iter().flatten() {
        drawn[request].push((number, sample));
    }
    let in_order = |(request, mut samples): (&SampleRequest, Vec<(usize, Sample)>)| {
        samples.sort_by_key(|(number, _)| *number);
        let samples = samples.into_iter().map(|(_, sample)| sample);
        // Without chance one sample stands for all.
        let n_copies = if settings.temperature == 0.0 { request.n_samples } else { 1 };
        samples.flat_map(|sample| std::iter::repeat_n(sample, n_copies)).collect()
    };
    Ok(requests.iter().zip(drawn).map(in_order).collect())
}

/// What all workers read.
#[derive(Clone, Copy)]
struct Job<'a> {
    decoder: &'a Decoder,
    weights: Weights<'a>,
    requests: &'a [SampleRequest],
    settings: &'a SamplingSettings,
}

impl Job<'_> {
    /// Samples of a request that have to be computed.
    fn n_to_draw(&self, request: &SampleRequest) -> usize {
        if self.settings.temperature == 0.0 { request.n_samples.min(1) } else { request.n_samples }
    }

    /// The random numbers of a sample.
    fn rng(&self, request: &SampleRequest, number: usize) -> ChaCha8Rng {
        let mut seed = [0; 32];
        let parts = [self.settings.seed, request.key, request.first_sample + number as u64];
        for (bytes, part) in seed.chunks_exact_mut(8).zip(parts) {
            bytes.copy_from_slice(&part.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// A prompt that has been read: what its samples share.
#[derive(Debug)]
struct Prompt {
    key_values: Arc<KeyValues>,
    /// After the prompt's last token: `[vocab]`.
    logits: Vec<f32>,
}

/// The next sample to be drawn; the one who takes a request's first reads its prompt.
#[derive(Default)]
struct Queue {
    request: usize,
    number: usize,
    prompt: Arc<OnceLock<Prompt>>,
}

/// A sample taken from the queue.
struct Ticket {
    request: usize,
    number: usize,
    prompt: Arc<OnceLock<Prompt>>,
}

impl Queue {
    fn next(&mut self, job: &Job<'_>) -> Option<Ticket> {
        while self.number >= job.n_to_draw(job.requests.get(self.request)?) {
            *self = Self { request: self.request + 1, ..Self::default() };
        }
        self.number += 1;
        let prompt = Arc::clone(&self.prompt);
        Some(Ticket { request: self.request, number: self.number - 1, prompt })
    }
}

/// A sample in the making.
struct Lane {
    request: usize,
    number: usize,
    rng: ChaCha8Rng,
    sample: Sample,
}

struct Finished {
    request: usize,
    number: usize,
    sample: Sample,
}

/// One thread's share of the decoding.
struct Worker<'a> {
    job: Job<'a>,
    n_rows: usize,
    tile: Tile,
    draw: Draw,
    /// `[n_lanes, vocab]`.
    logits: Vec<f32>,
    lanes: Vec<Lane>,
    /// Of the lanes, in their order.
    sequences: Vec<Sequence>,
    /// Emptied caches that keep their memory.
    spare: Vec<KeyValues>,
    finished: Vec<Finished>,
}

impl<'a> Worker<'a> {
    fn new(job: Job<'a>, n_rows: usize) -> Self {
        Self {
            job,
            n_rows,
            tile: Tile::new(&job.decoder.config),
            draw: Draw::default(),
            logits: Vec::new(),
            lanes: Vec::new(),
            sequences: Vec::new(),
            spare: Vec::new(),
            finished: Vec::new(),
        }
    }

    fn run(mut self, queue: &Mutex<Queue>) -> Result<Vec<Finished>> {
        loop {
            while self.lanes.len() < self.n_rows {
                let ticket = queue.lock().unwrap_or_else(PoisonError::into_inner).next(&self.job);
                let Some(ticket) = ticket else { break };
                self.admit(ticket)?;
            }
            if self.lanes.is_empty() {
                return Ok(self.finished);
            }
            self.step()?;
        }
    }

    /// Reads the prompt if nobody has yet, and draws the sample's first token.
    fn admit(&mut self, ticket: Ticket) -> Result<()> {
        let request = &self.job.requests[ticket.request];
        let Job { decoder, weights, .. } = self.job;
        let sample =
            Sample { tokens: Vec::new(), log_probs: Vec::new(), finish: FinishReason::Length };
        let rng = self.job.rng(request, ticket.number);
        let lane = Lane { request: ticket.request, number: ticket.number, rng, sample };
        let own = self.spare.pop().unwrap_or_else(|| KeyValues::new(&decoder.config));
        if budget(&request.prompt, self.job.settings, &decoder.config) == 0 {
            self.sequences.push(Sequence { prefix: None, own });
            self.lanes.push(lane);
            self.finish(self.lanes.len() - 1);
            return Ok(());
        }
        let prompt = ticket.prompt.get_or_init(|| {
            let (key_values, logits) = self.tile.read_prompt(decoder, weights, &request.prompt);
            Prompt { key_values: Arc::new(key_values), logits }
        });
        self.sequences.push(Sequence { prefix: Some(Arc::clone(&prompt.key_values)), own });
        self.lanes.push(lane);
        self.extend(self.lanes.len() - 1, &prompt.logits)
    }

    /// One more token for every lane.
    fn step(&mut self) -> Result<()> {
        let Job { decoder, weights, requests, .. } = self.job;
        let fed = |lane: &Lane| {
            let n_tokens = lane.sample.tokens.len();
            let position = requests[lane.request].prompt.len() + n_tokens - 1;
            (lane.sample.tokens[n_tokens - 1], position)
        };
        let (tokens, positions): (Vec<_>, Vec<_>) = self.lanes.iter().map(fed).unzip();
        self.tile.forward(decoder, weights, &tokens, &positions, &mut self.sequences);
        let mut logits = std::mem::take(&mut self.logits);
        self.tile.logits(decoder, weights, &mut logits);
        // From the last on: a lane that ends is replaced by the last, which has been seen to.
        for idx in (0..self.lanes.len()).rev() {
            let vocab_size = decoder.config.vocab_size;
            self.extend(idx, &logits[idx * vocab_size..][..vocab_size])?;
        }
        self.logits = logits;
        Ok(())
    }

    /// Draws the next token of a lane, which may end it.
    fn extend(&mut self, idx: usize, logits: &[f32]) -> Result<()> {
        let Job { settings, requests, decoder, .. } = self.job;
        let lane = &mut self.lanes[idx];
        let request = &requests[lane.request];
        let Some((token, log_prob)) = self.draw.token(logits, settings, &mut lane.rng) else {
            let n_tokens = request.prompt.len() + lane.sample.tokens.len();
            return Err(Error::NonFiniteLogits { key: request.key, n_tokens });
        };
        lane.sample.tokens.push(token);
        lane.sample.log_probs.push(log_prob);
        if settings.stop_tokens.contains(&token) {
            lane.sample.finish = FinishReason::Stop;
            self.finish(idx);
        } else if lane.sample.tokens.len() == budget(&request.prompt, settings, &decoder.config) {
            self.finish(idx);
        }
        Ok(())
    }

    fn finish(&mut self, idx: usize) {
        let Lane { request, number, sample, .. } = self.lanes.swap_remove(idx);
        let mut own = self.sequences.swap_remove(idx).own;
        own.clear();
        self.spare.push(own);
        self.finished.push(Finished { request, number, sample });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Architecture, ProjectionExtras, RopeScaling};
    use crate::model::{Initialisation, initialise, test_config};
    use crate::weights::Base;

    /// Models that differ in everything that decoding has to know.
    fn configs() -> [ModelConfig; 3] {
        let llama = ModelConfig {
            rope_scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low_frequency_factor: 1.0,
                high_frequency_factor: 4.0,
                original_context_length: 16,
            },
            ..test_config()
        };
        let window = ModelConfig {
            architecture: Architecture::Qwen2,
            projection_extras: ProjectionExtras::QkvBias,
            hidden_size: 40,
            head_dim: 20,
            n_kv_heads: 1,
            sliding_window: Some(5),
            ..test_config()
        };
        let norms = ModelConfig {
            architecture: Architecture::Qwen3,
            projection_extras: ProjectionExtras::QkNorm,
            head_dim: 16,
            ..test_config()
        };
        [llama, window, norms]
    }

    fn requests() -> Vec<SampleRequest> {
        let prompt = |n: u32, seed: u32| (0..n).map(|i| (i * i + 7 * i + seed) % 31).collect();
        let request = |(idx, (n, n_samples)): (usize, (u32, usize))| SampleRequest {
            prompt: prompt(n, idx as u32),
            key: 100 + idx as u64,
            first_sample: 3,
            n_samples,
        };
        // A prompt of more than one tile, one of one token, one without samples.
        [(5, 7), (41, 3), (9, 0), (1, 40), (16, 2)].into_iter().enumerate().map(request).collect()
    }

    fn settings(temperature: f32) -> SamplingSettings {
        SamplingSettings {
            temperature,
            top_p: 0.95,
            top_k: 20,
            max_new_tokens: 24,
            stop_tokens: vec![4, 5],
            seed: 11,
        }
    }

    struct Model {
        decoder: Decoder,
        parameters: Vec<f32>,
    }

    impl Model {
        fn new(config: ModelConfig) -> Self {
            let mut decoder = Decoder::new(config);
            let spread = Initialisation {
                embedding_std: 0.5,
                linear_std: 0.3,
                residual_std: 0.3,
                head_std: 0.3,
            };
            let mut parameters = initialise(&decoder.layout, spread, 2);
            // Biases begin at zero, where they would not be seen.
            for (idx, parameter) in parameters.iter_mut().enumerate() {
                *parameter += (idx as f32).sin() * 0.05;
            }
            decoder.rope.extend_to(256);
            Self { decoder, parameters }
        }

        fn sample(
            &self,
            requests: &[SampleRequest],
            temperature: f32,
            n_workers: usize,
            n_rows: usize,
        ) -> Vec<Vec<Sample>> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_workers).build();
            let crew = Crew { n_workers, n_rows };
            let decoder = &self.decoder;
            let weights = Weights { base: Base::Loaded(&self.parameters), adapter: None };
            pool.expect("threads")
                .install(|| sample(decoder, weights, requests, &settings(temperature), crew))
                .expect("samples")
        }
    }

    #[test]
    fn a_sample_does_not_depend_on_its_neighbours() {
        for config in configs() {
            let model = Model::new(config);
            let requests = requests();
            let together = model.sample(&requests, 0.9, 1, LANES);
            let counts: Vec<_> = together.iter().map(Vec::len).collect();
            assert_eq!(counts, [7, 3, 0, 40, 2]);
            let all: Vec<&Sample> = together.iter().flatten().collect();
            assert!(all.iter().any(|sample| sample.finish == FinishReason::Stop));
            assert!(all.iter().any(|sample| sample.finish == FinishReason::Length));
            assert!(together[3].iter().any(|sample| sample.tokens != together[3][0].tokens));
            for (n_workers, n_rows) in [(2, LANES), (1, 1), (1, 5), (2, 17)] {
                assert_eq!(model.sample(&requests, 0.9, n_workers, n_rows), together);
            }
            let mut reversed: Vec<_> = requests.clone();
            reversed.reverse();
            let mut samples = model.sample(&reversed, 0.9, 2, 9);
            samples.reverse();
            assert_eq!(samples, together);
            // A resumed run draws the rest alone.
            let rest = SampleRequest { first_sample: 3 + 38, n_samples: 2, ..requests[3].clone() };
            assert_eq!(model.sample(&[rest], 0.9, 1, LANES)[0], together[3][38..]);
        }
    }

    #[test]
    fn without_chance_all_samples_are_one() {
        let model = Model::new(test_config());
        let requests = requests();
        let greedy = model.sample(&requests, 0.0, 2, LANES);
        for (samples, request) in greedy.iter().zip(&requests) {
            assert_eq!(samples.len(), request.n_samples);
            assert!(samples.iter().all(|sample| *sample == samples[0]));
        }
        assert_eq!(model.sample(&requests, 0.0, 1, 1), greedy);
    }
}
