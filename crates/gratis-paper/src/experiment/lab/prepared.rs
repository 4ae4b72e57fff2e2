//! Candidates ready to be judged again and again: as tokens, with the classes of their answers and
//! the truth about their steps; whatever does not depend on the reward model is done once.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use gratis_cpu::NativeEngine;

use super::{InferenceReference, Lab, store};
use crate::experiment::{truth, workshop};
use crate::world::Strength;
use gratis::data::{CompletionScore, Rollout, Score};
use gratis::encoding::{Corpus, log_probs};
use gratis::error::Result;
use gratis::evaluation::{JudgedSolution, ScoredProblem, StepSignal};
use gratis::observer::Silent;
use gratis::reward::Rewards;
use gratis::scoring::{Solution, TokenRewards, scores_of, solutions};

/// Tokens in a batch when scoring.
pub(super) const BATCH_TOKENS: usize = 8192;

/// Candidates of one generator.
pub struct Prepared {
    /// The candidates.
    pub rollouts: Rc<Vec<Rollout>>,
    corpus: Corpus,
    solutions: Vec<Solution>,
    /// Without rewards.
    problems: Vec<ScoredProblem>,
    first_errors: Vec<Vec<Option<usize>>>,
    /// Log-probabilities under the medium generator.
    reference: Vec<Vec<f32>>,
}

impl Prepared {
    /// `log pi` of every token of every different candidate.
    pub(super) fn log_probs(&self, engine: &mut NativeEngine) -> Result<Vec<Vec<f32>>> {
        log_probs(engine, &self.corpus, BATCH_TOKENS, &mut Silent)
    }

    /// Scores by `beta * log pi/pi_ref`.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn log_ratio_scores(
        &self,
        policy: &mut NativeEngine,
        beta: f64,
        reference: InferenceReference,
    ) -> Result<Vec<Score>> {
        let policy = self.log_probs(policy)?;
        let log_ratios = |solution: &Solution| -> Vec<f64> {
            let own = policy[solution.response].iter().map(|&lp| f64::from(lp));
            match reference {
                InferenceReference::None => own.collect(),
                InferenceReference::Start => {
                    let reference = &self.reference[solution.response];
                    own.zip(reference).map(|(lp, &lp_ref)| lp - f64::from(lp_ref)).collect()
                }
            }
        };
        scores_of(&self.rollouts, &self.solutions, beta, TokenRewards::Omit, log_ratios)
    }

    /// The problems with these scores.
    pub(super) fn scored(&self, scores: &[Score]) -> Vec<ScoredProblem> {
        let rewards = |score: &CompletionScore| Rewards {
            tokens: Vec::new(),
            steps: score.steps.clone(),
            q_values: score.q_values.clone(),
            outcome: score.outcome,
        };
        let with = |(problem, score): (&ScoredProblem, &Score)| ScoredProblem {
            rewards: score.scores.iter().map(rewards).collect(),
            ..problem.clone()
        };
        self.problems.iter().zip(scores).map(with).collect()
    }

    /// What a threshold is held against beside the truth, problem by problem.
    pub(super) fn judged(&self, scores: &[Score], signal: StepSignal) -> Vec<Vec<JudgedSolution>> {
        let of_problem = |(first_errors, score): (&Vec<Option<usize>>, &Score)| {
            let solutions = first_errors.iter().zip(&score.scores);
            let judge = |(&first_error, score): (&Option<usize>, &CompletionScore)| {
                JudgedSolution { process_rewards: signal.of(score).to_vec(), first_error }
            };
            solutions.map(judge).collect()
        };
        self.first_errors.iter().zip(scores).map(of_problem).collect()
    }
}

impl Lab<'_> {
    /// The samples of an artefact, prepared; held in memory.
    pub(super) fn prepared(&mut self, seed: u64, samples: &Path) -> Result<Rc<Prepared>> {
        if let Some(prepared) = self.prepared.get(samples) {
            return Ok(Rc::clone(prepared));
        }
        let rollouts = self.rollouts(samples)?;
        let medium = self.generator(seed, Strength::Medium)?;
        let engine = self.load(&medium)?;
        let encoder = workshop::encoder(&self.tokenizer, &engine)?;
        let mut corpus = Corpus::default();
        let solutions = solutions(&rollouts, &encoder, &workshop::STEP_SPLIT, &mut corpus)?;
        let reference = log_probs(&engine, &corpus, BATCH_TOKENS, &mut Silent)?;
        let nothing = truth::no_scores(&rollouts);
        let problems = rollouts.iter().zip(&nothing);
        let prepared = Rc::new(Prepared {
            problems: problems
                .map(|(rollout, score)| ScoredProblem::new(rollout, score))
                .collect::<Result<_>>()?,
            first_errors: rollouts.iter().map(|r| truth::first_errors(r).collect()).collect(),
            rollouts,
            corpus,
            solutions,
            reference,
        });
        self.prepared.insert(samples.to_owned(), Rc::clone(&prepared));
        Ok(prepared)
    }

    /// Names of artefacts, for keys.
    pub(super) fn names(paths: &[std::path::PathBuf]) -> Vec<String> {
        paths.iter().map(|path| store::name(path)).collect()
    }
}

/// Prepared samples by artefact.
pub(super) type PreparedSamples = HashMap<std::path::PathBuf, Rc<Prepared>>;
