//! Evaluation of a reward model on unseen candidates, per problem, so that intervals and
//! comparisons can be computed afterwards.

use std::path::PathBuf;
use std::rc::Rc;

use gratis::data::ProblemScores;
use gratis::evaluation::best_of_n::accuracies;
use gratis::evaluation::{
    FirstErrorCounts, FirstErrorScore, GeneratorCandidates, ScoredProblem, Selector, StepSignal,
    first_error_counts, tune_threshold,
};
use gratis::reward::ValueRule;
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight};
use gratis_cpu::NativeEngine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Cache, Candidates, baseline, store};
use crate::error::{Error, Result};
use crate::rows::{Form, InferenceReference, RewardModel};
use crate::truth;
use crate::world::{Split, Strength};

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
struct Choices {
    /// The aggregation of steps.
    aggregations: Vec<Aggregation>,
    /// The signal compared with the threshold of the first error.
    signals: Vec<StepSignal>,
    /// How the log-ratios of a prefix make its value.
    #[serde(skip_serializing_if = "is_sum_alone")]
    value_rules: Vec<ValueRule>,
}

/// The paper's rule alone, which keys have no mention of.
fn is_sum_alone(rules: &[ValueRule]) -> bool {
    rules == [ValueRule::Sum]
}

impl Choices {
    /// The paper's rule for implicit process reward models, the lowest process reward; for a
    /// baseline, the best aggregation; for an objective with a value rule of its own, the best
    /// aggregation and rule.
    fn of(model: &RewardModel) -> Self {
        use Aggregation::{Mean, Min, Outcome, QMin};
        let all = |value_rules| Self {
            aggregations: vec![Min, QMin, Mean, Outcome],
            signals: vec![StepSignal::Reward, StepSignal::QValue],
            value_rules,
        };
        match model {
            RewardModel::Baseline(_) => all(vec![ValueRule::Sum]),
            RewardModel::Implicit(recipe, _)
                if ValueRule::of(&recipe.objective) != ValueRule::Sum =>
            {
                all(vec![ValueRule::Sum, ValueRule::of(&recipe.objective)])
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
    /// A step is predicted wrong below this threshold.
    pub(crate) threshold: f64,
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

/// A trained reward model that can score candidates.
struct CandidateScorer {
    folder: PathBuf,
    form: ScoreForm,
    /// Loaded at the first scoring.
    engine: Option<NativeEngine>,
}

/// How a [`CandidateScorer`] scores.
#[derive(Debug, Clone, Copy)]
enum ScoreForm {
    LogRatio(f64, InferenceReference),
    Baseline(Form, f64),
}

impl Cache<'_> {
    /// The folder of a reward model, which is trained if necessary.
    ///
    /// # Errors
    /// Those of its data and its training.
    pub(crate) fn model(&mut self, seed: u64, model: &RewardModel) -> Result<PathBuf> {
        match model {
            RewardModel::Generator => self.generator(seed, Strength::Medium),
            RewardModel::Implicit(recipe, _) => self.implicit_model(seed, recipe),
            RewardModel::SecondStage(recipe, magnitude) => {
                self.second_stage_model(seed, recipe, *magnitude)
            }
            RewardModel::Baseline(baseline) => self.baseline_model(seed, baseline),
        }
    }

    /// Evaluates a reward model on the test problems of a seed.
    ///
    /// # Errors
    /// Those of making, scoring and evaluating it.
    pub(crate) fn evaluate(&mut self, seed: u64, model: &RewardModel) -> Result<Evaluation> {
        let mut scorer = self.scorer(seed, model)?;
        let choices = Choices::of(model);
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": scorer.key(),
                          "validation": self.candidate_names(seed, Split::Validation)?,
                          "test": self.candidate_names(seed, Split::Test)?, "ns": ns,
                          "choices": choices });
        if let Some(evaluation) = self.find_value("judgement", &key)? {
            return Ok(evaluation);
        }
        let validation = self.split_candidates(seed, Split::Validation)?;
        let test = self.split_candidates(seed, Split::Test)?;
        self.observer.stage("evaluation", None);
        let mut scored = Vec::new();
        for &rule in &choices.value_rules {
            let validation = scorer.score(self, &validation, rule)?;
            scored.push(ByRule { rule, validation, test: scorer.score(self, &test, rule)? });
        }
        let evaluation = evaluate(&scored, &ns, &choices)?;
        self.store.make_value("judgement", &key, &evaluation)?;
        Ok(evaluation)
    }

    /// Best-of-N average of a reward model on the validation problems of a seed: the only measure
    /// used for tuning.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub(crate) fn validate(&mut self, seed: u64, model: &RewardModel) -> Result<f64> {
        let mut scorer = self.scorer(seed, model)?;
        let choices = Choices::of(model);
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": scorer.key(),
                          "validation": self.candidate_names(seed, Split::Validation)?, "ns": ns,
                          "choices": choices });
        if let Some(accuracy) = self.find_value("validation", &key)? {
            return Ok(accuracy);
        }
        let validation = self.split_candidates(seed, Split::Validation)?;
        let mut accuracy = f64::NEG_INFINITY;
        for &rule in &choices.value_rules {
            let scored = problems(&scorer.score(self, &validation, rule)?);
            accuracy = accuracy.max(best_aggregation(&scored, &ns, &choices.aggregations)?.0);
        }
        self.store.make_value("validation", &key, &accuracy)?;
        Ok(accuracy)
    }

    /// Majority, random and oracle on the test problems of a seed.
    ///
    /// # Errors
    /// Those of evaluating.
    pub(crate) fn controls(&mut self, seed: u64) -> Result<Controls> {
        let ns = self.settings.ns.clone();
        let key = json!({ "test": self.candidate_names(seed, Split::Test)?, "ns": ns });
        if let Some(controls) = self.find_value("controls", &key)? {
            return Ok(controls);
        }
        let test = self.split_candidates(seed, Split::Test)?.into_iter().map(|of| {
            let scores = truth::no_scores(&of.rollouts);
            Scored { candidates: of, scores }
        });
        let problems = problems(&test.collect::<Vec<_>>());
        let of = |method| table(&problems, Selector::without_score(method), &ns);
        let controls = Controls {
            majority: of(Method::Majority)?,
            random: of(Method::Random)?,
            oracle: of(Method::Oracle)?,
        };
        self.store.make_value("controls", &key, &controls)?;
        Ok(controls)
    }

    fn scorer(&mut self, seed: u64, model: &RewardModel) -> Result<CandidateScorer> {
        let folder = self.model(seed, model)?;
        let form = match model {
            RewardModel::Generator => ScoreForm::LogRatio(1.0, InferenceReference::None),
            RewardModel::Implicit(recipe, reference) => {
                ScoreForm::LogRatio(recipe.objective.beta(), *reference)
            }
            RewardModel::SecondStage(recipe, _) => {
                ScoreForm::LogRatio(recipe.objective.beta(), InferenceReference::Start)
            }
            RewardModel::Baseline(baseline) => {
                ScoreForm::Baseline(baseline.form, baseline.configuration.beta)
            }
        };
        Ok(CandidateScorer { folder, form, engine: None })
    }
}

