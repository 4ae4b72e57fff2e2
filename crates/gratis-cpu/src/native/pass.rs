//! A pass over a batch: forward, weights, backward, each thread on its own part.

use std::sync::PoisonError;

use gratis_engine::{Error, PackedBatch, Result, TokenValues, Weigh};
use gratis_model::ValueHead;
use rayon::prelude::*;

use super::{CANNOT_CHANGE_MAPPED, NativeEngine, Recompute, Worker};
use crate::kernels::matmul::{Execution, Precision};
use crate::kernels::simd::add;
use crate::model::Keep;
use crate::shard::{Shard, shards};
use crate::weights::{Gradient, Parameters, Weights};

/// Tokens that one thread scores at a time. A prompt with more tokens of responses than this is
/// computed several times.
pub(crate) const SCORING_TOKENS: usize = 4096;

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

    /// Forward pass of all parts, the `i`-th by worker `i % n_threads`.
    fn forward(
        &self,
        workers: &mut [Worker],
        parts: &[Shard],
        keep: Keep,
        output: Output,
    ) -> Vec<Vec<f32>> {
        let Self { decoder, parameters, adapter, readout, pool, .. } = self;
        let weights = Weights { base: parameters.view(), adapter: adapter.as_ref() };
        let loaded = parameters.loaded().unwrap_or_default();
        let n_workers = workers.len();
        // Fewer parts than threads: those left over help with the products.
        let n_sharing = n_workers / parts.len().max(1);
        // What is trained is computed in f32.
        let precision = if keep == Keep::Nothing { self.precision } else { Precision::F32 };
        let execution = Execution { n_threads: n_sharing, precision };
        let mut by_worker = pool.install(|| {
            let run = |(first, worker): (usize, &mut Worker)| {
                worker.workspace.compute_products(execution);
                let own = parts.iter().skip(first).step_by(n_workers);
                let outputs = own.map(|part| {
                    let Worker { workspace, .. } = &mut *worker;
                    match output {
                        Output::LogProbs => decoder.forward(weights, &part.batch, keep, workspace),
                        Output::MeanLogProbs => {
                            decoder.mean_log_probs(weights, &part.batch, workspace)
                        }
                        Output::Values(_) => decoder.values(loaded, &part.batch, keep, workspace),
                        Output::Readout { .. } => {
                            decoder.read_out(weights, readout, &part.batch, workspace)
                        }
                    }
                });
                outputs.collect::<Vec<_>>()
            };
            workers.par_iter_mut().enumerate().map(run).collect::<Vec<_>>()
        });
        (0..parts.len())
            .map(|i| std::mem::take(&mut by_worker[i % n_workers][i / n_workers]))
            .collect()
    }

    /// Outputs of all response tokens, nothing kept.
    pub(super) fn score(&self, batch: &PackedBatch, output: Output) -> Result<TokenValues> {
        self.admit(batch)?;
        let n_threads = self.n_threads;
        let n_rounds = batch.n_tokens().div_ceil(n_threads * SCORING_TOKENS);
        let parts = shards(batch, n_threads * n_rounds)?;
        let outputs = self.forward(&mut self.workers(), &parts, Keep::Nothing, output);
        let outputs = gather(batch, &parts, &outputs, output);
        self.check_finite(&outputs)?;
        Ok(outputs)
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
