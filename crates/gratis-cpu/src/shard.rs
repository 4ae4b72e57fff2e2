//! Cuts a batch into parts that can be computed apart from each other.
//!
//! Each part owns some of the responses and holds the segments that they continue. The order of the
//! responses is that of the trees, so that at most one tree is shared between a part and the next:
//! its shared prefix is then computed in both. A tree is kept whole where that makes the parts uneven
//! by no more than this prefix.

use gratis_engine::Result;
use gratis_engine::{PackedBatch, PackedBatchBuilder, Role, SegmentIdx};

/// A part of a batch.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) batch: PackedBatch,
    /// Which responses of the whole batch the responses of the part are, in their order.
    pub(crate) responses: Vec<usize>,
}

/// Cuts `batch` into at most `n_shards` parts of about equal numbers of tokens.
///
/// Segments that no response continues are in no part. The cut depends on the batch and `n_shards`
/// only.
pub(crate) fn shards(batch: &PackedBatch, n_shards: usize) -> Result<Vec<Shard>> {
    let mut roots: Vec<usize> = Vec::with_capacity(batch.segments().len());
    for (idx, segment) in batch.segments().iter().enumerate() {
        roots.push(segment.parent.map_or(idx, |parent| roots[parent.0]));
    }
    let mut order: Vec<usize> = (0..batch.responses().len()).collect();
    order.sort_by_key(|&response| {
        let idx = batch.responses()[response].0;
        (roots[idx], idx)
    });

    let mut shards = Vec::new();
    let mut rest = order;
    let root_of = |response: usize| roots[batch.responses()[response].0];
    for n_open in (1..=n_shards).rev() {
        if rest.is_empty() {
            break;
        }
        let n_wanted = n_needed_tokens(batch, &rest) / n_open;
        let mut part = Part::new(batch);
        let (mut taken, mut later) = (Vec::new(), Vec::new());
        let mut is_full = false;
        for tree in rest.chunk_by(|&a, &b| root_of(a) == root_of(b)) {
            let n_prefix = batch.segments()[root_of(tree[0])].n_tokens;
            if is_full {
                later.extend_from_slice(tree);
            } else if n_open == 1
                || part.n_tokens + n_needed_tokens(batch, tree) <= n_wanted + n_prefix
            {
                for &response in tree {
                    part.include(response);
                }
                taken.extend_from_slice(tree);
            } else {
                is_full = true;
                if taken.is_empty() || part.n_tokens + n_prefix < n_wanted {
                    // The prefix that is then computed twice is shared out as well.
                    let (own, others) = part.fill(tree, n_wanted + n_prefix / n_open);
                    taken.extend(own);
                    later.extend(others);
                } else {
                    later.extend_from_slice(tree);
                }
            }
        }
        shards.push(part.into_shard(&taken)?);
        rest = later;
    }
    Ok(shards)
}

fn n_needed_tokens(batch: &PackedBatch, responses: &[usize]) -> usize {
    let mut part = Part::new(batch);
    for &response in responses {
        part.include(response);
    }
    part.n_tokens
}

/// Segments gathered for a part.
struct Part<'a> {
    whole: &'a PackedBatch,
    included: Vec<bool>,
    n_tokens: usize,
}

impl<'a> Part<'a> {
    fn new(whole: &'a PackedBatch) -> Self {
        Self { whole, included: vec![false; whole.segments().len()], n_tokens: 0 }
    }

    /// The response's segments that are not yet here, its own first.
    fn missing(&self, response: usize) -> Vec<SegmentIdx> {
        let mut next = Some(self.whole.responses()[response]);
        let mut missing = Vec::new();
        while let Some(idx) = next.filter(|idx| !self.included[idx.0]) {
            missing.push(idx);
            next = self.whole.segment(idx).parent;
        }
        missing
    }

    fn include(&mut self, response: usize) {
        for idx in self.missing(response) {
            self.included[idx.0] = true;
            self.n_tokens += self.whole.segment(idx).n_tokens;
        }
    }

    /// Includes those of a tree's responses, in their order, that fit into `n_wanted` tokens, and one
    /// more if that comes closer or nothing was here; the responses that it took and the others.
    fn fill(&mut self, tree: &[usize], n_wanted: usize) -> (Vec<usize>, Vec<usize>) {
        let is_empty = self.n_tokens == 0;
        let mut is_taken = vec![false; tree.len()];
        for (&response, is_taken) in tree.iter().zip(&mut is_taken) {
            if self.n_tokens + self.n_missing(response) <= n_wanted {
                self.include(response);
                *is_taken = true;
            }
        }
        let n_short = n_wanted.saturating_sub(self.n_tokens);
        let left = (0..tree.len()).filter(|&at| !is_taken[at]);
        let least = left.map(|at| (self.n_missing(tree[at]), at)).min();
        if let Some((n_more, at)) = least
            && (n_more < 2 * n_short || is_empty && self.n_tokens == 0)
        {
            self.include(tree[at]);
            is_taken[at] = true;
        }
        let of = |wanted: bool| {
            let pairs = tree.iter().zip(&is_taken);
            pairs.filter(|&(_, &taken)| taken == wanted).map(|(&response, _)| response).collect()
        };
        (of(true), of(false))
    }

