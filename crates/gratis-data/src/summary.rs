//! Summary of a rollout file in one pass: the counts on which the choice of an objective and of
//! data operations depends.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::operations::operation::Counts;
use crate::records::rollout::Rollout;
use crate::seeding::rank_of;

/// Counts over a rollout file. Remembers one number for each distinct prompt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Problems, responses and labels.
    pub counts: Counts,
    /// Distinct prompts; a problem may occur in several records.
    pub n_distinct_prompts: u64,
    /// Problems with correct and with incorrect responses: those that make pairs.
    pub n_mixed: u64,
    /// Problems with correct responses only.
    pub n_all_correct: u64,
    /// Problems with incorrect responses only.
    pub n_all_incorrect: u64,
    /// Pairs of a correct and an incorrect response of one problem.
    pub n_pairs: u64,
    /// Responses that are copies of another one of the same problem.
    pub n_copies: u64,
    /// Responses that come with their steps.
    pub n_with_steps: u64,
    /// Fewest and most responses of a problem.
    pub responses_per_problem: Option<(usize, usize)>,
    /// Bytes of all responses.
    pub n_response_bytes: u64,
    /// Bytes of the longest response.
    pub longest_response_bytes: usize,
    /// Problems by the `dataset` they come from.
    pub datasets: BTreeMap<String, u64>,
    #[serde(skip)]
    prompts: HashSet<u64>,
}

impl Summary {
    /// Counts a rollout.
    pub fn add(&mut self, rollout: &Rollout) {
        self.counts.add(rollout);
        let n = rollout.completions.len();
        self.prompts.insert(rank_of(0, &[&rollout.prompt]));
        self.n_distinct_prompts = self.prompts.len() as u64;
        let count = |label| rollout.completions.iter().filter(|c| c.label == Some(label)).count();
        let (n_correct, n_incorrect) = (count(true), count(false));
        self.n_pairs += (n_correct * n_incorrect) as u64;
        match (n_correct, n_incorrect) {
            (0, 0) => {}
            (_, 0) => self.n_all_correct += 1,
            (0, _) => self.n_all_incorrect += 1,
            _ => self.n_mixed += 1,
        }
        let mut distinct: Vec<&str> = rollout.texts().collect();
        distinct.sort_unstable();
        distinct.dedup();
        self.n_copies += (n - distinct.len()) as u64;
        self.n_with_steps +=
            rollout.completions.iter().filter(|c| c.steps.is_some()).count() as u64;
        let (fewest, most) = self.responses_per_problem.unwrap_or((n, n));
        self.responses_per_problem = Some((fewest.min(n), most.max(n)));
        for text in rollout.texts() {
            self.n_response_bytes += text.len() as u64;
            self.longest_response_bytes = self.longest_response_bytes.max(text.len());
        }
        *self.datasets.entry(rollout.dataset.clone()).or_default() += 1;
    }
}
