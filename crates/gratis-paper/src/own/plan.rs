//! The plan of a reproduction on a cast: what would be sampled, trained and scored, with tokens,
//! operations, memory and time, from a short measured pass of the start.

use std::collections::HashSet;

use gratis::cost::{Architecture, Pass, Work as Passes};
use gratis::encoding::{Corpus, Item, encode_rollouts, micro_batches};
use gratis::reward_model::Model;
use gratis::run::{RewardKind, TrainSettings};
use serde::Serialize;

use super::check::left_out;
use super::data::Answers;
use super::file::CastFile;
use crate::error::Result;
use crate::summary::SummaryPart;

/// Bytes of a parameter in f32.
const PARAMETER_BYTES: f64 = 4.0;
/// Weight, gradient and two moments of AdamW.
const COPIES_TRAINED: f64 = 4.0;

/// Tokens per batch of a planned pass over answers.
const PACKED_TOKENS: usize = 4096;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Job {
    /// Candidates or training responses are drawn from an engine.
    Sample,
    /// A reward model is trained.
    Train,
    /// A model reads responses.
    Score,
}

impl Job {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Train => "train",
            Self::Score => "score",
        }
    }
}

/// A job that is not in the cache yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PlannedJob {
    /// What it does.
    pub(crate) job: Job,
    /// The row, or the generator.
    pub(crate) row: String,
    /// Responses.
    pub(crate) n_responses: u64,
    /// Tokens that go through the model.
    pub(crate) n_tokens: u64,
    /// Operations.
    pub(crate) flops: f64,
    /// Bytes of weights, gradients and optimizer state; activations come on top.
    pub(crate) bytes: f64,
    /// Seconds at the measured rate; `None` where none could be measured.
    pub(crate) seconds: Option<f64>,
    /// Who samples.
    #[serde(skip)]
    sampler: Option<String>,
}

/// The plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    /// The jobs, in their order.
    pub(crate) jobs: Vec<PlannedJob>,
    /// Operations per second of a measured pass of the start; `None` if the time was not measured.
    pub(crate) flops_per_second: Option<f64>,
    /// Tokens of that pass.
    pub(crate) n_probe_tokens: u64,
    /// Experiments that cannot run on this cast, and what else is left out, with the reason.
    pub(crate) left_out: Vec<[String; 2]>,
    #[serde(skip)]
    seen: HashSet<String>,
}

/// The size of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Work {
    pub(super) n_responses: u64,
    pub(super) n_tokens: u64,
    pub(super) flops: f64,
    pub(super) bytes: f64,
}

impl Work {
    /// One pass over a corpus.
    pub(super) fn of_corpus(start: &Model, corpus: &Corpus, budget: usize) -> Result<Self> {
        let units: Vec<Item> = (0..corpus.responses().len()).map(Item::Response).collect();
        let mut passes = Passes::default();
        for batch in &micro_batches(corpus, &units, budget)?.packed {
            passes += Passes::of_batch(batch);
        }
        Ok(Self {
            n_responses: units.len() as u64,
            n_tokens: passes.n_tokens,
            flops: Architecture::from(start.config()).flops(&passes, Pass::Forward).total(),
            bytes: PARAMETER_BYTES * n_parameters(start),
        })
    }

    /// One pass over answers as the cast reads them.
    pub(super) fn of_answers(file: &CastFile, start: &Model, answers: &Answers) -> Result<Self> {
        let mut corpus = Corpus::default();
        encode_rollouts(&answers.rollouts, &file.encoder(start)?, &mut corpus)?;
        Self::of_corpus(start, &corpus, PACKED_TOKENS)
    }

    /// A training on answers, the pass of the reference included.
    pub(super) fn of_training(
        file: &CastFile,
        start: &Model,
        answers: &Answers,
        settings: &TrainSettings,
    ) -> Result<Self> {
        let one_pass = Self::of_answers(file, start, answers)?;
        Ok(one_pass.trained(start, settings, Self::units(answers, settings)))
    }

