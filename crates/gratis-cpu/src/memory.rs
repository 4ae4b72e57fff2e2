//! Memory of a model, computed from its shape.
//!
//! The largest arrays are counted, each with its shape: weights, gradient, moments, activations of
//! the tokens that a thread has at a time. What remains (tokenizer, data, the program) is small and
//! does not grow with the model.

use crate::model::FEED_FORWARD_ROWS;
use crate::native::{Recompute, SCORING_TOKENS, WeightStorage};
use crate::weights::TILE_ROWS;
use gratis_model::config::ModelConfig;
use gratis_model::layout::Layout;
use gratis_model::lora::LoraSettings;

const F32: u64 = size_of::<f32>() as u64;

/// Bytes for scoring, without files: `n_threads` parts of a batch at a time. Mapped weights count
/// as the one tile that each thread widens; the pages of their files, which the system keeps as
/// memory permits, are additional.
pub fn to_score(config: &ModelConfig, storage: WeightStorage, n_threads: usize) -> u64 {
    let weights = match storage {
        WeightStorage::Loaded => Layout::new(config).n_parameters() as u64,
        WeightStorage::Mapped => (n_threads * largest_tile(config)) as u64,
    };
    let all = 2 * config.hidden_size + layer_floats(config) + shared_floats(config);
    // Gate, up and their product are held for some rows only, except with experts.
    let inside = 3 * config.widest_feed_forward();
    let floats = match config.experts {
        None => SCORING_TOKENS * (all - inside) + FEED_FORWARD_ROWS * inside,
        Some(_) => SCORING_TOKENS * all,
    };
    F32 * (weights + (n_threads * floats) as u64)
}

/// Bytes for training with micro-batches of `n_tokens`: all parameters, or those of an
/// adapter over a base that is `storage`.
pub fn to_train(
    config: &ModelConfig,
    adapter: Option<&LoraSettings>,
    storage: WeightStorage,
    recompute: Recompute,
    n_threads: usize,
    n_tokens: usize,
) -> u64 {
    let layout = Layout::new(config);
    let n_base = match (adapter, storage) {
        (Some(_), WeightStorage::Mapped) => n_threads * largest_tile(config),
        _ => layout.n_parameters(),
    };
    let (n_frozen, n_trained) = match adapter {
        Some(settings) => (n_base, settings.n_parameters(&layout)),
        None => (0, n_base),
    };
    // Weights, two moments, and a gradient for each thread.
    let parameters = n_frozen + (3 + n_threads) * n_trained;
    let n_kept = if recompute == Recompute::Nothing { config.n_layers } else { 1 };
    let per_token = (config.n_layers + 1) * config.hidden_size
        + n_kept * layer_floats(config)
        + shared_floats(config)
        + backward_floats(config);
    F32 * (parameters + n_tokens * per_token) as u64
}

/// Rows of the largest tile times their width.
fn largest_tile(config: &ModelConfig) -> usize {
    let experts = config.experts.as_ref();
    let inter = [
        config.intermediate_size,
        experts.map_or(0, |experts| experts.intermediate_size),
        experts.and_then(|experts| experts.shared_intermediate_size).unwrap_or(0),
    ];
    let widest = inter.into_iter().max().unwrap_or(0);
    TILE_ROWS * widest.max(config.hidden_size).max(config.query_size())
}

fn qkv_size(config: &ModelConfig) -> usize {
    config.query_size() + 2 * config.key_value_size()
}

/// Activations that a layer keeps for its backward pass, per token.
fn layer_floats(config: &ModelConfig) -> usize {
    let raw = if config.projection_extras.has_qk_norm() { qkv_size(config) } else { 0 };
    let out = if config.architecture.norms_outputs() { config.hidden_size } else { 0 };
    raw + out
        + qkv_size(config)
        + config.query_size()
        + config.n_heads
        + config.hidden_size
        + 2 * config.widest_feed_forward()
        + config.experts.as_ref().map_or(0, |experts| experts.n_experts + 2 * experts.n_active)
}

/// Buffers that all layers share, per token.
fn shared_floats(config: &ModelConfig) -> usize {
    config.hidden_size + config.widest_feed_forward()
}

/// Gradients of activations, per token.
fn backward_floats(config: &ModelConfig) -> usize {
    2 * config.hidden_size + config.query_size() + qkv_size(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_config;
    use gratis_model::config::Architecture;
    use gratis_model::lora::{LoraScaling, LoraTarget};

    /// Llama 3.1 8B.
    fn eight_billion() -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            vocab_size: 128_256,
            hidden_size: 4096,
            intermediate_size: 14_336,
            n_layers: 32,
            n_heads: 32,
            n_kv_heads: 8,
            head_dim: 128,
            ..test_config()
        }
    }

    #[test]
    fn eight_billion_parameters_are_scored_within_24_gib_from_mapped_bf16() {
        let config = eight_billion();
        let n_parameters = Layout::new(&config).n_parameters() as u64;
        assert_eq!(n_parameters, 8_030_261_248);
        let anonymous = to_score(&config, WeightStorage::Mapped, 8);
        let file = 2 * n_parameters;
        assert!(file + anonymous < 24 << 30, "{file} + {anonymous}");
        assert!(to_score(&config, WeightStorage::Loaded, 8) > 32 << 30);
    }

    #[test]
    fn an_adapter_saves_what_the_base_needs_no_more() {
        let config = eight_billion();
        let settings = LoraSettings {
            rank: 16,
            alpha: 32.0,
            scaling: LoraScaling::Standard,
            targets: LoraTarget::ALL.to_vec(),
        };
        let n_parameters = Layout::new(&config).n_parameters() as u64;
        let train =
            |adapter, storage| to_train(&config, adapter, storage, Recompute::Layers, 1, 2048);
        let full = train(None, WeightStorage::Loaded);
        let lora = train(Some(&settings), WeightStorage::Loaded);
        let mapped = train(Some(&settings), WeightStorage::Mapped);
        let n_adapter = settings.n_parameters(&Layout::new(&config)) as u64;
        assert_eq!(n_adapter, 41_943_040);
        assert_eq!(full - lora, F32 * (3 * n_parameters - 4 * n_adapter));
        assert!(mapped < 8 << 30, "{mapped}");
    }
}
