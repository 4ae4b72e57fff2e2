//! Which keys each query of a forest sees, in tiles of consecutive queries.

use std::iter::once;
use std::ops::Range;

use gratis_engine::PackedBatch;

/// Query rows of a tile: eight of the tiles that products take at a time.
const TILE: usize = 48;
/// Keys of a chunk: a tile's scores of one then stay in the first two caches.
const CHUNK: usize = 256;

/// Some consecutive query rows and the keys that they see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryTile {
    /// The queries.
    pub(super) rows: Range<usize>,
    /// Rows of the keys, first position first; the last key is the last query's own.
    runs: Vec<Run>,
    /// Number of keys in `runs`.
    n_keys: usize,
    /// How many keys a query sees at most, itself included.
    window: usize,
}

/// Consecutive rows of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    rows: Range<usize>,
    segment: Range<usize>,
}

/// Some of a tile's keys that follow one another in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First row of the segment.
    pub(super) segment_start: usize,
    /// The keys within the segment. It begins at a whole [`Chunk::STEP`], so that the first few may
    /// be outside the run.
    pub(super) keys: Range<usize>,
    /// How many of `keys` come before the first of the run.
    n_before: usize,
    /// Place of the first key of the run among the tile's.
    column: usize,
}

impl Chunk {
    /// What the first key is a multiple of.
    pub(super) const STEP: usize = 64;

    /// Rows of the keys.
    pub(super) fn rows(&self) -> Range<usize> {
        self.segment_start + self.keys.start..self.segment_start + self.keys.end
    }

    /// Which of the chunk's keys a query sees that sees these of the tile's.
    pub(super) fn seen(&self, visible: &Range<usize>) -> Range<usize> {
        let end = self.column + self.keys.len() - self.n_before;
        let [start, end] = [visible.start.max(self.column), visible.end.min(end)];
        if start >= end {
            return 0..0;
        }
        start - self.column + self.n_before..end - self.column + self.n_before
    }
}

impl QueryTile {
    /// The keys that the `i`-th query sees.
    pub(super) fn visible(&self, i: usize) -> Range<usize> {
        let end = self.n_keys - self.rows.len() + 1 + i;
        end.saturating_sub(self.window)..end
    }

    /// Rows of the segments that have keys of the tile.
    pub(super) fn segments(&self) -> impl Iterator<Item = &Range<usize>> {
        self.runs.iter().map(|run| &run.segment)
    }

    /// The keys in chunks of at most [`CHUNK`].
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let placed = self.runs.iter().scan(0, |column, run| {
            let start = *column;
            *column += run.rows.len();
            Some((start, run))
        });
        placed.flat_map(|(column, run)| {
            let segment_start = run.segment.start;
            let [start, end] = [run.rows.start, run.rows.end].map(|row| row - segment_start);
            let first = start / Chunk::STEP * Chunk::STEP;
            (first..end).step_by(CHUNK).map(move |from| Chunk {
                segment_start,
                keys: from..end.min(from + CHUNK),
                n_before: start.saturating_sub(from),
                column: column + from.saturating_sub(start),
            })
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
            let whole =
                ancestors.iter().cloned().map(|segment| Run { rows: segment.clone(), segment });
            let own = Run { rows: segment.start..rows.end, segment: segment.rows() };
            for mut run in whole.chain(once(own)) {
                let n_skipped = n_outside.min(run.rows.len());
                n_outside -= n_skipped;
                run.rows.start += n_skipped;
                if !run.rows.is_empty() {
                    runs.push(run);
                }
            }
            let n_keys = runs.iter().map(|run| run.rows.len()).sum();
            tiles.push(QueryTile { rows, runs, n_keys, window });
        }
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;
    use gratis_engine::PackedBatchBuilder;

    #[test]
    fn a_window_drops_keys_of_ancestors() {
        let mut builder = PackedBatchBuilder::default();
        let root = builder.context(None, &[0; 5]).expect("valid");
        builder.response(root, &[0; 3]).expect("valid");
        builder.response(root, &[0; 70]).expect("valid");
        let tiles = query_tiles(&builder.finish(), Some(4));
        let keys = |tile: &QueryTile| -> Vec<Range<usize>> {
            tile.runs.iter().map(|run| run.rows.clone()).collect()
        };
        assert_eq!(tiles.len(), 4);
        assert_eq!(keys(&tiles[1]), [2..5, 5..8]);
        assert_eq!((tiles[1].visible(0), tiles[1].visible(2)), (0..4, 2..6));
        // The second tile of the long response: 48 rows before it, of which 3 are seen.
        assert_eq!(tiles[3].rows, 56..78);
        assert!(keys(&tiles[3]).iter().eq([&(53..78)]));
        assert_eq!(tiles[3].visible(0), 0..4);
    }

    #[test]
    fn chunks_cover_the_keys_once() {
        let mut builder = PackedBatchBuilder::default();
        let root = builder.context(None, &[0; 300]).expect("valid");
        builder.response(root, &[0; 600]).expect("valid");
        let batch = builder.finish();
        for window in [None, Some(70), Some(400)] {
            for tile in query_tiles(&batch, window) {
                for i in 0..tile.rows.len() {
                    let visible = tile.visible(i);
                    let seen: Vec<usize> = tile
                        .chunks()
                        .flat_map(|chunk| {
                            assert_eq!(chunk.keys.start % Chunk::STEP, 0);
                            let first = chunk.rows().start;
                            chunk.seen(&visible).map(move |key| first + key)
                        })
                        .collect();
                    let row = tile.rows.start + i;
                    let expected = (row + 1).saturating_sub(window.unwrap_or(usize::MAX))..=row;
                    assert!(seen.into_iter().eq(expected), "row {row}");
                }
            }
        }
    }
}
