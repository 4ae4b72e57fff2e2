//! Records in batches: one batch is worked on by the compute threads while the next is read.

use std::iter;

use anyhow::{Error, Result};

/// Records of a batch at most.
const MAX_RECORDS: usize = 1024;
/// Bytes of a batch from which on no more records are added. Two batches are in memory.
const MAX_BYTES: usize = 1 << 19;

/// How far the input is read before what was read is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ahead {
    /// By a batch.
    Batch,
    /// Not at all: another program may wait for the result of a record before it sends the next.
    Nothing,
}

/// Reads `records`, whose sizes in bytes `size` tells, lets the compute threads `work` on a batch, and
/// hands it over in the order of the input. What stands before an error is handed over first.
pub(crate) fn in_batches<T: Send, R: Send>(
    mut records: impl Iterator<Item = Result<T>>,
    ahead: Ahead,
    size: impl Fn(&T) -> usize,
    work: impl Fn(&mut [T]) -> R + Sync,
    mut take: impl FnMut(Vec<T>, R) -> Result<()>,
) -> Result<()> {
    let max_records = if ahead == Ahead::Batch { MAX_RECORDS } else { 1 };
    let mut error: Option<Error> = None;
    let mut next_batch = |error: &mut Option<Error>| -> Vec<T> {
        let mut n_bytes = 0;
        let next = iter::from_fn(|| {
            if n_bytes >= MAX_BYTES || error.is_some() {
                return None;
            }
            let record = records.next()?.map_err(|found| *error = Some(found)).ok()?;
            n_bytes += size(&record);
            Some(record)
        });
        next.take(max_records).collect()
    };
    let mut batch = next_batch(&mut error);
    while !batch.is_empty() {
        let mut done = None;
        let mut following = Vec::new();
        rayon::in_place_scope(|scope| {
            scope.spawn(|_| done = Some(work(&mut batch)));
            if ahead == Ahead::Batch {
                following = next_batch(&mut error);
            }
        });
        if let Some(done) = done {
            take(batch, done)?;
        }
        batch = match ahead {
            Ahead::Batch => following,
            Ahead::Nothing => next_batch(&mut error),
        };
    }
    error.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    /// Doubles numbers up to an error, and the sizes of the batches.
    fn doubled(n: usize, ahead: Ahead, size: usize) -> (Vec<usize>, Vec<usize>, bool) {
        let records = (0..n).map(Ok).chain(iter::once_with(|| Err(anyhow!("broken"))));
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        let result = in_batches(
            records,
            ahead,
            |_| size,
            |batch| batch.iter_mut().for_each(|record| *record *= 2),
            |batch, ()| {
                sizes.push(batch.len());
                all.extend(batch);
                Ok(())
            },
        );
        (all, sizes, result.is_err())
    }

    #[test]
    fn batches_keep_the_order_and_what_stands_before_an_error() {
        let expected: Vec<usize> = (0..3000).map(|n| 2 * n).collect();
        for (ahead, size, sizes) in [
            (Ahead::Batch, 1, vec![1024, 1024, 952]),
            (Ahead::Batch, MAX_BYTES / 1000, vec![1001, 1001, 998]),
            (Ahead::Nothing, 1, vec![1; 3000]),
        ] {
            assert_eq!(doubled(3000, ahead, size), (expected.clone(), sizes, true));
        }
        assert_eq!(doubled(0, Ahead::Batch, 1), (Vec::new(), Vec::new(), true));
    }

    #[test]
    fn without_reading_ahead_a_record_is_handed_over_before_the_next_is_read() {
        let n_taken = std::cell::Cell::new(0);
        let records = (0..5).map(|n| {
            assert_eq!(n_taken.get(), n);
            Ok(n)
        });
        let take = |_, ()| {
            n_taken.set(n_taken.get() + 1);
            Ok(())
        };
        in_batches(records, Ahead::Nothing, |_| 1, |_| (), take).expect("no error");
        assert_eq!(n_taken.get(), 5);
    }
}
