//! Progress on stderr: a bar on a terminal, a line at intervals elsewhere.
//!
//! Both show the units done, the rate, the time left and the metrics of the job. Rate and time left
//! are those of this run: units done by an earlier run do not count towards the rate.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use gratis::numeric::figure;
use gratis::visible::visible;
use gratis::{Figure, Observer};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::{debug, info, trace, warn};

use crate::interrupt::{Continue, on_interrupt};
use crate::{Common, Verbosity, terminal, usage};

/// The first line of a stage is printed after at most this time, so the user soon sees that it
/// runs.
const FIRST_LINE: Duration = Duration::from_secs(5);
/// How often the line thread checks whether a line is due.
const TICK: Duration = Duration::from_millis(100);

/// Shows the progress of a job, measures its time, and computes rates.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    part: String,
    stage: Arc<Mutex<Option<Stage>>>,
    began: Instant,
    stages: Vec<StageTime>,
    /// Ends the line thread when it is dropped.
    _lines: Option<Sender<()>>,
}

/// How long a stage took.
#[derive(Debug, Clone)]
pub(crate) struct StageTime {
    /// Its name.
    pub(crate) name: String,
    /// Wall time.
    pub(crate) wall: Duration,
    /// Processor time, if the system reports it.
    pub(crate) cpu_seconds: Option<f64>,
}

/// The stage that is running.
#[derive(Debug)]
struct Stage {
    name: String,
    total: Option<u64>,
    /// Units done by earlier runs.
    n_resumed: u64,
    /// Units done by this run.
    n_done: u64,
    began: Instant,
    cpu_at_start: Option<f64>,
    amounts: BTreeMap<&'static str, u64>,
    counts: BTreeMap<&'static str, u64>,
    /// The latest whole numbers.
    numbers: BTreeMap<&'static str, u64>,
    /// The latest values, in the order of their first occurrence.
    values: Vec<(&'static str, f64)>,
    n_lines: u32,
    last_line: Instant,
}

impl Progress {
    /// Progress on stderr, as verbose as the user wants.
    pub(crate) fn new(common: &Common) -> Self {
        let bar = ProgressBar::hidden();
        let stage = Arc::new(Mutex::new(None));
        let mut lines = None;
        if common.verbosity() != Verbosity::Quiet {
            if std::io::stderr().is_terminal() {
                bar.set_draw_target(ProgressDrawTarget::stderr());
                terminal::show_above(Some(bar.clone()));
            } else {
                lines = print_lines(&stage, common.progress_interval());
            }
        }
        let (began, part, stages) = (Instant::now(), String::new(), Vec::new());
        Self { bar, part, stage, began, stages, _lines: lines }
    }

    /// Ends the last stage and logs how long it took.
    pub(crate) fn finish(&mut self) {
        self.bar.finish_and_clear();
        let Some(stage) = self.lock().take() else { return };
        let wall = stage.began.elapsed();
        let cpu_seconds =
            usage::cpu_seconds().zip(stage.cpu_at_start).map(|(now, then)| now - then);
        info!("{}", stage.summary(wall));
        trace!(
            "{}: {} processor seconds, {} MiB at most so far",
            stage.name,
            cpu_seconds.map_or("unknown".to_owned(), |seconds| format!("{seconds:.2}")),
            usage::peak_memory_mib().map_or("unknown".to_owned(), |mib| format!("{mib:.0}")),
        );
        self.stages.push(StageTime { name: stage.name, wall, cpu_seconds });
    }

    /// Counts those of the first `n` units as done that needed no work of their own, such as
    /// duplicates.
    pub(crate) fn reach(&mut self, n: u64) {
        if let Some(stage) = &mut *self.lock() {
            stage.n_done = stage.n_done.max(n.saturating_sub(stage.n_resumed));
        }
        self.show();
    }

    /// The stages that have ended.
    pub(crate) fn stages(&self) -> &[StageTime] {
        &self.stages
    }

    fn lock(&self) -> MutexGuard<'_, Option<Stage>> {
        lock(&self.stage)
    }

