//! Objectives against another implementation, and the properties each of them has.

use gratis::objective::{Objective, ObjectiveBatch, ObjectiveOutput, Pair, StepLabel};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    cases: Vec<Golden>,
}

/// A case made by `fixtures/make_objective_goldens.py`.
#[derive(Deserialize)]
struct Golden {
    objective: Objective,
    log_ratios: Vec<Vec<f64>>,
    labels: Vec<bool>,
    pairs: Vec<(usize, usize)>,
    n_units: usize,
    mismatched_log_ratio: f64,
    loss: f64,
    weights: Vec<Vec<f64>>,
}

#[test]
fn losses_and_gradients_agree_with_trl() {
    let text = include_str!("../../../../fixtures/objectives/trl.json");
    let goldens: Goldens = serde_json::from_str(text).expect("valid goldens");
    let mut worst = 0.0_f64;
    for golden in &goldens.cases {
        let pairs: Vec<Pair> =
            golden.pairs.iter().map(|&(chosen, rejected)| Pair { chosen, rejected }).collect();
        let labels: Vec<f64> = golden.labels.iter().map(|&label| f64::from(label)).collect();
        let batch = ObjectiveBatch {
            log_ratios: &golden.log_ratios,
            labels: &labels,
            pairs: &pairs,
            n_units: golden.n_units,
            mismatched_log_ratio: golden.mismatched_log_ratio,
            steps: &[],
        };
        let output = golden.objective.evaluate(&batch).expect("valid");
        let ours = output.weights.iter().flatten().chain([&output.loss]);
        let theirs = golden.weights.iter().flatten().chain([&golden.loss]);
        for (ours, theirs) in ours.zip(theirs) {
            // Where a sigmoid saturates, TRL's `s (1 - s)` loses digits that ours keeps: there the
            // difference is measured against 1e-3.
            let error = (ours - theirs).abs() / theirs.abs().max(1e-3);
            worst = worst.max(error);
            // Observed at most 3.9e-14.
            assert!(error < 1e-12, "{:?}: {ours} but TRL {theirs}", golden.objective);
        }
    }
    assert_eq!(goldens.cases.len(), 27);
    assert!(worst > 0.0, "two implementations never agree to the last bit everywhere");
}

/// Responses with all that any objective asks for.
#[derive(Debug, Clone)]
struct Inputs {
    log_ratios: Vec<Vec<f64>>,
    labels: Vec<f64>,
    pairs: Vec<Pair>,
    steps: Vec<Vec<StepLabel>>,
    mismatched_log_ratio: f64,
}

impl Inputs {
    fn evaluate(&self, objective: Objective, n_units: usize) -> ObjectiveOutput {
        let batch = ObjectiveBatch {
            log_ratios: &self.log_ratios,
            labels: &self.labels,
            pairs: &self.pairs,
            n_units,
            mismatched_log_ratio: self.mismatched_log_ratio,
            steps: &self.steps,
        };
        objective.evaluate(&batch).expect("valid inputs")
    }

    fn n_units(&self, objective: Objective) -> usize {
        if objective.needs_pairs() { self.pairs.len() } else { self.labels.len() }
    }

    /// The responses of these indices, with the pairs among them.
    fn select(&self, indices: &[usize]) -> Self {
        let place = |idx: usize| indices.iter().position(|&i| i == idx);
        let among = |pair: &Pair| {
            Some(Pair { chosen: place(pair.chosen)?, rejected: place(pair.rejected)? })
        };
        Self {
            log_ratios: indices.iter().map(|&i| self.log_ratios[i].clone()).collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            pairs: self.pairs.iter().filter_map(among).collect(),
            steps: indices.iter().map(|&i| self.steps[i].clone()).collect(),
            mismatched_log_ratio: self.mismatched_log_ratio,
        }
    }
}

/// Pairs `(2k, 2k + 1)` of a correct and an incorrect response, log-ratios up to `bound`.
fn inputs(bound: f64) -> impl Strategy<Value = Inputs> {
    let response = prop::collection::vec(-bound..bound, 1..6);
    let labels = prop::collection::vec(prop::sample::select(vec![0.0, 0.4, 1.0]), 5);
    let responses = prop::collection::vec((response, labels), 1..4).prop_flat_map(|half| {
        let n = half.len();
        let again = prop::collection::vec(
            (prop::collection::vec(-1.0..1.0_f64, 1..6), Just(vec![0.0, 1.0, 0.0, 0.4, 1.0])),
            n,
        );
        (Just(half), again)
    });
    (responses, -1.0..3.0).prop_map(|((chosen, rejected), mismatched_log_ratio)| {
        let n_pairs = chosen.len();
        let all: Vec<_> = chosen.into_iter().zip(rejected).flat_map(|(c, r)| [c, r]).collect();
        let steps = |(tokens, labels): &(Vec<f64>, Vec<f64>)| {
            let ends = [tokens.len().div_ceil(2), tokens.len()];
            let n_steps = if ends[0] < ends[1] { 0..2 } else { 0..1 };
            n_steps.map(|s| StepLabel { end: ends[s], label: labels[s] }).collect()
        };
        Inputs {
            steps: all.iter().map(steps).collect(),
            log_ratios: all.into_iter().map(|response| response.0).collect(),
            labels: (0..2 * n_pairs).map(|i| f64::from(i % 2 == 0)).collect(),
            pairs: (0..n_pairs).map(|k| Pair { chosen: 2 * k, rejected: 2 * k + 1 }).collect(),
            mismatched_log_ratio,
        }
    })
}

