//! The scheduler: many requests over one or many servers.
//!
//! Every server has its workers, and all workers take jobs from one queue, so a server that answers
//! faster gets more, and one that is down gets none. A job is held by one worker at a time and
//! delivered once. After a transient failure it is repeated: by another server at once if one is
//! healthy, otherwise after a wait that doubles, with jitter. A server that fails repeatedly is not
//! asked until a request for its health succeeds (circuit breaker); one that stays down for the
//! whole retry budget is given up, and its jobs go to the others.
//!
//! Jobs are taken from an iterator when a worker is free, and finished ones wait in a bounded
//! channel, so memory does not grow with the number of jobs. Waits are counted by their planned
//! length, so nothing here reads a clock.

use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::{Client, Content, Fault};
use crate::traffic::{Counters, Reason};

/// First wait before a retry.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait before a retry.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Failures in a row after which a server's health is checked before it is asked again.
const N_FAILURES: u32 = 5;
/// Sum of the waits before retries of the first request to a server: one that is not there is an error
/// of the address more often than a fault that passes.
const FIRST_BUDGET: Duration = Duration::from_secs(4);
/// Longest wait for the answer to the first request to a server.
const FIRST_LIMIT: Duration = Duration::from_secs(15);
/// Longest wait for an answer about a server's health.
const HEALTH_LIMIT: Duration = Duration::from_secs(10);

/// How failures are repeated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retries {
    /// Sum of the waits after which a job, or a server, is given up.
    pub(crate) budget: Duration,
    /// First wait; doubled for each further one.
    pub(crate) first_wait: Duration,
}

impl Retries {
    pub(crate) fn within(seconds: f64) -> Self {
        let budget = Duration::from_secs_f64(seconds);
        Self { budget, first_wait: FIRST_WAIT.min(budget) }
    }

    /// The wait before retry `n`, counted from 1, with jitter of up to half of it. `key` makes
    /// different jobs wait for different times.
    pub(crate) fn wait(&self, n: u32, key: u64) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_WAIT);
        let share = (mixed(key ^ u64::from(n) << 48) >> 11) as f64 / (1_u64 << 53) as f64;
        doubled.mul_f64(0.5 + 0.5 * share)
    }
}

/// A number whose bits all depend on those of `key` (splitmix64).
pub(crate) fn mixed(key: u64) -> u64 {
    let mut z = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Servers that serve the same model.
#[derive(Debug)]
pub(crate) struct Pool {
    clients: Vec<Arc<Client>>,
    retries: Retries,
    /// Route of the health check.
    health: &'static str,
    counters: Arc<Counters>,
}

/// A job that is being worked on.
struct Held<J> {
    idx: usize,
    job: J,
    n_attempts: u32,
    waited: Duration,
}

/// What is known of a server during a run.
#[derive(Default)]
struct Health {
    n_failures: u32,
    phase: Phase,
    last: String,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Asked.
    #[default]
    Closed,
    /// Not asked; the next worker checks its health.
    Open,
    /// A worker checks its health.
    Checking,
    /// Given up.
    Dead,
}

/// What workers share.
struct Shared<'a, J> {
    state: Mutex<State<'a, J>>,
    changed: Condvar,
}

struct State<'a, J> {
    jobs: &'a mut (dyn Iterator<Item = J> + Send),
    is_exhausted: bool,
    n_taken: usize,
    returned: VecDeque<Held<J>>,
    /// Jobs that workers hold.
    n_held: usize,
    failure: Option<Error>,
    servers: Vec<Health>,
}

impl<J> State<'_, J> {
    /// Whether nothing is left to do, or the run failed.
    fn is_over(&self) -> bool {
        self.failure.is_some() || self.is_exhausted && self.returned.is_empty() && self.n_held == 0
    }

    fn another_is_healthy(&self, than: usize) -> bool {
        let mut others = self.servers.iter().enumerate().filter(|(idx, _)| *idx != than);
        others.any(|(_, server)| server.phase == Phase::Closed)
    }
}

