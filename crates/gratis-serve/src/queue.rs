//! The bounded queue between connections and the engine.
//!
//! A request is admitted as a [`Ticket`] with units of work: a problem with some of its completions,
//! or an answer to grade. Units keep the order of admission. A ticket that is dropped, has failed or
//! whose deadline has passed takes its waiting units with it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gratis::data::{Rollout, Scored};
use gratis_grading::{Grade, Options};
use tokio::sync::oneshot;

use crate::error::Failure;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Task {
    /// Score the completions of a problem.
    Score {
        /// The problem.
        rollout: Rollout,
        /// The tokens that it takes.
        n_tokens: usize,
    },
    /// Grade an answer.
    Grade {
        /// The gold answer.
        gold: String,
        /// A bare answer or a solution.
        pred: String,
        /// The conventions.
        options: Options,
    },
}

/// What was done.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    /// Scores of the completions, in their order.
    Scores(Vec<Scored>),
    /// The grade of an answer.
    Grade(Grade),
}

/// The answer to all units of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    /// One per unit, in order.
    pub(crate) done: Vec<Done>,
    /// Time from the admission until the engine began.
    pub(crate) queued: Duration,
}

/// A unit of work of a request.
#[derive(Debug)]
pub(crate) struct Unit {
    ticket: Arc<Ticket>,
    nth: usize,
    pub(crate) task: Task,
}

impl Unit {
    pub(crate) fn finish(&self, done: Done) {
        self.ticket.finish(self.nth, done);
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.ticket.fail(failure);
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.ticket.is_over.load(Ordering::Acquire) || Instant::now() >= self.ticket.deadline
    }
}

/// A request in work.
#[derive(Debug)]
struct Ticket {
    admitted: Instant,
    deadline: Instant,
    is_over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    done: Vec<Option<Done>>,
    n_left: usize,
    queued: Option<Duration>,
    reply: Option<oneshot::Sender<Result<Answer, Failure>>>,
}

impl Ticket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        let waited = self.admitted.elapsed();
        self.state().queued.get_or_insert(waited);
    }

    fn finish(&self, nth: usize, done: Done) {
        let mut state = self.state();
        if state.done[nth].replace(done).is_none() {
            state.n_left -= 1;
        }
        if state.n_left == 0
            && let Some(reply) = state.reply.take()
        {
            self.is_over.store(true, Ordering::Release);
            let done = state.done.drain(..).flatten().collect();
            let queued = state.queued.unwrap_or_default();
            // The client may have gone.
            let _ = reply.send(Ok(Answer { done, queued }));
        }
    }

    fn fail(&self, failure: Failure) {
        self.is_over.store(true, Ordering::Release);
        if let Some(reply) = self.state().reply.take() {
            let _ = reply.send(Err(failure));
        }
    }
}

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    is_ready: Condvar,
    /// Requests admitted and not yet answered.
    n_requests: AtomicUsize,
    max_requests: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    units: VecDeque<Unit>,
    is_closed: bool,
}

/// An admitted request. Dropped, it gives its place free and abandons what is left of its work.
#[derive(Debug)]
pub(crate) struct Admitted {
    queue: Arc<Queue>,
    ticket: Arc<Ticket>,
    pub(crate) answer: oneshot::Receiver<Result<Answer, Failure>>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.ticket.is_over.swap(true, Ordering::AcqRel) {
            let mut waiting = self.queue.waiting();
            waiting.units.retain(|unit| !Arc::ptr_eq(&unit.ticket, &self.ticket));
        }
        self.queue.n_requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Queue {
    pub(crate) fn new(max_requests: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            is_ready: Condvar::new(),
            n_requests: AtomicUsize::new(0),
            max_requests,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests admitted and not yet answered.
    pub(crate) fn n_requests(&self) -> usize {
        self.n_requests.load(Ordering::Acquire)
    }

    /// Admits a request with at least one task.
    ///
    /// # Errors
    /// [`Failure::busy`] if the queue is full.
    pub(crate) fn admit(
        self: &Arc<Self>,
        tasks: Vec<Task>,
        deadline: Instant,
    ) -> Result<Admitted, Failure> {
        let admit = |n| (n < self.max_requests).then_some(n + 1);
        if self.n_requests.fetch_update(Ordering::AcqRel, Ordering::Acquire, admit).is_err() {
            return Err(Failure::busy(self.max_requests));
        }
        let (reply, answer) = oneshot::channel();
        let state = State {
            done: tasks.iter().map(|_| None).collect(),
            n_left: tasks.len(),
            queued: None,
            reply: Some(reply),
        };
        let ticket = Arc::new(Ticket {
            admitted: Instant::now(),
            deadline,
            is_over: AtomicBool::new(false),
            state: Mutex::new(state),
        });
        let units = (0..).zip(tasks);
        let units = units.map(|(nth, task)| Unit { ticket: Arc::clone(&ticket), nth, task });
        self.waiting().units.extend(units);
        self.is_ready.notify_one();
        Ok(Admitted { queue: Arc::clone(self), ticket, answer })
    }

    /// Waits for work and takes units of one kind in order, up to `max_tokens` tokens or
    /// `max_grades` answers and at least one; `None` once the queue is closed and empty.
    pub(crate) fn take(&self, max_tokens: usize, max_grades: usize) -> Option<Vec<Unit>> {
        let mut waiting = self.waiting();
        loop {
            let mut batch: Vec<Unit> = Vec::new();
            let mut n_left = 0;
            while let Some(unit) = waiting.units.pop_front() {
                if unit.is_abandoned() {
                    unit.fail(Failure::deadline());
                    continue;
                }
                let (cost, budget) = match &unit.task {
                    Task::Score { n_tokens, .. } => (*n_tokens, max_tokens),
                    Task::Grade { .. } => (1, max_grades),
                };
                let is_other = |first: &Unit| {
                    std::mem::discriminant(&first.task) != std::mem::discriminant(&unit.task)
                };
                match batch.first() {
                    None => n_left = budget,
                    Some(first) if cost > n_left || is_other(first) => {
                        waiting.units.push_front(unit);
                        break;
                    }
                    Some(_) => {}
                }
                n_left = n_left.saturating_sub(cost);
                batch.push(unit);
            }
            if !batch.is_empty() {
                for unit in &batch {
                    unit.ticket.begin();
                }
                return Some(batch);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.is_ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets the worker end when nothing is left.
    pub(crate) fn close(&self) {
        self.waiting().is_closed = true;
        self.is_ready.notify_all();
    }
}
