//! Packed batches: a forest of shared prompts without padding.
//!
//! Best-of-N and the K rollouts of a problem share their prompt, and Monte-Carlo continuations
//! share a prefix of a response. A [`PackedBatch`] therefore holds *segments*: runs of tokens that
//! continue their parent's. A prompt is a root, its responses are its children; a prefix tree has
//! more levels. Each token is stored once: linear layers see one dense matrix
//! `[n_tokens, d_model]`, and attention of a segment runs over its ancestors and its own prefix.

use crate::error::{Error, Result};

/// Index of a segment in its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentIdx(pub usize);

/// How a segment's tokens are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Only read: a prompt or a shared prefix.
    Context,
    /// The log-probability of each token given everything before it is computed.
    Response,
}

/// A run of tokens that continues its parent's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The segment this one continues; `None` for a root.
    pub parent: Option<SegmentIdx>,
    /// Row of the first token in [`PackedBatch::tokens`].
    pub start: usize,
    /// Number of tokens.
    pub n_tokens: usize,
    /// Position of the first token: the number of tokens on the path from the root.
    pub position: usize,
    /// Whether log-probabilities of its tokens are computed.
    pub role: Role,
}

impl Segment {
    /// Rows of the segment's tokens.
    pub fn rows(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.n_tokens
    }
}

/// A forest of segments, packed without padding. Built by [`PackedBatchBuilder`].
///
/// Invariants: a parent comes before its children; no segment is empty; rows of consecutive
/// segments are adjacent; a response has a parent, whose last token predicts the response's first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    tokens: Vec<u32>,
    segments: Vec<Segment>,
    responses: Vec<SegmentIdx>,
}

impl PackedBatch {
    /// A batch of prompts with their responses: the forest of depth two used for training and
    /// scoring. Responses are numbered in the order given.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] if a prompt or a response is empty.
    pub fn from_groups<'a, P, R>(groups: P) -> Result<Self>
    where
        P: IntoIterator<Item = (&'a [u32], R)>,
        R: IntoIterator<Item = &'a [u32]>,
    {
        let mut builder = PackedBatchBuilder::default();
        for (prompt, responses) in groups {
            let root = builder.context(None, prompt)?;
            for response in responses {
                builder.response(root, response)?;
            }
        }
        Ok(builder.finish())
    }

    /// All tokens, segment after segment: `[n_tokens]`.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// All segments, parents before children.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment at `idx`.
    pub fn segment(&self, idx: SegmentIdx) -> &Segment {
        &self.segments[idx.0]
    }

    /// The segments with [`Role::Response`], in the order they were added. Log-probabilities and
    /// weights are in this order.
    pub fn responses(&self) -> &[SegmentIdx] {
        &self.responses
    }

    /// Number of packed tokens, each of which is computed once.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// Number of response tokens, which is the number of log-probabilities.
    pub fn n_response_tokens(&self) -> usize {
        self.responses.iter().map(|&idx| self.segment(idx).n_tokens).sum()
    }

    /// Longest path from a root to a leaf, in tokens.
    pub fn longest_path(&self) -> usize {
        self.segments.iter().map(|s| s.position + s.n_tokens).max().unwrap_or(0)
    }

    /// The row whose output predicts the first token of `idx`: the last row of its parent.
    pub fn predicting_row(&self, idx: SegmentIdx) -> Option<usize> {
        let parent = self.segment(idx).parent?;
        Some(self.segment(parent).rows().end - 1)
    }
}

/// Adds segments one by one to a [`PackedBatch`].
#[derive(Debug, Default)]
pub struct PackedBatchBuilder {
    batch: PackedBatch,
}

impl PackedBatchBuilder {
    /// Adds tokens that are only read: a prompt (`parent` is `None`) or a shared prefix.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] if `tokens` is empty or `parent` is not in this batch.
    pub fn context(&mut self, parent: Option<SegmentIdx>, tokens: &[u32]) -> Result<SegmentIdx> {
        self.push(parent, tokens, Role::Context)
    }

    /// Adds a response that continues `parent`.
    ///
    /// # Errors
    /// [`Error::InvalidBatch`] if `tokens` is empty or `parent` is not in this batch.
    pub fn response(&mut self, parent: SegmentIdx, tokens: &[u32]) -> Result<SegmentIdx> {
        self.push(Some(parent), tokens, Role::Response)
    }

