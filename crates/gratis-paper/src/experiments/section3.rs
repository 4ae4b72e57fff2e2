//! Section 3: the log-ratio of an outcome model is a Q value, and lies between the soft and the
//! hard estimate (Propositions 3.1 and 3.2).

use gratis::MonteCarloSummary;
use gratis::evaluation::Interval;
use gratis::theory::check;

use crate::cast::{Cast, Propositions};
use crate::error::Result;
use crate::outcome::{Claim, Outcome, PlainTable};

/// Betas of the enumeration.
const BETAS: [f64; 4] = [0.05, 0.3, 1.0, 10.0];
/// Tokens that the enumerated models know, and tokens of their sequences.
const VOCAB: usize = 4;
const LENGTH: usize = 6;
/// Enumerates small models, and samples from trained ones.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let mut exact = PlainTable {
        caption: format!(
            "Random models over {VOCAB} tokens, all sequences of {LENGTH}: the largest deviation \
             over all prefixes"
        ),
        header: ["beta", "prefixes", "|q - exponential average|", "violation of soft <= q <= hard"]
            .map(str::to_owned)
            .to_vec(),
        rows: Vec::new(),
    };
    let mut worst: (f64, f64) = (0.0, 0.0);
    for beta in BETAS {
        let found = check(VOCAB, LENGTH, beta, cast.seeds().first().copied().unwrap_or(0))?;
        worst = (worst.0.max(found.max_difference), worst.1.max(found.max_violation));
        exact.rows.push(vec![
            beta.to_string(),
            found.n_prefixes.to_string(),
            format!("{:.1e}", found.max_difference),
            format!("{:.1e}", found.max_violation),
        ]);
    }
    let Propositions { n_problems, n_prefixes, n_continuations } = cast.propositions();
    let mut drawn = PlainTable {
        caption: format!(
            "The CE reward model and its reference, by Monte Carlo: {n_problems} problems x \
             {n_prefixes} prefixes x {n_continuations} continuations by the reference"
        ),
        header: [
            "seed",
            "prefixes",
            "mean |q - average|, nats x beta",
            "within two standard errors",
            "soft <= q",
            "q <= hard",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: Vec::new(),
    };
    let mut within = Vec::new();
    for seed in cast.seeds() {
        let estimates = cast.prefix_estimates(seed)?;
        if estimates.is_empty() {
            continue;
        }
        let summary = MonteCarloSummary::of(&estimates);
        within.extend(estimates.iter().map(|estimate| f64::from(estimate.is_within_bounds())));
        drawn.rows.push(vec![
            seed.to_string(),
            summary.n_prefixes.to_string(),
            format!("{:.4}", summary.mean_difference),
            summary.n_within_two_errors.to_string(),
            summary.n_above_soft.to_string(),
            summary.n_below_hard.to_string(),
        ]);
    }
    let exactly = |value: f64| Interval { mean: value, low: value, high: value };
    Ok(Outcome {
        name: "Section 3".to_owned(),
        title: "outcome models are Q functions".to_owned(),
        question: "Is the sum of a prefix's log-ratios the exponential average of the outcome \
                   reward over its continuations, and does it lie between the mean and the maximum?"
            .to_owned(),
        tables: vec![exact, drawn],
        claims: {
            let mut claims = vec![
                Claim::below(
                    "q is the exponential average of the outcome reward",
                    "Proposition 3.1",
                    "largest deviation by enumeration",
                    exactly(worst.0),
                    1e-9,
                )
                .in_numbers(),
                Claim::below(
                    "q lies between the soft and the hard estimate",
                    "Proposition 3.2",
                    "largest violation by enumeration",
                    exactly(worst.1),
                    1e-9,
                )
                .in_numbers(),
            ];
            if !within.is_empty() {
                let share = cast.bootstrap().interval(&within);
                let claim =
                    "on trained models q lies between the estimates within two standard errors";
                let claim = Claim::above(claim, "Proposition 3.2", "share of prefixes", share, 0.9);
                claims.push(claim.in_numbers());
            }
            claims
        },
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}
