//! Progress and log on stderr: bars with rates and time left where someone looks, lines otherwise.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use gratis::{Figure, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{debug, info};
use tracing_subscriber::EnvFilter;

use crate::{Common, usage};

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Stages, remarks and bars.
    Normal,
    /// Also figures of every step.
    Verbose,
}

/// Sends the log to stderr; `RUST_LOG` overrules the flags.
pub(crate) fn start_log(common: &Common) {
    let level = match common.verbosity() {
        Verbosity::Quiet => "error",
        Verbosity::Normal => "info",
        Verbosity::Verbose => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// Shows a job's progress as a bar, takes the time, and derives rates.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    part: String,
    stage: String,
    started: Instant,
    cpu_at_start: Option<f64>,
    amounts: BTreeMap<&'static str, u64>,
    stages: Vec<StageTime>,
}

/// How long a stage took.
#[derive(Debug, Clone)]
pub(crate) struct StageTime {
    /// Its name.
    pub(crate) name: String,
    /// Time on the clock.
    pub(crate) wall: Duration,
    /// Processor time, where the system tells.
    pub(crate) cpu_seconds: Option<f64>,
}

impl Progress {
    /// A bar on stderr, silent where stderr is no terminal.
    pub(crate) fn new(common: &Common) -> Self {
        let bar = ProgressBar::hidden();
        if common.verbosity() != Verbosity::Quiet {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self {
            bar,
            part: String::new(),
            stage: String::new(),
            started: Instant::now(),
            cpu_at_start: None,
            amounts: BTreeMap::new(),
            stages: Vec::new(),
        }
    }

    /// Ends the last stage and says how long it took.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        if self.stage.is_empty() {
            return;
        }
        let name = std::mem::take(&mut self.stage);
        let wall = self.started.elapsed();
        info!("{name}: {:.1} s{}", wall.as_secs_f64(), self.rates());
        let cpu_seconds = usage::cpu_seconds().zip(self.cpu_at_start).map(|(now, then)| now - then);
        self.stages.push(StageTime { name, wall, cpu_seconds });
    }

    /// The stages that have ended.
    pub(crate) fn stages(&self) -> &[StageTime] {
        &self.stages
    }

    fn rates(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let rate =
            |(name, amount): (&&str, &u64)| format!(", {:.0} {name}/s", *amount as f64 / seconds);
        self.amounts.iter().map(rate).collect()
    }
}

impl Observer for Progress {
    fn part(&mut self, name: &str) {
        name.clone_into(&mut self.part);
    }

    fn stage(&mut self, name: &str, total: Option<u64>) {
        self.finish();
        self.stage = match &self.part[..] {
            "" => name.to_owned(),
            part => format!("{part}: {name}"),
        };
        self.started = Instant::now();
        self.cpu_at_start = usage::cpu_seconds();
        self.amounts.clear();
        self.bar.reset();
        let template = if let Some(total) = total {
            self.bar.set_length(total);
            "{prefix} {wide_bar} {human_pos}/{human_len} {eta} left{msg}"
        } else {
            self.bar.unset_length();
            "{prefix} {spinner} {human_pos} in {elapsed}{msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_prefix(self.stage.clone());
    }

    fn advance(&mut self, n: u64, figures: &[Figure]) {
        self.bar.inc(n);
        let mut values = Vec::new();
        for figure in figures {
            match *figure {
                Figure::Value(name, value) => values.push(format!(", {name} {value:.4}")),
                Figure::Amount(name, amount) => *self.amounts.entry(name).or_default() += amount,
            }
        }
        let values = values.concat();
        if !values.is_empty() {
            debug!("{} {}{values}", self.stage, self.bar.position());
        }
        self.bar.set_message(format!("{}{values}", self.rates()));
    }

    fn processor_seconds(&self) -> Option<f64> {
        usage::cpu_seconds()
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| info!("{text}"));
    }
}
