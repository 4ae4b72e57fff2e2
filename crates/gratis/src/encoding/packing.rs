//! Micro-batches: units split by a token budget, with responses grouped under their prompt.
//!
//! The budget counts packed tokens, so a prompt counts once per micro-batch, however many responses
//! share it.

use std::collections::HashMap;

use gratis_engine::{PackedBatch, PackedBatchBuilder, Score, TokenValues, Values};

use super::corpus::{Corpus, Item};
use crate::error::Result;
use crate::observer::{Figure, Observer};

/// Units cut into batches for the engine.
#[derive(Debug, Clone, Default)]
pub struct MicroBatches {
    /// The forests of prompts and responses.
    pub packed: Vec<PackedBatch>,
    /// The content of each of them.
    pub members: Vec<MicroBatch>,
}

/// The content of one packed batch.
#[derive(Debug, Clone)]
pub struct MicroBatch {
    /// Index in the corpus of each packed response, in the order of the batch.
    pub responses: Vec<usize>,
    /// Which of the given units are in it, by position.
    pub units: Vec<usize>,
}

impl MicroBatch {
    /// The position in this batch of the response at `response_idx` of the corpus.
    pub fn row_of(&self) -> HashMap<usize, usize> {
        self.responses.iter().enumerate().map(|(row, &idx)| (idx, row)).collect()
    }
}

/// Cuts `units` into micro-batches of at most `max_tokens` packed tokens; a unit that exceeds the
/// budget alone is a micro-batch of its own. Units of the same prompt are kept together, so the
/// prompt and repeated responses are computed once: a prompt whose units do not fit behind others
/// begins a new micro-batch, if that does not leave the last one less than half full.
///
/// # Errors
/// [`gratis_engine::Error::InvalidBatch`] if a prompt is empty.
pub fn micro_batches(corpus: &Corpus, units: &[Item], max_tokens: usize) -> Result<MicroBatches> {
    let prompt_of = |idx: usize| corpus.responses()[idx].prompt_idx;
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by_key(|&unit| units[unit].responses().map(prompt_of).next());

    let mut batches = MicroBatches::default();
    let mut draft = Draft::default();
    let prompt_of_unit = |unit: usize| units[unit].responses().map(prompt_of).next();
    for of_prompt in order.chunk_by(|&a, &b| prompt_of_unit(a) == prompt_of_unit(b)) {
        let responses_of = |unit: usize| units[unit].responses();
        if 2 * draft.n_tokens >= max_tokens {
            let all: Vec<usize> = of_prompt.iter().flat_map(|&unit| responses_of(unit)).collect();
            if draft.n_tokens_with(corpus, &all) > max_tokens {
                std::mem::take(&mut draft).finish(corpus, &mut batches)?;
            }
        }
        for &unit in of_prompt {
            let responses: Vec<usize> = responses_of(unit).collect();
            if !draft.units.is_empty() && draft.n_tokens_with(corpus, &responses) > max_tokens {
                std::mem::take(&mut draft).finish(corpus, &mut batches)?;
            }
            draft.add(corpus, unit, &responses);
        }
    }
    if !draft.units.is_empty() {
        draft.finish(corpus, &mut batches)?;
    }
    Ok(batches)
}

/// Log-probabilities of the tokens of every response of `corpus`: `[n_responses][n_tokens]`.
///
/// # Errors
/// Those of the engine.
pub fn log_probs(
    engine: &dyn Score,
    corpus: &Corpus,
    max_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    rows(engine, |batches, _| engine.log_probs(batches), corpus, max_tokens, observer)
}

/// The mean over the vocabulary of the log-probabilities at every response token:
/// `[n_responses][n_tokens]`.
///
/// # Errors
/// Those of the engine.
pub(crate) fn mean_log_probs(
    engine: &dyn Score,
    corpus: &Corpus,
    max_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    rows(engine, |batches, _| engine.mean_log_probs(batches), corpus, max_tokens, observer)
}

/// The numbers of a scalar head for every response of `corpus`: `[n_responses]`, each a row of
/// `[n_channels, n_tokens]`.
///
/// # Errors
/// Those of the engine.
pub(crate) fn head_values(
    engine: &dyn Values,
    corpus: &Corpus,
    max_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    rows(engine, |batches, _| engine.values(batches), corpus, max_tokens, observer)
}

/// As [`head_values`], of some tokens only: `wanted` lists those of every response. Other values may be
/// anything.
///
/// # Errors
/// Those of the engine.
pub(crate) fn head_values_at(
    engine: &dyn Values,
    corpus: &Corpus,
    wanted: &[Vec<usize>],
    max_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    let pass = |batches: &[PackedBatch], members: &[MicroBatch]| {
        let of = |member: &MicroBatch| {
            let responses = member.responses.iter();
            responses.map(|&idx| wanted.get(idx).cloned().unwrap_or_default()).collect()
        };
        engine.values_at(batches, &members.iter().map(of).collect::<Vec<Vec<Vec<usize>>>>())
    };
    rows(engine, pass, corpus, max_tokens, observer)
}

