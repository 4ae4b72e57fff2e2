//! Ties, limits, and the estimators against enumeration of every subset.

use proptest::prelude::*;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

use super::*;

const VOTES: [Method; 2] = [
    Method::Majority,
    Method::WeightedVote { weight: VoteWeight::Exponential { temperature: 0.5 } },
];

fn method_accuracy(method: Method, candidates: &Candidates, n: usize, subsets: Subsets) -> f64 {
    candidates.accuracy(method, n, subsets).expect("valid")
}

/// Mean accuracy over every subset of size `n`, by enumeration.
fn enumerated(method: Method, candidates: &Candidates, n: usize) -> f64 {
    let n_all = candidates.correct.len();
    let (mut total, mut count) = (0.0, 0.0);
    for mask in 0_u32..1 << n_all {
        if mask.count_ones() as usize == n {
            let pick = |idx: &usize| mask >> idx & 1 == 1;
            let subset: Vec<usize> = (0..n_all).filter(pick).collect();
            let scores: Vec<f64> = subset.iter().map(|&i| candidates.scores[i]).collect();
            let answers: Vec<usize> = subset.iter().map(|&i| candidates.answers[i]).collect();
            let correct: Vec<bool> = subset.iter().map(|&i| candidates.correct[i]).collect();
            let subset = Candidates { scores: &scores, answers: &answers, correct: &correct };
            total += method_accuracy(method, &subset, n, Subsets::First);
            count += 1.0;
        }
    }
    total / count
}

#[test]
fn ties_go_to_the_first_response() {
    assert_eq!(best_of_n(&[1.0, 3.0, 3.0]), Some(1));
    assert_eq!(best_of_n(&[f64::NAN, -2.0, f64::NAN]), Some(1));
    assert_eq!(best_of_n(&[f64::NAN, f64::NAN]), Some(0));
    assert_eq!(best_of_n(&[]), None);
    assert_eq!(majority(&[7, 4, 4, 7, 5]), Some(0));
    assert_eq!(majority(&[5, 7, 4, 4, 7]), Some(1));
    assert_eq!(weighted_vote(&[1, 2, 1], &[0.25, 0.5, 0.25]), Some(0));
    assert_eq!(weighted_vote(&[1, 2, 1], &[0.25, 0.6, 0.25]), Some(1));
}

#[test]
fn aggregations_by_hand() {
    let score =
        |aggregation: Aggregation| aggregation.score(&[1.0, -2.0, 3.0], &[1.0, -1.0, 2.0], 2.0);
    let expected = [-2.0, 2.0, 2.0 / 3.0, 3.0, -6.0, -1.0, 2.0, 2.0 / 3.0, 2.0, 2.0];
    assert_eq!(Aggregation::ALL.map(score), expected);
    for aggregation in Aggregation::ALL {
        assert_eq!(aggregation.name().parse::<Aggregation>().expect("known"), aggregation);
    }
    let error = "minimum".parse::<Aggregation>().expect_err("unknown").to_string();
    assert!(error.contains("`min`") && error.contains("`minimum`"), "{error}");
}

#[test]
fn unequal_lengths_and_too_large_n_are_errors() {
    let candidates = Candidates { scores: &[0.0], answers: &[0, 1], correct: &[true, false] };
    let error = candidates.accuracy(Method::BestOfN, 1, Subsets::First).expect_err("lengths");
    assert!(error.to_string().contains("`scores`"), "{error}");
    let candidates = Candidates { scores: &[0.0; 2], ..candidates };
    for n in [0, 3] {
        let error = candidates.accuracy(Method::Majority, n, Subsets::First).expect_err("n");
        assert!(error.to_string().contains("`n` should be in 1..=2"), "{error}");
    }
}

