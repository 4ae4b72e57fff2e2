//! A pass over a batch: forward, weights, backward, each thread on its own part.

use std::cmp::Reverse;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use gratis_engine::{Error, PackedBatch, Result, TokenValues, Weigh};
use gratis_model::ValueHead;
use rayon::prelude::*;

use super::{CANNOT_CHANGE_MAPPED, NativeEngine, Recompute, Worker};
use crate::kernels::matmul::Execution;
use crate::kernels::simd::add;
use crate::model::Keep;
use crate::shard::{Shard, shards};
use crate::weights::{Gradient, Parameters, Weights};

/// Tokens that one thread scores at a time. A prompt with more tokens of responses than this is
/// computed several times.
pub(crate) const SCORING_TOKENS: usize = 4096;
/// Batches that are scored in one call at most, so that no thread waits for another after each.
const SCORING_BATCHES: usize = 4;
/// Parameters times batches of one call: calls of large models end, and report, as often as without.
const SCORING_PARAMETERS: usize = 1 << 28;

/// Batches to score in one call.
pub(super) fn batches_at_once(n_threads: usize, n_parameters: usize) -> usize {
    match n_threads {
        1 => 1,
        _ => (SCORING_PARAMETERS / n_parameters.max(1)).clamp(1, SCORING_BATCHES),
    }
}

/// What a pass gives for each response token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    LogProbs,
    MeanLogProbs,
    Values(ValueHead),
    /// The channels of the engine's read-out.
    Readout {
        n_channels: usize,
    },
}

impl Output {
    fn n_channels(self) -> usize {
        match self {
            Self::LogProbs | Self::MeanLogProbs => 1,
            Self::Values(head) => head.n_channels(),
            Self::Readout { n_channels } => n_channels,
        }
    }
}

impl NativeEngine {
    /// Rejects invalid batches and prepares the rotary angles.
    fn admit(&self, batch: &PackedBatch) -> Result<()> {
        let config = &self.decoder.config;
        let n_tokens = batch.longest_path();
        if n_tokens > config.context_length {
            return Err(Error::ContextOverflow { n_tokens, context_length: config.context_length });
        }
        let vocab_size = config.vocab_size;
        if let Some(token) = batch.tokens().iter().find(|&&token| token as usize >= vocab_size) {
            let reason = format!("token {token} is outside the vocabulary of {vocab_size}");
            return Err(Error::InvalidBatch { reason });
        }
        self.decoder.know_positions(n_tokens);
        Ok(())
    }

    /// Mapped matrices are not checked before they are used; if a result is not finite, this finds
    /// the matrix that caused it.
    pub(super) fn check_mapped(&self) -> Result<()> {
        match &self.parameters {
            Parameters::Mapped(mapped) => Ok(mapped.check_finite().map_err(crate::Error::from)?),
            Parameters::Loaded(_) => Ok(()),
        }
    }

    /// [`Self::check_mapped`] if a number is not finite.
    fn check_finite(&self, log_probs: &TokenValues) -> Result<()> {
        let is_finite = log_probs.values().iter().all(|lp| lp.is_finite());
        if is_finite { Ok(()) } else { self.check_mapped() }
    }

    /// Forward pass of a part by a worker.
    fn forward_part(
        &self,
        worker: &mut Worker,
        batch: &PackedBatch,
        keep: Keep,
        output: Output,
    ) -> Vec<f32> {
        let Self { decoder, parameters, adapter, readout, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let loaded = parameters.loaded().unwrap_or_default();
        let workspace = &mut worker.workspace;
        match output {
            Output::LogProbs => decoder.forward(weights, batch, keep, workspace),
            Output::MeanLogProbs => decoder.mean_log_probs(weights, batch, workspace),
            Output::Values(_) => decoder.values(loaded, batch, keep, workspace),
            Output::Readout { .. } => decoder.read_out(weights, readout, batch, workspace),
        }
    }

    /// Forward pass for a backward pass: each part by a worker of its own, of which there are enough.
    fn forward(
        &self,
        workers: &mut [Worker],
        parts: &[Shard],
        keep: Keep,
        output: Output,
    ) -> Vec<Vec<f32>> {
        // Fewer parts than threads: those left over help with the products. What is trained is
        // computed in f32.
        let execution = Execution::by(workers.len() / parts.len().max(1));
        self.pool.install(|| {
            let pairs = workers.par_iter_mut().zip(parts);
            pairs
                .map(|(worker, part)| {
                    worker.workspace.compute_products(execution);
                    self.forward_part(worker, &part.batch, keep, output)
                })
                .collect()
        })
    }

    /// Outputs of all response tokens of each batch, nothing kept.
    ///
    /// A thread takes one part after the other, the longest first, of whatever batch it is: so that no
    /// thread waits before the end of the call. How a batch is cut does not depend on the others.
    pub(super) fn score(
        &self,
        batches: &[PackedBatch],
        output: Output,
    ) -> Result<Vec<TokenValues>> {
        let cut = |batch: &PackedBatch| {
            self.admit(batch)?;
            let n_rounds = batch.n_tokens().div_ceil(self.n_threads * SCORING_TOKENS);
            shards(batch, self.n_threads * n_rounds)
        };
        let parts = batches.iter().map(cut).collect::<Result<Vec<Vec<Shard>>>>()?;
        let mut queue: Vec<(usize, usize)> = (0..batches.len())
            .flat_map(|nth| (0..parts[nth].len()).map(move |part| (nth, part)))
            .collect();
        queue.sort_by_key(|&(nth, part)| Reverse(parts[nth][part].batch.n_tokens()));

        let n_sharing = self.n_threads / queue.len().max(1);
        let execution = Execution { n_threads: n_sharing, precision: self.precision };
        let next = AtomicUsize::new(0);
        let run = |worker: &mut Worker| {
            worker.workspace.compute_products(execution);
            let mut outputs = Vec::new();
            while let Some(&at) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                let part = &parts[at.0][at.1];
                outputs.push((at, self.forward_part(worker, &part.batch, Keep::Nothing, output)));
            }
            outputs
        };
        let mut held = self.workers();
        let workers = &mut held[..];
        let done: Vec<_> =
            self.pool.install(|| workers.par_iter_mut().map(run).flatten_iter().collect());
        drop(held);

        let mut outputs: Vec<Vec<Vec<f32>>> =
            parts.iter().map(|parts| vec![Vec::new(); parts.len()]).collect();
        for ((nth, part), values) in done {
            outputs[nth][part] = values;
        }
        let gathered = batches.iter().zip(&parts).zip(&outputs).map(|((batch, parts), outputs)| {
            let values = gather(batch, parts, outputs, output);
            self.check_finite(&values).map(|()| values)
        });
        gathered.collect()
    }

