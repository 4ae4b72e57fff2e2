//! What a reward model is worth on candidates it has never seen: problem by problem, so that
//! intervals and comparisons can be drawn afterwards.

use std::path::Path;
use std::rc::Rc;

use gratis_cpu::NativeEngine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::prepared::Prepared;
use super::{InferenceReference, Lab, Recipe, store};
use crate::world::{Split, Strength};
use gratis::data::Score;
use gratis::error::{Error, Result};
use gratis::evaluation::best_of_n::accuracies;
use gratis::evaluation::{
    FirstErrorCounts, FirstErrorScore, GeneratorCandidates, ScoredProblem, Selector, StepSignal,
    first_error_counts, tune_threshold,
};
use gratis::selection::{Aggregation, Method, Subsets, VoteWeight};

/// Temperatures among which the vote's is chosen, on validation problems.
const VOTE_TEMPERATURES: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];

/// The accuracy of one way to select, on every problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectorAccuracies {
    /// The selector.
    pub selector: Selector,
    /// One cell for each generator, weakest first, and each N: `[n_cells][n_problems]`.
    pub cells: Vec<Vec<f64>>,
}

impl SelectorAccuracies {
    /// Mean over cells and problems.
    pub fn mean(&self) -> f64 {
        let n = self.cells.iter().map(Vec::len).sum::<usize>();
        self.cells.iter().flatten().sum::<f64>() / n.max(1) as f64
    }
}

/// What may be chosen on validation problems beside the temperature of the vote and the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choices {
    /// How steps become a score.
    pub aggregations: Vec<Aggregation>,
    /// What the threshold of the first error is held against.
    pub signals: Vec<StepSignal>,
}

impl Choices {
    /// The paper's rule for implicit process reward models: the lowest process reward.
    pub fn implicit() -> Self {
        Self { aggregations: vec![Aggregation::Min], signals: vec![StepSignal::Reward] }
    }

    /// Whatever suits a baseline best.
    pub fn baseline() -> Self {
        Self {
            aggregations: vec![
                Aggregation::Min,
                Aggregation::QMin,
                Aggregation::Mean,
                Aggregation::Outcome,
            ],
            signals: vec![StepSignal::Reward, StepSignal::QValue],
        }
    }
}

/// A reward model judged on one seed's test problems; everything chosen was chosen on its
/// validation problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Best-of-N.
    pub best_of_n: SelectorAccuracies,
    /// The vote weighted by `exp(score / temperature)`.
    pub weighted_vote: SelectorAccuracies,
    /// Best-of-N average on the validation problems.
    pub validation: f64,
    /// How steps became a score.
    pub aggregation: Aggregation,
    /// The vote's temperature.
    pub vote_temperature: f64,
    /// What the threshold is held against.
    pub signal: StepSignal,
    /// A step is called wrong below this.
    pub threshold: f64,
    /// First-error score on each generator's candidates.
    pub first_error: Vec<FirstErrorScore>,
    /// What these scores are counted from: `[n_generators][n_problems]`.
    pub first_error_counts: Vec<Vec<FirstErrorCounts>>,
}

/// What needs no reward model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Controls {
    /// Majority vote.
    pub majority: SelectorAccuracies,
    /// One at random: pass@1.
    pub random: SelectorAccuracies,
    /// A right one if there is one.
    pub oracle: SelectorAccuracies,
}

/// Scores candidates, in order.
pub type ScoreCandidates<'s> = dyn FnMut(&Prepared) -> Result<Vec<Score>> + 's;

