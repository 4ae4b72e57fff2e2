//! One thread's share of sampling: a queue that all threads take from, and the lanes of each.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::attention::Readers;
use super::cache::{KeyValues, Sequence};
use super::draw::Draw;
use super::team::Team;
use super::tile::Tile;
use super::{Crew, budget};
use crate::kernels::decode::MAX_ROWS;
use crate::model::Decoder;
use crate::weights::Weights;
use gratis_engine::{Error, Result};
use gratis_engine::{FinishReason, Sample, SampleRequest, SamplingSettings};

/// Tokens of a sample for which memory is reserved at once; for more it grows.
const RESERVED_TOKENS: usize = 256;

/// What all workers read.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) weights: Weights<'a>,
    pub(super) requests: &'a [SampleRequest],
    pub(super) settings: &'a SamplingSettings,
}

impl Job<'_> {
    /// Samples of a request that have to be computed.
    pub(super) fn n_to_draw(&self, request: &SampleRequest) -> usize {
        if self.settings.temperature == 0.0 { request.n_samples.min(1) } else { request.n_samples }
    }

    /// Runs `lead` with a team of so many threads, if that helps.
    pub(super) fn with_team<T: Send>(
        &self,
        n_threads: usize,
        lead: impl FnOnce(Option<&Team>) -> T + Send,
    ) -> T {
        if n_threads <= 1 {
            return lead(None);
        }
        Team::of(n_threads, self.weights, |team| lead(Some(team)))
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

impl Prompt {
    fn read(tile: &mut Tile<'_>, job: &Job<'_>, request: &SampleRequest) -> Self {
        let (key_values, logits) = tile.read_prompt(job.decoder, job.weights, &request.prompt);
        Self { key_values: Arc::new(key_values), logits }
    }
}

/// The next sample to be drawn; the one who takes a request's first reads its prompt.
#[derive(Default)]
pub(super) struct Queue {
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
    /// Reads the first prompt before the workers begin, which would wait for the one that reads it.
    pub(super) fn read_first_prompt(&self, job: &Job<'_>, crew: Crew) {
        let Some(request) = job.requests.first() else { return };
        if budget(&request.prompt, job.settings, &job.decoder.config) == 0 {
            return;
        }
        let n_threads = crew.n_workers * crew.n_sharing;
        job.with_team(n_threads, |team| {
            let mut tile = Tile::new(&job.decoder.config, team);
            self.prompt.get_or_init(|| Prompt::read(&mut tile, job, request));
        });
    }

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

/// A sample that has ended.
pub(super) struct Finished {
    pub(super) request: usize,
    pub(super) number: usize,
    pub(super) sample: Sample,
}

/// One thread's share of the decoding.
pub(super) struct Worker<'a> {
    job: Job<'a>,
    n_rows: usize,
    tile: Tile<'a>,
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
    pub(super) fn new(job: Job<'a>, crew: Crew, team: Option<&'a Team>) -> Self {
        Self {
            job,
            n_rows: crew.n_rows.min(MAX_ROWS),
            tile: Tile::new(&job.decoder.config, team),
            draw: Draw::default(),
            logits: Vec::new(),
            lanes: Vec::new(),
            sequences: Vec::new(),
            spare: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(super) fn run(mut self, queue: &Mutex<Queue>) -> Result<Vec<Finished>> {
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
        let Job { decoder, .. } = self.job;
        let sample =
            Sample { tokens: Vec::new(), log_probs: Vec::new(), finish: FinishReason::Length };
        let rng = self.job.rng(request, ticket.number);
        let lane = Lane { request: ticket.request, number: ticket.number, rng, sample };
        let n_new = budget(&request.prompt, self.job.settings, &decoder.config);
        let own = self
            .spare
            .pop()
            .unwrap_or_else(|| KeyValues::for_tokens(n_new.min(RESERVED_TOKENS), &decoder.config));
        if n_new == 0 {
            self.sequences.push(Sequence { prefix: None, own });
            self.lanes.push(lane);
            self.finish(self.lanes.len() - 1);
            return Ok(());
        }
        let prompt = ticket.prompt.get_or_init(|| Prompt::read(&mut self.tile, &self.job, request));
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
        let readers = Readers::Sequences(&mut self.sequences);
        self.tile.forward(decoder, weights, &tokens, &positions, readers);
        let mut logits = std::mem::take(&mut self.logits);
        self.tile.logits(decoder, weights, 0, &mut logits);
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
