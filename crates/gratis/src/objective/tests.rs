//! Finite differences and invariants over every objective of the table.

use super::*;

/// Three responses of two prompts with all that any objective asks for.
fn log_ratios() -> Vec<Vec<f64>> {
    vec![vec![0.3, -0.8, 1.1], vec![-0.4, 0.2], vec![0.05, 0.6, -1.3, 0.9]]
}

const LABELS: [f64; 3] = [1.0, 0.0, 0.0];
const SOFT_LABELS: [f64; 3] = [0.85, 0.0, 0.3];
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
        let labels = if objective.takes_soft_labels() { &SOFT_LABELS } else { &LABELS };
        let evaluate = |lr: &[Vec<f64>]| {
            objective.evaluate(&ObjectiveBatch { labels, ..batch(lr, &steps) }).expect("valid")
        };
        let loss = |lr: &[Vec<f64>]| evaluate(lr).loss;
        let output = evaluate(&log_ratios());
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
fn a_soft_label_is_the_target_of_ce_and_refused_by_others() {
    // By Python, with `from math import exp, log1p`, `sp = lambda x: log1p(exp(x))`:
    //   r = [0.7 * s for s in (0.6, -0.2, 0.25)]; l = [0.85, 0.0, 0.3]
    //   sum(l * sp(-r) + (1 - l) * sp(r) for l, r in zip(l, r)) / 3
    //   [0.7 * (1 / (1 + exp(-r)) - l) / 3 for l, r in zip(l, r)]
    let log_ratios = log_ratios();
    let soft = |objective: Objective| {
        objective
            .with_beta(0.7)
            .evaluate(&ObjectiveBatch { labels: &SOFT_LABELS, ..batch(&log_ratios, &[]) })
    };
    let output = soft(Objective::default()).expect("valid");
    let (loss, weights) = (
        0.641_867_535_605_983_9,
        [-0.057_520_575_031_563_846, 0.108_513_312_796_416_61, 0.056_849_027_021_985_07],
    );
    assert!((output.loss - loss).abs() < 1e-14, "{}", output.loss);
    for (row, weight) in output.weights.iter().zip(weights) {
        // Observed at most 2.8e-17.
        assert!(row.iter().all(|w| (w - weight).abs() < 1e-15), "{row:?} {weight}");
    }
    // A label next to 1 or 0 is next to the hard one.
    for (near, hard) in [(1.0 - 1e-12, 1.0), (1e-12, 0.0)] {
        let of = |label: f64| {
            let labels = [label; 3];
            let batch = ObjectiveBatch { labels: &labels, ..batch(&log_ratios, &[]) };
            Objective::default().evaluate(&batch).expect("valid")
        };
        assert!((of(near).loss - of(hard).loss).abs() < 1e-12);
        assert!((of(near).weights[0][0] - of(hard).weights[0][0]).abs() < 1e-12);
    }
    for name in ["kto", "dpo", "prefix_ce", "nca", "ipo", "sppo"] {
        let error = soft(name.parse().expect("known")).expect_err(name).to_string();
        assert_eq!(error, "`labels` should be 0 or 1, got `0.85`");
    }
    for label in [-0.1, 1.1, f64::NAN] {
        let labels = [label; 3];
        let batch = ObjectiveBatch { labels: &labels, ..batch(&log_ratios, &[]) };
        let error = Objective::default().evaluate(&batch).expect_err("outside").to_string();
        assert!(error.contains("`labels` should be in 0..=1"), "{error}");
    }
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