impl Pool {
    pub(crate) fn new(clients: Vec<Arc<Client>>, retries: Retries, health: &'static str) -> Self {
        Self { clients, retries, health, counters: Arc::default() }
    }

    pub(crate) fn clients(&self) -> &[Arc<Client>] {
        &self.clients
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The first request to a server, a GET: given up after a few tries within seconds, for the server may
    /// not be there at all.
    ///
    /// # Errors
    /// [`Error::Unreachable`]; those of the answer.
    pub(crate) fn ask_first(
        &self,
        client: &Client,
        path: &str,
        what: &'static str,
    ) -> Result<Value> {
        let retries = Retries { budget: self.retries.budget.min(FIRST_BUDGET), ..self.retries };
        let ask = || client.get_json(path, FIRST_LIMIT, what, &self.counters);
        self.ask_within(retries, client, what, ask).map_err(|error| match error {
            Error::Exhausted { server, n_attempts, message, .. } => {
                Error::Unreachable { server, n_attempts, message }
            }
            error => error,
        })
    }

    /// One request to one server, repeated while that may help.
    pub(crate) fn ask_one<T>(
        &self,
        client: &Client,
        what: &'static str,
        ask: impl Fn() -> Result<T, Fault>,
    ) -> Result<T> {
        self.ask_within(self.retries, client, what, ask)
    }

    fn ask_within<T>(
        &self,
        retries: Retries,
        client: &Client,
        what: &'static str,
        ask: impl Fn() -> Result<T, Fault>,
    ) -> Result<T> {
        let (mut waited, mut n) = (Duration::ZERO, 0);
        loop {
            let (message, after) = match ask() {
                Ok(value) => return Ok(value),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Transient { reason, message, after }) => {
                    self.counters.retry(reason);
                    (message, after)
                }
            };
            n += 1;
            let wait = retries.wait(n, n.into()).max(after.unwrap_or_default());
            waited += wait;
            if waited > retries.budget {
                let server = client.name().to_owned();
                return Err(Error::Exhausted { server, what, n_attempts: n, message });
            }
            thread::sleep(wait);
        }
    }

    /// Asks for all jobs, `n_at_once` at a time per server. `done` gets each result once, with the
    /// number of its job, in the order in which they arrive.
    ///
    /// # Errors
    /// The first final failure: what `done` got before is valid.
    pub(crate) fn run<J: Send, T: Send>(
        &self,
        n_at_once: usize,
        what: &'static str,
        jobs: &mut (dyn Iterator<Item = J> + Send),
        ask: &(dyn Fn(&Client, &J) -> Result<T, Fault> + Sync),
        done: &mut dyn FnMut(usize, T),
    ) -> Result<()> {
        let n_at_most = jobs.size_hint().1.unwrap_or(usize::MAX);
        let n_servers = self.clients.len();
        let n_workers = (n_at_once * n_servers).min(n_at_most);
        let shared = Shared {
            state: Mutex::new(State {
                jobs,
                is_exhausted: false,
                n_taken: 0,
                returned: VecDeque::new(),
                n_held: 0,
                failure: None,
                servers: (0..n_servers).map(|_| Health::default()).collect(),
            }),
            changed: Condvar::new(),
        };
        let (sender, receiver) = sync_channel(2 * n_workers + 1);
        thread::scope(|scope| {
            let mut started = Ok(());
            for worker_idx in 0..n_workers {
                let server_idx = worker_idx % n_servers;
                let worker = Worker { pool: self, shared: &shared, server_idx, what, ask };
                let sender = sender.clone();
                let spawned = thread::Builder::new()
                    .name("request".to_owned())
                    .spawn_scoped(scope, move || worker.work(&sender));
                if let Err(source) = spawned {
                    // With some of each server the run is slower, not wrong.
                    if worker_idx < n_servers {
                        shared.fail(Error::Threads { n_threads: n_workers, source });
                    }
                    started = Err(());
                    break;
                }
            }
            let _ = started;
            drop(sender);
            for (idx, value) in receiver {
                done(idx, value);
            }
        });
        let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.failure.map_or(Ok(()), Err)
    }
}

