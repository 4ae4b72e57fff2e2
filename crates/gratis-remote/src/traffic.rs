//! What the requests of an engine amount to: how many, how large, what was repeated and why.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Why a request was repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The server answered with this status.
    Status(u16),
    /// There was no answer in time.
    Timeout,
    /// There was no connection.
    Connection,
    /// The connection ended before the answer did.
    Cut,
    /// The server ended the request early.
    Aborted,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "status {status}"),
            Self::Timeout => formatter.write_str("timeout"),
            Self::Connection => formatter.write_str("no connection"),
            Self::Cut => formatter.write_str("connection cut"),
            Self::Aborted => formatter.write_str("aborted"),
        }
    }
}

/// Counts of the requests of an engine, kept while it works.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    n_requests: AtomicU64,
    n_in_flight: AtomicU64,
    n_bytes_sent: AtomicU64,
    n_bytes_received: AtomicU64,
    n_prompt_tokens: AtomicU64,
    n_sampled_tokens: AtomicU64,
    retries: Mutex<BTreeMap<Reason, u64>>,
}

impl Counters {
    /// Counts a request as in flight until the guard is dropped.
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.n_requests.fetch_add(1, Ordering::Relaxed);
        self.n_in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    pub(crate) fn bytes(&self, n_sent: usize, n_received: usize) {
        self.n_bytes_sent.fetch_add(n_sent as u64, Ordering::Relaxed);
        self.n_bytes_received.fetch_add(n_received as u64, Ordering::Relaxed);
    }

    pub(crate) fn tokens(&self, n_prompt: usize, n_sampled: usize) {
        self.n_prompt_tokens.fetch_add(n_prompt as u64, Ordering::Relaxed);
        self.n_sampled_tokens.fetch_add(n_sampled as u64, Ordering::Relaxed);
    }

    pub(crate) fn retry(&self, reason: Reason) {
        let mut retries = self.retries.lock().unwrap_or_else(PoisonError::into_inner);
        *retries.entry(reason).or_default() += 1;
    }

    pub(crate) fn snapshot(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            n_requests: read(&self.n_requests),
            n_in_flight: read(&self.n_in_flight),
            n_bytes_sent: read(&self.n_bytes_sent),
            n_bytes_received: read(&self.n_bytes_received),
            n_prompt_tokens: read(&self.n_prompt_tokens),
            n_sampled_tokens: read(&self.n_sampled_tokens),
            retries: self.retries.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A request that is in flight.
pub(crate) struct InFlight<'a>(&'a Counters);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.n_in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts of the requests of an engine at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent, repeated ones included.
    pub n_requests: u64,
    /// Requests without an answer yet.
    pub n_in_flight: u64,
    /// Bytes of the bodies sent.
    pub n_bytes_sent: u64,
    /// Bytes of the bodies received, as they came over the wire.
    pub n_bytes_received: u64,
    /// Tokens sent.
    pub n_prompt_tokens: u64,
    /// Tokens sampled.
    pub n_sampled_tokens: u64,
    /// Repeated requests by reason.
    pub retries: BTreeMap<Reason, u64>,
}

impl Traffic {
    /// Requests that were repeated.
    pub fn n_retries(&self) -> u64 {
        self.retries.values().sum()
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_requests, n_prompt_tokens, n_sampled_tokens, .. } = self;
        write!(formatter, "{n_requests} requests, {n_prompt_tokens} tokens sent")?;
        if *n_sampled_tokens > 0 {
            write!(formatter, ", {n_sampled_tokens} sampled")?;
        }
        let megabytes = |n: u64| n as f64 / 1e6;
        let (sent, received) = (megabytes(self.n_bytes_sent), megabytes(self.n_bytes_received));
        write!(formatter, ", {sent:.1} MB out, {received:.1} MB in")?;
        match self.n_retries() {
            0 => formatter.write_str(", none repeated"),
            n => {
                let reasons = self.retries.iter().map(|(reason, n)| format!("{reason}: {n}"));
                let reasons = reasons.collect::<Vec<_>>().join(", ");
                write!(formatter, ", {n} repeated ({reasons})")
            }
        }
    }
}