/// The largest difference of two lists of weights.
fn distance(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

proptest! {
    #[test]
    fn everything_is_finite_at_extreme_log_ratios(mut inputs in inputs(1e4), sign in 0..2) {
        inputs.mismatched_log_ratio *= 1e4;
        inputs.log_ratios[0] = vec![if sign == 0 { 1e4 } else { -1e4 }; 3];
        inputs.steps[0] = vec![StepLabel { end: 1, label: 0.0 }, StepLabel { end: 3, label: 1.0 }];
        for objective in Objective::all() {
            let output = inputs.evaluate(objective.with_beta(1.0), 3);
            prop_assert!(output.loss.is_finite(), "{}", objective.name());
            let finite = output.weights.iter().flatten().all(|weight| weight.is_finite());
            prop_assert!(finite, "{}: {:?}", objective.name(), output.weights);
        }
    }

    #[test]
    fn accumulated_micro_batches_equal_the_whole(inputs in inputs(3.0)) {
        for objective in Objective::all() {
            let n_units = inputs.n_units(objective);
            let whole = inputs.evaluate(objective, n_units);
            let (mut loss, mut weights, mut rewards) = (0.0, Vec::new(), Vec::new());
            for pair in &inputs.pairs {
                let part = inputs.select(&[pair.chosen, pair.rejected]);
                let output = part.evaluate(objective, n_units);
                loss += output.loss;
                weights.extend(output.weights);
                rewards.extend(output.outcome_rewards);
            }
            // Observed in 20,000 cases: losses to 7.4e-16 (the order of summation), the rest to the
            // bit.
            prop_assert!((loss - whole.loss).abs() < 1e-14 * whole.loss.max(1.0));
            prop_assert_eq!(&weights, &whole.weights, "{}", objective.name());
            prop_assert_eq!(&rewards, &whole.outcome_rewards);
        }
    }

    #[test]
    fn the_order_of_responses_does_not_matter(inputs in inputs(3.0)) {
        let backwards: Vec<usize> = (0..inputs.labels.len()).rev().collect();
        let reversed = inputs.select(&backwards);
        for objective in Objective::all() {
            let n_units = inputs.n_units(objective);
            let mut output = reversed.evaluate(objective, n_units);
            output.weights.reverse();
            let straight = inputs.evaluate(objective, n_units);
            // Observed at most 8.0e-16.
            prop_assert!((output.loss - straight.loss).abs() < 1e-14 * straight.loss.max(1.0));
            prop_assert_eq!(&output.weights, &straight.weights, "{}", objective.name());
        }
    }

    #[test]
    fn dpo_and_ipo_see_only_the_difference_of_a_pair(inputs in inputs(3.0), shift in -5.0..5.0) {
        let mut shifted = inputs.clone();
        for log_ratios in &mut shifted.log_ratios {
            log_ratios[0] += shift;
        }
        for name in ["dpo", "ipo"] {
            let objective = name.parse::<Objective>().expect("known");
            let n_units = inputs.n_units(objective);
            let (before, after) =
                (inputs.evaluate(objective, n_units), shifted.evaluate(objective, n_units));
            // Observed at most 3.3e-15 and 7.2e-15: the shift is added and taken away again.
            prop_assert!((before.loss - after.loss).abs() < 1e-13 * before.loss.max(1.0));
            prop_assert!(distance(&before.weights, &after.weights) < 1e-12);
            for pair in &inputs.pairs {
                let weight = |idx: usize| before.weights[idx][0];
                prop_assert_eq!(weight(pair.chosen), -weight(pair.rejected));
            }
        }
    }

    #[test]
    fn every_token_of_a_response_weighs_the_same_where_only_sums_count(inputs in inputs(3.0)) {
        for objective in Objective::all().into_iter().filter(|o| !o.needs_step_labels()) {
            let output = inputs.evaluate(objective, 2);
            let uniform = output.weights.iter().all(|w| w.iter().all(|weight| *weight == w[0]));
            let one_token = inputs.log_ratios.iter().all(|tokens| tokens.len() == 1);
            prop_assert_eq!(uniform, objective.name() != "prefix_ce" || one_token);
        }
    }

    #[test]
    fn correct_responses_are_raised_and_incorrect_ones_lowered(mut inputs in inputs(1.0)) {
        // Near the reference every objective on outcome labels pushes the right way.
        inputs.log_ratios.iter_mut().flatten().for_each(|log_ratio| *log_ratio *= 0.01);
        for objective in Objective::all().into_iter().filter(|o| !o.needs_step_labels()) {
            let output = inputs.evaluate(objective, 1);
            for (weights, &correct) in output.weights.iter().zip(&inputs.labels) {
                let right = weights.iter().all(|w| if correct == 1.0 { *w < 0.0 } else { *w > 0.0 });
                prop_assert!(right, "{}: {:?}", objective.name(), weights);
            }
        }
    }
}

#[test]
fn ce_and_dpo_at_the_reference_are_ln_2() {
    let inputs = Inputs {
        log_ratios: vec![vec![0.0; 3], vec![0.0; 2]],
        labels: vec![1.0, 0.0],
        pairs: vec![Pair { chosen: 0, rejected: 1 }],
        steps: vec![vec![StepLabel { end: 3, label: 1.0 }], vec![StepLabel { end: 2, label: 0.0 }]],
        mismatched_log_ratio: 0.0,
    };
    for name in ["ce", "dpo", "prefix_ce", "step_kto"] {
        let objective = name.parse::<Objective>().expect("known");
        let loss = inputs.evaluate(objective, inputs.n_units(objective)).loss;
        // Observed to the bit.
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-15, "{name}: {loss}");
    }
}

