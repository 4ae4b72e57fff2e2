//! Labels of steps: the column `step_labels` of a rollout file.
//!
//! A label file is a rollout file with two additional columns: `steps`, the texts of each
//! completion's steps in order, and `step_labels`, a number in `0..=1` per step, or null if
//! unknown:
//!
//! ```json
//! {"prompt": "..", "reference": "8", "completions": ["a\nb"], "correctness": [true],
//!  "steps": [["a", "b"]], "step_labels": [[1.0, 0.25]]}
//! ```
//!
//! 1 is a good step, 0 a bad one, values between are soft labels (Math-Shepherd's share of correct
//! continuations; 1/2 for a neutral rating).

use super::rollout::Rollout;
use crate::error::{Error, Result};

/// Name of the column.
pub(crate) const STEP_LABELS: &str = "step_labels";

impl Rollout {
    /// The labels of the steps, `[n_completions][n_steps]`, with `None` for a step without a label;
    /// `None` if no completion has any.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if there is not one label for each of `steps`, or if one is not in
    /// `0..=1`.
    pub fn step_labels(&self) -> Result<Option<Vec<Vec<Option<f64>>>>> {
        let completions = &self.completions;
        if completions.iter().all(|completion| completion.step_labels.is_none()) {
            return Ok(None);
        }
        let name = self.id.as_deref().unwrap_or_default();
        let refuse = |expected: &str, got: String| {
            Err(Error::setting(STEP_LABELS, expected, format!("{got}` of problem `{name}")))
        };
        let mut all = Vec::with_capacity(completions.len());
        let mut fits = true;
        for completion in completions {
            let n_steps = completion.steps.as_ref().map(Vec::len);
            let labels = completion.step_labels.clone();
            let labels = labels.unwrap_or_else(|| vec![None; n_steps.unwrap_or_default()]);
            fits &= labels.len() == n_steps.unwrap_or_default();
            all.push(labels);
        }
        if !fits {
            let counts: Vec<_> = all.iter().map(Vec::len).collect();
            return refuse("one for each of the `steps` of each completion", format!("{counts:?}"));
        }
        match all.iter().flatten().flatten().find(|label| !(0.0..=1.0).contains(*label)) {
            Some(label) => refuse("within 0..=1", label.to_string()),
            None => Ok(Some(all)),
        }
    }

    /// Sets the steps of each completion and their labels, both `[n_completions][n_steps]`.
    pub fn set_step_labels(&mut self, steps: Vec<Vec<String>>, labels: Vec<Vec<Option<f64>>>) {
        let labelled = labels.into_iter().zip(steps);
        for (completion, (labels, steps)) in self.completions.iter_mut().zip(labelled) {
            completion.steps = Some(steps);
            completion.step_labels = Some(labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rollout(labels: &str) -> Rollout {
        let line = format!(
            r#"{{"id": "a", "prompt": "p", "completions": ["x\ny", "z"],
                "steps": [["x", "y"], ["z"]], "step_labels": {labels}}}"#
        );
        serde_json::from_str(&line).expect("a rollout")
    }

    #[test]
    fn labels_are_read_as_written() {
        let labels = rollout("[[1, null], [0.25]]").step_labels().expect("valid");
        let labels = labels.expect("labels");
        assert_eq!(labels, [vec![Some(1.0), None], vec![Some(0.25)]]);
        let mut other = rollout("[[0, 0], [0]]");
        let steps = vec![vec!["x".into(), "y".into()], vec!["z".into()]];
        other.set_step_labels(steps, labels.clone());
        assert_eq!(other.step_labels().expect("valid"), Some(labels));
        assert_eq!(Rollout::default().step_labels().expect("valid"), None);
    }

    #[test]
    fn labels_that_do_not_fit_are_named_with_their_problem() {
        for (labels, reason) in [
            ("[[1], [1]]", "one for each of the `steps` of each completion, got `[1, 1]`"),
            ("[[1, 2.5], [1]]", "within 0..=1, got `2.5`"),
        ] {
            let error = rollout(labels).step_labels().expect_err("unfit").to_string();
            assert!(error.contains(reason) && error.contains("problem `a`"), "{error}");
        }
    }
}