    /// Responses that the optimizer sees in an epoch: two per pair.
    fn units(answers: &Answers, settings: &TrainSettings) -> u64 {
        let pairs = settings.operations.iter().find_map(|of| match of {
            gratis::data::DataOperation::MakePairs { per_prompt, .. } => Some(*per_prompt),
            _ => None,
        });
        let Some(per_prompt) = pairs else { return answers.n_responses() as u64 };
        let pairs_of = |rollout: &gratis::data::Rollout| {
            let is_correct = |of: &&gratis::data::Completion| of.label == Some(true);
            let n_correct = rollout.completions.iter().filter(is_correct).count();
            let all = n_correct * (rollout.completions.len() - n_correct);
            all.min(per_prompt.unwrap_or(usize::MAX))
        };
        2 * answers.rollouts.iter().map(pairs_of).sum::<usize>() as u64
    }

    /// The training that sees `n_units` of the responses of this pass in an epoch.
    fn trained(self, start: &Model, settings: &TrainSettings, n_units: u64) -> Self {
        let epochs = settings.optimization.epochs as u64;
        let per_step = settings.optimization.batch_size as u64;
        let n_all = match settings.optimization.max_steps {
            0 => n_units * epochs,
            n_steps => (n_units * epochs).min(n_steps * per_step),
        };
        let share = n_all as f64 / self.n_responses.max(1) as f64;
        let has_reference = settings.kind == RewardKind::Implicit;
        let n_parameters = n_parameters(start);
        let is_adapter = settings.lora.lora_rank.is_some();
        Self {
            n_responses: n_all,
            n_tokens: (share * self.n_tokens as f64) as u64,
            flops: 3.0 * share * self.flops + if has_reference { self.flops } else { 0.0 },
            bytes: PARAMETER_BYTES
                * n_parameters
                * if is_adapter { 1.0 } else { COPIES_TRAINED + f64::from(has_reference) },
        }
    }

    /// Responses that do not exist yet, of at most `n_new` tokens after a prompt of `n_prompt`.
    pub(super) fn expected(
        start: &Model,
        n_problems: usize,
        n_samples: usize,
        (n_prompt, n_new): (usize, usize),
    ) -> Self {
        let of_problem = Passes::of_samples(n_prompt, &vec![n_new; n_samples]);
        let passes = of_problem.times(n_problems as u64);
        Self {
            n_responses: (n_problems * n_samples) as u64,
            n_tokens: passes.n_tokens,
            flops: Architecture::from(start.config()).flops(&passes, Pass::Forward).total(),
            bytes: PARAMETER_BYTES * n_parameters(start),
        }
    }

    /// A training on responses that do not exist yet.
    pub(super) fn expected_training(self, start: &Model, settings: &TrainSettings) -> Self {
        self.trained(start, settings, self.n_responses)
    }
}

fn n_parameters(model: &Model) -> f64 {
    gratis_model::Layout::new(model.config()).n_parameters() as f64
}

impl Plan {
    /// A training that is not in the cache; once for each run.
    pub(super) fn train(&mut self, row: &str, run: &str, work: Work) {
        if self.seen.insert(format!("train {run}")) {
            self.push(Job::Train, row, work);
        }
    }

    /// A pass that is not in the cache; once for each model and corpus.
    pub(super) fn score(&mut self, row: &str, model: &str, corpus: &str, work: Work) {
        if !self.seen.insert(format!("score {model} {corpus}")) {
            return;
        }
        let before = self.jobs.iter_mut().find(|job| job.job == Job::Score && job.row == row);
        match before {
            Some(job) => {
                job.n_responses += work.n_responses;
                job.n_tokens += work.n_tokens;
                job.flops += work.flops;
            }
            None => self.push(Job::Score, row, work),
        }
    }

    /// Samples that are not in the cache.
    pub(super) fn sample(&mut self, generator: &str, what: &str, work: Work) {
        if self.seen.insert(format!("sample {generator} {what}")) {
            self.push(Job::Sample, &format!("{generator}, {what}"), work);
            if let Some(job) = self.jobs.last_mut() {
                job.sampler = Some(generator.to_owned());
            }
        }
    }

    fn push(&mut self, job: Job, row: &str, work: Work) {
        let Work { n_responses, n_tokens, flops, bytes } = work;
        let row = row.to_owned();
        self.jobs.push(PlannedJob {
            job,
            row,
            n_responses,
            n_tokens,
            flops,
            bytes,
            seconds: None,
            sampler: None,
        });
    }

    /// Who samples, each once.
    pub(super) fn samplers(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for sampler in self.jobs.iter().filter_map(|job| job.sampler.clone()) {
            if !all.contains(&sampler) {
                all.push(sampler);
            }
        }
        all
    }

