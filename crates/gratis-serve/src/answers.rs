//! Final answers of candidates: which agree, and which the vote selects.

use std::collections::HashMap;

use gratis::selection::{VoteWeight, weighted_vote};
use serde::Serialize;

/// The final answers of the candidates of a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// The answer of each candidate as written; `None` where none was found.
    pub extracted: Vec<Option<String>>,
    /// The first candidate with the same answer; a candidate without an answer agrees with none.
    pub same_as: Vec<usize>,
    /// The candidate that the vote weighted by `sigmoid(reward)` selects.
    pub vote: Option<usize>,
}

impl Answers {
    /// The answers in `texts`, whose rewards are `rewards`.
    pub fn of<'a>(texts: impl Iterator<Item = &'a str>, rewards: &[f64]) -> Self {
        let extracted: Vec<Option<String>> =
            texts.map(|text| gratis_grading::extract(text).answer).collect();
        let known: Vec<&str> = extracted.iter().flatten().map(String::as_str).collect();
        let mut classes = gratis_grading::classes(&known).into_iter();
        let mut first = HashMap::new();
        let same_as = extracted.iter().enumerate().map(|(idx, answer)| match answer {
            Some(_) => *first.entry(classes.next()).or_insert(idx),
            None => idx,
        });
        let same_as: Vec<usize> = same_as.collect();
        let vote = weighted_vote(&same_as, &VoteWeight::Sigmoid.weights(rewards));
        Self { extracted, same_as, vote }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_answers_vote_together() {
        let texts = ["The answer is 3.", "It is \\boxed{0.5}", "I do not know.", "\\boxed{1/2}"];
        let answers = Answers::of(texts.into_iter(), &[0.4, 0.1, 0.2, 0.1]);
        assert_eq!(answers.same_as, [0, 1, 2, 1]);
        assert_eq!(answers.vote, Some(1));
        assert_eq!(answers.extracted[2], None);
    }
}
