//! What an optimizer batch counts: a response, a pair, or a run of responses.

use std::sync::Arc;

use crate::encoding::{Corpus, Item};
use crate::objective::{Pair, StepLabel};

/// A response with its outcome label.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardExample {
    /// Index of the response in the corpus.
    pub response: usize,
    /// The problem, as errors name it.
    pub problem: String,
    /// The outcome label.
    pub is_correct: bool,
    /// Labels of the steps, for objectives that need them; otherwise empty.
    pub steps: Vec<StepLabel>,
}

/// Which units labelled responses make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitKind {
    /// One a response.
    Responses,
    /// One a response that has a labelled step.
    LabelledSteps,
    /// One a pair of a correct and an incorrect response.
    Pairs,
}

/// Responses, and what of them is one unit.
#[derive(Debug, Clone, Default)]
pub struct Units {
    /// The tokens that `items` index.
    pub corpus: Corpus,
    /// The units.
    pub items: Vec<Item>,
    /// The problem of each unit, as errors name it.
    problems: Vec<Arc<str>>,
}

impl Units {
    /// No units yet, of this corpus.
    pub fn new(corpus: Corpus) -> Self {
        Self { corpus, ..Self::default() }
    }

    /// Adds a unit of the problem that errors name so.
    pub fn push(&mut self, item: Item, problem: impl Into<Arc<str>>) {
        self.items.push(item);
        self.problems.push(problem.into());
    }

    /// The units of labelled responses, and the example that each unit's labels are read from: the
    /// chosen one of a pair. `pairs` are indices into `examples`.
    pub fn of_examples(
        kind: UnitKind,
        corpus: Corpus,
        examples: &[RewardExample],
        pairs: &[Pair],
    ) -> (Self, Vec<usize>) {
        let names: Vec<Arc<str>> =
            examples.iter().map(|example| example.problem.as_str().into()).collect();
        let mut units = Self::new(corpus);
        let mut example_of = Vec::new();
        let mut push = |item, idx: usize| {
            units.push(item, Arc::clone(&names[idx]));
            example_of.push(idx);
        };
        if kind == UnitKind::Pairs {
            for &Pair { chosen, rejected } in pairs {
                let [of_chosen, of_rejected] = [chosen, rejected].map(|idx| examples[idx].response);
                push(Item::Pair(Pair { chosen: of_chosen, rejected: of_rejected }), chosen);
            }
        } else {
            for (idx, example) in examples.iter().enumerate() {
                if kind == UnitKind::Responses || !example.steps.is_empty() {
                    push(Item::Response(example.response), idx);
                }
            }
        }
        (units, example_of)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The problem a unit comes from, as errors name it.
    pub fn problem_of(&self, unit: usize) -> &str {
        &self.problems[unit]
    }
}