    /// Fills in the times of a sampler from its measured rate.
    pub(super) fn time_samples(&mut self, sampler: &str, tokens_per_second: f64) {
        for job in self.jobs.iter_mut().filter(|job| job.sampler.as_deref() == Some(sampler)) {
            job.seconds = Some(job.n_tokens as f64 / tokens_per_second);
        }
    }

    /// Fills in the times from a measured pass.
    pub(super) fn time(&mut self, probe: Work, seconds: Option<f64>) {
        self.n_probe_tokens = probe.n_tokens;
        self.flops_per_second = seconds.filter(|&s| s > 0.0).map(|seconds| probe.flops / seconds);
        for job in &mut self.jobs {
            job.seconds = match job.job {
                Job::Sample => None,
                Job::Train | Job::Score => self.flops_per_second.map(|rate| job.flops / rate),
            };
        }
    }
}

impl Plan {
    /// The jobs as a table, for a terminal.
    pub fn summary(&self) -> Vec<SummaryPart> {
        if self.jobs.is_empty() {
            let done = "Everything is in the cache: nothing would be computed.";
            return vec![SummaryPart::note(done), left_out(&self.left_out)];
        }
        let seconds = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), duration);
        let row = |job: &PlannedJob| {
            vec![
                format!("{} {}", job.job.name(), job.row),
                job.n_responses.to_string(),
                job.n_tokens.to_string(),
                format!("{:.1e}", job.flops),
                format!("{:.1}", job.bytes / 1e9),
                seconds(job.seconds),
            ]
        };
        let mut rows: Vec<Vec<String>> = self.jobs.iter().map(row).collect();
        let sum = |of: fn(&PlannedJob) -> f64| self.jobs.iter().map(of).sum::<f64>();
        let known = self.jobs.iter().filter_map(|job| job.seconds).sum::<f64>();
        rows.push(vec![
            "all".to_owned(),
            format!("{:.0}", sum(|job| job.n_responses as f64)),
            format!("{:.0}", sum(|job| job.n_tokens as f64)),
            format!("{:.1e}", sum(|job| job.flops)),
            String::new(),
            seconds(self.flops_per_second.map(|_| known)),
        ]);
        let header = ["job", "responses", "tokens", "operations", "GB", "time"];
        vec![
            SummaryPart::table(&header, rows),
            SummaryPart::Notes(self.remarks()),
            left_out(&self.left_out),
        ]
    }

    /// How the columns are to be read.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = vec![match self.flops_per_second {
            Some(rate) => format!(
                "Times are operations over the rate of one measured pass of the start: {:.1} billion \
                 per second, {} tokens. A training is taken for three such passes and one of the \
                 reference; optimizer steps come on top.",
                rate / 1e9,
                self.n_probe_tokens
            ),
            None => "No time: the rate was not measured.".to_owned(),
        }];
        remarks.push(
            "GB: weights, gradients and optimizer state of the model; activations come on top. What \
             is in the cache is not listed."
                .to_owned(),
        );
        if self.jobs.iter().any(|job| job.job == Job::Sample) {
            remarks.push(
                "Responses that do not exist yet are taken for the longest that may be sampled, so \
                 their tokens are an upper bound. The time of samples is these tokens over the rate \
                 of four short ones, asked for at once: a server that answers many requests side by \
                 side takes less."
                    .to_owned(),
            );
        }
        remarks
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_planned_once_and_passes_of_a_row_add_up() {
        let mut plan = Plan::default();
        let work = Work { n_responses: 2, n_tokens: 100, flops: 1e9, bytes: 4.0 };
        plan.train("ce", "run-1", work);
        plan.train("ce again", "run-1", work);
        plan.score("ce", "run-1", "a", work);
        plan.score("ce", "run-1", "a", work);
        plan.score("ce", "run-1", "b", work);
        plan.time(work, Some(2.0));
        let jobs: Vec<_> = plan.jobs.iter().map(|job| (job.job, job.n_tokens)).collect();
        assert_eq!(jobs, [(Job::Train, 100), (Job::Score, 200)]);
        assert_eq!(plan.flops_per_second, Some(5e8));
        assert_eq!(plan.jobs[1].seconds, Some(4.0));
    }
}
