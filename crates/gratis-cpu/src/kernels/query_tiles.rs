//! Which keys each query of a forest sees, in tiles of consecutive queries.

use std::iter::once;
use std::ops::Range;

use gratis_engine::batch::PackedBatch;

/// Query rows of a tile.
const TILE: usize = 64;

/// Some consecutive query rows and the keys that they see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryTile {
    /// The queries.
    pub(super) rows: Range<usize>,
    /// Rows of the keys, first position first; the last key is the last query's own.
    runs: Vec<Range<usize>>,
    /// Number of keys in `runs`.
    n_keys: usize,
    /// How many keys a query sees at most, itself included.
    window: usize,
}

impl QueryTile {
    /// The keys that the `i`-th query sees.
    pub(super) fn visible(&self, i: usize) -> Range<usize> {
        let end = self.n_keys - self.rows.len() + 1 + i;
        end.saturating_sub(self.window)..end
    }

    /// Distance of two queries in a tile of scores.
    pub(super) fn stride(&self) -> usize {
        self.n_keys.next_multiple_of(16)
    }

    /// The runs with the column of their first key.
    pub(super) fn placed_runs(&self) -> impl Iterator<Item = (usize, &Range<usize>)> {
        self.runs.iter().scan(0, |column, run| {
            let start = *column;
            *column += run.len();
            Some((start, run))
        })
    }
}

/// Cuts every segment into tiles.
pub(crate) fn query_tiles(batch: &PackedBatch, sliding_window: Option<usize>) -> Vec<QueryTile> {
    let window = sliding_window.unwrap_or(usize::MAX);
    let mut tiles = Vec::new();
    for segment in batch.segments() {
        let mut ancestors = Vec::new();
        let mut parent = segment.parent;
        while let Some(idx) = parent {
            ancestors.push(batch.segment(idx).rows());
            parent = batch.segment(idx).parent;
        }
        ancestors.reverse();
        for start in segment.rows().step_by(TILE) {
            let rows = start..segment.rows().end.min(start + TILE);
            let n_seen_by_first = segment.position + (start - segment.start) + 1;
            let mut n_outside = n_seen_by_first.saturating_sub(window);
            let mut runs = Vec::with_capacity(ancestors.len() + 1);
            for mut run in ancestors.iter().cloned().chain(once(segment.start..rows.end)) {
                let n_skipped = n_outside.min(run.len());
                n_outside -= n_skipped;
                run.start += n_skipped;
                if !run.is_empty() {
                    runs.push(run);
                }
            }
            let n_keys = runs.iter().map(ExactSizeIterator::len).sum();
            tiles.push(QueryTile { rows, runs, n_keys, window });
        }
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;
    use gratis_engine::batch::PackedBatchBuilder;

    #[test]
    fn a_window_drops_keys_of_ancestors() {
        let mut builder = PackedBatchBuilder::default();
        let root = builder.context(None, &[0; 5]).expect("valid");
        builder.response(root, &[0; 3]).expect("valid");
        builder.response(root, &[0; 70]).expect("valid");
        let tiles = query_tiles(&builder.finish(), Some(4));
        assert_eq!(tiles.len(), 4);
        assert_eq!(tiles[1].runs, [2..5, 5..8]);
        assert_eq!((tiles[1].visible(0), tiles[1].visible(2)), (0..4, 2..6));
        // The second tile of the long response: 64 rows before it, of which 3 are seen.
        assert_eq!(tiles[3].rows, 72..78);
        assert!(tiles[3].runs.iter().eq([&(69..78)]));
        assert_eq!(tiles[3].visible(0), 0..4);
    }
}
