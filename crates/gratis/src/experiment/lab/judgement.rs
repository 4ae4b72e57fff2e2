//! What a reward model is worth on candidates it has never seen: problem by problem, so that
//! intervals and comparisons can be drawn afterwards.

use std::path::Path;

use gratis_engine::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{InferenceReference, Lab, Recipe, store};
use crate::data::{Rollout, Score};
use crate::error::{Error, Result};
use crate::evaluation::best_of_n::accuracies;
use crate::evaluation::{
    FirstErrorCounts, FirstErrorScore, GeneratorCandidates, ScoredProblem, Selector,
    first_error_counts, first_error_score, tune_threshold,
};
use crate::experiment::truth;
use crate::experiment::workshop;
use crate::scoring::{Scorer, ScoringSettings, TokenRewards};
use crate::selection::{Aggregation, Method, Subsets, VoteWeight};
use crate::world::{Split, Strength};

/// Temperatures among which the vote's is chosen, on validation problems.
const VOTE_TEMPERATURES: [f64; 7] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
/// Tokens in a batch when scoring.
const BATCH_TOKENS: usize = 8192;

/// The accuracy of one way to select, on every problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectorAccuracies {
    /// The selector.
    pub selector: Selector,
    /// One cell for each generator, weakest first, and each N: `[n_cells][n_problems]`.
    pub cells: Vec<Vec<f64>>,
}

impl SelectorAccuracies {
    /// Mean over the cells on each problem: `[n_problems]`.
    pub fn averages(&self) -> Vec<f64> {
        let n_problems = self.cells.first().map_or(0, Vec::len);
        let mean = |problem: usize| {
            self.cells.iter().map(|cell| cell[problem]).sum::<f64>() / self.cells.len() as f64
        };
        (0..n_problems).map(mean).collect()
    }
}

/// A reward model judged on one seed's test problems; everything chosen was chosen on its
/// validation problems.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Best-of-N by the lowest process reward.
    pub best_of_n: SelectorAccuracies,
    /// The vote weighted by `exp(lowest process reward / temperature)`.
    pub weighted_vote: SelectorAccuracies,
    /// Best-of-N average on the validation problems: what tuning looks at.
    pub validation: f64,
    /// The vote's temperature.
    pub vote_temperature: f64,
    /// A step is called wrong below this process reward.
    pub threshold: f64,
    /// First-error score on each generator's candidates.
    pub first_error: Vec<FirstErrorScore>,
    /// What these scores are counted from: `[n_generators][n_problems]`.
    pub first_error_counts: Vec<Vec<FirstErrorCounts>>,
    /// Processor time of scoring the test candidates, where somebody measured it.
    pub cpu_seconds: Option<f64>,
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

