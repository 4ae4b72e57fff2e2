//! Rotary position embedding in the Hugging Face convention.
//!
//! A head's vector is split in halves `(a, b)`; the pair `(a_i, b_i)` at position `p` is turned by
//! the angle `p * theta^(-2 i / head_dim)`: `a' = a cos - b sin`, `b' = b cos + a sin`.

use super::simd::vectorised;
use gratis_model::config::{LayerRope, ModelConfig, RopeScaling};

/// Direction of the rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// By the position: the forward pass.
    Forward,
    /// Back by the position: the backward pass, as a rotation's transpose is its inverse.
    Back,
}

/// Cosines and sines of all angles of the positions used so far.
#[derive(Debug, Clone)]
pub(crate) struct Rope {
    /// Width of a head, of which the first `2 * frequencies.len()` values are turned.
    head_dim: usize,
    /// Angle a position, one for each pair: `[rotary_dim / 2]`.
    frequencies: Vec<f32>,
    /// Multiplies cosines and sines.
    factor: f32,
    /// `[n_positions, rotary_dim / 2]`.
    cos: Vec<f32>,
    /// `[n_positions, rotary_dim / 2]`.
    sin: Vec<f32>,
}

/// The rotations of a model's layers.
#[derive(Debug, Clone)]
pub(crate) struct Ropes {
    global: Rope,
    local: Option<Rope>,
}

impl Ropes {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let local = config.has_local_rope().then(|| {
            let config = ModelConfig {
                rope_theta: config.local_rope_theta,
                rope_scaling: RopeScaling::None,
                ..config.clone()
            };
            Rope::new(&config)
        });
        Self { global: Rope::new(config), local }
    }

    /// Whether positions `0..n_positions` are known.
    pub(crate) fn knows(&self, n_positions: usize) -> bool {
        self.global.knows(n_positions)
    }

    /// Makes sure that positions `0..n_positions` are known.
    pub(crate) fn extend_to(&mut self, n_positions: usize) {
        self.global.extend_to(n_positions);
        if let Some(local) = &mut self.local {
            local.extend_to(n_positions);
        }
    }

    /// That of a layer, if it has one.
    pub(crate) fn of(&self, rope: LayerRope) -> Option<&Rope> {
        match rope {
            LayerRope::Global => Some(&self.global),
            LayerRope::Local => self.local.as_ref(),
            LayerRope::None => None,
        }
    }
}

impl Rope {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let d = config.rotary_dim();
        // Exponents, frequencies and angles are rounded to f32 step by step, as the models were
        // trained: at position 10,000 a frequency's last bit is a phase of 1e-3.
        let frequencies = (0..d / 2)
            .map(|i| {
                let exponent = (2 * i) as f32 / d as f32;
                stretch(config.rope_theta.powf(f64::from(exponent)) as f32, i, config)
            })
            .collect();
        let factor = match config.rope_scaling {
            RopeScaling::Yarn { attention_factor, .. }
            | RopeScaling::LongRope { attention_factor, .. } => attention_factor as f32,
            _ => 1.0,
        };
        let head_dim = config.head_dim;
        Self { head_dim, frequencies, factor, cos: Vec::new(), sin: Vec::new() }
    }

    /// Whether positions `0..n_positions` are known.
    pub(crate) fn knows(&self, n_positions: usize) -> bool {
        self.cos.len() >= n_positions * self.frequencies.len()
    }

    /// Makes sure that positions `0..n_positions` are known.
    pub(crate) fn extend_to(&mut self, n_positions: usize) {
        let known = self.cos.len() / self.frequencies.len();
        for position in known..n_positions {
            for &frequency in &self.frequencies {
                let angle = f64::from(position as f32 * frequency);
                self.cos.push(angle.cos() as f32 * self.factor);
                self.sin.push(angle.sin() as f32 * self.factor);
            }
        }
    }

    /// Turns the first `n_heads` heads of every row of `x` (`[n, width]`), row `i` by
    /// `positions[i]`.
    pub(crate) fn turn(
        &self,
        x: &mut [f32],
        width: usize,
        n_heads: usize,
        positions: &[usize],
        turn: Turn,
    ) {
        let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
        turn_rows(self, x, width, n_heads, positions, sign);
    }
}

vectorised! {
    fn turn_rows(
        rope: &Rope,
        x: &mut [f32],
        width: usize,
        n_heads: usize,
        positions: &[usize],
        sign: f32,
    ) {
        let half = rope.frequencies.len();
        for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
            let cos = &rope.cos[position * half..][..half];
            let sin = &rope.sin[position * half..][..half];
            for head in row[..n_heads * rope.head_dim].chunks_exact_mut(rope.head_dim) {
                let (a, b) = head[..2 * half].split_at_mut(half);
                for (((a, b), &cos), &sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    let (x, y, sin) = (*a, *b, sign * sin);
                    *a = x * cos - y * sin;
                    *b = y * cos + x * sin;
                }
            }
        }
    }
}

/// The frequency of pair `i` after the configuration's scaling; `inverse` is one over the plain one.
fn stretch(inverse: f32, i: usize, config: &ModelConfig) -> f32 {
    let frequency = 1.0 / inverse;
    match &config.rope_scaling {
        RopeScaling::None | RopeScaling::Dynamic { .. } => frequency,
        RopeScaling::Linear { factor } => frequency / *factor as f32,
        RopeScaling::LongRope { short_factors, .. } => 1.0 / (short_factors[i] as f32 * inverse),
        RopeScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            original_context_length,
            truncate,
            ..
        } => {
            // The pair that turns so often within the pretraining length.
            let d = config.rotary_dim() as f64;
            let pair = |n_turns: f64| {
                let ratio = *original_context_length as f64 / (n_turns * std::f64::consts::TAU);
                d * ratio.ln() / (2.0 * config.rope_theta.ln())
            };
            let (mut low, mut high) = (pair(*beta_fast), pair(*beta_slow));
            if *truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            let (low, mut high) = (low.max(0.0), high.min(d - 1.0));
            if low == high {
                high += 0.001;
            }
            // 0 keeps the frequency, 1 divides it by the factor.
            let ramp = ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let keep = 1.0 - ramp;
            1.0 / (*factor as f32 * inverse) * (1.0 - keep) + frequency * keep
        }
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor: low,
            high_frequency_factor: high,
            original_context_length,
        } => {
            // How often the pair turns within the pretraining length.
            let n_turns =
                *original_context_length as f64 * f64::from(frequency) / std::f64::consts::TAU;
            // 1 keeps the frequency, 0 divides it by the factor.
            let keep = ((n_turns - low) / (high - low)).clamp(0.0, 1.0);
            (f64::from(frequency) * (keep + (1.0 - keep) / factor)) as f32
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_config;

    #[test]
    fn turning_back_undoes_and_lengths_stay() {
        let config = ModelConfig { head_dim: 8, ..test_config() };
        let mut rope = Rope::new(&config);
        rope.extend_to(101);
        let before: Vec<f32> = (0..2 * 24).map(|i| (i as f32).sin()).collect();
        let mut x = before.clone();
        rope.turn(&mut x, 24, 2, &[7, 100], Turn::Forward);
        let square = |x: &[f32]| x.iter().map(|x| x * x).sum::<f32>();
        assert!((square(&x) - square(&before)).abs() < 1e-4);
        assert_ne!(x[0], before[0]);
        assert_eq!(x[16..24], before[16..24], "values are not turned");
        rope.turn(&mut x, 24, 2, &[7, 100], Turn::Back);
        for (x, before) in x.iter().zip(&before) {
            assert!((x - before).abs() < 1e-6);
        }
    }
}
