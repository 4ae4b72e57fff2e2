//! Threads that share the products of one decoder.
//!
//! Between two products of one sequence lie some millionths of a second. A thread that sleeps in between
//! wakes too late, so the helpers of a team wait in a loop for the next product until the team is
//! dismissed. Which thread computes a row of a matrix does not change its bits.

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread::yield_now;

use super::products::{add, some_rows};
use crate::kernels::decode::{Operand, Outputs};
use crate::kernels::matmul::Onto;
use crate::matrix::Matrix;
use crate::weights::Weights;

/// Fewest weights per thread: below, sharing them out takes longer than it saves.
const SHARED_WEIGHTS: usize = 1 << 16;

/// Times that a thread looks before it lets others run, should there be any.
const N_LOOKS: u32 = 1 << 12;

/// A leader, who decodes, and helpers.
#[derive(Debug)]
pub(super) struct Team {
    /// Helpers that have come: they are called whatever the pool's threads do besides.
    n_present: AtomicUsize,
    /// Number of the product that is computed.
    product: AtomicUsize,
    /// Helpers that have not finished their part of it.
    n_busy: AtomicUsize,
    is_dismissed: AtomicBool,
    has_failed: AtomicBool,
    task: RwLock<Task>,
    /// Of each helper.
    parts: Vec<Mutex<Part>>,
}

/// What is multiplied.
#[derive(Debug)]
struct Task {
    product: usize,
    n_parts: usize,
    x: Operand,
    matrix: Matrix,
}

impl Task {
    /// The rows of a part; the leader's is the first.
    fn rows(&self, part: usize) -> Range<usize> {
        let n_out = self.matrix.n_out();
        let height = n_out.div_ceil(self.n_parts);
        (part * height).min(n_out)..((part + 1) * height).min(n_out)
    }
}

/// A helper's part of a product.
#[derive(Debug, Default)]
struct Part {
    /// Widened rows.
    tile: Vec<f32>,
    /// `[n, n_rows]`.
    y: Vec<f32>,
}

