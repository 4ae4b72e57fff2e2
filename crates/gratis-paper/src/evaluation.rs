//! From scores to measures: what is chosen on validation problems, and what is measured with it on test
//! problems, per problem, so that intervals and comparisons can be computed afterwards.

use std::rc::Rc;

use gratis::data::{ProblemScores, Rollout};
use gratis::evaluation::{FirstErrorScore, GeneratorCandidates, Selector, StepSignal};
use gratis::reward::ValueRule;
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight};
use gratis::{FirstErrorCounts, JudgedSolution, ProblemCandidates};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rows::RewardModel;

/// Temperatures of the vote, from which one is chosen on validation problems.
const VOTE_TEMPERATURES: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// The accuracy of one selector, on every problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SelectorAccuracies {
    /// The selector.
    pub(crate) selector: Selector,
    /// One cell per generator, weakest first, and N: `[n_cells][n_problems]`.
    pub(crate) cells: Vec<Vec<f64>>,
}

impl SelectorAccuracies {
    /// Mean over cells and problems.
    fn mean(&self) -> f64 {
        let n = self.cells.iter().map(Vec::len).sum::<usize>();
        self.cells.iter().flatten().sum::<f64>() / n.max(1) as f64
    }
}

/// Which settings, besides the temperature of the vote and the threshold, are chosen on validation
/// problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choices {
    /// The aggregation of steps.
    pub(crate) aggregations: Vec<Aggregation>,
    /// The signal compared with the threshold of the first error.
    pub(crate) signals: Vec<StepSignal>,
    /// How the log-ratios of a prefix make its value.
    #[serde(skip_serializing_if = "is_sum_alone")]
    pub(crate) value_rules: Vec<ValueRule>,
}

/// The paper's rule alone, which keys have no mention of.
fn is_sum_alone(rules: &[ValueRule]) -> bool {
    rules == [ValueRule::Sum]
}

impl Choices {
    /// The paper's rule for implicit process reward models, the lowest process reward; for a
    /// baseline, the best aggregation; for an objective with a value rule of its own, the best
    /// aggregation and rule.
    pub(crate) fn of(model: &RewardModel) -> Self {
        use Aggregation::{Mean, Min, Outcome, QMin};
        let all = |value_rules| Self {
            aggregations: vec![Min, QMin, Mean, Outcome],
            signals: vec![StepSignal::Reward, StepSignal::QValue],
            value_rules,
        };
        match model {
            RewardModel::Baseline(_) => all(vec![ValueRule::Sum]),
            RewardModel::Implicit(recipe, _) if recipe.objective.value_rule() != ValueRule::Sum => {
                all(vec![ValueRule::Sum, recipe.objective.value_rule()])
            }
            _ => Self {
                aggregations: vec![Min],
                signals: vec![StepSignal::Reward],
                value_rules: vec![ValueRule::Sum],
            },
        }
    }
}

/// A reward model evaluated on one seed's test problems; everything chosen was chosen on its
/// validation problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    /// Best-of-N.
    pub(crate) best_of_n: SelectorAccuracies,
    /// The vote weighted by `exp(score / temperature)`.
    pub(crate) weighted_vote: SelectorAccuracies,
    /// Best-of-N average on the validation problems.
    pub(crate) validation: f64,
    /// The chosen aggregation of steps.
    pub(crate) aggregation: Aggregation,
    /// The vote's temperature.
    pub(crate) vote_temperature: f64,
    /// How the log-ratios of a prefix make the value behind the selection.
    #[serde(default)]
    pub(crate) value_rule: ValueRule,
    /// The signal compared with the threshold.
    pub(crate) signal: StepSignal,
    /// How the log-ratios of a prefix make the value behind the signal.
    #[serde(default)]
    pub(crate) signal_rule: ValueRule,
    /// A step is predicted wrong below this threshold; `None` where first errors are not known.
    pub(crate) threshold: Option<f64>,
    /// First-error score on each generator's candidates.
    pub(crate) first_error: Vec<FirstErrorScore>,
    /// The counts behind these scores: `[n_generators][n_problems]`.
    pub(crate) first_error_counts: Vec<Vec<FirstErrorCounts>>,
}

/// Selectors that need no reward model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Controls {
    /// Majority vote.
    pub(crate) majority: SelectorAccuracies,
    /// One at random: pass@1.
    pub(crate) random: SelectorAccuracies,
    /// A correct candidate if there is one.
    pub(crate) oracle: SelectorAccuracies,
}

