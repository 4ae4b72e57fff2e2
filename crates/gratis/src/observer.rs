//! How a long job reports its progress: stages, units done, and figures.
//!
//! The library reads no clock and prints nothing. Whoever runs a job passes an [`Observer`]: the
//! command line shows a bar, measures the time and computes rates from the units that are reported.

/// Receives the progress of a job. Every method has a default that does nothing.
pub trait Observer {
    /// What the stages to come are part of: `3 of 11, table2`.
    fn part(&mut self, name: &str) {
        let _ = name;
    }

    /// A stage begins and ends the one before it. `total` is its amount of work in units of its
    /// own (steps, problems, responses), where it is known.
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

    /// A remark worth a line in the log.
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
    /// An amount to add up, of which a rate per second means something: `tokens`.
    Amount(&'static str, u64),
    /// A number to add up and to show as it is: `cut short`.
    Count(&'static str, u64),
}

/// A no-op observer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silent;

impl Observer for Silent {}
