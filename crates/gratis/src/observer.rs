//! How a long job tells of its progress: stages, units done, and figures.
//!
//! The library reads no clock and prints nothing. Whoever runs a job passes an [`Observer`]: the
//! command line draws a bar, takes the time and derives rates from the units it is told of.

/// Told how far a job has come. Every method may be left out.
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

    /// `n` more units of the stage are done; `figures` are the latest values to show.
    fn advance(&mut self, n: u64, figures: &[Figure]) {
        let _ = (n, figures);
    }

    /// Processor seconds used so far, of all threads, where the observer can tell: the library
    /// reads no clock.
    fn processor_seconds(&self) -> Option<f64> {
        None
    }

    /// A remark worth a line in the log.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// A named number of the running stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// The value now: `loss`, `accuracy`.
    Value(&'static str, f64),
    /// An amount to add up, of which a rate can be shown: `tokens`.
    Amount(&'static str, u64),
}

/// An observer that does not look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Silent;

impl Observer for Silent {}