    fn show(&self) {
        if let Some(stage) = &*self.lock() {
            self.bar.set_position(stage.n_resumed + stage.n_done);
            self.bar.set_message(visible(&stage.figures()).into_owned());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        terminal::show_above(None);
    }
}

fn lock(stage: &Mutex<Option<Stage>>) -> MutexGuard<'_, Option<Stage>> {
    // A panic elsewhere leaves the counts valid.
    stage.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that prints a line about the running stage at intervals, until the sender is
/// dropped.
fn print_lines(stage: &Arc<Mutex<Option<Stage>>>, interval: Duration) -> Option<Sender<()>> {
    let (sender, receiver) = mpsc::channel();
    let stage = Arc::clone(stage);
    let first = FIRST_LINE.min(interval);
    let run = move || {
        while receiver.recv_timeout(TICK.min(interval)) == Err(RecvTimeoutError::Timeout) {
            if let Some(stage) = &mut *lock(&stage) {
                let due = if stage.n_lines == 0 { first } else { interval };
                if stage.last_line.elapsed() >= due {
                    stage.n_lines += 1;
                    stage.last_line = Instant::now();
                    info!("{}: {}", stage.name, stage.progress());
                }
            }
        }
    };
    // Without the thread only the ends of stages are logged.
    thread::Builder::new().name("progress".to_owned()).spawn(run).ok().map(|_| sender)
}

impl Stage {
    /// `12 of 40 (30 %), 1.5/s, 18 s left, 812 tokens/s, loss 0.3124`
    fn progress(&self) -> String {
        let n = self.n_resumed + self.n_done;
        let seconds = self.began.elapsed().as_secs_f64();
        let mut text = match self.total {
            Some(total) => {
                let share = 100.0 * n as f64 / total.max(1) as f64;
                format!("{n} of {total} ({share:.0} %)")
            }
            None => n.to_string(),
        };
        if self.n_done > 0 {
            let _ = write!(text, ", {}", rate(self.n_done as f64 / seconds.max(1e-9), ""));
        }
        text + ", " + &duration(seconds) + " so far" + &self.figures()
    }

    /// Time left and the metrics, each after a comma.
    fn figures(&self) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let mut text = String::new();
        if let Some(total) = self.total
            && self.n_done > 0
        {
            let n_left = total.saturating_sub(self.n_resumed + self.n_done);
            let left = seconds * n_left as f64 / self.n_done as f64;
            let _ = write!(text, ", {} left", duration(left));
        }
        text + &self.amounts(seconds) + &self.numbers() + &self.values()
    }

    /// The whole numbers of this moment.
    fn numbers(&self) -> String {
        let mut text = String::new();
        for (name, n) in &self.numbers {
            let _ = write!(text, ", {n} {name}");
        }
        text
    }

    /// Rates of the amounts, and the counts.
    fn amounts(&self, seconds: f64) -> String {
        let mut text = String::new();
        for (name, &amount) in &self.amounts {
            let _ = write!(text, ", {}", rate(amount as f64 / seconds.max(1e-9), name));
        }
        for (name, &n) in self.counts.iter().filter(|(_, n)| **n > 0) {
            let _ = write!(text, ", {n} {name}");
        }
        text
    }

    fn values(&self) -> String {
        let show = |&(name, value): &(&str, f64)| format!(", {name} {}", figure(value));
        self.values.iter().map(show).collect()
    }

    /// The line at the end of the stage.
    fn summary(&self, wall: Duration) -> String {
        let seconds = wall.as_secs_f64();
        let mut text = match self.n_resumed + self.n_done {
            0 => format!("{}: {}", self.name, duration(seconds)),
            n => format!("{}: {n} done in {}", self.name, duration(seconds)),
        };
        if self.n_resumed > 0 {
            let _ = write!(text, ", {} of them by an earlier run", self.n_resumed);
        }
        text + &self.amounts(seconds) + &self.values()
    }
}

impl Observer for Progress {
    fn resumable(&mut self) {
        on_interrupt(Continue::WithResume);
    }

    fn part(&mut self, name: &str) {
        name.clone_into(&mut self.part);
    }