    /// Forward pass, weights, backward pass, one batch after the other.
    pub(super) fn pass(
        &mut self,
        batches: &[PackedBatch],
        output: Output,
        weigh: &mut Weigh<'_>,
    ) -> Result<()> {
        if self.adapter.is_none() && self.parameters.loaded().is_none() {
            return Err(CANNOT_CHANGE_MAPPED);
        }
        for (nth, batch) in batches.iter().enumerate() {
            self.admit(batch)?;
            self.pass_over(batch, output, &mut |outputs| Ok(weigh(nth, outputs)?))?;
        }
        Ok(())
    }

    fn pass_over(
        &mut self,
        batch: &PackedBatch,
        output: Output,
        weigh: &mut dyn FnMut(&TokenValues) -> Result<TokenValues>,
    ) -> Result<()> {
        let keep = match self.recompute {
            Recompute::Nothing => Keep::Everything,
            Recompute::Layers => Keep::Inputs,
        };
        let parts = shards(batch, self.n_threads)?;
        let outputs = self.forward(&mut self.workers(), &parts, keep, output);
        let outputs = gather(batch, &parts, &outputs, output);
        self.check_finite(&outputs)?;
        let slopes = weigh(&outputs)?;
        if !slopes.rows().map(<[f32]>::len).eq(outputs.rows().map(<[f32]>::len)) {
            let reason = "the weights do not have the shape of what they weigh".to_owned();
            return Err(Error::InvalidBatch { reason });
        }

        let n_trained = self.trained_parameters().len();
        let Self { decoder, parameters, adapter, gradient, workers, pool, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let loaded = parameters.loaded().unwrap_or_default();
        let workers = workers.get_mut().unwrap_or_else(PoisonError::into_inner);
        gradient.resize(n_trained, 0.0);
        for worker in workers.iter_mut().take(parts.len()).skip(1) {
            worker.gradient.resize(n_trained, 0.0);
        }
        let mut engine_gradient = Some(&mut gradient[..]);
        let mut jobs: Vec<_> = workers
            .iter_mut()
            .zip(&parts)
            .map(|(Worker { workspace, gradient }, part)| {
                let gradient = engine_gradient.take().unwrap_or(gradient);
                (workspace, gradient, scatter(part, &slopes), &part.batch)
            })
            .collect();
        pool.install(|| {
            jobs.par_iter_mut().for_each(|(workspace, gradient, slopes, batch)| match output {
                Output::LogProbs => {
                    let mut gradient = match weights.adapter {
                        Some(adapter) => Gradient::of_adapter(gradient, adapter),
                        None => Gradient::Full(gradient),
                    };
                    decoder.backward(weights, &mut gradient, slopes, keep, workspace);
                }
                // These are only read.
                Output::MeanLogProbs | Output::Readout { .. } => {}
                Output::Values(_) => {
                    decoder.values_backward(loaded, gradient, slopes, batch, keep, workspace);
                }
            });
        });
        for worker in workers.iter_mut().take(parts.len()).skip(1) {
            add(gradient, &worker.gradient);
            worker.gradient.fill(0.0);
        }
        Ok(())
    }
}

/// Puts the parts' outputs, `[n_response_tokens of the part]`, in the whole's order.
fn gather(
    batch: &PackedBatch,
    parts: &[Shard],
    outputs: &[Vec<f32>],
    output: Output,
) -> TokenValues {
    let mut whole = TokenValues::zeros_of_channels(batch, output.n_channels());
    for (part, mut values) in parts.iter().zip(outputs.iter().map(Vec::as_slice)) {
        for &response in &part.responses {
            let row = whole.row_mut(response);
            let (own, rest) = values.split_at(row.len());
            row.copy_from_slice(own);
            values = rest;
        }
    }
    whole
}

/// The part's rows of `whole`, response after response.
fn scatter(part: &Shard, whole: &TokenValues) -> Vec<f32> {
    part.responses.iter().flat_map(|&response| whole.row(response)).copied().collect()
}
