//! The values of reward models on servers: outputs of a head, or log-probabilities of label tokens.

use gratis_engine::{Error as EngineError, PackedBatch, Score as _, TokenValues, Values};

use crate::answer::Sequence;
use crate::error::Error;
use crate::http::{Client, Fault};
use crate::inference::{InferenceEngine, MAX_SEQUENCES, SCORING, path_of};
use crate::pooling::{Activation, Checked, Task};

/// How far above 1 the probabilities of two tokens may add up.
const ROUNDING: f32 = 1e-3;

/// A value that is asked for: that after some token of a response.
#[derive(Debug, Clone, Copy)]
struct TokenJob {
    batch: usize,
    nth: usize,
    /// The token of the response.
    at: usize,
}

impl TokenJob {
    /// The sequence up to the token, and the label after it; its last token is the scored one.
    fn sequence(self, batches: &[PackedBatch], label: Option<u32>) -> Sequence {
        let batch = &batches[self.batch];
        let Sequence { mut tokens, n_context } = path_of(batch, batch.responses()[self.nth]);
        tokens.truncate(n_context + self.at + 1);
        tokens.extend(label);
        Sequence { n_context: tokens.len() - 1, tokens }
    }
}

impl Values for InferenceEngine {
    fn n_channels(&self) -> usize {
        self.head.map_or(0, Checked::n_channels)
    }

    fn values(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>, EngineError> {
        let all_of = |batch: &PackedBatch| -> Vec<Vec<usize>> {
            let responses = batch.responses().iter();
            responses.map(|&idx| (0..batch.segment(idx).n_tokens).collect()).collect()
        };
        let wanted: Vec<Vec<Vec<usize>>> = batches.iter().map(all_of).collect();
        self.values_at(batches, &wanted)
    }

    fn values_at(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
    ) -> Result<Vec<TokenValues>, EngineError> {
        match self.head {
            None => Err(EngineError::NoValueHead),
            Some(Checked::Pooled { task, tag, n_channels }) => match task {
                Task::EachToken => self.pooled(batches, task, tag, n_channels),
                Task::LastToken => {
                    check_last(batches, wanted)?;
                    self.pooled(batches, task, tag, n_channels)
                }
                Task::Prefix => self.prefixes(batches, wanted, n_channels),
            },
            Some(Checked::Labels(labels)) => self.labels(batches, wanted, labels),
        }
    }
}

/// Values of which none is known yet.
fn unknown(batches: &[PackedBatch], n_channels: usize) -> Vec<TokenValues> {
    let of = |batch| {
        let mut values = TokenValues::zeros_of_channels(batch, n_channels);
        values.values_mut().fill(f32::NAN);
        values
    };
    batches.iter().map(of).collect()
}

/// Refuses values of other tokens than the last.
fn check_last(batches: &[PackedBatch], wanted: &[Vec<Vec<usize>>]) -> Result<(), EngineError> {
    for (batch, wanted) in batches.iter().zip(wanted) {
        for (&idx, wanted) in batch.responses().iter().zip(wanted) {
            let n_tokens = batch.segment(idx).n_tokens;
            if wanted.iter().any(|at| at + 1 != n_tokens) {
                return Err(EngineError::Unsupported {
                    engine: "remote",
                    what: "read its head elsewhere than at the last token (start the server with the \
                           pooling task `token_classify`)",
                });
            }
        }
    }
    Ok(())
}

impl InferenceEngine {
    /// The outputs of the head.
    fn pooled(
        &self,
        batches: &[PackedBatch],
        task: Task,
        tag: Option<u32>,
        n_channels: usize,
    ) -> Result<Vec<TokenValues>, EngineError> {
        let zeros = |batch| TokenValues::zeros_of_channels(batch, n_channels);
        let mut all: Vec<TokenValues> = batches.iter().map(zeros).collect();
        let requests = self.requests(batches)?;
        let ask = |client: &Client, request: &&Vec<(usize, usize)>| {
            let sequences = request.iter().map(|&(batch_idx, nth)| {
                let batch = &batches[batch_idx];
                path_of(batch, batch.responses()[nth])
            });
            let sequences: Vec<Sequence> = sequences.collect();
            self.ask_rows(client, &sequences, task, tag, n_channels)
        };
        let n_at_once = self.settings().scoring_concurrency;
        self.pool().run(n_at_once, SCORING, &mut requests.iter(), &ask, &mut |idx, rows| {
            for (&(batch_idx, nth), row) in requests[idx].iter().zip(&rows) {
                all[batch_idx].row_mut(nth).copy_from_slice(row);
            }
        })?;
        Ok(all)
    }

    /// The rows of values of sequences.
    fn ask_rows(
        &self,
        client: &Client,
        sequences: &[Sequence],
        task: Task,
        tag: Option<u32>,
        n_channels: usize,
    ) -> Result<Vec<Vec<f32>>, Fault> {
        let pooled = self.ask_pooled(client, sequences, task, tag, Activation::Off)?;
        if pooled.n_channels == n_channels {
            return Ok(pooled.rows);
        }
        let n = pooled.n_channels;
        let reason = format!("it has {n} values per token, {n_channels} at the start");
        let server = client.name().to_owned();
        Err(Fault::Final(Error::Answer { server, what: SCORING, reason }))
    }

