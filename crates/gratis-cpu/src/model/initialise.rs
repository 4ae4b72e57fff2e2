//! Initial parameters: ones for norms, zeros for biases, normal numbers for matrices.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use gratis_model::layout::Layout;

/// Standard deviations of initial matrices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Initialisation {
    /// Of the token embedding, and so of a tied head.
    pub embedding_std: f32,
    /// Of the projections that read the residual stream: query, key, value, gate, up.
    pub linear_std: f32,
    /// Of the projections that write to the residual stream: attention output, down.
    pub residual_std: f32,
    /// Of an untied head.
    pub head_std: f32,
}

impl Default for Initialisation {
    /// 0.02 for all, as is usual for a model of a few hundred columns or more.
    fn default() -> Self {
        Self { embedding_std: 0.02, linear_std: 0.02, residual_std: 0.02, head_std: 0.02 }
    }
}

/// The parameters of `layout`, a function of the seed alone.
pub(crate) fn initialise(
    layout: &Layout,
    norm_offset: f32,
    initialisation: Initialisation,
    seed: u64,
) -> Vec<f32> {
    // The norms multiply with one.
    let norm = 1.0 - norm_offset;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut parameters = Vec::with_capacity(layout.n_parameters());
    for tensor in &layout.tensors {
        let is = |part: &str| tensor.name.contains(part);
        let n = tensor.range.len();
        if tensor.shape.len() == 1 {
            let value = if is("norm") { norm } else { 0.0 };
            parameters.extend(std::iter::repeat_n(value, n));
        } else {
            let std = if is("embed_tokens") {
                initialisation.embedding_std
            } else if is("lm_head") {
                initialisation.head_std
            } else if is("o_proj") || is("down_proj") {
                initialisation.residual_std
            } else {
                initialisation.linear_std
            };
            parameters.extend((0..n).map(|_| std * normal(&mut rng)));
        }
    }
    parameters
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    (radius * angle.cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_config;

    #[test]
    fn matrices_have_their_spread_and_norms_are_ones() {
        let config = gratis_model::ModelConfig { vocab_size: 1000, ..test_config() };
        let layout = Layout::new(&config);
        let initialisation = Initialisation {
            embedding_std: 0.5,
            linear_std: 0.1,
            residual_std: 0.07,
            head_std: 0.02,
        };
        let initialise = |initialisation, seed| initialise(&layout, 0.0, initialisation, seed);
        let parameters = initialise(initialisation, 3);
        assert_eq!(parameters.len(), layout.n_parameters());
        let down = layout.tensors.iter().find(|tensor| tensor.name.contains("down_proj"));
        let down = &down.expect("a layer").range;
        for (range, std) in [(&layout.embedding, 0.5f32), (&layout.head, 0.02), (down, 0.07)] {
            let square = parameters[range.clone()].iter().map(|x| x * x).sum::<f32>();
            let observed = (square / range.len() as f32).sqrt();
            assert!((observed / std - 1.0).abs() < 0.03, "{observed} for {std}");
        }
        assert!(parameters[layout.final_norm.clone()].iter().all(|&x| x == 1.0));
        assert_eq!(parameters, initialise(initialisation, 3));
        assert_ne!(parameters, initialise(initialisation, 4));
    }
}
