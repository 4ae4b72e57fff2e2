//! What the fake server serves.

use gratis_engine::{
    FinishReason, Generate, PackedBatch, Sample, SampleRequest, SamplingSettings, Score,
};

/// A request for a sample.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// As in [`SamplingSettings`]; `seed` is that of the request.
    pub settings: SamplingSettings,
}

/// A language model as a server sees it.
pub trait Model: Send + Sync {
    /// Size of the vocabulary.
    fn vocab_size(&self) -> usize;
    /// Longest sequence.
    fn context_length(&self) -> usize;
    /// The log-probability of each token but the first.
    fn scores(&self, tokens: &[u32]) -> Vec<f32>;
    /// The outputs of the head at each token, if it has one.
    fn values(&self, tokens: &[u32]) -> Option<Vec<Vec<f32>>> {
        let _ = tokens;
        None
    }
    /// The states that the head is computed from at each token, if it has one.
    fn states(&self, tokens: &[u32]) -> Option<Vec<Vec<f32>>> {
        let _ = tokens;
        None
    }
    /// A continuation.
    fn sample(&self, prompt: &[u32], sampling: &Sampling) -> Sample;
}

/// A deterministic function of the tokens: no model at all, and fast.
#[derive(Debug, Clone, Copy)]
pub struct HashModel {
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Added to every log-probability, to tell two such models apart.
    pub shift: f32,
}

/// A number whose bits depend on those of `key` (splitmix64).
pub(crate) fn mixed(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl HashModel {
    fn log_prob(self, prefix: u64, token: u32) -> f32 {
        let share = (mixed(prefix ^ u64::from(token)) >> 40) as f32 / (1 << 24) as f32;
        -8.0 * share - 0.01 + self.shift
    }
}

impl Model for HashModel {
    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context_length(&self) -> usize {
        4096
    }

    fn scores(&self, tokens: &[u32]) -> Vec<f32> {
        let mut prefix = 0;
        let mut scores = Vec::with_capacity(tokens.len());
        for (at, &token) in tokens.iter().enumerate() {
            if at > 0 {
                scores.push(self.log_prob(prefix, token));
            }
            prefix = mixed(prefix ^ u64::from(token) << 20);
        }
        scores
    }

    fn sample(&self, prompt: &[u32], sampling: &Sampling) -> Sample {
        let settings = &sampling.settings;
        let length = 1 + mixed(settings.seed) as usize % settings.max_new_tokens;
        let stop = settings.stop_tokens.first().copied();
        let mut tokens: Vec<u32> = (0..length as u64)
            .map(|at| (mixed(settings.seed ^ at << 40) % self.vocab_size as u64) as u32)
            .map(
                |token| {
                    if Some(token) == stop { (token + 1) % self.vocab_size as u32 } else { token }
                },
            )
            .collect();
        let is_cut = length == settings.max_new_tokens || stop.is_none();
        if let Some(stop) = stop.filter(|_| !is_cut) {
            tokens.push(stop);
        }
        let all = [prompt, &tokens].concat();
        let log_probs = self.scores(&all)[prompt.len() - 1..].to_vec();
        let finish = if is_cut { FinishReason::Length } else { FinishReason::Stop };
        Sample { tokens, log_probs, finish }
    }
}

/// A real engine.
#[derive(Debug)]
pub struct EngineModel<E>(pub E);

impl<E: Score + Generate> Model for EngineModel<E> {
    fn vocab_size(&self) -> usize {
        self.0.describe().vocab_size
    }

    fn context_length(&self) -> usize {
        self.0.describe().context_length
    }

    fn scores(&self, tokens: &[u32]) -> Vec<f32> {
        if tokens.len() < 2 {
            return Vec::new();
        }
        let batch = PackedBatch::from_groups([(&tokens[..1], [&tokens[1..]])]).expect("tokens");
        let values = self.0.log_probs(&[batch]).expect("a pass");
        values[0].row(0).to_vec()
    }

    fn sample(&self, prompt: &[u32], sampling: &Sampling) -> Sample {
        let key = sampling.settings.seed;
        let request = SampleRequest { prompt: prompt.to_vec(), key, first_sample: 0, n_samples: 1 };
        let samples = self.0.sample_all(&[request], &sampling.settings).expect("a sample");
        samples[0][0].clone()
    }
}