impl Controls {
    /// On the candidates of each generator; their scores are not read.
    ///
    /// # Errors
    /// Those of the selectors.
    pub(crate) fn measure(test: &[Scored], ns: &[usize]) -> Result<Self> {
        let of = |method| table(test, Selector::without_score(method), ns);
        Ok(Self {
            majority: of(Method::Majority)?,
            random: of(Method::Random)?,
            oracle: of(Method::Oracle)?,
        })
    }
}

/// The candidates of one generator with their scores.
pub(crate) struct Scored {
    /// The candidates with their rewards.
    pub(crate) candidates: GeneratorCandidates,
    /// The scores.
    pub(crate) scores: Vec<ProblemScores>,
    /// The true first error of each candidate: `[n_problems][n_candidates]`; `None` where it is not
    /// known.
    pub(crate) first_errors: Option<Rc<Vec<Vec<Option<usize>>>>>,
}

impl Scored {
    /// The candidates of a generator, without scores; what reads none can be measured on them.
    ///
    /// # Errors
    /// Those of [`ProblemCandidates::new`].
    pub(crate) fn unscored(name: &str, rollouts: &[Rollout]) -> Result<Self> {
        Self::new(name, rollouts, no_scores(rollouts), None)
    }

    /// The candidates of a generator with these scores.
    ///
    /// # Errors
    /// Those of [`ProblemCandidates::new`].
    pub(crate) fn new(
        name: &str,
        rollouts: &[Rollout],
        scores: Vec<ProblemScores>,
        first_errors: Option<Rc<Vec<Vec<Option<usize>>>>>,
    ) -> Result<Self> {
        let problems = rollouts.iter().zip(&scores);
        let problems = problems
            .map(|(rollout, score)| ProblemCandidates::new(rollout, score))
            .collect::<Result<_, gratis::Error>>()?;
        let candidates = GeneratorCandidates { name: name.to_owned(), problems };
        Ok(Self { candidates, scores, first_errors })
    }

    /// The signal compared with the threshold and the true labels, per problem; nothing where the
    /// labels are not known.
    fn judged(&self, signal: StepSignal) -> Vec<Vec<JudgedSolution>> {
        let first_errors = self.first_errors.as_ref().map_or(&[][..], |of| &of[..]);
        let of_problem = |(first_errors, score): (&Vec<Option<usize>>, &ProblemScores)| {
            let solutions = first_errors.iter().zip(&score.scores);
            let judge = |(&first_error, score): (&Option<usize>, &gratis::data::Scored)| {
                JudgedSolution { process_rewards: signal.of(score).to_vec(), first_error }
            };
            solutions.map(judge).collect()
        };
        first_errors.iter().zip(&self.scores).map(of_problem).collect()
    }
}

/// Scores of 0, for selectors that read none.
pub(crate) fn no_scores(rollouts: &[Rollout]) -> Vec<ProblemScores> {
    let nothing = gratis::data::Scored {
        steps: vec![0.0],
        q_values: vec![0.0],
        ..gratis::data::Scored::default()
    };
    let of = |rollout: &Rollout| {
        ProblemScores::new(
            rollout.name().to_owned(),
            vec![nothing.clone(); rollout.completions.len()],
        )
    };
    rollouts.iter().map(of).collect()
}

/// The candidates of both splits with their scores by one rule.
pub(crate) struct ByRule {
    /// How the log-ratios of a prefix make its value.
    pub(crate) rule: ValueRule,
    /// One per generator.
    pub(crate) validation: Vec<Scored>,
    /// One per generator.
    pub(crate) test: Vec<Scored>,
}

/// The best-of-N average on validation problems by the best rule and aggregation.
///
/// # Errors
/// Those of the selectors.
pub(crate) fn validate(
    validation: &[Scored],
    ns: &[usize],
    aggregations: &[Aggregation],
) -> Result<f64> {
    Ok(best_aggregation(validation, ns, aggregations)?.0)
}