impl<'a, J> Shared<'a, J> {
    fn lock(&self) -> MutexGuard<'_, State<'a, J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: Error) {
        self.lock().failure.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Waits, but no longer than there is something to do.
    fn pause(&self, wait: Duration) {
        let guard = self.lock();
        // A poisoned lock ends the wait early, no more.
        let _ = self.changed.wait_timeout_while(guard, wait, |state| !state.is_over());
    }
}

/// A thread that asks one server.
struct Worker<'a, 'b, J, T> {
    pool: &'a Pool,
    shared: &'a Shared<'b, J>,
    server_idx: usize,
    what: &'static str,
    ask: &'a (dyn Fn(&Client, &J) -> Result<T, Fault> + Sync),
}

impl<J, T> Worker<'_, '_, J, T> {
    fn work(&self, sender: &SyncSender<(usize, T)>) {
        let client = &self.pool.clients[self.server_idx];
        while let Some(held) = self.next() {
            match (self.ask)(client, &held.job) {
                Ok(value) => {
                    // The receiver outlives the workers.
                    let _ = sender.send((held.idx, value));
                    let mut state = self.shared.lock();
                    state.servers[self.server_idx].n_failures = 0;
                    state.n_held -= 1;
                    if state.is_over() {
                        self.shared.changed.notify_all();
                    }
                }
                Err(Fault::Final(error)) => {
                    self.shared.lock().n_held -= 1;
                    self.shared.fail(error);
                }
                Err(Fault::Transient { reason, message, after }) => {
                    self.repeat(held, reason, message, after);
                }
            }
        }
    }

