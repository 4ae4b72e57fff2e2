//! An engine that is a table: a bigram model with an exact gradient.
//!
//! `log pi(y_t | y_<t) = theta[y_{t-1}][y_t] - log sum_v exp(theta[y_{t-1}][v])`. It shows that
//! training needs nothing of a model beyond the traits of the seam, and trains in microseconds.

use std::path::Path;

use gratis_engine::{
    Error, ErrorKind, FinishReason, Generate, ModelDescription, OptimizerStep, PackedBatch, Result,
    Sample, SampleRequest, SamplingSettings, Score, StateName, StateRef, StepReport, TokenValues,
    Train, Weigh,
};
use gratis_model::atomic;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONTEXT_LENGTH: usize = 64;

/// A bigram model over `n_vocab` tokens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TabularEngine {
    description: ModelDescription,
    n_vocab: usize,
    /// `[previous token, token]`.
    pub(crate) theta: Vec<f64>,
    gradient: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    n_steps: u64,
}

impl TabularEngine {
    /// All continuations equally likely.
    pub(crate) fn uniform(n_vocab: usize) -> Self {
        let zeros = vec![0.0; n_vocab * n_vocab];
        let description = ModelDescription {
            architecture: "Tabular".to_owned(),
            n_parameters: zeros.len(),
            vocab_size: n_vocab,
            context_length: CONTEXT_LENGTH,
            preferred_batch_tokens: 4096,
            n_concurrent_batches: 3,
        };
        Self {
            description,
            n_vocab,
            theta: zeros.clone(),
            gradient: zeros.clone(),
            first: zeros.clone(),
            second: zeros,
            n_steps: 0,
        }
    }

    fn log_softmax(&self, previous: u32) -> Vec<f64> {
        let start = previous as usize * self.n_vocab;
        let row = &self.theta[start..start + self.n_vocab];
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = max + row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        row.iter().map(|x| x - log_sum).collect()
    }

    /// Previous token and token of each response token, response after response.
    fn transitions(batch: &PackedBatch) -> Vec<Vec<(u32, u32)>> {
        let of_response = |&idx| {
            let previous = batch.predicting_row(idx).expect("a response has a parent");
            let tokens = &batch.tokens()[batch.segment(idx).rows()];
            let before = std::iter::once(batch.tokens()[previous]).chain(tokens.iter().copied());
            before.zip(tokens.iter().copied()).collect()
        };
        batch.responses().iter().map(of_response).collect()
    }
}

impl Score for TabularEngine {
    fn describe(&self) -> &ModelDescription {
        &self.description
    }

    fn log_probs(&self, batches: &[PackedBatch]) -> Result<Vec<TokenValues>> {
        batches.iter().map(|batch| self.log_probs_of(batch)).collect()
    }
}

impl TabularEngine {
    fn add_gradient(&mut self, batch: &PackedBatch, weights: &TokenValues) {
        for (transitions, weights) in Self::transitions(batch).iter().zip(weights.rows()) {
            for (&(before, token), &weight) in transitions.iter().zip(weights) {
                let start = before as usize * self.n_vocab;
                for (v, lp) in self.log_softmax(before).iter().enumerate() {
                    let indicator = f64::from(u8::from(v == token as usize));
                    self.gradient[start + v] += f64::from(weight) * (indicator - lp.exp());
                }
            }
        }
    }

    fn log_probs_of(&self, batch: &PackedBatch) -> Result<TokenValues> {
        if batch.longest_path() > CONTEXT_LENGTH {
            let n_tokens = batch.longest_path();
            return Err(Error::ContextOverflow { n_tokens, context_length: CONTEXT_LENGTH });
        }
        let mut values = TokenValues::default();
        for transitions in Self::transitions(batch) {
            let lp =
                |&(before, token): &(u32, u32)| self.log_softmax(before)[token as usize] as f32;
            values.push(&transitions.iter().map(lp).collect::<Vec<_>>());
        }
        Ok(values)
    }
}