proptest! {
    #[test]
    fn estimators_agree_with_enumeration(
        responses in prop::collection::vec((0_u8..4, 0_usize..3, any::<bool>()), 1..9),
        n in 1_usize..9,
    ) {
        let scores: Vec<f64> = responses.iter().map(|r| f64::from(r.0)).collect();
        let answers: Vec<usize> = responses.iter().map(|r| r.1).collect();
        let correct: Vec<bool> = responses.iter().map(|r| r.2).collect();
        let candidates = Candidates { scores: &scores, answers: &answers, correct: &correct };
        let n = n.min(responses.len());
        let unbiased = Subsets::Unbiased { n_samples: 4000, seed: 1 };
        for method in [Method::BestOfN, Method::Oracle, Method::Random] {
            let estimate = method_accuracy(method, &candidates, n, unbiased);
            let exact = enumerated(method, &candidates, n);
            prop_assert!((estimate - exact).abs() < 1e-12, "{method:?}: {estimate} {exact}");
        }
        for method in VOTES {
            let estimate = method_accuracy(method, &candidates, n, unbiased);
            let exact = enumerated(method, &candidates, n);
            // Five standard errors of a share over 4000 samples.
            prop_assert!((estimate - exact).abs() < 0.04, "{method:?}: {estimate} {exact}");
        }
    }

    #[test]
    fn best_of_one_is_the_identity_and_equal_weights_are_the_majority(
        answers in prop::collection::vec(0_usize..4, 1..12),
        score in -5.0..5.0,
    ) {
        let scores = vec![score; answers.len()];
        let correct: Vec<bool> = answers.iter().map(|answer| *answer == 0).collect();
        let candidates = Candidates { scores: &scores, answers: &answers, correct: &correct };
        for method in [Method::BestOfN, Method::Majority, Method::Oracle] {
            let first = method_accuracy(method, &candidates, 1, Subsets::First);
            prop_assert_eq!(first, f64::from(correct[0]));
        }
        for weight in [VoteWeight::Sigmoid, VoteWeight::Exponential { temperature: 0.1 }] {
            let vote = candidates.select(Method::WeightedVote { weight });
            prop_assert_eq!(vote, candidates.select(Method::Majority));
        }
    }

    #[test]
    fn small_temperatures_approach_best_of_n_and_large_ones_the_majority(
        answers in prop::collection::vec(0_usize..4, 1..12),
        seed in any::<u64>(),
    ) {
        let n = answers.len();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scores: Vec<f64> =
            index::sample(&mut rng, n, n).iter().map(|rank| rank as f64).collect();
        let vote = |temperature| {
            let weights = VoteWeight::Exponential { temperature }.weights(&scores);
            weighted_vote(&answers, &weights).map(|idx| answers[idx])
        };
        prop_assert_eq!(vote(1e-3), best_of_n(&scores).map(|idx| answers[idx]));
        let counts = |answer: usize| answers.iter().filter(|a| **a == answer).count();
        let greatest = counts(answers[majority(&answers).expect("not empty")]);
        prop_assert_eq!(counts(vote(1e9).expect("not empty")), greatest);
    }
}

#[test]
fn what_was_not_read_is_left_out_or_unknown() {
    let nan = f64::NAN;
    let score =
        |aggregation: Aggregation| aggregation.score(&[1.0, -2.0, nan], &[1.0, -1.0, nan], nan);
    assert_eq!(
        [Aggregation::Min, Aggregation::Sum, Aggregation::Mean].map(score),
        [-2.0, -1.0, -0.5]
    );
    assert_eq!([Aggregation::QMin, Aggregation::Prod].map(score), [-1.0, -2.0]);
    for unknown in [Aggregation::Last, Aggregation::QLast, Aggregation::Outcome] {
        assert!(score(unknown).is_nan(), "{unknown}");
        // It ranks below every number.
        assert_eq!(best_of_n(&[score(unknown), -1e9]), Some(1));
    }
    assert!(Aggregation::Min.score(&[], &[], nan).is_nan());
}

#[test]
fn a_masked_step_has_no_part_in_a_score() {
    let score = |aggregation: Aggregation| {
        aggregation.score(&[1.0, f64::NAN, 3.0, f64::NAN], &[1.0, 1.0, 4.0, 4.0], 4.0)
    };
    let of_two = |aggregation: Aggregation| aggregation.score(&[1.0, 3.0], &[1.0, 4.0], 4.0);
    for aggregation in Aggregation::ALL {
        assert_eq!(score(aggregation), of_two(aggregation), "{aggregation}");
    }
    assert_eq!(score(Aggregation::Min), 1.0);
    assert!(Aggregation::Min.score(&[f64::NAN], &[0.0], 0.0).is_nan(), "nothing but masked steps");
}
