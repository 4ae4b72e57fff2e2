//! Floating-point operations of a decoder of the Llama family. A multiplication and an addition
//! are two operations; norms, rotations and the softmax are not counted, as is usual.

use gratis_model::ModelConfig;
use serde::{Deserialize, Serialize};

use super::work::Work;

/// The part of a model's shape that determines its operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Number of layers.
    pub n_layers: u64,
    /// Width of the residual stream.
    pub hidden_size: u64,
    /// Inner width of the SwiGLU.
    pub intermediate_size: u64,
    /// Weights of the feed-forwards of all layers that a token passes through, where some layers
    /// have experts: those of the router and of the experts that a token is given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feed_forward_weights: Option<u64>,
    /// Width of all query heads together.
    pub query_size: u64,
    /// Width of all key heads together, and of all value heads.
    pub key_value_size: u64,
    /// Size of the vocabulary; 1 for a scalar head.
    pub vocab_size: u64,
}

/// Forward only, or forward and backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Sampling and scoring.
    Forward,
    /// Training: the backward pass is two products for each one of the forward pass.
    ForwardBackward,
}

impl Pass {
    fn factor(self) -> f64 {
        match self {
            Self::Forward => 1.0,
            Self::ForwardBackward => 3.0,
        }
    }
}

/// Operations by part of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Flops {
    /// Projections of the layers.
    pub dense: f64,
    /// Scores and weighted values.
    pub attention: f64,
    /// Logits.
    pub head: f64,
}

impl Flops {
    /// All of them.
    pub fn total(&self) -> f64 {
        self.dense + self.attention + self.head
    }
}

impl Architecture {
    /// Llama 3.1 8B, the paper's reward model and reference.
    pub const LLAMA_3_1_8B: Self = Self {
        n_layers: 32,
        hidden_size: 4096,
        intermediate_size: 14336,
        feed_forward_weights: None,
        query_size: 4096,
        key_value_size: 1024,
        vocab_size: 128_256,
    };

    /// The number of weights multiplied per token in all layers: query, key, value, output, gate,
    /// up, down; of experts only those that a token is given to.
    pub fn n_dense_weights(&self) -> u64 {
        let attention = self.hidden_size * (2 * self.query_size + 2 * self.key_value_size);
        let feed_forward = self
            .feed_forward_weights
            .unwrap_or(self.n_layers * 3 * self.hidden_size * self.intermediate_size);
        self.n_layers * attention + feed_forward
    }

    /// Operations of `work`:
    ///
    /// ```text
    /// dense      2 * n_dense_weights * n_tokens
    /// attention  4 * n_layers * query_size * n_attended
    /// head       2 * vocab_size * hidden_size * n_predicted
    /// ```
    /// forward, three times that with the backward pass.
    pub fn flops(&self, work: &Work, pass: Pass) -> Flops {
        let product = |a: u64, b: u64| pass.factor() * a as f64 * b as f64;
        Flops {
            dense: product(2 * self.n_dense_weights(), work.n_tokens),
            attention: product(4 * self.n_layers * self.query_size, work.n_attended),
            head: product(2 * self.vocab_size * self.hidden_size, work.n_predicted),
        }
    }

    /// The same trunk with a scalar head.
    #[must_use]
    pub fn with_scalar_head(self) -> Self {
        Self { vocab_size: 1, ..self }
    }
}

impl From<&ModelConfig> for Architecture {
    fn from(config: &ModelConfig) -> Self {
        Self {
            n_layers: config.n_layers as u64,
            hidden_size: config.hidden_size as u64,
            intermediate_size: config.intermediate_size as u64,
            feed_forward_weights: config.experts.is_some().then(|| feed_forward_weights(config)),
            query_size: config.query_size() as u64,
            key_value_size: config.key_value_size() as u64,
            vocab_size: config.vocab_size as u64,
        }
    }
}

/// Weights of the feed-forwards that a token passes through: three matrices of each, the router, and
/// the gate of a shared expert.
fn feed_forward_weights(config: &ModelConfig) -> u64 {
    let of_layer = |layer| {
        let routing = config.experts_of(layer).map_or(0, |experts| {
            experts.n_experts + usize::from(experts.shared_intermediate_size.is_some())
        });
        (config.hidden_size * (3 * config.active_intermediate_size(layer) + routing)) as u64
    };
    (0..config.n_layers).map(of_layer).sum()
}

#[cfg(test)]
mod tests {
    use gratis_model::config::{ExpertWeights, Experts};

    use super::*;

    #[test]
    fn of_experts_only_the_active_ones_are_counted() {
        let config = ModelConfig {
            hidden_size: 2,
            intermediate_size: 3,
            n_layers: 3,
            n_heads: 1,
            n_kv_heads: 1,
            head_dim: 2,
            vocab_size: 5,
            experts: Some(Experts {
                n_experts: 100,
                n_active: 2,
                intermediate_size: 4,
                shared_intermediate_size: Some(6),
                weights: ExpertWeights::Normalised,
                dense_layers: vec![1],
            }),
            ..ModelConfig::LLAMA
        };
        let architecture = Architecture::from(&config);
        // Three layers of attention; two of 2 * 4 + 6 columns with 101 rows of routing, one of 3.
        let feed_forward = 2 * (2 * (3 * 14 + 101)) + 2 * 9;
        assert_eq!(architecture.n_dense_weights(), 3 * 16 + feed_forward);
        let plain = Architecture::from(&ModelConfig { experts: None, ..config });
        assert_eq!(plain.n_dense_weights(), 3 * (16 + 18));
    }

    #[test]
    fn eight_billion_parameters_follow_the_rule_of_thumb() {
        let llama = Architecture::LLAMA_3_1_8B;
        // 8.03 billion parameters without the embedding, which takes no multiplication.
        let multiplied = llama.n_dense_weights() + llama.vocab_size * llama.hidden_size;
        assert!((multiplied as f64 / 7.505e9 - 1.0).abs() < 1e-3, "{multiplied}");
        let work = Work { n_tokens: 1, n_attended: 1, n_predicted: 1 };
        let forward = llama.flops(&work, Pass::Forward).total();
        assert!((forward / (2.0 * multiplied as f64) - 1.0).abs() < 1e-4);
        assert_eq!(llama.flops(&work, Pass::ForwardBackward).total(), 3.0 * forward);
    }

    #[test]
    fn a_hand_counted_layer() {
        let tiny = Architecture {
            n_layers: 1,
            hidden_size: 2,
            intermediate_size: 3,
            feed_forward_weights: None,
            query_size: 4,
            key_value_size: 2,
            vocab_size: 5,
        };
        // 2*4 + 2*2 + 2*2 + 4*2 and 3*2*3.
        assert_eq!(tiny.n_dense_weights(), 42);
        let work = Work { n_tokens: 10, n_attended: 55, n_predicted: 7 };
        let flops = tiny.flops(&work, Pass::Forward);
        assert_eq!(flops, Flops { dense: 840.0, attention: 880.0, head: 140.0 });
    }
}