/// A row per response of `corpus`. As many batches go through a call as the engine works on at once.
fn rows(
    engine: &dyn Score,
    pass: impl Fn(&[PackedBatch], &[MicroBatch]) -> gratis_engine::Result<Vec<TokenValues>>,
    corpus: &Corpus,
    max_tokens: usize,
    observer: &mut dyn Observer,
) -> Result<Vec<Vec<f32>>> {
    let units: Vec<Item> = (0..corpus.responses().len()).map(Item::Response).collect();
    let mut all = vec![Vec::new(); units.len()];
    let MicroBatches { packed, members } = micro_batches(corpus, &units, max_tokens)?;
    let n_at_once = engine.describe().n_concurrent_batches.max(1);
    for (packed, members) in packed.chunks(n_at_once).zip(members.chunks(n_at_once)) {
        for (values, members) in pass(packed, members)?.iter().zip(members) {
            for (&idx, row) in members.responses.iter().zip(values.rows()) {
                all[idx] = row.to_vec();
            }
        }
        let n_tokens = packed.iter().map(PackedBatch::n_tokens).sum::<usize>() as u64;
        let n_responses = members.iter().map(|members| members.responses.len()).sum::<usize>();
        observer.advance(n_responses as u64, &[Figure::Amount("tokens", n_tokens)]);
    }
    Ok(all)
}

/// A micro-batch under construction.
#[derive(Default)]
struct Draft {
    /// Prompts in order of appearance with their distinct responses.
    groups: Vec<(usize, Vec<usize>)>,
    units: Vec<usize>,
    n_tokens: usize,
}

impl Draft {
    fn n_tokens_with(&self, corpus: &Corpus, responses: &[usize]) -> usize {
        let mut new_prompts: Vec<usize> = Vec::new();
        let mut n_tokens = self.n_tokens;
        for (nth, &idx) in responses.iter().enumerate() {
            let response = &corpus.responses()[idx];
            let group = self.group(response.prompt_idx);
            if group.is_some_and(|at| self.groups[at].1.contains(&idx))
                || responses[..nth].contains(&idx)
            {
                continue;
            }
            let mut missing = Some(response.prompt_idx);
            while let Some(prompt_idx) = missing
                && self.group(prompt_idx).is_none()
                && !new_prompts.contains(&prompt_idx)
            {
                new_prompts.push(prompt_idx);
                n_tokens += own_tokens(corpus, prompt_idx).len();
                missing = corpus.parent(prompt_idx);
            }
            n_tokens += response.tokens.len();
        }
        n_tokens
    }

    fn add(&mut self, corpus: &Corpus, unit: usize, responses: &[usize]) {
        self.n_tokens = self.n_tokens_with(corpus, responses);
        self.units.push(unit);
        for &idx in responses {
            let at = self.group_or_new(corpus, corpus.responses()[idx].prompt_idx);
            let known = &mut self.groups[at].1;
            if !known.contains(&idx) {
                known.push(idx);
            }
        }
    }

    fn group(&self, prompt_idx: usize) -> Option<usize> {
        // The latest are asked for most.
        self.groups.iter().rposition(|(prompt, _)| *prompt == prompt_idx)
    }

    /// The group of a prompt; those of the prompts that it continues come before it.
    fn group_or_new(&mut self, corpus: &Corpus, prompt_idx: usize) -> usize {
        if let Some(at) = self.group(prompt_idx) {
            return at;
        }
        if let Some(parent) = corpus.parent(prompt_idx) {
            self.group_or_new(corpus, parent);
        }
        self.groups.push((prompt_idx, Vec::new()));
        self.groups.len() - 1
    }

    fn finish(self, corpus: &Corpus, batches: &mut MicroBatches) -> Result<()> {
        let mut builder = PackedBatchBuilder::default();
        let mut places = HashMap::new();
        for (prompt_idx, responses) in &self.groups {
            let parent = corpus.parent(*prompt_idx).and_then(|parent| places.get(&parent).copied());
            let place = builder.context(parent, own_tokens(corpus, *prompt_idx))?;
            places.insert(*prompt_idx, place);
            for &idx in responses {
                builder.response(place, &corpus.responses()[idx].tokens)?;
            }
        }
        let responses = self.groups.iter().flat_map(|(_, responses)| responses).copied().collect();
        batches.packed.push(builder.finish());
        batches.members.push(MicroBatch { responses, units: self.units });
        Ok(())
    }
}

