//! Example solutions: candidates with the process reward of each step and the true labels. Fixed
//! rules choose them, to avoid cherry-picking.

use gratis::data::StepSplitter;
use gratis::data::{ProblemScores, Rollout, ScorePart};
use gratis::observer::Silent;
use gratis::reward::ValueRule;
use gratis::scoring::{ScoreRollouts as _, Scorer, ScoringSettings, TokenRewards};
use gratis::selection::{self, Aggregation};
use gratis::{JudgedSolution, ProblemCandidates};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::report::{JudgedStep, SolutionView};
use crate::rows::{Recipe, RewardModel};
use crate::trainer::{self, BATCH_TOKENS};
use crate::truth::first_errors;
use crate::world::{Split, Strength};

/// Number of problems searched for examples.
const N_PROBLEMS: usize = 20;
/// A solution with its process rewards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Example {
    /// Why it is shown.
    pub caption: String,
    /// The problem.
    pub problem: String,
    /// The gold answer.
    pub reference: String,
    /// Its steps with their process rewards.
    pub steps: Vec<JudgedStep>,
    /// Index of the first wrong step.
    pub first_error: Option<usize>,
    /// Outcome reward.
    pub outcome_reward: f64,
    /// Whether the final answer is right.
    pub is_correct: bool,
}

impl Example {
    /// Candidate `idx` of a problem of the tiny world.
    ///
    /// # Errors
    /// [`gratis::data::Error::NoCorrectness`] for rollouts that are not graded.
    pub(crate) fn new(
        (rollout, score): (&Rollout, &ProblemScores),
        idx: usize,
        splitter: &StepSplitter,
        caption: String,
    ) -> Result<Self> {
        let text = &rollout.completions[idx].text;
        let rewards = &score.scores[idx];
        let steps = splitter.split(text).into_iter().zip(&rewards.steps);
        let judged = steps.map(|(range, &process_reward)| JudgedStep {
            text: text[range].to_owned(),
            process_reward,
        });
        Ok(Self {
            caption,
            problem: rollout.prompt.clone(),
            reference: rollout.reference.clone(),
            steps: judged.collect(),
            first_error: first_errors(rollout).nth(idx).flatten(),
            outcome_reward: rewards.outcome,
            is_correct: rollout.labels("the solutions to look at")?[idx],
        })
    }

    /// The example for display; `threshold` and `scale` set the colours.
    pub(crate) fn view(&self, threshold: f64, scale: f64) -> SolutionView {
        let verdict = if self.is_correct { "right" } else { "wrong" };
        SolutionView {
            problem: self.problem.clone(),
            steps: self.steps.clone(),
            threshold,
            scale,
            first_error: self.first_error,
            summary: format!(
                "Outcome reward {:+.2}. The final answer is {verdict}; the gold answer is {}.",
                self.outcome_reward, self.reference
            ),
        }
    }

    /// The majority's and the reward model's candidate of a problem, if the majority is wrong and the
    /// reward model's choice, by its lowest process reward, is right.
    ///
    /// # Errors
    /// Those of grading answers.
    pub(crate) fn against_majority(
        rollout: &Rollout,
        score: &ProblemScores,
        splitter: &StepSplitter,
    ) -> Result<Option<[Self; 2]>> {
        let problem = ProblemCandidates::new(rollout, score)?;
        let (answers, correct) = (problem.answers(), problem.correct());
        let scores = problem.scores(Aggregation::Min);
        let (Some(voted), Some(best)) =
            (selection::majority(answers), selection::best_of_n(&scores))
        else {
            return Ok(None);
        };
        if correct[voted] || !correct[best] {
            return Ok(None);
        }
        let n_votes = answers.iter().filter(|&&a| a == answers[voted]).count();
        let n = scores.len();
        let of = (rollout, score);
        let caption = format!("The majority's answer, given by {n_votes} of {n} candidates");
        let voted = Self::new(of, voted, splitter, caption)?;
        let caption = format!("The reward model's choice among the same {n} candidates");
        Ok(Some([voted, Self::new(of, best, splitter, caption)?]))
    }
}

/// Solutions of one reward model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names in the file")]
pub(crate) struct Examples {
    /// Which reward model, which candidates, and how it does on all of them.
    pub lead: String,
    /// A step with a process reward below this is predicted wrong.
    pub threshold: f64,
    /// Distance from the threshold at which a colour is strong.
    pub scale: f64,
    /// The solutions.
    pub examples: Vec<Example>,
}

/// The kinds of example by the outcome of first-error detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    FoundDespiteRightAnswer,
    Missed,
    FalseAlarm,
}

impl Finding {
    const ALL: [Self; 3] = [Self::FoundDespiteRightAnswer, Self::Missed, Self::FalseAlarm];

