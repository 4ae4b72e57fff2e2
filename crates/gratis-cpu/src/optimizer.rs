//! AdamW over the flat parameter array, with the gradient clipped by its global norm.

use rayon::prelude::*;

use crate::kernels::simd::vectorised;
use gratis_engine::{Error, Result};
use gratis_engine::{OptimizerStep, StepReport};
use gratis_model::layout::TensorSpec;

/// Elements that one task takes. Partial sums of the norm are added in the order of the tasks, so
/// the norm does not depend on the number of threads.
const CHUNK: usize = 1 << 16;

/// First and second moments of the gradient, and how many steps they saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct AdamW {
    /// Empty before the first step, so that a model that is only read needs no room for it.
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    pub(crate) n_steps: u64,
}

/// The numbers of a step that are the same for all parameters.
#[derive(Clone, Copy)]
struct Coefficients {
    clip: f32,
    beta1: f32,
    beta2: f32,
    /// `1 - learning_rate * weight_decay`.
    keep: f32,
    /// `learning_rate / (1 - beta1^n)`.
    rate: f32,
    /// `1 / sqrt(1 - beta2^n)`.
    second_scale: f32,
    epsilon: f32,
}

impl AdamW {
    /// `theta -= lr * (m_hat / (sqrt(v_hat) + epsilon) + weight_decay * theta)`, with `m_hat` and
    /// `v_hat` the moments divided by `1 - beta^n`; the decay for matrices only. The learning rate
    /// of a tensor is multiplied by its `factor_of`.
    ///
    /// # Errors
    /// [`Error::NonFiniteGradient`]; nothing was changed then.
    pub(crate) fn step(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        tensors: &[TensorSpec],
        factor_of: impl Fn(&TensorSpec) -> f64,
        step: &OptimizerStep,
    ) -> Result<StepReport> {
        let norm = global_norm(gradient);
        if !norm.is_finite() {
            return Err(Error::NonFiniteGradient { norm });
        }
        self.first.resize(parameters.len(), 0.0);
        self.second.resize(parameters.len(), 0.0);
        self.n_steps += 1;
        let n = self.n_steps as f64;
        let coefficients = Coefficients {
            clip: step.max_gradient_norm.map_or(1.0, |most| (most / norm).min(1.0)) as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            keep: 1.0,
            rate: (step.learning_rate / (1.0 - step.beta1.powf(n))) as f32,
            second_scale: (1.0 / (1.0 - step.beta2.powf(n)).sqrt()) as f32,
            epsilon: step.epsilon as f32,
        };

        for tensor in tensors {
            let range = tensor.range.clone();
            let factor = factor_of(tensor);
            let keep = 1.0 - factor * step.learning_rate * step.weight_decay;
            let coefficients = Coefficients {
                keep: if tensor.shape.len() > 1 { keep as f32 } else { 1.0 },
                rate: coefficients.rate * factor as f32,
                ..coefficients
            };
            parameters[range.clone()]
                .par_chunks_mut(CHUNK)
                .zip(gradient[range.clone()].par_chunks(CHUNK))
                .zip(self.first[range.clone()].par_chunks_mut(CHUNK))
                .zip(self.second[range].par_chunks_mut(CHUNK))
                .for_each(|(((parameters, gradient), first), second)| {
                    update(parameters, gradient, first, second, coefficients);
                });
        }
        Ok(StepReport { gradient_norm: norm, n_steps: self.n_steps })
    }
}

vectorised! {
    fn update(
        parameters: &mut [f32],
        gradient: &[f32],
        first: &mut [f32],
        second: &mut [f32],
        coefficients: Coefficients,
    ) {
        let Coefficients { clip, beta1, beta2, keep, rate, second_scale, epsilon } = coefficients;
        for (((p, &g), m), v) in parameters.iter_mut().zip(gradient).zip(first).zip(second) {
            let g = g * clip;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p = keep * *p - rate * *m / (v.sqrt() * second_scale + epsilon);
        }
    }
}

/// The Euclidean norm of all gradients together, summed in f64.
fn global_norm(gradient: &[f32]) -> f64 {
    let sums: Vec<f64> = gradient.par_chunks(CHUNK).map(sum_of_squares).collect();
    sums.iter().sum::<f64>().sqrt()
}

vectorised! {
    fn sum_of_squares(values: &[f32]) -> f64 {
        let mut lanes = [0.0f64; 8];
        for values in values.chunks(8) {
            for (lane, &value) in lanes.iter_mut().zip(values) {
                *lane += f64::from(value) * f64::from(value);
            }
        }
        lanes.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_config;
    use gratis_model::layout::Layout;

    const STEP: OptimizerStep = OptimizerStep {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.5,
        max_gradient_norm: None,
    };

    #[test]
    fn the_first_step_is_the_sign_and_only_matrices_decay() {
        let layout = Layout::new(&test_config());
        let n = layout.n_parameters();
        let mut parameters = vec![1.0; n];
        let gradient: Vec<f32> = (0..n).map(|i| if i % 2 == 0 { 3.0 } else { -0.2 }).collect();
        let report = AdamW::default()
            .step(&mut parameters, &gradient, &layout.tensors, |_| 1.0, &STEP)
            .expect("finite");
        assert_eq!(report.n_steps, 1);
        let square = |x: f32| f64::from(x).powi(2);
        let norm = (n as f64 / 2.0 * (square(3.0) + square(0.2))).sqrt();
        assert!((report.gradient_norm / norm - 1.0).abs() < 1e-6);
        for tensor in &layout.tensors {
            let kept = if tensor.shape.len() > 1 { 0.95 } else { 1.0 };
            for i in tensor.range.clone() {
                let expected = kept - 0.1 * gradient[i].signum();
                assert!((parameters[i] - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_nan_changes_nothing() {
        let layout = Layout::new(&test_config());
        let n = layout.n_parameters();
        let (mut parameters, mut optimizer) = (vec![1.0; n], AdamW::default());
        let mut gradient = vec![0.0; n];
        gradient[n / 2] = f32::NAN;
        let error = optimizer
            .step(&mut parameters, &gradient, &layout.tensors, |_| 1.0, &STEP)
            .expect_err("not finite");
        assert_eq!(error.to_string(), "the gradient norm is NaN; no parameter was changed");
        assert_eq!((parameters, optimizer), (vec![1.0; n], AdamW::default()));
    }
}
