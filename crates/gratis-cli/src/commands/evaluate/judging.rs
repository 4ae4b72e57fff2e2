//! The scores for a step benchmark: computed with a model, saved and resumable, or read from a
//! file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::data::{
    OnInvalid, Precision, ProblemScores, RecordReader, ReservedOutput, Rollout, ScorePart, Scored,
    StepSplit,
};
use gratis::data::{ends_in_chars, locate};
use gratis::encoding::OnOverlong;
use gratis::evaluation::{Bootstrap, StepSignal};
use gratis::reward_model::{RewardModel, ScoreBy};
use gratis::scoring::TokenRewards;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::Common;
use crate::commands::read_records;
use crate::commands::resumable::{RestartArgs, fingerprint};
use crate::commands::reward_model::{RewardModelArgs, Scoring};
use crate::commands::select::check_match;
use crate::failure::CliError;
use crate::interrupt::{Continue, on_interrupt};
use crate::model::report_traffic;
use crate::progress::Progress;

/// Source of the scores.
#[derive(Debug, Args)]
pub(super) struct JudgingArgs {
    /// Reward model: a folder, its run folder, an adapter, `org/name` on a hub, or an engine that runs
    /// elsewhere (`docs/engines.md`).
    #[arg(short, long, visible_alias = "engine", required_unless_present = "scores")]
    model: Option<PathBuf>,
    #[command(flatten)]
    reward_model: RewardModelArgs,
    /// Write the scores to this file; after an interruption, the same command continues it.
    #[arg(long, value_name = "FILE")]
    save_scores: Option<PathBuf>,
    #[command(flatten)]
    restart: RestartArgs,
    /// Read the scores from this file, one line per solution, instead of using a model.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "save_scores"])]
    scores: Option<PathBuf>,
    /// Signal compared with the threshold [default: the Q value of models with a head or label
    /// tokens, else the process reward].
    #[arg(long, value_enum)]
    signal: Option<StepSignal>,
    /// Seed of the bootstrap.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The scores of a benchmark's solutions.
pub(super) struct Judged {
    /// One per solution.
    pub(super) scores: Vec<ProblemScores>,
    /// Signal compared with the threshold.
    pub(super) signal: StepSignal,
    /// Source of the scores, for the JSON output.
    pub(super) origin: Value,
    /// The same as text.
    pub(super) words: String,
}

/// Solutions scored together.
const CHUNK: usize = 64;

impl JudgingArgs {
    /// How intervals are computed.
    pub(super) fn bootstrap(&self) -> Bootstrap {
        Bootstrap { seed: self.seed, ..Bootstrap::default() }
    }

    /// The scores of all solutions; `stage` is the name of the work in the progress output.
    pub(super) fn judge(
        &self,
        stage: &str,
        solutions: &[Rollout],
        inputs: &[PathBuf],
        common: &Common,
    ) -> Result<Judged> {
        self.reward_model.check()?;
        if let Some(path) = &self.scores {
            return self.by_file(path, solutions);
        }
        let missing = || CliError::Missing {
            field: "model",
            hint: "give `--model`, or `--scores FILE`".to_owned(),
        };
        let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        let reserve = |path: &PathBuf| ReservedOutput::new(path, &inputs);
        let output = self.save_scores.as_ref().map(reserve).transpose()?;
        let model = self.model.as_deref().ok_or_else(missing)?;
        self.by_model(model, stage, solutions, output, common)
    }

    fn by_file(&self, path: &Path, solutions: &[Rollout]) -> Result<Judged> {
        let scores: Vec<ProblemScores> = read_records(RecordReader::open(path, OnInvalid::Stop)?)?;
        check_match(solutions, &scores)?;
        let origins = scores.iter().filter_map(|score| score.origin.as_ref());
        let rounded = origins.map(|origin| origin.precision).find(|precision| !precision.is_f32());
        let precision = rounded.unwrap_or_default();
        Ok(Judged {
            scores,
            signal: self.signal.unwrap_or_default(),
            origin: with_precision(json!({ "scores": path }), precision),
            words: format!("scores from `{}`{}", path.display(), rounding(precision)),
        })
    }