/// The tokens of a prompt without those of the prompt that it continues.
fn own_tokens(corpus: &Corpus, prompt_idx: usize) -> &[u32] {
    let n_of_parent = corpus.parent(prompt_idx).map_or(0, |parent| corpus.prompts()[parent].len());
    &corpus.prompts()[prompt_idx][n_of_parent..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Pair;

    fn corpus() -> Corpus {
        let mut corpus = Corpus::default();
        let (a, b) = (corpus.prompt(&[1, 1, 1]), corpus.prompt(&[2, 2]));
        for (prompt, response) in [(a, &[3, 4][..]), (b, &[5][..]), (a, &[6][..]), (b, &[7, 7][..])]
        {
            corpus.response(prompt, response);
        }
        corpus
    }

    #[test]
    fn a_prompt_is_packed_once_with_all_its_responses() {
        let units: Vec<_> = [0, 1, 2, 3, 0].map(Item::Response).to_vec();
        let batches = micro_batches(&corpus(), &units, 100).expect("valid");
        assert_eq!(batches.members.len(), 1);
        assert_eq!(batches.packed[0].tokens(), [1, 1, 1, 3, 4, 6, 2, 2, 5, 7, 7]);
        assert_eq!(batches.members[0].responses, [0, 2, 1, 3]);
        assert_eq!(batches.members[0].units, [0, 2, 4, 1, 3]);
    }

    #[test]
    fn the_budget_counts_packed_tokens_and_every_unit_is_in_one_batch() {
        let units: Vec<_> = [0, 1, 2, 3].map(Item::Response).to_vec();
        for max_tokens in 1..14 {
            let batches = micro_batches(&corpus(), &units, max_tokens).expect("valid");
            let members = batches.members.iter();
            let mut seen: Vec<_> = members.flat_map(|batch| batch.units.clone()).collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3]);
            for (packed, batch) in batches.packed.iter().zip(&batches.members) {
                assert!(packed.n_tokens() <= max_tokens || batch.units.len() == 1);
            }
        }
    }

    #[test]
    fn a_prompt_is_kept_whole_where_the_batch_before_it_is_half_full() {
        let units: Vec<_> = [0, 1, 2, 3].map(Item::Response).to_vec();
        let of = |max_tokens| -> Vec<Vec<usize>> {
            let batches = micro_batches(&corpus(), &units, max_tokens).expect("valid");
            batches.members.into_iter().map(|batch| batch.responses).collect()
        };
        // The first prompt has 6 tokens with its responses, the second 5: 9 is one more response.
        assert_eq!(of(9), [[0, 2], [1, 3]]);
        assert_eq!(of(11), [[0, 2, 1, 3]]);
        // A batch that is less than half full is filled.
        let mut corpus = corpus();
        let long = corpus.prompt(&[3]);
        corpus.response(long, &[8; 20]);
        corpus.response(long, &[9; 5]);
        let units: Vec<_> = (0..6).map(Item::Response).collect();
        let batches = micro_batches(&corpus, &units, 32).expect("valid");
        let responses: Vec<_> = batches.members.into_iter().map(|batch| batch.responses).collect();
        assert_eq!(responses, [vec![0, 2, 1, 3, 4], vec![5]]);
    }

    #[test]
    fn both_responses_of_a_pair_are_in_one_batch() {
        let units = [(0, 2), (1, 3)]
            .map(|(chosen, rejected)| Item::Pair(Pair { chosen, rejected }))
            .to_vec();
        let batches = micro_batches(&corpus(), &units, 1).expect("valid");
        let responses: Vec<_> = batches.members.into_iter().map(|batch| batch.responses).collect();
        assert_eq!(responses, [[0, 2], [1, 3]]);
    }

    #[test]
    fn a_prompt_that_continues_another_is_packed_behind_it() {
        let mut corpus = Corpus::default();
        let root = corpus.prompt(&[1, 2]);
        let near = corpus.continuation(root, &[3]);
        let far = corpus.continuation(near, &[4, 5]);
        let first = corpus.response(near, &[6]);
        corpus.response(near, &[7]);
        corpus.response(far, &[8]);
        let units = [Item::Run { first, n: 3 }];
        let batches = micro_batches(&corpus, &units, 100).expect("valid");
        assert_eq!(batches.packed[0].tokens(), [1, 2, 3, 6, 7, 4, 5, 8]);
        let last = batches.packed[0].responses()[2];
        assert_eq!(batches.packed[0].segment(last).position, 5);
        // 8 tokens fit the budget exactly with another unit of none of its own.
        let twice = [units[0], units[0]];
        assert_eq!(micro_batches(&corpus, &twice, 8).expect("valid").members.len(), 1);
        assert_eq!(corpus.path_len(2), 6);
    }
}