impl Lab<'_> {
    /// Judges the reward model of a recipe.
    ///
    /// # Errors
    /// Those of making, scoring and evaluating it.
    pub fn judge(
        &mut self,
        seed: u64,
        recipe: &Recipe,
        reference: InferenceReference,
    ) -> Result<Judgement> {
        let model = self.reward_model(seed, recipe)?;
        self.judge_model(seed, &model, recipe.objective.beta(), reference)
    }

    /// Judges a model by `beta * log pi/pi_ref`; a generator itself, without a reference, by its own
    /// log-probabilities (table 4, first row).
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_model(
        &mut self,
        seed: u64,
        model: &Path,
        beta: f64,
        reference: InferenceReference,
    ) -> Result<Judgement> {
        let key = json!({ "model": store::name(model), "beta": beta, "reference": reference });
        let options = self.options();
        let mut policy = None;
        self.judge_with(seed, &key, &Choices::implicit(), &mut |prepared| {
            let policy = match &mut policy {
                Some(policy) => policy,
                none => none.insert(NativeEngine::load(model, options)?),
            };
            prepared.log_ratio_scores(policy, beta, reference)
        })
    }

    /// Best-of-N average of a recipe on validation problems: all that tuning looks at.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn validate(&mut self, seed: u64, recipe: &Recipe) -> Result<f64> {
        let model = self.reward_model(seed, recipe)?;
        let beta = recipe.objective.beta();
        let options = self.options();
        let key = json!({ "model": store::name(&model), "beta": beta });
        self.validate_with(seed, &key, &Choices::implicit(), &mut |prepared| {
            let mut policy = NativeEngine::load(&model, options)?;
            prepared.log_ratio_scores(&mut policy, beta, InferenceReference::Start)
        })
    }

    /// Best-of-N average of whatever `score` says on validation problems.
    ///
    /// # Errors
    /// Those of scoring and evaluating.
    pub fn validate_with(
        &mut self,
        seed: u64,
        key: &Value,
        choices: &Choices,
        score: &mut ScoreCandidates<'_>,
    ) -> Result<f64> {
        let samples = self.candidates(seed, Split::Validation)?;
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": key, "validation": Self::names(&samples), "ns": ns,
                          "choices": choices });
        let mut validation = Vec::new();
        for path in &samples {
            validation.push(self.prepared(seed, path)?);
        }
        self.store.value("validation", &key, || {
            let scored = scored(&validation, score)?;
            Ok(best_aggregation(&problems(&scored), &ns, &choices.aggregations)?.0)
        })
    }

    /// Judges whatever `score` says of candidates; `key` is what it depends on.
    ///
    /// # Errors
    /// Those of scoring and evaluating.
    pub fn judge_with(
        &mut self,
        seed: u64,
        key: &Value,
        choices: &Choices,
        score: &mut ScoreCandidates<'_>,
    ) -> Result<Judgement> {
        let samples =
            [self.candidates(seed, Split::Validation)?, self.candidates(seed, Split::Test)?];
        let ns = self.settings.ns.clone();
        let key = json!({ "scores": key, "validation": Self::names(&samples[0]),
                          "test": Self::names(&samples[1]), "ns": ns, "choices": choices });
        let mut loaded = [Vec::new(), Vec::new()];
        for (of_split, paths) in loaded.iter_mut().zip(&samples) {
            for path in paths {
                of_split.push(self.prepared(seed, path)?);
            }
        }
        let [validation, test] = loaded;
        let observer = &mut *self.observer;
        self.store.value("judgement", &key, || {
            observer.stage("judgement", None);
            let validation = scored(&validation, score)?;
            let test = scored(&test, score)?;

            // Chosen on validation problems.
            let on_validation = problems(&validation);
            let (accuracy, aggregation) =
                best_aggregation(&on_validation, &ns, &choices.aggregations)?;
            let mut vote_temperature = (f64::NEG_INFINITY, VOTE_TEMPERATURES[0]);
            for temperature in VOTE_TEMPERATURES {
                let accuracy = table(&on_validation, vote(temperature, aggregation), &ns)?.mean();
                if accuracy > vote_temperature.0 {
                    vote_temperature = (accuracy, temperature);
                }
            }
            let tuned = choices.signals.iter().filter_map(|&signal| {
                let judged = validation.iter().flat_map(|(of, scores)| of.judged(scores, signal));
                tune_threshold(&judged.flatten().collect::<Vec<_>>()).map(|found| (signal, found))
            });
            let best = tuned.reduce(|best, next| if next.1.f1 > best.1.f1 { next } else { best });
            let (signal, found) =
                best.ok_or(Error::NoExamples { purpose: "tune the threshold on" })?;

            // Measured on test problems.
            let on_test = problems(&test);
            let mut first_error = Vec::new();
            let mut first_error_counts_of = Vec::new();
            for (of, scores) in &test {
                let judged = of.judged(scores, signal);
                let counts: Vec<FirstErrorCounts> = judged
                    .iter()
                    .map(|solutions| first_error_counts(solutions, found.threshold))
                    .collect();
                let all = counts.iter().fold(FirstErrorCounts::default(), |sum, of| sum.plus(*of));
                first_error.push(all.score(found.threshold));
                first_error_counts_of.push(counts);
            }
            Ok(Judgement {
                best_of_n: table(&on_test, best_of_n(aggregation), &ns)?,
                weighted_vote: table(&on_test, vote(vote_temperature.1, aggregation), &ns)?,
                validation: accuracy,
                aggregation,
                vote_temperature: vote_temperature.1,
                signal,
                threshold: found.threshold,
                first_error,
                first_error_counts: first_error_counts_of,
            })
        })
    }

    /// Majority, random and oracle on the test problems of a seed.
    ///
    /// # Errors
    /// Those of evaluating.
    pub fn controls(&mut self, seed: u64) -> Result<Controls> {
        let samples = self.candidates(seed, Split::Test)?;
        let ns = self.settings.ns.clone();
        let key = json!({ "test": Self::names(&samples), "ns": ns });
        let mut test = Vec::new();
        for path in &samples {
            test.push(self.prepared(seed, path)?);
        }
        self.store.value("controls", &key, || {
            let nothing =
                &mut |of: &Prepared| Ok(crate::experiment::truth::no_scores(&of.rollouts));
            let problems = problems(&scored(&test, nothing)?);
            let of = |method| table(&problems, Selector::without_score(method), &ns);
            Ok(Controls {
                majority: of(Method::Majority)?,
                random: of(Method::Random)?,
                oracle: of(Method::Oracle)?,
            })
        })
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

type Scored = Vec<(Rc<Prepared>, Vec<Score>)>;

/// The candidates of each generator with their scores.
fn scored(generators: &[Rc<Prepared>], score: &mut ScoreCandidates<'_>) -> Result<Scored> {
    generators.iter().map(|prepared| Ok((Rc::clone(prepared), score(prepared)?))).collect()
}

fn problems(scored: &Scored) -> Vec<GeneratorCandidates> {
    let of_generator = |(strength, (prepared, scores)): (Strength, &(Rc<Prepared>, Vec<Score>))| {
        let problems: Vec<ScoredProblem> = prepared.scored(scores);
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