impl CandidateScorer {
    /// What its scores depend on.
    fn key(&self) -> Value {
        let model = store::name(&self.folder);
        match self.form {
            ScoreForm::LogRatio(beta, reference) => {
                json!({ "model": model, "beta": beta, "reference": reference })
            }
            ScoreForm::Baseline(form, beta) => {
                json!({ "baseline": model, "form": form, "beta": beta })
            }
        }
    }

    /// Scores the candidates of each generator.
    fn score(
        &mut self,
        cache: &Cache<'_>,
        generators: &[Rc<Candidates>],
        rule: ValueRule,
    ) -> Result<Vec<Scored>> {
        let engine = match &mut self.engine {
            Some(engine) => engine,
            none => none.insert(match self.form {
                ScoreForm::LogRatio(..) => cache.load(&self.folder)?,
                ScoreForm::Baseline(form, _) => {
                    baseline::load(&self.folder, form, cache.options())?
                }
            }),
        };
        let mut all = Vec::new();
        for candidates in generators {
            let scores = match self.form {
                ScoreForm::LogRatio(beta, reference) => {
                    candidates.log_ratio_scores(engine, beta, rule, reference)?
                }
                ScoreForm::Baseline(form, beta) => {
                    baseline::scores(engine, form, beta, cache.tokenizer(), candidates)?
                }
            };
            all.push(Scored { candidates: Rc::clone(candidates), scores });
        }
        Ok(all)
    }
}

