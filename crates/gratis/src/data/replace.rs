//! Replacing some responses by those of another model (appendix C.2: four of a base model's).

use std::collections::HashMap;
use std::path::PathBuf;

use rand::seq::index;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::RolloutReader;
use super::operation::{Operation, Outcome, Start};
use super::record::OnInvalid;
use super::rollout::Rollout;
use super::seeding::rng_of;
use crate::error::{Error, Result};

/// Replaces `n` random responses of each instruction by as many random ones that another file has
/// for the same prompt. Instructions for which either side has fewer stay as they are. Remembers
/// the other file's responses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceResponses {
    /// The other file.
    pub path: PathBuf,
    /// Responses to replace, at least 1; the paper replaces 4 of 8.
    pub n: usize,
    /// Seed of both choices.
    #[serde(default)]
    pub seed: u64,
}

impl Start for ReplaceResponses {
    fn start(&self) -> Result<Box<dyn Operation>> {
        if self.n == 0 {
            return Err(Error::setting("n", "at least 1", self.n));
        }
        let mut others = HashMap::new();
        for other in RolloutReader::open(&self.path, OnInvalid::Stop)? {
            let other = other?;
            others.insert(other.prompt.clone(), other);
        }
        Ok(Box::new(Replacement { n: self.n, seed: self.seed, others }))
    }
}

struct Replacement {
    n: usize,
    seed: u64,
    others: HashMap<String, Rollout>,
}

impl Operation for Replacement {
    fn apply(&mut self, _number: u64, mut rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let n_enough = |r: &Rollout| r.completions.len() >= self.n;
        let other = self.others.get(&rollout.prompt).filter(|other| n_enough(other));
        let Some(other) = other.filter(|_| n_enough(&rollout)) else {
            out.remark("problems without enough responses to exchange", 1);
            return out.keep(rollout);
        };
        let mut rng = rng_of(self.seed, &rollout.prompt);
        let places = index::sample(&mut rng, rollout.completions.len(), self.n);
        let sources = index::sample(&mut rng, other.completions.len(), self.n);
        for (place, source) in places.into_iter().zip(sources) {
            rollout.replace_completion(place, other, source)?;
        }
        out.remark("responses replaced", self.n as u64);
        out.keep(rollout)
    }
}

impl Rollout {
    /// Puts the completion `source` of `other`, with all that belongs to it, at `place`.
    fn replace_completion(&mut self, place: usize, other: &Self, source: usize) -> Result<()> {
        let n = self.completions.len();
        match (&mut self.correctness, &other.correctness) {
            (Some(labels), Some(others)) => labels[place] = others[source],
            (None, None) => {}
            _ => {
                return Err(Error::NoCorrectness {
                    needed_by: "exchanging responses of graded rollouts".to_owned(),
                    record: format!("one side of the problem `{}`", self.prompt),
                });
            }
        }
        match (&mut self.steps, &other.steps) {
            (Some(steps), Some(others)) => steps[place].clone_from(&others[source]),
            (steps, _) => *steps = None, // steps of some responses only would be of none
        }
        for (key, value) in &mut self.extra {
            if let Some(items) = value.as_array_mut().filter(|items| items.len() == n) {
                let theirs = other.extra.get(key).and_then(Value::as_array);
                items[place] =
                    theirs.and_then(|items| items.get(source)).cloned().unwrap_or_default();
            }
        }
        self.completions[place].clone_from(&other.completions[source]);
        Ok(())
    }
}
