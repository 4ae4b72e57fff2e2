//! Finite differences and invariants over every objective of the table.

use super::*;

/// Three responses of two prompts with all that any objective asks for.
fn log_ratios() -> Vec<Vec<f64>> {
    vec![vec![0.3, -0.8, 1.1], vec![-0.4, 0.2], vec![0.05, 0.6, -1.3, 0.9]]
}

const LABELS: [bool; 3] = [true, false, false];
const PAIRS: [Pair; 2] = [Pair { chosen: 0, rejected: 1 }, Pair { chosen: 0, rejected: 2 }];

fn steps() -> Vec<Vec<StepLabel>> {
    let step = |end, label| StepLabel { end, label };
    vec![vec![step(2, 1.0), step(3, 1.0)], vec![step(2, 0.0)], vec![step(1, 1.0), step(4, 0.25)]]
}

fn batch<'a>(log_ratios: &'a [Vec<f64>], steps: &'a [Vec<StepLabel>]) -> ObjectiveBatch<'a> {
    ObjectiveBatch {
        log_ratios,
        labels: &LABELS,
        pairs: &PAIRS,
        n_units: 3,
        mismatched_log_ratio: 0.21,
        steps,
    }
}

#[test]
fn weights_are_the_derivative_of_the_loss() {
    let (h, mut worst) = (1e-5, 0.0_f64);
    for objective in Objective::all() {
        let objective = objective.with_beta(0.7);
        let steps = steps();
        let loss = |lr: &[Vec<f64>]| objective.evaluate(&batch(lr, &steps)).expect("valid").loss;
        let output = objective.evaluate(&batch(&log_ratios(), &steps)).expect("valid");
        for (i, row) in output.weights.iter().enumerate() {
            for (t, weight) in row.iter().enumerate() {
                let (mut up, mut down) = (log_ratios(), log_ratios());
                up[i][t] += h;
                down[i][t] -= h;
                let slope = (loss(&up) - loss(&down)) / (2.0 * h);
                worst = worst.max((slope - weight).abs());
                // Observed at most 5.4e-12.
                assert!(
                    (slope - weight).abs() < 1e-10,
                    "{}: weight [{i}][{t}] {weight} but slope {slope}",
                    objective.name()
                );
            }
        }
    }
    assert!(worst > 0.0, "finite differences are never exact: the loop did not run");
}

#[test]
fn ce_at_zero_is_ln_2() {
    let zeros = [vec![0.0; 3], vec![0.0], vec![0.0; 2]];
    let loss = Objective::default().evaluate(&batch(&zeros, &[])).expect("valid").loss;
    assert!((loss - std::f64::consts::LN_2).abs() < 1e-15, "{loss}");
}

#[test]
fn settings_round_trip_and_unknown_ones_are_errors() {
    for objective in Objective::all() {
        let text = toml::to_string(&objective).expect("serialises");
        assert_eq!(toml::from_str::<Objective>(&text).expect("reads back"), objective, "{text}");
        assert_eq!(objective.name().parse::<Objective>().expect("known"), objective);
        assert!(toml::from_str::<Objective>(&format!("{text}\nbta = 1.0")).is_err());
        assert!(objective.with_beta(0.0).validate().is_err());
        assert!(objective.with_beta(f64::NAN).validate().is_err());
    }
    let error = "cee".parse::<Objective>().expect_err("unknown").to_string();
    assert!(error.contains("`ce`") && error.contains("`cee`"), "{error}");
}
