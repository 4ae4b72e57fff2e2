//! Candidates prepared for repeated scoring: as tokens, with the classes of their answers and the
//! true labels of their steps. Everything that does not depend on the reward model is computed
//! once.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use gratis::ProblemCandidates;
use gratis::data::{ProblemScores, Rollout, ScorePart};
use gratis::encoding::{Corpus, log_probs};
use gratis::evaluation::GeneratorCandidates;
use gratis::observer::Silent;
use gratis::reward::{ValueRule, log_ratios};
use gratis::scoring::{Solution, TokenRewards, scores_of, solutions};
use gratis_cpu::NativeEngine;

use super::{Cache, store};
use crate::error::Result;
use crate::evaluation::{Scored, no_scores};
use crate::rows::InferenceReference;
use crate::trainer::{self, BATCH_TOKENS};
use crate::truth;
use crate::world::{Split, Strength};

/// Candidates of one generator.
pub(crate) struct Candidates {
    /// The candidates.
    pub(crate) rollouts: Rc<Vec<Rollout>>,
    corpus: Corpus,
    solutions: Vec<Solution>,
    /// Without rewards.
    problems: Vec<ProblemCandidates>,
    first_errors: Rc<Vec<Vec<Option<usize>>>>,
    /// Log-probabilities under the medium generator.
    reference: Vec<Vec<f32>>,
}

impl Candidates {
    /// `log pi` of every token of every distinct candidate.
    pub(crate) fn log_probs(&self, engine: &mut NativeEngine) -> Result<Vec<Vec<f32>>> {
        Ok(log_probs(engine, &self.corpus, BATCH_TOKENS, &mut Silent)?)
    }

    /// Scores by `beta * log pi/pi_ref`, the values of prefixes by `rule`.
    ///
    /// # Errors
    /// Those of the engine.
    pub(super) fn log_ratio_scores(
        &self,
        policy: &mut NativeEngine,
        beta: f64,
        rule: ValueRule,
        reference: InferenceReference,
    ) -> Result<Vec<ProblemScores>> {
        let policy = self.log_probs(policy)?;
        let gains = |&Solution { response, .. }: &Solution| {
            let reference = match reference {
                InferenceReference::None => None,
                InferenceReference::Start => Some(&self.reference[response][..]),
            };
            rule.gains(log_ratios(&policy[response], reference), &[])
        };
        let (rollouts, corpus) = (&self.rollouts, &self.corpus);
        Ok(scores_of(rollouts, &self.solutions, corpus, beta, TokenRewards::Omit, gains)?)
    }

    /// The candidates with these scores.
    ///
    /// # Errors
    /// Those of the scores.
    pub(super) fn scored(&self, generator: &str, scores: Vec<ProblemScores>) -> Result<Scored> {
        let problems = self.problems.iter().zip(&scores);
        let problems = problems
            .map(|(problem, scores)| problem.with_scores(scores))
            .collect::<Result<_, gratis::Error>>()?;
        let candidates = GeneratorCandidates { name: generator.to_owned(), problems };
        let first_errors = Some(Rc::clone(&self.first_errors));
        Ok(Scored { candidates, scores, first_errors })
    }
}

impl Cache<'_> {
    /// The names of the candidates of a split, for cache keys.
    pub(super) fn candidate_names(&mut self, seed: u64, split: Split) -> Result<Vec<String>> {
        Ok(self.candidate_samples(seed, split)?.iter().map(|path| store::name(path)).collect())
    }

    /// The candidates of each generator on a split, weakest first.
    pub(super) fn split_candidates(
        &mut self,
        seed: u64,
        split: Split,
    ) -> Result<Vec<Rc<Candidates>>> {
        let samples: Vec<PathBuf> = self.candidate_samples(seed, split)?;
        samples.iter().map(|samples| self.candidates(seed, samples)).collect()
    }

    /// The candidates of an artefact of samples, held in memory.
    pub(crate) fn candidates(&mut self, seed: u64, samples: &Path) -> Result<Rc<Candidates>> {
        if let Some(candidates) = self.candidates.get(samples) {
            return Ok(Rc::clone(candidates));
        }
        let rollouts = self.rollouts(samples)?;
        let medium = self.generator(seed, Strength::Medium)?;
        let engine = self.load(&medium)?;
        let encoder = trainer::encoder(&self.tokenizer, &engine)?;
        let mut corpus = Corpus::default();
        let split = &trainer::STEP_SPLIT;
        let solutions = solutions(&rollouts, &encoder, split, ScorePart::All, &mut corpus)?;
        let reference = log_probs(&engine, &corpus, BATCH_TOKENS, &mut Silent)?;
        let no_scores = no_scores(&rollouts);
        let first_errors = rollouts.iter().map(|r| truth::first_errors(r).collect()).collect();
        let problems = rollouts.iter().zip(&no_scores);
        let candidates = Rc::new(Candidates {
            problems: problems
                .map(|(rollout, score)| ProblemCandidates::new(rollout, score))
                .collect::<Result<_, gratis::Error>>()?,
            first_errors: Rc::new(first_errors),
            rollouts,
            corpus,
            solutions,
            reference,
        });
        self.candidates.insert(samples.to_owned(), Rc::clone(&candidates));
        Ok(candidates)
    }
}