/// Scores completions, in order.
pub type ScoreCandidates<'s> = dyn FnMut(&[Rollout]) -> Result<Vec<Score>> + 's;

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

    /// Judges the medium generator itself by its own log-probabilities (table 4, first row).
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_untrained(&mut self, seed: u64) -> Result<Judgement> {
        let model = self.generator(seed, Strength::Medium)?;
        self.judge_model(seed, &model, 1.0, InferenceReference::None)
    }

    /// Judges a model by `beta * log pi/pi_ref`.
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
        let start = self.generator(seed, Strength::Medium)?;
        let tokenizer = self.tokenizer.clone();
        let options = self.options();
        let key = json!({ "model": store::name(model), "beta": beta, "reference": reference });
        let load = || -> Result<_> {
            let policy = gratis_engine::NativeEngine::load(model, options)?;
            let reference = match reference {
                InferenceReference::Start => {
                    Some(gratis_engine::NativeEngine::load(&start, options)?)
                }
                InferenceReference::None => None,
            };
            Ok((policy, reference))
        };
        let mut engines = None;
        self.judge_with(seed, &key, &mut |rollouts| {
            let (policy, reference) = match &mut engines {
                Some(engines) => engines,
                none => none.insert(load()?),
            };
            let settings = ScoringSettings {
                beta,
                step_split: workshop::STEP_SPLIT,
                batch_tokens: BATCH_TOKENS,
                tokens: TokenRewards::Omit,
            };
            let encoder = workshop::encoder(&tokenizer, policy)?;
            let reference = reference.as_mut().map(|engine| engine as &mut dyn Engine);
            let mut scorer = Scorer { policy, reference, encoder, settings };
            scorer.score(rollouts, &mut crate::observer::Silent)
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
        score: &mut ScoreCandidates<'_>,
    ) -> Result<Judgement> {
        let validation = self.candidates(seed, Split::Validation)?;
        let test = self.candidates(seed, Split::Test)?;
        let names = |paths: &[std::path::PathBuf]| -> Vec<String> {
            paths.iter().map(|path| store::name(path)).collect()
        };
        let key = json!({ "scores": key, "validation": names(&validation), "test": names(&test),
                          "ns": self.settings.ns });
        let mut loaded = [Vec::new(), Vec::new()];
        for (of_split, paths) in loaded.iter_mut().zip([&validation, &test]) {
            for path in paths {
                of_split.push(self.rollouts(path)?);
            }
        }
        let [validation, test] = loaded;
        let ns = self.settings.ns.clone();
        let observer = &mut *self.observer;
        self.store.value("judgement", &key, || {
            observer.stage("judgement", None);
            let scored_validation = scored(&validation, score)?;
            let before = observer.processor_seconds();
            let scored_test = scored(&test, score)?;
            let cpu_seconds = super::since(before, observer);

            // Chosen on validation problems.
            let judged: Vec<_> = scored_validation
                .iter()
                .flat_map(|(rollouts, scores)| truth::judged(rollouts, scores).concat())
                .collect();
            let nothing = Error::NoExamples { purpose: "tune the threshold on" };
            let threshold = tune_threshold(&judged).ok_or(nothing)?.threshold;
            let on_validation = problems(&scored_validation)?;
            let mean = |selector| -> Result<f64> {
                let averages = table(&on_validation, selector, &ns)?.averages();
                Ok(averages.iter().sum::<f64>() / averages.len().max(1) as f64)
            };
            let mut vote_temperature = (f64::NEG_INFINITY, VOTE_TEMPERATURES[0]);
            for temperature in VOTE_TEMPERATURES {
                let accuracy = mean(vote(temperature))?;
                if accuracy > vote_temperature.0 {
                    vote_temperature = (accuracy, temperature);
                }
            }

            // Measured on test problems.
            let on_test = problems(&scored_test)?;
            let mut first_error = Vec::new();
            let mut counts = Vec::new();
            for (rollouts, scores) in &scored_test {
                let judged = truth::judged(rollouts, scores);
                counts.push(judged.iter().map(|of| first_error_counts(of, threshold)).collect());
                first_error.push(first_error_score(&judged.concat(), threshold));
            }
            Ok(Judgement {
                best_of_n: table(&on_test, BEST_OF_N, &ns)?,
                weighted_vote: table(&on_test, vote(vote_temperature.1), &ns)?,
                validation: mean(BEST_OF_N)?,
                vote_temperature: vote_temperature.1,
                threshold,
                first_error,
                first_error_counts: counts,
                cpu_seconds,
            })
        })
    }

    /// Majority, random and oracle on the test problems of a seed.
    ///
    /// # Errors
    /// Those of evaluating.
    pub fn controls(&mut self, seed: u64) -> Result<Controls> {
        let test = self.candidates(seed, Split::Test)?;
        let names: Vec<String> = test.iter().map(|path| store::name(path)).collect();
        let key = json!({ "test": names, "ns": self.settings.ns });
        let mut rollouts = Vec::new();
        for path in &test {
            rollouts.push(self.rollouts(path)?);
        }
        let ns = self.settings.ns.clone();
        self.store.value("controls", &key, || {
            let scored = scored(&rollouts, &mut |rollouts| Ok(truth::no_scores(rollouts)))?;
            let problems = problems(&scored)?;
            let of = |method| table(&problems, Selector::without_score(method), &ns);
            Ok(Controls {
                majority: of(Method::Majority)?,
                random: of(Method::Random)?,
                oracle: of(Method::Oracle)?,
            })
        })
    }
}

const BEST_OF_N: Selector = Selector { method: Method::BestOfN, aggregation: Aggregation::Min };

fn vote(temperature: f64) -> Selector {
    let weight = VoteWeight::Exponential { temperature };
    Selector { method: Method::WeightedVote { weight }, aggregation: Aggregation::Min }
}

type Scored<'r> = Vec<(&'r [Rollout], Vec<Score>)>;

/// The candidates of each generator with their scores.
fn scored<'r>(
    generators: &'r [std::rc::Rc<Vec<Rollout>>],
    score: &mut ScoreCandidates<'_>,
) -> Result<Scored<'r>> {
    generators.iter().map(|rollouts| Ok((rollouts.as_slice(), score(rollouts)?))).collect()
}

fn problems(scored: &Scored) -> Result<Vec<GeneratorCandidates>> {
    let of_generator = |(strength, (rollouts, scores)): (Strength, &(&[Rollout], Vec<Score>))| {
        let problems = rollouts.iter().zip(scores);
        Ok(GeneratorCandidates {
            name: strength.name().to_owned(),
            problems: problems
                .map(|(rollout, score)| ScoredProblem::new(rollout, score))
                .collect::<Result<_>>()?,
        })
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
