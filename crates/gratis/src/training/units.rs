//! What an optimizer batch counts: a response, a pair, or a run of responses.

use std::ops::Range;
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
    /// The outcome label: 1 for a correct response, 0 for an incorrect one, a soft label between.
    pub label: f64,
    /// Labels of the steps, for objectives that need them; otherwise empty.
    pub steps: Vec<StepLabel>,
    /// Tokens without a training signal, in rising ranges.
    pub masked: Vec<Range<usize>>,
}

impl RewardExample {
    /// Whether it counts as correct: a soft label does above 1/2.
    pub fn is_correct(&self) -> bool {
        self.label > 0.5
    }

    /// Whether its label lies between 0 and 1.
    pub fn is_soft(&self) -> bool {
        self.label > 0.0 && self.label < 1.0
    }

    /// Which of its `n_tokens` count.
    pub(crate) fn counted(&self, n_tokens: usize) -> Counted {
        let mut counts = vec![true; n_tokens];
        self.masked.iter().for_each(|range| counts[range.clone()].fill(false));
        Counted(counts)
    }
}

/// Whether each token of a response counts. An objective sees those that do, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Counted(Vec<bool>);

impl Counted {
    /// The values of the tokens that count.
    pub(crate) fn of(&self, values: Vec<f64>) -> Vec<f64> {
        let pairs = values.into_iter().zip(&self.0);
        pairs.filter(|(_, counts)| **counts).map(|(value, _)| value).collect()
    }

    /// The steps with their ends among the tokens that count.
    pub(crate) fn steps(&self, steps: &[StepLabel]) -> Vec<StepLabel> {
        let end = |end: usize| self.0[..end].iter().filter(|counts| **counts).count();
        steps.iter().map(|step| StepLabel { end: end(step.end), label: step.label }).collect()
    }

    /// The places of the tokens that count.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, counts)| **counts).map(|(place, _)| place)
    }
}

/// Which units labelled responses make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnitKind {
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
    /// The prompt that each unit shares with others; `None` for a unit on its own.
    groups: Vec<Option<usize>>,
}

impl Units {
    /// No units yet, of this corpus.
    pub fn new(corpus: Corpus) -> Self {
        Self { corpus, ..Self::default() }
    }

    /// Adds a unit on its own, of the problem that errors name so.
    pub fn push(&mut self, item: Item, problem: impl Into<Arc<str>>) {
        self.add(item, problem.into(), None);
    }

    /// Adds a unit that shares a prompt, at `prompt_idx` of the corpus, with others.
    pub fn push_grouped(&mut self, item: Item, problem: impl Into<Arc<str>>, prompt_idx: usize) {
        self.add(item, problem.into(), Some(prompt_idx));
    }

    fn add(&mut self, item: Item, problem: Arc<str>, group: Option<usize>) {
        self.items.push(item);
        self.problems.push(problem);
        self.groups.push(group);
    }

    /// The units of labelled responses, and the example that each unit's labels are read from: the
    /// chosen one of a pair. `pairs` are indices into `examples`.
    pub(crate) fn of_examples(
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
            let prompt_idx = units.corpus.responses()[examples[idx].response].prompt_idx;
            units.push_grouped(item, Arc::clone(&names[idx]), prompt_idx);
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

    /// The prompt that a unit shares with others of its group.
    pub(crate) fn group_of(&self, unit: usize) -> Option<usize> {
        self.groups[unit]
    }

    /// The problem a unit comes from, as errors name it.
    pub fn problem_of(&self, unit: usize) -> &str {
        &self.problems[unit]
    }
}
