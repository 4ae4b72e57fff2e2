//! Prompts and responses as tokens, each distinct one held once.
//!
//! Sampling at low temperature produces many duplicates: in the tiny world three of four responses.
//! Duplicates share an index here, so each distinct response is computed once.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::objective::Pair;

/// Prompts and responses as tokens.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    prompts: Vec<Vec<u32>>,
    /// The prompt that each prompt continues.
    parents: Vec<Option<usize>>,
    responses: Vec<Response>,
    prompt_indices: Indices,
    response_indices: Indices,
}

/// Indices of the values of a list, found by the values they point to, so that each value is held
/// only once. A value of the list that is not in it may repeat another one.
type Indices = HashTable<usize>;

/// A response to a prompt of the same [`Corpus`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Response {
    /// Index of the prompt.
    pub prompt_idx: usize,
    /// The response's tokens, the one that ends it included; never empty.
    pub tokens: Vec<u32>,
}

impl Corpus {
    /// The index of this prompt, added if it is new.
    pub fn prompt(&mut self, tokens: &[u32]) -> usize {
        let idx = insert(&mut self.prompts, &mut self.prompt_indices, tokens.to_vec());
        self.parents.resize(self.prompts.len(), None);
        idx
    }

    /// Adds a prompt that continues the one at `parent_idx` by `tokens`, not empty: what they have
    /// in common is computed once. It is a new one even where its tokens are those of another.
    pub fn continuation(&mut self, parent_idx: usize, tokens: &[u32]) -> usize {
        self.prompts.push([&self.prompts[parent_idx], tokens].concat());
        self.parents.push(Some(parent_idx));
        self.prompts.len() - 1
    }

    /// The prompt that this prompt continues, if it was added so.
    pub fn parent(&self, prompt_idx: usize) -> Option<usize> {
        self.parents[prompt_idx]
    }

    /// The index of this response to the prompt at `prompt_idx`, added if it is new.
    pub fn response(&mut self, prompt_idx: usize, tokens: &[u32]) -> usize {
        let response = Response { prompt_idx, tokens: tokens.to_vec() };
        insert(&mut self.responses, &mut self.response_indices, response)
    }

    /// The distinct prompts.
    pub fn prompts(&self) -> &[Vec<u32>] {
        &self.prompts
    }

    /// The distinct responses.
    pub fn responses(&self) -> &[Response] {
        &self.responses
    }

    /// Number of tokens of the prompt and the response at `response_idx` together.
    pub fn path_len(&self, response_idx: usize) -> usize {
        let response = &self.responses[response_idx];
        self.prompts[response.prompt_idx].len() + response.tokens.len()
    }

    /// SHA-256 over every prompt and response in order, in hexadecimal: the data's part in the key
    /// of a cache.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |tokens: &[u32]| {
            hasher.update((tokens.len() as u64).to_le_bytes());
            for token in tokens {
                hasher.update(token.to_le_bytes());
            }
        };
        for response in &self.responses {
            add(&self.prompts[response.prompt_idx]);
            add(&response.tokens);
        }
        hex(&hasher.finalize())
    }
}

/// The index of `value` in `list`, added if it is new.
fn insert<T: Eq + Hash>(list: &mut Vec<T>, indices: &mut Indices, value: T) -> usize {
    let hash = |value: &T| BuildHasherDefault::<DefaultHasher>::default().hash_one(value);
    let entry = indices.entry(hash(&value), |&idx| list[idx] == value, |&idx| hash(&list[idx]));
    match entry {
        Entry::Occupied(found) => *found.get(),
        Entry::Vacant(place) => {
            let idx = list.len();
            place.insert(idx);
            list.push(value);
            idx
        }
    }
}

/// What an optimizer batch counts: a response, or a pair for pairwise objectives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Item {
    /// One response, by its index in the corpus.
    Response(usize),
    /// Two responses of one prompt, by their indices in the corpus.
    Pair(Pair),
    /// Consecutive responses that count as one.
    Run {
        /// Index of the first in the corpus.
        first: usize,
        /// How many.
        n: usize,
    },
}

impl Item {
    /// The responses that must be in the same micro-batch.
    pub fn responses(self) -> impl Iterator<Item = usize> {
        let (run, second) = match self {
            Self::Response(idx) => (idx..idx + 1, None),
            Self::Pair(pair) => (pair.chosen..pair.chosen + 1, Some(pair.rejected)),
            Self::Run { first, n } => (first..first + n, None),
        };
        run.chain(second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_an_index_and_equal_responses_of_other_prompts_do_not() {
        let mut corpus = Corpus::default();
        let (a, b) = (corpus.prompt(&[1]), corpus.prompt(&[2]));
        assert_eq!(corpus.prompt(&[1]), a);
        let first = corpus.response(a, &[3, 4]);
        assert_eq!(corpus.response(a, &[3, 4]), first);
        assert_ne!(corpus.response(b, &[3, 4]), first);
        assert_eq!(corpus.responses().len(), 2);
        assert_eq!(corpus.path_len(first), 3);
    }

    #[test]
    fn the_digest_sees_where_a_prompt_ends() {
        let digest = |prompt: &[u32], response: &[u32]| {
            let mut corpus = Corpus::default();
            let idx = corpus.prompt(prompt);
            corpus.response(idx, response);
            corpus.digest()
        };
        assert_ne!(digest(&[1, 2], &[3]), digest(&[1], &[2, 3]));
        assert_eq!(digest(&[1, 2], &[3]), digest(&[1, 2], &[3]));
    }
}