/// Calls a closure when it is dropped, also when a thread panics.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Team {
    /// Runs `lead` with a team of `n_threads` of the pool, of which the present thread is one.
    pub(super) fn of<T: Send>(
        n_threads: usize,
        weights: Weights<'_>,
        lead: impl FnOnce(&Self) -> T + Send,
    ) -> T {
        let n_helpers = n_threads.saturating_sub(1);
        let nothing = Matrix { place: 0..0, n_in: 1 };
        let task = Task { product: 0, n_parts: 1, x: Operand::default(), matrix: nothing };
        let team = Self {
            n_present: AtomicUsize::new(0),
            product: AtomicUsize::new(0),
            n_busy: AtomicUsize::new(0),
            is_dismissed: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            task: RwLock::new(task),
            parts: (0..n_helpers).map(|_| Mutex::default()).collect(),
        };
        rayon::scope(|scope| {
            let team = &team;
            for _ in 0..n_helpers {
                scope.spawn(move |_| team.help(weights));
            }
            let _dismissal = Finally(|| team.is_dismissed.store(true, Ordering::Release));
            lead(team)
        })
    }

    /// A helper's life.
    fn help(&self, weights: Weights<'_>) {
        let mut seen = self.task.read().unwrap_or_else(PoisonError::into_inner).product;
        let number = self.n_present.fetch_add(1, Ordering::AcqRel) + 1;
        loop {
            if !self.wait(|| self.product.load(Ordering::Acquire) != seen) {
                return;
            }
            let task = self.task.read().unwrap_or_else(PoisonError::into_inner);
            seen = task.product;
            if number >= task.n_parts {
                continue;
            }
            let _failure = Finally(|| {
                if std::thread::panicking() {
                    self.has_failed.store(true, Ordering::Release);
                }
            });
            let mut part = self.parts[number - 1].lock().unwrap_or_else(PoisonError::into_inner);
            let Part { tile, y } = &mut *part;
            let rows = task.rows(number);
            y.resize(task.x.n_rows() * rows.len(), 0.0);
            let mut out = Outputs { y, stride: rows.len(), onto: Onto::Fresh };
            some_rows(weights, &mut out, rows, &task.matrix, &task.x, tile);
            drop(part);
            self.n_busy.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Waits until something is so; false if the team is dismissed before.
    fn wait(&self, is_so: impl Fn() -> bool) -> bool {
        let mut n_looks = 0;
        while !is_so() {
            if self.is_dismissed.load(Ordering::Acquire) {
                return false;
            }
            if n_looks < N_LOOKS {
                n_looks += 1;
                spin_loop();
            } else {
                yield_now();
            }
        }
        true
    }

    /// The product of the rows of `x` with all rows of a matrix; `tile` holds widened rows.
    pub(super) fn product(
        &self,
        weights: Weights<'_>,
        out: &mut Outputs<'_>,
        matrix: &Matrix,
        x: &mut Operand,
        tile: &mut Vec<f32>,
    ) {
        let n_present = self.n_present.load(Ordering::Acquire);
        let n_parts = (1 + n_present).min(matrix.place.len() / SHARED_WEIGHTS).max(1);
        self.product_in(n_parts, weights, out, matrix, x, tile);
    }

    /// [`Team::product`] in so many parts, at most one per thread that is present.
    fn product_in(
        &self,
        n_parts: usize,
        weights: Weights<'_>,
        out: &mut Outputs<'_>,
        matrix: &Matrix,
        x: &mut Operand,
        tile: &mut Vec<f32>,
    ) {
        if n_parts == 1 {
            return some_rows(weights, out, 0..matrix.n_out(), matrix, x, tile);
        }
        {
            let mut task = self.task.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut task.x, x);
            (task.n_parts, task.matrix) = (n_parts, matrix.clone());
            task.product += 1;
            self.n_busy.store(n_parts - 1, Ordering::Release);
            self.product.store(task.product, Ordering::Release);
        }
        let task = self.task.read().unwrap_or_else(PoisonError::into_inner);
        some_rows(weights, out, task.rows(0), matrix, &task.x, tile);
        let is_done = || self.n_busy.load(Ordering::Acquire) == 0;
        self.wait(|| is_done() || self.has_failed.load(Ordering::Acquire));
        assert!(is_done(), "a thread that shares products has failed");
        for number in 1..n_parts {
            let rows = task.rows(number);
            if rows.is_empty() {
                continue;
            }
            let part = self.parts[number - 1].lock().unwrap_or_else(PoisonError::into_inner);
            for (row, part) in part.y.chunks_exact(rows.len()).enumerate() {
                add(&mut out.y[row * out.stride + rows.start..], out.onto, part, 1.0);
            }
        }
        drop(task);
        let mut task = self.task.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut task.x, x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Base;

    #[test]
    fn a_shared_product_has_the_bits_of_one_thread() {
        let numbers = |n: usize, seed: f32| -> Vec<f32> {
            (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
        };
        let (n_in, n_out) = (33, 50);
        let parameters = numbers(n_in * n_out, 0.1);
        let weights = Weights { base: Base::Loaded(&parameters), adapter: None };
        let matrix = Matrix { place: 0..n_in * n_out, n_in };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().expect("threads");
        let product = |n_parts: usize, n: usize, onto: Onto| {
            pool.install(|| {
                Team::of(4, weights, |team| {
                    team.wait(|| team.n_present.load(Ordering::Acquire) >= n_parts - 1);
                    let (mut x, mut y) = (Operand::default(), numbers(n * (n_out + 3), 0.3));
                    // Twice: the helpers see every product once.
                    for seed in [0.2, 0.4] {
                        x.set(&numbers(n * n_in, seed), n_in);
                        let mut out = Outputs { y: &mut y, stride: n_out + 3, onto };
                        let tile = &mut Vec::new();
                        team.product_in(n_parts, weights, &mut out, &matrix, &mut x, tile);
                    }
                    y
                })
            })
        };
        for n in [1, 20] {
            for onto in [Onto::Fresh, Onto::Sum] {
                let alone = product(1, n, onto);
                for n_parts in [2, 3, 4] {
                    for _ in 0..50 {
                        assert_eq!(product(n_parts, n, onto), alone);
                    }
                }
            }
        }
    }

    #[test]
    fn a_team_whose_helpers_never_come_computes_all_the_same() {
        let parameters = vec![0.5; 6];
        let weights = Weights { base: Base::Loaded(&parameters), adapter: None };
        let matrix = Matrix { place: 0..6, n_in: 2 };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
        let y = pool.install(|| {
            Team::of(3, weights, |team| {
                let (mut x, mut y) = (Operand::default(), vec![0.0; 3]);
                x.set(&[1.0, 2.0], 2);
                let mut out = Outputs { y: &mut y, stride: 3, onto: Onto::Fresh };
                team.product(weights, &mut out, &matrix, &mut x, &mut Vec::new());
                y
            })
        });
        assert_eq!(y, [1.5; 3]);
    }
}
