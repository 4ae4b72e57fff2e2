//! `gratis score`: a reward for every step of every completion.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::cost::{Pass, Phase};
use gratis::data::{
    Extent, ProblemScores, ReservedOutput, RolloutFiles, ScoreKind, ScorePart, StepSplit,
};
use gratis::encoding::{OnOverlong, Unusual};
use gratis::reward_model::{RewardModel, ScoreBy};
use gratis::scoring::TokenRewards;
use gratis::selection::Aggregation;
use gratis::{Error, Observer, Room};
use tracing::{info, warn};

use super::cost::write_costs;
use super::resumable::{Input, ResumableArgs, Spent, fingerprint, is_stream};
use super::reward_model::{RewardModelArgs, Scoring};
use super::{InvalidArgs, OUTPUT, warn_skipped};
use crate::Common;
use crate::failure::CliError;
use crate::model::report_traffic;
use crate::progress::Progress;

/// Score every step of candidate solutions with a reward model.
///
/// With an implicit process reward model, the reward of a step is beta times the sum over its
/// tokens of `log pi - log pi_ref`, and the Q value at its end is the sum up to that point. With a
/// scalar head or label tokens, the Q value is the model's value of the prefix, and the reward of a
/// step is the difference of two Q values. A published reward model is scored as its authors do
/// (`docs/reward-models.md`): the reward of a step is the model's output for that step.
///
/// A cost record is written beside the output, as `OUTPUT.cost.json` (`gratis cost`).
#[derive(Debug, Args)]
#[command(after_help = "\
Kind, beta, reference, step split and prompt are read from the model's `gratis.json`; flags overrule
them. A published reward model is recognised by its files or by `--kind`. `--reference none` scores by log-probabilities alone.

Examples:
  gratis score --model runs/prm candidates.jsonl -o scores.jsonl
  gratis score --model org/reward-model --reference org/base@v1.0 candidates.jsonl
  gratis score --model runs/prm --reference none - < candidates.jsonl > scores.jsonl
  gratis score --model runs/orm candidates.jsonl -o scores.jsonl
  gratis score --model Qwen/Qwen2.5-Math-PRM-7B candidates.jsonl -o scores.jsonl
  gratis score --model RLHFlow/Llama3.1-8B-PRM-Deepseek-Data --kind rlhflow-prm candidates.jsonl
  gratis score --model my-model --by self-certainty candidates.jsonl -o scores.jsonl")]