    /// The outputs of the head at the tokens that are wanted, each as the last token of a sequence; NaN
    /// elsewhere.
    fn prefixes(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
        n_channels: usize,
    ) -> Result<Vec<TokenValues>, EngineError> {
        self.requests(batches)?;
        let mut all = unknown(batches, n_channels);
        let requests = self.jobs(batches, wanted, 1)?;
        let ask = |client: &Client, jobs: &&Vec<TokenJob>| {
            let sequences = jobs.iter().map(|job| job.sequence(batches, None));
            let sequences: Vec<Sequence> = sequences.collect();
            self.ask_rows(client, &sequences, Task::Prefix, None, n_channels)
        };
        let n_at_once = self.settings().scoring_concurrency;
        self.pool().run(n_at_once, SCORING, &mut requests.iter(), &ask, &mut |idx, found| {
            for (job, values) in requests[idx].iter().zip(found) {
                let row = all[job.batch].row_mut(job.nth);
                let n_tokens = row.len() / n_channels;
                for (channel, value) in values.into_iter().enumerate() {
                    row[channel * n_tokens + job.at] = value;
                }
            }
        })?;
        Ok(all)
    }

    /// The log-probabilities of the labels after the tokens that are wanted; NaN elsewhere.
    fn labels(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
        labels: [u32; 2],
    ) -> Result<Vec<TokenValues>, EngineError> {
        self.requests(batches)?;
        let mut all = unknown(batches, labels.len());
        // Requests of one label each, so that a server computes what comes before once.
        let of_labels = |jobs: Vec<TokenJob>| (0..labels.len()).map(move |c| (c, jobs.clone()));
        let requests: Vec<(usize, Vec<TokenJob>)> =
            self.jobs(batches, wanted, 2)?.into_iter().flat_map(of_labels).collect();
        let ask = |client: &Client, request: &&(usize, Vec<TokenJob>)| {
            let (channel, jobs) = request;
            let sequences = jobs.iter().map(|job| job.sequence(batches, Some(labels[*channel])));
            self.ask_labels(client, &sequences.collect::<Vec<_>>())
        };
        let n_at_once = self.settings().scoring_concurrency;
        self.pool().run(n_at_once, SCORING, &mut requests.iter(), &ask, &mut |idx, found| {
            let (channel, jobs) = &requests[idx];
            for (job, value) in jobs.iter().zip(found) {
                let row = all[job.batch].row_mut(job.nth);
                let n_tokens = row.len() / labels.len();
                row[channel * n_tokens + job.at] = value;
            }
        })?;
        self.check_probabilities(&all)?;
        Ok(all)
    }

    /// The values that are wanted, in requests of up to `request_tokens` tokens. `n_more` tokens are sent
    /// beside those before the token of a value.
    fn jobs(
        &self,
        batches: &[PackedBatch],
        wanted: &[Vec<Vec<usize>>],
        n_more: usize,
    ) -> Result<Vec<Vec<TokenJob>>, EngineError> {
        let context_length = self.describe().context_length;
        let mut requests = Vec::new();
        let (mut jobs, mut n_tokens) = (Vec::new(), 0);
        for (batch_idx, (batch, wanted)) in batches.iter().zip(wanted).enumerate() {
            for (nth, (&idx, wanted)) in batch.responses().iter().zip(wanted).enumerate() {
                for &at in wanted {
                    let n = batch.segment(idx).position + at + n_more;
                    if n > context_length {
                        let error = EngineError::ContextOverflow { n_tokens: n, context_length };
                        return Err(error);
                    }
                    let is_full = n_tokens + n > self.settings().request_tokens
                        || jobs.len() == MAX_SEQUENCES;
                    if is_full && !jobs.is_empty() {
                        requests.push(std::mem::take(&mut jobs));
                        n_tokens = 0;
                    }
                    jobs.push(TokenJob { batch: batch_idx, nth, at });
                    n_tokens += n;
                }
            }
        }
        if !jobs.is_empty() {
            requests.push(jobs);
        }
        Ok(requests)
    }

    /// Refuses probabilities of two tokens that are more than 1 together: they are not those of one
    /// softmax over the vocabulary.
    fn check_probabilities(&self, all: &[TokenValues]) -> Result<(), EngineError> {
        for row in all.iter().flat_map(TokenValues::rows) {
            let (good, bad) = row.split_at(row.len() / 2);
            let total = |(a, b): (&f32, &f32)| a.exp() + b.exp();
            if let Some(total) = good.iter().zip(bad).map(total).find(|sum| *sum > 1.0 + ROUNDING) {
                let server = self.settings().servers().join(", ");
                let reason = format!("the probabilities of two tokens add up to {total}");
                return Err(Error::Answer { server, what: SCORING, reason }.into());
            }
        }
        Ok(())
    }
}