#[test]
fn the_magnitude_form_of_step_kto_ignores_signs_and_the_signed_form_does_not() {
    let steps = [vec![StepLabel { end: 1, label: 1.0 }, StepLabel { end: 2, label: 0.0 }]];
    let weights = |text: &str, log_ratios: [f64; 2]| {
        let objective: Objective = toml::from_str(text).expect("valid settings");
        let batch = ObjectiveBatch {
            log_ratios: &[log_ratios.to_vec()],
            labels: &[1.0],
            pairs: &[],
            n_units: 1,
            mismatched_log_ratio: 0.0,
            steps: &steps,
        };
        objective.evaluate(&batch).expect("valid").weights[0].clone()
    };
    let absolute = "name = \"step_kto\"\nbeta = 1.0";
    let signed = "name = \"step_kto\"\nbeta = 1.0\nmagnitude = \"signed\"";
    let (up, down) = (weights(absolute, [2.0, 2.0]), weights(absolute, [-2.0, -2.0]));
    assert_eq!(up[0], -down[0]);
    assert_eq!(up[1], -down[1]);
    assert!(weights(signed, [-2.0, -2.0])[0] < 0.0 && weights(signed, [-2.0, -2.0])[1] > 0.0);
}

#[test]
fn inconsistent_batches_and_settings_name_the_field() {
    let log_ratios = [vec![0.1, 0.2], vec![0.3]];
    let labels = [1.0, 0.0];
    let pair = [Pair { chosen: 0, rejected: 2 }];
    let steps = [vec![StepLabel { end: 2, label: 1.0 }], vec![]];
    let valid = ObjectiveBatch {
        log_ratios: &log_ratios,
        labels: &labels,
        pairs: &[],
        n_units: 2,
        mismatched_log_ratio: 0.0,
        steps: &[],
    };
    let error = |name: &str, batch: &ObjectiveBatch| {
        name.parse::<Objective>().expect("known").evaluate(batch).expect_err(name).to_string()
    };
    let empty = [vec![], vec![0.0]];
    assert!(error("ce", &ObjectiveBatch { n_units: 0, ..valid }).contains("`n_units`"));
    assert!(error("ce", &ObjectiveBatch { labels: &[1.0], ..valid }).contains("`labels`"));
    assert!(error("ce", &ObjectiveBatch { log_ratios: &empty, ..valid }).contains("`log_ratios`"));
    assert!(error("dpo", &ObjectiveBatch { pairs: &pair, ..valid }).contains("`pairs`"));
    assert!(error("step_kto", &valid).contains("`steps`"));
    assert!(
        error("step_mse", &ObjectiveBatch { steps: &steps, ..valid })
            .contains("none in response 1")
    );
    for (text, field) in [
        ("name = \"ce\"\nbeta = -1.0", "beta"),
        ("name = \"dpo\"\nlabel_smoothing = 0.5", "label_smoothing"),
        ("name = \"kto\"\ndesirable_weight = -1.0", "desirable_weight"),
        ("name = \"prefix_ce\"\nmargin = inf", "margin"),
    ] {
        let objective: Objective = toml::from_str(text).expect("parses");
        let message = objective.evaluate(&valid).expect_err(text).to_string();
        assert!(message.contains(&format!("`{field}` should be")), "{message}");
    }
}