    /// The finished batch.
    pub fn finish(self) -> PackedBatch {
        self.batch
    }

    fn push(
        &mut self,
        parent: Option<SegmentIdx>,
        tokens: &[u32],
        role: Role,
    ) -> Result<SegmentIdx> {
        let batch = &mut self.batch;
        if tokens.is_empty() {
            let what = if role == Role::Context { "a context" } else { "a response" };
            return Err(Error::InvalidBatch { reason: format!("{what} without tokens") });
        }
        let position = match parent {
            None => 0,
            Some(idx) => {
                let parent = batch.segments.get(idx.0).ok_or_else(|| Error::InvalidBatch {
                    reason: format!("parent segment {} is not in the batch", idx.0),
                })?;
                parent.position + parent.n_tokens
            }
        };
        let idx = SegmentIdx(batch.segments.len());
        let start = batch.tokens.len();
        batch.segments.push(Segment { parent, start, n_tokens: tokens.len(), position, role });
        batch.tokens.extend_from_slice(tokens);
        if role == Role::Response {
            batch.responses.push(idx);
        }
        Ok(idx)
    }
}

/// One number for each response token of a batch: log-probabilities on the way out, weights on the
/// way in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenValues {
    values: Vec<f32>,
    ends: Vec<usize>,
}

impl TokenValues {
    /// Zeros in the shape of `batch`'s responses.
    pub fn zeros(batch: &PackedBatch) -> Self {
        Self::zeros_of_channels(batch, 1)
    }

    /// Zeros in the shape of these values.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let mut zeros = self.clone();
        zeros.values.fill(0.0);
        zeros
    }

    /// Zeros for several numbers per token: a response's row is `[n_channels, n_tokens]`.
    pub fn zeros_of_channels(batch: &PackedBatch, n_channels: usize) -> Self {
        let mut end = 0;
        let ends = batch
            .responses()
            .iter()
            .map(|&idx| {
                end += n_channels * batch.segment(idx).n_tokens;
                end
            })
            .collect();
        Self { values: vec![0.0; end], ends }
    }

    /// From one slice per response.
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = &'a [f32]>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.push(row);
        }
        all
    }

    /// Appends a response.
    pub fn push(&mut self, row: &[f32]) {
        self.values.extend_from_slice(row);
        self.ends.push(self.values.len());
    }

    /// Number of responses.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no response.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The values of response `idx`: `[n_tokens of the response]`.
    pub fn row(&self, idx: usize) -> &[f32] {
        &self.values[self.range(idx)]
    }

    /// The values of response `idx`, to write.
    pub fn row_mut(&mut self, idx: usize) -> &mut [f32] {
        let range = self.range(idx);
        &mut self.values[range]
    }

    /// One slice per response.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        (0..self.len()).map(|idx| self.row(idx))
    }

    /// All values, response after response: `[n_response_tokens]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to write.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    fn range(&self, idx: usize) -> std::ops::Range<usize> {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        start..self.ends[idx]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_continue_the_positions_of_their_prompt() {
        let batch =
            PackedBatch::from_groups([(&[1, 2, 3][..], [&[4, 5][..], &[6][..]])]).expect("valid");
        assert_eq!(batch.tokens(), [1, 2, 3, 4, 5, 6]);
        let second = batch.responses()[1];
        assert_eq!(batch.segment(second).position, 3);
        assert_eq!(batch.predicting_row(second), Some(2));
        assert_eq!((batch.n_response_tokens(), batch.longest_path()), (3, 5));
    }

    #[test]
    fn an_empty_response_is_refused() {
        let error = PackedBatch::from_groups([(&[1][..], [&[][..]])]).expect_err("empty");
        assert_eq!(error.to_string(), "invalid batch: a response without tokens");
    }

    #[test]
    fn token_values_keep_their_rows() {
        let values = TokenValues::from_rows([&[1.0, 2.0][..], &[][..], &[3.0][..]]);
        let rows: Vec<_> = values.rows().collect();
        assert_eq!(rows, [&[1.0, 2.0][..], &[], &[3.0]]);
    }
}
