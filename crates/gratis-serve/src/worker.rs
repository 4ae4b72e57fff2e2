//! The thread that computes: it takes batches from the queue and gives their answers to the requests.
//!
//! If a batch of several units fails, each is computed alone, so that a request fails only by its own
//! fault. A panic is answered as an internal error, and a new thread takes the place of the one that
//! it happened on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use gratis::data::{ProblemScores, Rollout};
use rayon::prelude::*;

use crate::error::Failure;
use crate::metrics::Metrics;
use crate::queue::{Done, Queue, Task, Unit};
use crate::scorer::Scorer;

/// Answers graded at a time.
const MAX_GRADES: usize = 256;

/// What the thread works with.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) queue: Arc<Queue>,
    pub(crate) scorer: Arc<dyn Scorer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) batch_tokens: usize,
}

/// Why a worker thread ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The queue is closed and empty.
    NoWork,
    /// A batch panicked.
    Panicked,
}

impl Worker {
    /// Starts the thread, and the one that replaces it after a panic.
    pub(crate) fn start(self) -> std::io::Result<JoinHandle<()>> {
        Builder::new().name("worker".to_owned()).spawn(move || {
            loop {
                let worker = self.clone();
                let thread = Builder::new().name("engine".to_owned()).spawn(move || worker.work());
                // Without a new thread, this one does the work.
                let ended = match thread {
                    Ok(thread) => thread.join().unwrap_or(Ended::Panicked),
                    Err(_) => self.work(),
                };
                if ended == Ended::NoWork {
                    return;
                }
            }
        })
    }

    fn work(&self) -> Ended {
        while let Some(batch) = self.queue.take(self.batch_tokens, MAX_GRADES) {
            let begun = Instant::now();
            let ended = self.compute(batch);
            self.metrics.add_batch(begun.elapsed());
            if ended == Ended::Panicked {
                return ended;
            }
        }
        Ended::NoWork
    }

    fn compute(&self, batch: Vec<Unit>) -> Ended {
        let result = self.attempt(&batch);
        match result {
            Ok(done) => {
                for (unit, done) in batch.iter().zip(done) {
                    unit.finish(done);
                }
                Ended::NoWork
            }
            Err(failed) => {
                self.metrics.add_panics(u64::from(failed.is_panic));
                let mut any_panic = failed.is_panic;
                if let [unit] = &batch[..] {
                    unit.fail(failed.failure);
                } else {
                    for unit in batch.into_iter().filter(|unit| !unit.is_abandoned()) {
                        any_panic |= self.compute(vec![unit]) == Ended::Panicked;
                    }
                }
                if any_panic { Ended::Panicked } else { Ended::NoWork }
            }
        }
    }

    fn attempt(&self, batch: &[Unit]) -> Result<Vec<Done>, Failed> {
        // The engine takes its buffers anew for each pass.
        let run = AssertUnwindSafe(|| self.run(batch));
        match catch_unwind(run) {
            Ok(result) => result.map_err(|failure| Failed { failure, is_panic: false }),
            Err(_) => Err(Failed { failure: Failure::panicked(), is_panic: true }),
        }
    }

    fn run(&self, batch: &[Unit]) -> Result<Vec<Done>, Failure> {
        let mut rollouts: Vec<Rollout> = Vec::new();
        let mut n_tokens = 0;
        for unit in batch {
            if let Task::Score { rollout, n_tokens: n_own } = &unit.task {
                rollouts.push(rollout.clone());
                n_tokens += n_own;
            }
        }
        if rollouts.is_empty() {
            let grade = |unit: &Unit| match &unit.task {
                Task::Grade { gold, pred, options } => {
                    Ok(Done::Grade(gratis_grading::grade(gold, pred, options)))
                }
                Task::Score { .. } => Err(Failure::panicked()),
            };
            return batch.par_iter().map(grade).collect();
        }
        let scores = self.scorer.score(&rollouts)?;
        self.metrics.add_tokens(n_tokens as u64);
        Ok(scores.into_iter().map(|ProblemScores { scores, .. }| Done::Scores(scores)).collect())
    }
}

struct Failed {
    failure: Failure,
    is_panic: bool,
}