    fn stage(&mut self, name: &str, total: Option<u64>) {
        self.finish();
        let name = match &self.part[..] {
            "" => name.to_owned(),
            part => format!("{part}: {name}"),
        };
        self.bar.reset();
        let template = if let Some(total) = total {
            self.bar.set_length(total);
            "{prefix} {bar:10} {human_pos}/{human_len}{wide_msg}"
        } else {
            self.bar.unset_length();
            "{prefix} {spinner} {human_pos} in {elapsed}{wide_msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_message("");
        self.bar.set_prefix(visible(&name).into_owned());
        let now = Instant::now();
        *self.lock() = Some(Stage {
            name,
            total,
            n_resumed: 0,
            n_done: 0,
            began: now,
            cpu_at_start: usage::cpu_seconds(),
            amounts: BTreeMap::new(),
            counts: BTreeMap::new(),
            numbers: BTreeMap::new(),
            values: Vec::new(),
            n_lines: 0,
            last_line: now,
        });
    }

    fn resumed(&mut self, n: u64) {
        if let Some(stage) = &mut *self.lock() {
            stage.n_resumed += n;
        }
        self.show();
    }

    fn advance(&mut self, n: u64, figures: &[Figure]) {
        if let Some(stage) = &mut *self.lock() {
            stage.n_done += n;
            for figure in figures {
                match *figure {
                    Figure::Amount(name, n) => *stage.amounts.entry(name).or_default() += n,
                    Figure::Number(name, n) => *stage.numbers.entry(name).or_default() = n,
                    Figure::Count(name, n) => *stage.counts.entry(name).or_default() += n,
                    Figure::Value(name, value) => {
                        match stage.values.iter_mut().find(|(known, _)| *known == name) {
                            Some((_, known)) => *known = value,
                            None => stage.values.push((name, value)),
                        }
                    }
                }
            }
            let (name, n, values) = (&stage.name, stage.n_resumed + stage.n_done, stage.values());
            if values.is_empty() {
                trace!("{name} {n}");
            } else {
                debug!("{name} {n}{values}");
            }
        }
        self.show();
    }

    fn processor_seconds(&self) -> Option<f64> {
        usage::cpu_seconds()
    }

    fn wall_seconds(&self) -> Option<f64> {
        Some(self.began.elapsed().as_secs_f64())
    }

    fn note(&mut self, text: &str) {
        info!("{text}");
    }

    fn warn(&mut self, text: &str) {
        warn!("{text}");
    }
}

/// `812 tokens/s`, `1.5/s`, `3.2/min`: with enough digits to tell slow from stopped.
fn rate(per_second: f64, name: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!(" {name}") };
    match per_second {
        r if r >= 10.0 => format!("{r:.0}{name}/s"),
        r if r >= 1.0 => format!("{r:.1}{name}/s"),
        r if r >= 1.0 / 60.0 => format!("{:.1}{name}/min", 60.0 * r),
        r => format!("{:.1}{name}/h", 3600.0 * r),
    }
}

/// `4.2 s`, `48 s`, `2 min 05 s`, `12 min`, `3 h 05 min`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 119.5 => format!("{s:.0} s"),
        s if s < 600.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s.is_finite() => {
            let minutes = (s / 60.0) as u64;
            format!("{} h {:02} min", minutes / 60, minutes % 60)
        }
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(total: Option<u64>) -> Stage {
        let began = Instant::now().checked_sub(Duration::from_secs(10)).expect("a clock");
        Stage {
            name: "rollout".to_owned(),
            total,
            n_resumed: 20,
            n_done: 5,
            began,
            cpu_at_start: None,
            amounts: BTreeMap::from([("tokens", 8000)]),
            counts: BTreeMap::from([("cut short", 3)]),
            numbers: BTreeMap::new(),
            values: vec![("loss", 0.5), ("learning rate", 5e-7)],
            n_lines: 0,
            last_line: began,
        }
    }

    #[test]
    fn a_resumed_stage_begins_where_it_resumes_and_keeps_its_own_rate() {
        assert_eq!(
            stage(Some(40)).progress(),
            "25 of 40 (62 %), 30.0/min, 10 s so far, 30 s left, 800 tokens/s, 3 cut short, \
             loss 0.5000, learning rate 5e-7"
        );
        assert!(stage(None).progress().starts_with("25, 30.0/min, 10 s so far, 800 tokens/s"));
        assert_eq!(
            stage(Some(40)).summary(Duration::from_secs(10)),
            "rollout: 25 done in 10 s, 20 of them by an earlier run, 800 tokens/s, 3 cut short, \
             loss 0.5000, learning rate 5e-7"
        );
    }

    #[test]
    fn slow_rates_keep_their_digits() {
        assert_eq!(
            [0.0, 0.5, 61.0, 125.0, 1500.0, 12_000.0].map(duration).join(" | "),
            "0.0 s | 0.5 s | 61 s | 2 min 05 s | 25 min | 3 h 20 min"
        );
        let rates = [812.3, 1.55, 0.05, 0.001].map(|r| rate(r, "tokens"));
        assert_eq!(rates, ["812 tokens/s", "1.6 tokens/s", "3.0 tokens/min", "3.6 tokens/h"]);
    }
}
