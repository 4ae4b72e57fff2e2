//! Progress reports of a long job: stages, units done, and metrics.
//!
//! The library reads no clock and prints nothing. The caller of a job passes an [`Observer`]: the
//! command line shows a bar, measures the time and computes rates from the units that are reported.

/// Receives the progress of a job. Every method has a default that does nothing.
pub trait Observer {
    /// What the following stages belong to: `3 of 11, table2`.
    fn part(&mut self, name: &str) {
        let _ = name;
    }

    /// A stage begins and ends the one before it. `total` is its amount of work in its own units
    /// (steps, problems, responses), if known.
    fn stage(&mut self, name: &str, total: Option<u64>) {
        let _ = (name, total);
    }

    /// `n` units of the stage were done by an earlier run that this one resumes. They count as done,
    /// but not towards the rate of this run.
    fn resumed(&mut self, n: u64) {
        let _ = n;
    }

    /// From now on a job that is interrupted can be resumed.
    fn resumable(&mut self) {}

    /// `n` more units of the stage are done; `figures` are the latest values to show.
    fn advance(&mut self, n: u64, figures: &[Figure]) {
        let _ = (n, figures);
    }

    /// Processor seconds used so far, of all threads, where the observer can tell: the library
    /// reads no clock.
    fn processor_seconds(&self) -> Option<f64> {
        None
    }

    /// Seconds since the job began, where the observer can tell.
    fn wall_seconds(&self) -> Option<f64> {
        None
    }

    /// A remark for the log.
    fn note(&mut self, text: &str) {
        let _ = text;
    }

    /// A remark about something that is probably wrong.
    fn warn(&mut self, text: &str) {
        self.note(text);
    }
}

/// A named number of the running stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// The value now: `loss`, `accuracy`.
    Value(&'static str, f64),
    /// The whole number now: `in flight`.
    Number(&'static str, u64),
    /// An amount to add up and show as a rate per second: `tokens`.
    Amount(&'static str, u64),
    /// A number to add up and show as a count: `cut short`.
    Count(&'static str, u64),
}

/// A no-op observer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silent;

impl Observer for Silent {}