    /// The next job, once the server is healthy; `None` if there is nothing left.
    fn next(&self) -> Option<Held<J>> {
        let mut state = self.shared.lock();
        loop {
            if state.is_over() {
                return None;
            }
            match state.servers[self.server_idx].phase {
                Phase::Dead => return None,
                Phase::Checking => {}
                Phase::Open => {
                    state.servers[self.server_idx].phase = Phase::Checking;
                    drop(state);
                    self.check();
                    state = self.shared.lock();
                    continue;
                }
                Phase::Closed => {
                    if let Some(held) = state.returned.pop_front() {
                        state.n_held += 1;
                        return Some(held);
                    }
                    if !state.is_exhausted {
                        if let Some(job) = state.jobs.next() {
                            let idx = state.n_taken;
                            state.n_taken += 1;
                            state.n_held += 1;
                            return Some(Held { idx, job, n_attempts: 0, waited: Duration::ZERO });
                        }
                        state.is_exhausted = true;
                        if state.is_over() {
                            self.shared.changed.notify_all();
                            return None;
                        }
                    }
                }
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns a job after a transient failure, and waits.
    fn repeat(&self, mut held: Held<J>, reason: Reason, message: String, after: Option<Duration>) {
        self.pool.counters.retry(reason);
        held.n_attempts += 1;
        let retries = &self.pool.retries;
        let wait = retries.wait(held.n_attempts, held.idx as u64).max(after.unwrap_or_default());
        held.waited += wait;
        if held.waited > retries.budget {
            self.shared.lock().n_held -= 1;
            self.shared.fail(Error::Exhausted {
                server: self.pool.clients[self.server_idx].name().to_owned(),
                what: self.what,
                n_attempts: held.n_attempts,
                message,
            });
            return;
        }
        let mut state = self.shared.lock();
        let server = &mut state.servers[self.server_idx];
        server.n_failures += 1;
        server.last = message;
        let is_down = reason == Reason::Connection || server.n_failures >= N_FAILURES;
        // A server that asks for patience is not down.
        if is_down && reason != Reason::Status(429) && server.phase == Phase::Closed {
            server.phase = Phase::Open;
        }
        let goes_elsewhere = state.another_is_healthy(self.server_idx);
        if goes_elsewhere {
            state.n_held -= 1;
            state.returned.push_front(held);
            drop(state);
            self.shared.changed.notify_all();
            self.shared.pause(wait);
            return;
        }
        drop(state);
        self.shared.pause(wait);
        let mut state = self.shared.lock();
        state.n_held -= 1;
        state.returned.push_front(held);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Asks the server for its health until it is well or is given up.
    fn check(&self) {
        let client = &self.pool.clients[self.server_idx];
        let (retries, counters) = (&self.pool.retries, &self.pool.counters);
        let (mut waited, mut n) = (Duration::ZERO, 0);
        loop {
            let answer =
                client.exchange("GET", self.pool.health, Content::None, HEALTH_LIMIT, counters);
            // A server without this route is there all the same.
            let is_well = answer.is_ok_and(|answer| answer.status < 500);
            n += 1;
            let wait = retries.wait(n, self.server_idx as u64);
            waited += wait;
            let mut state = self.shared.lock();
            if is_well {
                let server = &mut state.servers[self.server_idx];
                server.phase = Phase::Closed;
                server.n_failures = 0;
                break;
            }
            if waited > retries.budget {
                state.servers[self.server_idx].phase = Phase::Dead;
                if state.servers.iter().all(|server| server.phase == Phase::Dead) {
                    let message = state.servers[self.server_idx].last.clone();
                    let server = client.name().to_owned();
                    state.failure.get_or_insert(Error::NoServer { server, message });
                }
                break;
            }
            if state.is_over() {
                state.servers[self.server_idx].phase = Phase::Open;
                break;
            }
            drop(state);
            self.shared.pause(wait);
        }
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_a_limit() {
        let retries = Retries::within(300.0);
        for n in 1..12 {
            let whole = FIRST_WAIT.saturating_mul(1 << (n - 1)).min(LONGEST_WAIT);
            for key in 0..100 {
                let wait = retries.wait(n, key);
                assert!(wait >= whole / 2 && wait <= whole, "retry {n}: {wait:?}");
            }
        }
        assert_ne!(retries.wait(1, 1), retries.wait(1, 2));
    }

    #[test]
    fn jobs_are_not_taken_faster_than_results_are_used() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        use crate::http::{Connection, KeyHeader};
        use crate::settings::EngineSettings;
        use crate::{Protocol, error};

        let settings = EngineSettings::new(Protocol::Vllm, "http://127.0.0.1:9", "policy");
        let client = |_| -> error::Result<Arc<Client>> {
            let (address, connection) = ("http://127.0.0.1:9", Connection::default());
            Client::new(address, &settings, &connection, KeyHeader::Bearer).map(Arc::new)
        };
        let clients = (0..2).map(client).collect::<error::Result<Vec<_>>>().expect("an address");
        let pool = Pool::new(clients, Retries::within(1.0), "/health");
        let (n_taken, n_at_once, n_jobs) = (AtomicUsize::new(0), 4, 500);
        let mut jobs = (0..n_jobs).inspect(|_| {
            n_taken.fetch_add(1, Ordering::SeqCst);
        });
        let ask = |_: &Client, job: &usize| Ok(*job);
        let (mut n_used, mut most) = (0, 0);
        let mut done = |_, _| {
            if n_used % 50 == 0 {
                // Time to take all jobs, if nothing held the workers back.
                thread::sleep(Duration::from_millis(20));
            }
            most = most.max(n_taken.load(Ordering::SeqCst) - n_used);
            n_used += 1;
        };
        pool.run(n_at_once, "a request", &mut jobs, &ask, &mut done).expect("answered");
        assert_eq!(n_used, n_jobs);
        // 8 workers hold one each, the channel 17 results, and one is being used.
        let n_workers = 2 * n_at_once;
        let bound = n_workers + (2 * n_workers + 1) + 1;
        assert!((n_workers..=bound).contains(&most), "{most} of {bound}");
    }
}