    fn caption(self) -> &'static str {
        match self {
            Self::FoundDespiteRightAnswer => {
                "The first candidate with a right answer despite a wrong step whose first wrong step \
                 is found: its outcome label in training would not have shown the error"
            }
            Self::Missed => "The first candidate whose first wrong step is missed",
            Self::FalseAlarm => "The first candidate without a wrong step in which one is reported",
        }
    }

    fn of(truth: Option<usize>, predicted: Option<usize>, is_correct: bool) -> Option<Self> {
        match (truth, predicted) {
            (Some(truth), Some(predicted)) if truth == predicted => {
                is_correct.then_some(Self::FoundDespiteRightAnswer)
            }
            (Some(_), _) => Some(Self::Missed),
            (None, Some(_)) => Some(Self::FalseAlarm),
            (None, None) => None,
        }
    }
}

/// Candidates of the medium generator for the first test problems of the first seed, as scored by
/// the reward model of a recipe: found, missed and falsely reported, the first of each kind.
pub(crate) fn examples(cache: &mut Cache<'_>, recipe: &Recipe) -> Result<Examples> {
    let seed = cache.settings.seeds.first().copied().unwrap_or_default();
    let evaluation = cache.evaluate(seed, &RewardModel::from(recipe.clone()))?;
    let threshold = evaluation.threshold.ok_or(Error::NoThreshold)?;
    let medium = Strength::ALL.iter().position(|&strength| strength == Strength::Medium);
    let candidates = cache.candidate_samples(seed, Split::Test)?;
    let rollouts = cache.rollouts(&candidates[medium.unwrap_or_default()])?;
    let rollouts = &rollouts[..rollouts.len().min(N_PROBLEMS)];
    let model = cache.implicit_model(seed, recipe)?;
    let generator = cache.generator(seed, Strength::Medium)?;
    let beta = recipe.objective.beta();
    let (policy, reference) = (cache.load(&model)?, cache.load(&generator)?);
    let encoder = trainer::encoder(cache.tokenizer(), &policy)?;
    let settings = ScoringSettings {
        beta,
        value_rule: ValueRule::Sum,
        step_split: trainer::STEP_SPLIT,
        batch_tokens: BATCH_TOKENS,
        tokens: TokenRewards::Omit,
        part: ScorePart::All,
    };
    let scorer = Scorer { policy: &policy, reference: Some(&reference), encoder, settings };
    let scores = scorer.score(rollouts, &mut Silent)?;

    let splitter = StepSplitter::new(&trainer::STEP_SPLIT)?;
    let mut shown = Vec::new();
    for (rollout, score) in rollouts.iter().zip(&scores) {
        if let Some(both) = Example::against_majority(rollout, score, &splitter)? {
            shown.extend(both);
            break;
        }
    }
    let mut first: [Option<Example>; 3] = [None, None, None];
    let (mut n_wrong, mut n_found, mut n_right, mut n_left_alone) = (0, 0, 0, 0);
    for of in rollouts.iter().zip(&scores) {
        let labels = of.0.labels("the solutions to look at")?;
        for (idx, truth) in first_errors(of.0).enumerate() {
            let predicted = JudgedSolution::predict(&of.1.scores[idx].steps, threshold);
            let (n, n_as_it_is) = match truth {
                Some(_) => (&mut n_wrong, &mut n_found),
                None => (&mut n_right, &mut n_left_alone),
            };
            *n += 1;
            *n_as_it_is += usize::from(predicted == truth);
            let Some(finding) = Finding::of(truth, predicted, labels[idx]) else { continue };
            let kinds = Finding::ALL.iter().zip(&mut first);
            for (_, slot) in kinds.filter(|(kind, slot)| **kind == finding && slot.is_none()) {
                *slot = Some(Example::new(of, idx, &splitter, finding.caption().to_owned())?);
            }
        }
    }
    shown.extend(first.into_iter().flatten());
    Ok(Examples {
        lead: format!(
            "Single steps as the `{}` reward model of seed {seed} (beta {beta}) scores them. Beside \
             each step is its process reward; blue is above the threshold of {threshold:.3}, which \
             was chosen on validation problems, orange below. Among the {} candidates of the medium \
             generator for the first {} test problems, the first wrong step is found in {n_found} of \
             {n_wrong} that have one, and none is reported in {n_left_alone} of {n_right} that have \
             none. The first of each kind is shown, in the order of the problems.",
            recipe.objective.name(),
            n_wrong + n_right,
            rollouts.len(),
        ),
        threshold,
        scale: beta * 4.0,
        examples: shown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_is_of_one_kind_at_most() {
        let of = Finding::of;
        assert_eq!(of(Some(1), Some(1), true), Some(Finding::FoundDespiteRightAnswer));
        assert_eq!(of(Some(1), Some(1), false), None);
        assert_eq!(of(Some(1), Some(0), false), Some(Finding::Missed));
        assert_eq!(of(Some(1), None, true), Some(Finding::Missed));
        assert_eq!(of(None, Some(2), true), Some(Finding::FalseAlarm));
        assert_eq!(of(None, None, true), None);
    }
}