    fn by_model(
        &self,
        path: &Path,
        stage: &str,
        solutions: &[Rollout],
        output: Option<ReservedOutput<ProblemScores>>,
        common: &Common,
    ) -> Result<Judged> {
        let scoring = Scoring {
            by: ScoreBy::Reward,
            // The benchmark gives the steps.
            step_split: Some(StepSplit::default()),
            aggregation: None,
            on_overlong: OnOverlong::Truncate,
            tokens: TokenRewards::Omit,
            part: ScorePart::All,
        };
        let reward_model = self.reward_model.open(path, scoring, common)?;
        let own_signal = reward_model.step_signal();
        if !reward_model.rewards_steps() {
            return Err(CliError::Mismatch {
                what: format!("`{}` gives one reward to a whole solution", path.display()),
                hint: "benchmarks of steps need a process reward model",
            }
            .into());
        }
        let (beta, against) = (reward_model.beta(), reward_model.against());
        let precision = reward_model.origin().precision;
        let told = match reward_model.format() {
            Some(format) => format!("kind {format}{}", rounding(precision)),
            None => format!("beta {beta}, {against}{}", rounding(precision)),
        };
        info!("{told}; steps as the benchmark gives them");
        let room = Room::of(&reward_model, solutions)?;
        if room.n_cut > 0 {
            warn!(
                "{room} of {} solutions; steps that do not fit get a reward of 0",
                solutions.len()
            );
        }
        let reference = reward_model.reference().map(|model| model.place().display_name());
        let origin = json!({ "model": path, "kind": reward_model.origin().kind,
                             "reference": reference, "beta": beta,
                             "n_cut": room.n_cut, "n_without_room": room.without.len() });
        let origin = with_precision(origin, precision);
        let mut progress = Progress::new(common);
        let (mut writer, n_done) = match output {
            Some(output) => {
                let mut lines_of = fingerprint(&format!("evaluate {stage}"), common);
                if output.is_resumable() {
                    lines_of = reward_model.add_to(lines_of.with_records("input", solutions)?)?;
                }
                let writer = self.restart.begin(output, &lines_of)?;
                let n_resumed = writer.n_resumed().min(solutions.len());
                (Some(writer), n_resumed)
            }
            None => (None, 0),
        };
        if self.save_scores.is_some() {
            on_interrupt(Continue::SameCommand);
        }
        progress.stage(stage, Some(solutions.len() as u64));
        progress.resumed(n_done as u64);
        let mut scores = Vec::new();
        let left: Vec<usize> = (n_done..solutions.len()).collect();
        for chunk in left.chunks(CHUNK) {
            let fits = |idx: &usize| !room.without.contains(idx);
            let own: Vec<Rollout> =
                chunk.iter().filter(|idx| fits(idx)).map(|&idx| solutions[idx].clone()).collect();
            let mut own = reward_model.score(&own, &mut gratis::Silent)?.into_iter();
            for idx in chunk {
                let score = if fits(idx) { own.next() } else { None };
                let score = score.map_or_else(|| nothing(&solutions[*idx]), Ok)?;
                let score = ProblemScores { origin: Some(reward_model.origin()), ..score };
                match &mut writer {
                    Some(writer) => writer.write(&score)?,
                    None => scores.push(score),
                }
            }
            if let Some(writer) = &mut writer {
                writer.end_chunk(&())?;
            }
            progress.advance(chunk.len() as u64, &[]);
        }
        progress.finish();
        let models = std::iter::once(reward_model.model()).chain(reward_model.reference());
        models.for_each(report_traffic);
        if let (Some(writer), Some(path)) = (writer, &self.save_scores) {
            writer.finish()?;
            scores = read_records(RecordReader::open(path, OnInvalid::Stop)?)?;
            check_match(solutions, &scores)?;
        }
        Ok(Judged {
            scores,
            signal: self.signal.unwrap_or(own_signal),
            origin,
            words: format!("{told}, {room}"),
        })
    }
}

/// How the scores were rounded, after what they were made with; nothing of f32.
fn rounding(precision: Precision) -> &'static str {
    if precision.is_f32() { "" } else { ", products rounded to bf16" }
}

/// As in the origin of a score: named only where it is not f32.
fn with_precision(mut origin: Value, precision: Precision) -> Value {
    if !precision.is_f32() {
        origin["precision"] = json!(precision);
    }
    origin
}

/// Solutions that do not fit the context.
struct Room {
    /// Solutions that are truncated, or whose problem alone does not fit.
    n_cut: usize,
    /// Indices of those whose problem alone does not fit.
    without: BTreeSet<usize>,
}

impl Room {
    fn of(reward_model: &RewardModel, solutions: &[Rollout]) -> Result<Self> {
        let mut room = Self { n_cut: 0, without: BTreeSet::new() };
        for (idx, rollout) in solutions.iter().enumerate() {
            let own = reward_model.room(rollout, 0)?;
            room.n_cut += usize::from(own != gratis::Room::Whole);
            if own == gratis::Room::Nothing {
                room.without.insert(idx);
            }
        }
        Ok(room)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_cut, without } = self;
        write!(
            f,
            "{n_cut} truncated at the end of the context ({} without room for any step)",
            without.len()
        )
    }
}

/// The score of a solution that does not fit the model's context.
fn nothing(rollout: &Rollout) -> Result<ProblemScores, gratis::Error> {
    let completion = rollout.completions.first();
    let steps = completion.and_then(|completion| completion.steps.as_deref()).unwrap_or_default();
    let text = completion.map_or("", |completion| completion.text.as_str());
    let score = Scored {
        steps: vec![0.0; steps.len()],
        q_values: vec![0.0; steps.len()],
        step_ends: ends_in_chars(text, &locate(text, steps)?),
        ..Scored::default()
    };
    Ok(ProblemScores::new(rollout.name().to_owned(), vec![score]))
}