pub(crate) struct ScoreArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    /// Reward model: a model folder, run folder or adapter folder, a GGUF file, `org/name` on a hub,
    /// or an engine that runs elsewhere: its file, `ENGINE.toml`, or its address,
    /// `vllm://HOST:PORT/NAME` (see `docs/engines.md`).
    #[arg(short, long, visible_alias = "engine")]
    model: PathBuf,
    #[command(flatten)]
    reward_model: RewardModelArgs,
    #[command(flatten)]
    output: ResumableArgs,
    /// Source of the rewards.
    #[arg(long, value_enum, default_value_t)]
    by: ScoreBy,
    /// How completions without `steps` are split [default: the model's].
    #[arg(long)]
    step_split: Option<StepSplit>,
    /// Part of each completion to score: the thought up to `</think>`, or the answer after it. The model
    /// reads all of it in any case.
    #[arg(long, value_enum, default_value_t)]
    score_part: ScorePart,
    /// How the steps become a solution's score: recorded in every line, and what `gratis select` then
    /// uses [default: the model's].
    #[arg(long, value_name = "NAME")]
    aggregation: Option<Aggregation>,
    /// What to do with completions longer than the context; every one needs a score.
    #[arg(long, value_enum, default_value_t = OnOverlong::Stop)]
    on_overlong: OnOverlong,
    /// Also write the reward of every token (`tokens`), with its id (`token_ids`) and the ends of the
    /// steps in tokens (`token_step_ends`).
    #[arg(long)]
    tokens: bool,
    /// Problems per chunk; duplicates within a chunk are scored once [default: 32, 256 with an engine
    /// that runs elsewhere; 1 from a stream to a stream, so that each result is written at once].
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(crate) fn run(args: &ScoreArgs, common: &Common) -> Result<()> {
    args.reward_model.check()?;
    let output = ReservedOutput::<ProblemScores>::new(args.output.path(), &[&args.input])?;
    let answers_at_once = is_stream(&args.input) && !output.is_resumable();
    let input = Input::prepare(&args.input, &output)?;
    let files = RolloutFiles::new(vec![input.path.clone()], args.invalid.reading()).answered();
    let n_completions = count(&input, &files)?;
    let mut rollouts = files.read().peekable();
    if rollouts.peek().is_none() {
        let n_left_out = files.n_skipped();
        return Err(Error::NoExamples { purpose: "score", n_left_out }.into());
    }
    let scoring = Scoring {
        by: args.by,
        step_split: args.step_split.clone(),
        on_overlong: args.on_overlong,
        tokens: if args.tokens { TokenRewards::Write } else { TokenRewards::Omit },
        part: args.score_part,
        aggregation: args.aggregation,
    };
    let reward_model = args.reward_model.open(&args.model, scoring, common)?;
    let default_chunk = match reward_model.model().traffic() {
        _ if answers_at_once => 1,
        None => CHUNK,
        Some(_) => REMOTE_CHUNK,
    };
    let chunk_size = args.chunk.unwrap_or(default_chunk).max(1);
    let (step_split, aggregation) = (reward_model.step_split(), reward_model.aggregation());
    if let Some(format) = reward_model.format() {
        info!("kind {format}, steps by {step_split}, aggregated by {aggregation}");
    } else {
        let (beta, against) = (reward_model.beta(), reward_model.against());
        info!("beta {beta}, steps by {step_split}, {against}");
    }
    let mut lines_of = fingerprint("score", common);
    if let Some(hash) = &input.hash {
        lines_of = reward_model
            .add_to(lines_of.with("input", hash))?
            .with("`--skip-invalid`", &args.invalid)
            .with("`--chunk`", chunk_size);
    }
    let mut writer = args.output.restart.begin(output, &lines_of)?;
    let n_done = writer.n_resumed();
    let architectures = reward_model.architectures();
    let n_passes = architectures.len() as u64;

    let mut progress = Progress::new(common);
    args.output.output.on_interrupt();
    let n_all = n_completions.as_ref().map(|counts| counts.iter().sum::<u64>());
    progress.stage("score", n_all.map(|n| n * n_passes));
    let n_scored = n_completions.map(|counts| counts.iter().take(n_done).sum::<u64>());
    let mut n_scored = n_scored.unwrap_or(0) * n_passes;
    progress.resumed(n_scored);
    let mut left = rollouts.skip(n_done);
    let mut masks = match reward_model.origin().kind {
        ScoreKind::Implicit | ScoreKind::SelfCertainty => Masks::Applied,
        ScoreKind::Head | ScoreKind::LabelTokens | ScoreKind::Published(_) => Masks::NotApplied,
    };
    let mut spent: Spent = writer.so_far()?;
    // Published formats have prompts of their own.
    let encoder = match reward_model.format() {
        Some(_) => None,
        None => Some(reward_model.encoder(args.on_overlong)?),
    };
    let mut unusual = Unusual::default();
    let (mut n_single, mut n_split, mut n_unused_ids) = (0, 0, 0);
    let mut extents = Extents::default();
    if !is_stream(&input.path) {
        look_ahead(&files, &reward_model, args.on_overlong)?;
    }
    loop {
        let chunk = left.by_ref().take(chunk_size).collect::<Result<Vec<_>, _>>()?;
        if chunk.is_empty() {
            break;
        }
        if masks == Masks::NotApplied
            && chunk.iter().flat_map(|rollout| &rollout.completions).any(|c| c.mask.is_some())
        {
            warn!("masks have no effect: this reward model scores the whole text");
            masks = Masks::Said;
        }
        if let Some(encoder) = &encoder {
            unusual += encoder.unusual(&chunk);
        } else {
            let completions = chunk.iter().flat_map(|rollout| &rollout.completions);
            n_unused_ids += completions.filter(|c| c.token_ids.is_some()).count();
        }
        let (scored, work) = reward_model.score_counted(&chunk, &mut progress)?;
        for (rollout, scores) in chunk.iter().zip(scored) {
            for (completion, scored) in rollout.completions.iter().zip(&scores.scores) {
                extents.add(scored.extent);
                n_split += usize::from(completion.steps.is_none());
                n_single += usize::from(completion.steps.is_none() && scored.steps.len() == 1);
            }
            writer.write(&scores)?;
        }
        let n_completions = chunk.iter().map(|rollout| rollout.completions.len() as u64);
        n_scored += n_completions.sum::<u64>() * n_passes;
        progress.reach(n_scored);
        spent.add(work);
        writer.end_chunk(&spent.so_far())?;
    }
    writer.finish()?;
    progress.finish();
    let models = std::iter::once(reward_model.model()).chain(reward_model.reference());
    models.for_each(report_traffic);
    let given = args.input.to_string_lossy();
    args.output.output.next(&["select", "--rollouts", &given, "--scores", OUTPUT]);
    warn_skipped(files.n_skipped(), "malformed lines");
    extents.say(args.score_part);
    unusual.remarks().iter().for_each(|remark| info!("{remark}"));
    if n_unused_ids > 0 {
        info!(
            "the token ids of {n_unused_ids} completions are not used: this kind of reward model \
             tokenizes prompt and response in its own way"
        );
    }
    if n_single > 0 && *step_split != StepSplit::Whole {
        info!("{n_single} of {n_split} responses have a single step (split by `{step_split}`)");
    }
    let phases = ["scoring", "reference"].into_iter().zip(architectures).map(|(name, shape)| {
        Phase::new(name, Pass::Forward, shape, spent.as_run, spent.as_counted)
    });
    write_costs(args.output.path(), phases.collect(), spent.cpu_seconds_before)
}