impl Generate for TabularEngine {
    fn sample(
        &self,
        requests: &[SampleRequest],
        settings: &SamplingSettings,
        done: &mut dyn FnMut(usize, Vec<Sample>),
    ) -> Result<()> {
        let draw = |request: &SampleRequest, sample: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(settings.seed ^ request.key.rotate_left(17));
            rng.set_stream(sample);
            let mut before = *request.prompt.last().expect("a prompt is not empty");
            let (mut tokens, mut log_probs) = (Vec::new(), Vec::new());
            while tokens.len() < settings.max_new_tokens {
                let row = self.log_softmax(before);
                let mut rest: f64 = rng.random();
                let token = row.iter().position(|lp| {
                    rest -= lp.exp();
                    rest < 0.0
                });
                let token = token.unwrap_or(self.n_vocab - 1);
                before = token as u32;
                tokens.push(before);
                log_probs.push(row[token] as f32);
                if settings.stop_tokens.contains(&before) {
                    return Sample { tokens, log_probs, finish: FinishReason::Stop };
                }
            }
            Sample { tokens, log_probs, finish: FinishReason::Length }
        };
        let all = |request: &SampleRequest| {
            let numbers = request.first_sample..request.first_sample + request.n_samples as u64;
            numbers.map(|sample| draw(request, sample)).collect()
        };
        requests.iter().map(all).enumerate().for_each(|(nth, samples)| done(nth, samples));
        Ok(())
    }
}

impl Train for TabularEngine {
    fn forward_backward(&mut self, batches: &[PackedBatch], weigh: &mut Weigh<'_>) -> Result<()> {
        for (nth, batch) in batches.iter().enumerate() {
            let weights = weigh(nth, &self.log_probs_of(batch)?)?;
            self.add_gradient(batch, &weights);
        }
        Ok(())
    }

    fn optimizer_step(&mut self, step: &OptimizerStep) -> Result<StepReport> {
        let gradient = std::mem::replace(&mut self.gradient, vec![0.0; self.theta.len()]);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !norm.is_finite() {
            return Err(Error::NonFiniteGradient { norm });
        }
        let scale = step.max_gradient_norm.map_or(1.0, |most| (most / norm).min(1.0));
        self.n_steps += 1;
        let n = self.n_steps as i32;
        for (idx, g) in gradient.iter().map(|g| g * scale).enumerate() {
            self.first[idx] += (1.0 - step.beta1) * (g - self.first[idx]);
            self.second[idx] += (1.0 - step.beta2) * (g * g - self.second[idx]);
            let first = self.first[idx] / (1.0 - step.beta1.powi(n));
            let second = self.second[idx] / (1.0 - step.beta2.powi(n));
            let decay = step.weight_decay * self.theta[idx];
            self.theta[idx] -=
                step.learning_rate * (first / (second.sqrt() + step.epsilon) + decay);
        }
        Ok(StepReport { gradient_norm: norm, n_steps: self.n_steps })
    }

    fn discard_gradient(&mut self) -> Result<()> {
        self.gradient.fill(0.0);
        Ok(())
    }

    fn save_weights(&self, folder: &Path) -> Result<()> {
        write(&folder.join("theta"), &[&self.theta])
    }

    fn save_state(&self, to: &StateName) -> Result<StateRef> {
        let n_steps = [self.n_steps as f64];
        let parts = [&self.theta[..], &self.first, &self.second, &n_steps];
        write(&to.folder.join("state"), &parts)?;
        Ok(StateRef::Folder(to.folder.clone()))
    }

    fn load_state(&mut self, from: &StateRef) -> Result<()> {
        let StateRef::Folder(folder) = from else { panic!("a folder") };
        let values = read(&folder.join("state"));
        let n = self.theta.len();
        for (part, values) in
            [&mut self.theta, &mut self.first, &mut self.second].into_iter().zip(values.chunks(n))
        {
            part.copy_from_slice(values);
        }
        self.n_steps = values[3 * n] as u64;
        Ok(())
    }
}

fn write(path: &Path, parts: &[&[f64]]) -> Result<()> {
    let bytes: Vec<u8> =
        parts.iter().copied().flatten().flat_map(|value| value.to_le_bytes()).collect();
    atomic::write(path, &bytes).map_err(|error| Error::engine(ErrorKind::Broken, error))
}

/// The numbers of a file written by the engine.
pub(crate) fn read(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).expect("a file of numbers");
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|&word| f64::from_le_bytes(word)).collect()
}