    fn n_missing(&self, response: usize) -> usize {
        self.missing(response).iter().map(|&idx| self.whole.segment(idx).n_tokens).sum()
    }

    fn into_shard(self, owned: &[usize]) -> Result<Shard> {
        let segments = self.whole.segments();
        let mut owner = vec![None; segments.len()];
        for &response in owned {
            owner[self.whole.responses()[response].0] = Some(response);
        }
        let mut builder = PackedBatchBuilder::default();
        let mut places = vec![None; segments.len()];
        let mut responses = Vec::with_capacity(owned.len());
        for (idx, segment) in segments.iter().enumerate().filter(|&(idx, _)| self.included[idx]) {
            let tokens = &self.whole.tokens()[segment.rows()];
            let parent = segment.parent.and_then(|parent| places[parent.0]);
            // A response that only another part owns is mere context here.
            places[idx] = Some(match (owner[idx], parent) {
                (Some(response), Some(parent)) => {
                    responses.push(response);
                    builder.response(parent, tokens)?
                }
                _ => builder.context(parent, tokens)?,
            });
        }
        debug_assert!(segments.iter().all(|s| s.role == Role::Context || s.parent.is_some()));
        Ok(Shard { batch: builder.finish(), responses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(shards: &[Shard]) -> Vec<Vec<usize>> {
        shards.iter().map(|shard| shard.responses.clone()).collect()
    }

    #[test]
    fn trees_are_kept_whole_where_it_is_even() {
        let response = &[0u32; 10][..];
        let batch = PackedBatch::from_groups([
            (&[0; 5][..], [response, response]),
            (&[0; 5][..], [response, response]),
        ])
        .expect("valid");
        let parts = shards(&batch, 2).expect("valid");
        assert_eq!(owned(&parts), [[0, 1], [2, 3]]);
        assert_eq!(parts[0].batch.n_tokens(), 25);
    }

    #[test]
    fn a_tree_is_kept_whole_if_its_prefix_would_cost_more_than_uneven_parts() {
        let [long, short] = [&[0u32; 12][..], &[0; 10]];
        let of = |n_prompt: usize| {
            let prompt = vec![0; n_prompt];
            let groups = [(&prompt[..], [long, long]), (&prompt[..], [short, short])];
            shards(&PackedBatch::from_groups(groups).expect("valid"), 2).expect("valid")
        };
        // 29 and 25 tokens; even parts of 27 are less than a prompt of 5 away.
        assert_eq!(owned(&of(5)), [[0, 1], [2, 3]]);
        let [long, short] = [&[0u32; 40][..], &[0; 10]];
        let groups = [(&[0; 5][..], [long, long]), (&[0; 5][..], [short, short])];
        let parts = shards(&PackedBatch::from_groups(groups).expect("valid"), 2).expect("valid");
        assert_eq!(owned(&parts), [vec![0], vec![1, 2, 3]]);
    }

    #[test]
    fn one_tree_is_cut_between_its_responses() {
        let response = &[0u32; 10][..];
        let batch = PackedBatch::from_groups([(&[0; 5][..], [response; 4])]).expect("valid");
        let parts = shards(&batch, 2).expect("valid");
        assert_eq!(owned(&parts), [[0, 1], [2, 3]]);
        assert_eq!(parts[1].batch.n_tokens(), 25);
        assert_eq!(owned(&shards(&batch, 9).expect("valid")).concat(), [0, 1, 2, 3]);
    }

    #[test]
    fn responses_of_unequal_length_are_shared_out_evenly() {
        let lengths = [90, 40, 80, 60, 70, 50, 30];
        let responses: Vec<Vec<u32>> = lengths.iter().map(|&n| vec![0; n]).collect();
        let groups = [(&[0; 100][..], responses.iter().map(Vec::as_slice))];
        let batch = PackedBatch::from_groups(groups).expect("valid");
        let parts = shards(&batch, 2).expect("valid");
        // 420 tokens of responses, and the prompt in both.
        let n_tokens: Vec<usize> = parts.iter().map(|part| part.batch.n_tokens()).collect();
        assert_eq!(n_tokens, [310, 310]);
        let mut all = owned(&parts).concat();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn a_response_with_children_is_owned_once() {
        let mut builder = PackedBatchBuilder::default();
        let root = builder.context(None, &[1]).expect("valid");
        let first = builder.response(root, &[2; 8]).expect("valid");
        builder.response(first, &[3; 8]).expect("valid");
        builder.context(Some(root), &[4; 100]).expect("valid");
        let parts = shards(&builder.finish(), 2).expect("valid");
        assert_eq!(owned(&parts), [[0], [1]]);
        assert_eq!(parts[1].batch.n_tokens(), 17);
        assert_eq!(parts[1].batch.n_response_tokens(), 8);
    }
}
