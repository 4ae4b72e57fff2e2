//! AutoPSV's labels (Lu et al. 2024; paper section 4.1): a step is an error if an outcome verifier
//! loses confidence there.
//!
//! A verifier trained on outcome labels gives `f_k`, its confidence that the solution will be right
//! after step `k`. With the relative change `d_k = (f_k - f_{k-1}) / f_{k-1}` a step is bad if `d_k
//! < threshold`, and so are all steps after it. The confidence before the first step is the mean
//! confidence after the first step over the problem's solutions: an estimate of the verifier's
//! confidence in the problem itself.

use crate::data::{ProblemScores, Rollout};
use crate::data::{StepSplit, StepSplitter};
use crate::error::{Error, Result};
use crate::numeric::sigmoid;
use crate::scoring::steps_of;

/// The default threshold, from the authors' annotation script: a step is bad if it more than halves
/// the confidence. `docs/baselines.md` lists what is published and what is ours.
pub const THRESHOLD: f64 = -0.5;

/// Labels of a solution's steps, 1 or 0, from the confidences after them (`[n_steps]`, in `0..=1`)
/// and the one before the first.
pub(crate) fn label_steps(confidences: &[f64], before: f64, threshold: f64) -> Vec<f64> {
    let (mut label, mut before) = (1.0, before);
    confidences
        .iter()
        .map(|&confidence| {
            // A confidence of 0 cannot fall.
            if before > 0.0 && (confidence - before) / before < threshold {
                label = 0.0;
            }
            before = confidence;
            label
        })
        .collect()
}

/// The rollouts with step labels from the verifier's scores, with the verifier's step split: the
/// sigmoid of a step's Q value is the confidence after it.
///
/// # Errors
/// [`InvalidSetting`](crate::data::Error::InvalidSetting) if the scores do not belong to the rollouts, or if the threshold is
/// not in `-1..0`.
pub fn annotate(
    rollouts: &[Rollout],
    scores: &[ProblemScores],
    step_split: &StepSplit,
    threshold: f64,
) -> Result<Vec<Rollout>> {
    if !(-1.0..0.0).contains(&threshold) {
        return Err(Error::setting("threshold", "in -1..0", threshold));
    }
    let splitter = StepSplitter::new(step_split)?;
    let mut annotated = Vec::with_capacity(rollouts.len());
    for (rollout, score) in rollouts.iter().zip(scores) {
        score.check(rollout)?;
        let confidences: Vec<Vec<f64>> = score
            .scores
            .iter()
            .map(|score| score.q_values.iter().copied().map(sigmoid).collect())
            .collect();
        let firsts = || confidences.iter().filter_map(|steps| steps.first());
        let before = firsts().sum::<f64>() / firsts().count().max(1) as f64;
        let mut steps = Vec::with_capacity(rollout.completions.len());
        let mut labels = Vec::with_capacity(rollout.completions.len());
        for (idx, text) in rollout.texts().enumerate() {
            let ranges = steps_of(rollout, idx, &splitter)?;
            let of_steps = confidences.get(idx).filter(|steps| steps.len() == ranges.len());
            let of_steps = of_steps.ok_or_else(|| {
                let expected = format!("of {} steps for `{}`", ranges.len(), score.id);
                Error::setting("scores", expected, confidences.get(idx).map_or(0, Vec::len))
            })?;
            labels.push(label_steps(of_steps, before, threshold).into_iter().map(Some).collect());
            steps.push(ranges.into_iter().map(|range| text[range].to_owned()).collect());
        }
        let mut labelled = rollout.clone();
        labelled.set_step_labels(steps, labels);
        annotated.push(labelled);
    }
    Ok(annotated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Scored;

    #[test]
    fn a_halved_confidence_is_an_error_and_what_follows_is_bad() {
        assert_eq!(label_steps(&[0.8, 0.5, 0.2, 0.9], 0.8, THRESHOLD), [1.0, 1.0, 0.0, 0.0]);
        assert_eq!(label_steps(&[0.3], 0.8, THRESHOLD), [0.0]);
        assert_eq!(label_steps(&[0.4], 0.8, THRESHOLD), [1.0], "exactly half is not below");
        assert_eq!(label_steps(&[0.0, 0.0], 0.0, THRESHOLD), [1.0, 1.0]);
    }

    #[test]
    fn the_first_step_is_held_against_its_siblings() {
        let completions = vec!["a\nb".into(), "c".into()];
        let rollout = Rollout { id: Some("x".into()), completions, ..Rollout::default() };
        let score = |q_values: &[f64]| Scored { q_values: q_values.to_vec(), ..Scored::default() };
        // Confidences .5 and .99 after one, .01 after the other: .255 before both.
        let scores = [ProblemScores::new("x", vec![score(&[0.0, 5.0]), score(&[-4.6])])];
        let rollouts = [rollout];
        let annotated = annotate(&rollouts, &scores, &StepSplit::Lines, THRESHOLD).expect("valid");
        let labels = annotated[0].step_labels().expect("valid").expect("labels");
        assert_eq!(labels, [vec![Some(1.0), Some(1.0)], vec![Some(0.0)]]);
        assert_eq!(annotated[0].completions[0].steps.as_ref().expect("steps"), &["a\n", "b"]);
        let wrong = annotate(&rollouts, &scores, &StepSplit::Whole, THRESHOLD);
        assert!(wrong.expect_err("other steps").to_string().contains("of 1 steps for `x`"));
    }
}