/// Chooses settings on validation problems and measures on test problems; the first of equals.
///
/// # Errors
/// [`Error::NoThreshold`] if first errors are known, but no validation solution can be used.
pub(crate) fn evaluate(scored: &[ByRule], ns: &[usize], choices: &Choices) -> Result<Evaluation> {
    let mut best: Option<(f64, Aggregation, &ByRule)> = None;
    for of_rule in scored {
        let (accuracy, aggregation) =
            best_aggregation(&of_rule.validation, ns, &choices.aggregations)?;
        if best.is_none_or(|best| accuracy > best.0) {
            best = Some((accuracy, aggregation, of_rule));
        }
    }
    let (accuracy, aggregation, selecting) = best.ok_or(Error::NoThreshold)?;
    let mut vote_temperature = (f64::NEG_INFINITY, VOTE_TEMPERATURES[0]);
    for temperature in VOTE_TEMPERATURES {
        let accuracy = table(&selecting.validation, vote(temperature, aggregation), ns)?.mean();
        if accuracy > vote_temperature.0 {
            vote_temperature = (accuracy, temperature);
        }
    }
    let judging = Judging::choose(scored, choices)?;
    Ok(Evaluation {
        best_of_n: table(&selecting.test, best_of_n(aggregation), ns)?,
        weighted_vote: table(&selecting.test, vote(vote_temperature.1, aggregation), ns)?,
        validation: accuracy,
        aggregation,
        vote_temperature: vote_temperature.1,
        value_rule: selecting.rule,
        signal: judging.as_ref().map_or_else(StepSignal::default, |of| of.signal),
        signal_rule: judging.as_ref().map_or_else(ValueRule::default, |of| of.rule),
        threshold: judging.as_ref().map(|of| of.threshold),
        first_error: judging.as_ref().map_or_else(Vec::new, |of| of.scores.clone()),
        first_error_counts: judging.map_or_else(Vec::new, |of| of.counts),
    })
}

/// First errors as they are found with what was chosen on validation problems.
struct Judging {
    signal: StepSignal,
    rule: ValueRule,
    threshold: f64,
    scores: Vec<FirstErrorScore>,
    counts: Vec<Vec<FirstErrorCounts>>,
}

impl Judging {
    /// `None` where first errors are not known.
    fn choose(scored: &[ByRule], choices: &Choices) -> Result<Option<Self>> {
        let is_known = |of: &Scored| of.first_errors.is_some();
        if !scored.iter().all(|of| of.validation.iter().chain(&of.test).all(is_known)) {
            return Ok(None);
        }
        let signals = scored
            .iter()
            .flat_map(|of_rule| choices.signals.iter().map(move |&signal| (of_rule, signal)));
        let tuned = signals.filter_map(|(of_rule, signal)| {
            let judged = of_rule.validation.iter().flat_map(|of| of.judged(signal));
            JudgedSolution::tune_threshold(&judged.flatten().collect::<Vec<_>>())
                .map(|found| (of_rule, signal, found))
        });
        let best = tuned.reduce(|best, next| if next.2.f1 > best.2.f1 { next } else { best });
        let (judging, signal, found) = best.ok_or(Error::NoThreshold)?;
        let (mut scores, mut all_counts) = (Vec::new(), Vec::new());
        for of in &judging.test {
            let judged = of.judged(signal);
            let counts: Vec<FirstErrorCounts> = judged
                .iter()
                .map(|solutions| FirstErrorCounts::of(solutions, found.threshold))
                .collect();
            let all = counts.iter().fold(FirstErrorCounts::default(), |sum, of| sum.plus(*of));
            scores.push(all.score(found.threshold));
            all_counts.push(counts);
        }
        let (rule, threshold) = (judging.rule, found.threshold);
        Ok(Some(Self { signal, rule, threshold, scores, counts: all_counts }))
    }
}

fn best_of_n(aggregation: Aggregation) -> Selector {
    Selector { method: Method::BestOfN, aggregation }
}

fn vote(temperature: f64, aggregation: Aggregation) -> Selector {
    let weight = VoteWeight::Exponential { temperature };
    Selector { method: Method::WeightedVote { weight }, aggregation }
}

/// The aggregation with the best average, and that average; the first of equals.
fn best_aggregation(
    scored: &[Scored],
    ns: &[usize],
    aggregations: &[Aggregation],
) -> Result<(f64, Aggregation)> {
    let mut best = (f64::NEG_INFINITY, Aggregation::default());
    for &aggregation in aggregations {
        let accuracy = table(scored, best_of_n(aggregation), ns)?.mean();
        if accuracy > best.0 {
            best = (accuracy, aggregation);
        }
    }
    Ok(best)
}

fn table(scored: &[Scored], selector: Selector, ns: &[usize]) -> Result<SelectorAccuracies> {
    let mut cells = Vec::new();
    for of in scored {
        for &n in ns {
            cells.push(of.candidates.accuracies(selector, n, Subsets::First)?);
        }
    }
    Ok(SelectorAccuracies { selector, cells })
}