/// Numbers of responses that exceed the context.
#[derive(Default)]
struct Extents {
    n: usize,
    n_truncated: usize,
    n_skipped: usize,
    n_absent: usize,
}

impl Extents {
    fn add(&mut self, extent: Option<Extent>) {
        self.n += 1;
        self.n_truncated += usize::from(extent == Some(Extent::Truncated));
        self.n_skipped += usize::from(extent == Some(Extent::Skipped));
        self.n_absent += usize::from(extent == Some(Extent::Absent));
    }

    fn say(&self, part: ScorePart) {
        let Self { n, n_truncated, n_skipped, n_absent } = self;
        if *n_absent > 0 {
            warn!("of {n} responses {n_absent} have no {part}; their outcome is `null`");
        }
        if n_truncated + n_skipped > 0 {
            warn!(
                "of {n} responses {n_truncated} were truncated at the end of the context and \
                 {n_skipped} skipped; their unread steps and their outcome are `null`"
            );
        }
    }
}

/// Finds the responses that exceed the context before the work begins: an error, or their number.
fn look_ahead(
    files: &RolloutFiles,
    reward_model: &RewardModel,
    on_overlong: OnOverlong,
) -> Result<()> {
    let (mut n, mut first) = (0, None);
    for rollout in files.read() {
        let rollout = rollout?;
        for idx in 0..rollout.completions.len() {
            if reward_model.room(&rollout, idx)? != Room::Whole {
                n += 1;
                first.get_or_insert_with(|| {
                    format!("completion {} of `{}`", idx + 1, rollout.name())
                });
            }
        }
    }
    match (first, on_overlong) {
        (Some(first), OnOverlong::Stop) => Err(CliError::Mismatch {
            what: format!(
                "{n} responses exceed the context of the model with their prompts, the first is \
                 {first}"
            ),
            hint: "truncate them (`--on-overlong truncate`) or skip them (`--on-overlong skip`)",
        }
        .into()),
        (Some(_), _) => {
            info!("{n} responses exceed the context of the model");
            Ok(())
        }
        (None, _) => Ok(()),
    }
}

/// How masks of completions are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Masks {
    Applied,
    NotApplied,
    /// Not applied, and the user has been warned.
    Said,
}

/// Problems per chunk if the input or the output is a file.
const CHUNK: usize = 32;
/// The same with an engine that runs elsewhere: at the end of a chunk its servers wait.
const REMOTE_CHUNK: usize = 256;

/// The number of completions, counted first so that a malformed line is found before the work
/// starts and progress has a total; a stream can be read only once.
fn count(input: &Input, files: &RolloutFiles) -> Result<Option<Vec<u64>>> {
    if is_stream(&input.path) {
        return Ok(None);
    }
    let counts = files.read().map(|rollout| Ok(rollout?.completions.len() as u64));
    Ok(Some(counts.collect::<Result<_, gratis::Error>>()?))
}
