//! The rewards of one candidate as numpy arrays. The arrays take over the memory of the lists.

use gratis::data::{Extent, Scored};
use gratis::selection::Aggregation;
use numpy::{IntoPyArray, PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;

use crate::names::parsed;

/// The rewards of one candidate.
#[pyclass(module = "gratis", frozen, get_all)]
pub(crate) struct Score {
    /// Outcome reward; NaN for a candidate that was not read to its end.
    outcome: f64,
    /// The reward by the model's aggregation.
    reward: f64,
    /// Process rewards, one per step.
    steps: Py<PyArray1<f64>>,
    /// Q value at the end of each step.
    q_values: Py<PyArray1<f64>>,
    /// Where each step ends, in characters.
    step_ends: Py<PyArray1<u64>>,
    /// Reward per token, for models that give one.
    tokens: Option<Py<PyArray1<f64>>>,
    /// The ids of these tokens.
    token_ids: Option<Py<PyArray1<u32>>>,
    /// Where each step ends, in tokens.
    token_step_ends: Option<Py<PyArray1<u64>>>,
    /// `truncated` or `skipped` for a candidate that exceeds the context.
    extent: Option<&'static str>,
    /// Identifies the prompt with the candidate, as in score files.
    hash: Option<String>,
}

impl Score {
    /// The scores of a model whose steps are aggregated by `aggregation`.
    pub(crate) fn new(py: Python<'_>, scored: Scored, aggregation: Aggregation) -> Self {
        let ends = |ends: Vec<usize>| {
            let ends: Vec<u64> = ends.into_iter().map(|end| end as u64).collect();
            ends.into_pyarray(py).unbind()
        };
        Self {
            outcome: scored.outcome,
            reward: aggregation.score(&scored.steps, &scored.q_values, scored.outcome),
            steps: scored.steps.into_pyarray(py).unbind(),
            q_values: scored.q_values.into_pyarray(py).unbind(),
            step_ends: ends(scored.step_ends),
            tokens: scored.tokens.map(|tokens| tokens.into_pyarray(py).unbind()),
            token_ids: scored.token_ids.map(|ids| ids.into_pyarray(py).unbind()),
            token_step_ends: scored.token_step_ends.map(ends),
            extent: scored.extent.map(|extent| match extent {
                Extent::Truncated => "truncated",
                Extent::Skipped => "skipped",
                Extent::Absent => "absent",
            }),
            hash: scored.hash,
        }
    }
}

#[pymethods]
impl Score {
    /// The reward by another aggregation, such as `min`, `sum`, `q_last` or `outcome`.
    fn by(&self, py: Python<'_>, aggregation: &str) -> PyResult<f64> {
        let aggregation: Aggregation = parsed(aggregation)?;
        let (steps, q_values) = (self.steps.bind(py).readonly(), self.q_values.bind(py).readonly());
        Ok(aggregation.score(steps.as_slice()?, q_values.as_slice()?, self.outcome))
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let n_steps = self.steps.bind(py).len();
        format!("Score(reward={}, outcome={}, n_steps={n_steps})", self.reward, self.outcome)
    }
}