/// The candidates of one generator with their scores.
struct Scored {
    candidates: Rc<Candidates>,
    scores: Vec<ProblemScores>,
}

/// The candidates of both splits with their scores by one rule.
struct ByRule {
    rule: ValueRule,
    validation: Vec<Scored>,
    test: Vec<Scored>,
}

/// Chooses settings on validation problems and measures on test problems; the first of equals.
fn evaluate(scored: &[ByRule], ns: &[usize], choices: &Choices) -> Result<Evaluation> {
    let mut best: Option<(f64, Aggregation, &ByRule)> = None;
    for of_rule in scored {
        let on_validation = problems(&of_rule.validation);
        let (accuracy, aggregation) = best_aggregation(&on_validation, ns, &choices.aggregations)?;
        if best.is_none_or(|best| accuracy > best.0) {
            best = Some((accuracy, aggregation, of_rule));
        }
    }
    let (accuracy, aggregation, selecting) = best.ok_or(Error::NoThreshold)?;
    let on_validation = problems(&selecting.validation);
    let mut vote_temperature = (f64::NEG_INFINITY, VOTE_TEMPERATURES[0]);
    for temperature in VOTE_TEMPERATURES {
        let accuracy = table(&on_validation, vote(temperature, aggregation), ns)?.mean();
        if accuracy > vote_temperature.0 {
            vote_temperature = (accuracy, temperature);
        }
    }
    let signals = scored
        .iter()
        .flat_map(|of_rule| choices.signals.iter().map(move |&signal| (of_rule, signal)));
    let tuned = signals.filter_map(|(of_rule, signal)| {
        let validation = of_rule.validation.iter();
        let judged = validation.flat_map(|of| of.candidates.judged(&of.scores, signal));
        tune_threshold(&judged.flatten().collect::<Vec<_>>()).map(|found| (of_rule, signal, found))
    });
    let best = tuned.reduce(|best, next| if next.2.f1 > best.2.f1 { next } else { best });
    let (judging, signal, found) = best.ok_or(Error::NoThreshold)?;

    let on_test = problems(&selecting.test);
    let mut first_error = Vec::new();
    let mut first_error_counts_of = Vec::new();
    for of in &judging.test {
        let judged = of.candidates.judged(&of.scores, signal);
        let counts: Vec<FirstErrorCounts> =
            judged.iter().map(|solutions| first_error_counts(solutions, found.threshold)).collect();
        let all = counts.iter().fold(FirstErrorCounts::default(), |sum, of| sum.plus(*of));
        first_error.push(all.score(found.threshold));
        first_error_counts_of.push(counts);
    }
    Ok(Evaluation {
        best_of_n: table(&on_test, best_of_n(aggregation), ns)?,
        weighted_vote: table(&on_test, vote(vote_temperature.1, aggregation), ns)?,
        validation: accuracy,
        aggregation,
        vote_temperature: vote_temperature.1,
        value_rule: selecting.rule,
        signal,
        signal_rule: judging.rule,
        threshold: found.threshold,
        first_error,
        first_error_counts: first_error_counts_of,
    })
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
    problems: &[GeneratorCandidates],
    ns: &[usize],
    aggregations: &[Aggregation],
) -> Result<(f64, Aggregation)> {
    let mut best = (f64::NEG_INFINITY, Aggregation::default());
    for &aggregation in aggregations {
        let accuracy = table(problems, best_of_n(aggregation), ns)?.mean();
        if accuracy > best.0 {
            best = (accuracy, aggregation);
        }
    }
    Ok(best)
}

fn problems(scored: &[Scored]) -> Vec<GeneratorCandidates> {
    let of_generator = |(strength, of): (Strength, &Scored)| {
        let problems: Vec<ScoredProblem> = of.candidates.scored(&of.scores);
        GeneratorCandidates { name: strength.name().to_owned(), problems }
    };
    Strength::ALL.into_iter().zip(scored).map(of_generator).collect()
}

fn table(
    generators: &[GeneratorCandidates],
    selector: Selector,
    ns: &[usize],
) -> Result<SelectorAccuracies> {
    let mut cells = Vec::new();
    for generator in generators {
        for &n in ns {
            cells.push(accuracies(generator, selector, n, Subsets::First)?);
        }
    }
    Ok(SelectorAccuracies { selector, cells })
}
