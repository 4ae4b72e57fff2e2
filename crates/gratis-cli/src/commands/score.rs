//! `gratis score`: a reward for every step of every completion.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::baseline::{BaselineForm, HeadScorer, LabelTokens, SelfCertainty, TokenScorer};
use gratis::data::{ResumableWriter, RolloutFiles, StepSplit};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::numeric::check_positive;
use gratis::scoring::{RewardModel, Scorer, ScoringSettings, TokenRewards};
use gratis::{Error, Observer};
use gratis_engine::Engine;
use tracing::{info, warn};

use super::{InvalidArgs, OutputArgs, warn_skipped};
use crate::Common;
use crate::failure::CliError;
use crate::model::{Model, Weights};
use crate::progress::Progress;
use crate::prompt::PromptSettings;

/// What gives the rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// What the model was trained for, or its log-probabilities.
    Reward,
    /// How certain the model is of each token; no training, no reference.
    SelfCertainty,
}

/// Score every step of candidate solutions with a reward model.
///
/// Of an implicit process reward model, the reward of a step is beta times the sum over its tokens
/// of `log pi - log pi_ref`, and the Q value at its end is the sum up to there. Of a model with a
/// scalar head or label tokens, the Q value is the model's value of the prefix and the reward of a
/// step the difference of two.
#[derive(Debug, Args)]
#[command(after_help = "\
Kind, beta, reference, step split and prompt are read from the model's `gratis.json`; flags overrule
them. `--reference none` scores by log-probabilities alone.

Examples:
  gratis score --model runs/prm candidates.jsonl -o scores.jsonl
  gratis score --model org/reward-model --reference org/base@v1.0 candidates.jsonl
  gratis score --model runs/prm --reference none - < candidates.jsonl > scores.jsonl
  gratis score --model runs/orm candidates.jsonl -o scores.jsonl
  gratis score --model my-model --by self-certainty candidates.jsonl -o scores.jsonl")]
pub(crate) struct ScoreArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    /// Reward model: its folder, that of its run or of an adapter, a GGUF file, or `org/name` on a
    /// hub.
    #[arg(short, long)]
    model: PathBuf,
    /// Reference model, or `none` [default: the one the model was trained with].
    #[arg(short, long)]
    reference: Option<PathBuf>,
    /// Where the weights are; the scores are the same to the bit.
    #[arg(long, value_enum, default_value_t = Weights::Auto)]
    weights: Weights,
    #[command(flatten)]
    output: OutputArgs,
    /// What gives the rewards.
    #[arg(long, value_enum, default_value_t = By::Reward)]
    by: By,
    /// Factor of the log-ratio [default: the model's].
    #[arg(long)]
    beta: Option<f64>,
    /// How completions without `steps` are split [default: the model's].
    #[arg(long)]
    step_split: Option<StepSplit>,
    #[command(flatten)]
    prompt: PromptSettings,
    /// What to do with completions longer than the context; every one needs a score.
    #[arg(long, value_enum, default_value_t = OnOverlong::Stop)]
    on_overlong: OnOverlong,
    /// Write the reward of every token as well.
    #[arg(long)]
    tokens: bool,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
    /// Problems scored together; copies are recognised among them.
    #[arg(long, default_value_t = 32)]
    chunk: usize,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(crate) fn run(args: &ScoreArgs, common: &Common) -> Result<()> {
    if let Some(beta) = args.beta {
        check_positive("beta", beta)?;
    }
    let files = RolloutFiles::new(vec![args.input.clone()], args.invalid.on_invalid());
    let n_completions = count(&args.input, &files)?;
    let mut rollouts = files.read().peekable();
    if rollouts.peek().is_none() {
        return Err(Error::NoExamples { purpose: "score" }.into());
    }
    let (mut writer, n_done) = ResumableWriter::resume(&args.output.output)?;
    let mut model = Model::load_as(&args.model, common.threads, args.weights)?;
    let reference_path = match args.by {
        By::Reward => reference_of(args.reference.as_deref(), &model)?,
        By::SelfCertainty => None,
    };
    let mut reference = match &reference_path {
        Some(path) => Some(Model::load_beside(path, common.threads, args.weights, Some(&model))?),
        None => None,
    };
    if let Some(reference) = &reference
        && let Some(expected) = model.manifest.as_ref().and_then(|m| m.reference.as_ref())
        && reference.hash()? != expected.hash
    {
        warn!("`{}` is not the reference of the training", reference.place.path.display());
    }
    let manifest = model.manifest.clone();
    let settings = ScoringSettings {
        beta: args.beta.or(manifest.as_ref().map(|manifest| manifest.beta)).unwrap_or(1.0),
        step_split: args
            .step_split
            .clone()
            .or(manifest.map(|manifest| manifest.step_split))
            .unwrap_or_default(),
        batch_tokens: args.batch_tokens,
        tokens: if args.tokens { TokenRewards::Write } else { TokenRewards::Omit },
    };
    let against = match &reference_path {
        Some(path) => format!("against `{}`", path.display()),
        None => "without a reference".to_owned(),
    };
    info!("beta {}, steps by {}, {against}", settings.beta, settings.step_split);
    let template = args.prompt.template(&model)?;
    let tokenizer = model.tokenizer.clone();
    let description = model.engine.describe();
    let encoder = Encoder::new(&tokenizer, &template, &description, args.on_overlong)?;
    let mut scorer = reward_model(&mut model, reference.as_mut(), encoder, settings, args.by)?;

    let mut progress = Progress::new(common);
    let n_passes = 1 + u64::from(reference_path.is_some());
    let n_left = n_completions.map(|counts| counts.iter().skip(n_done).sum::<u64>());
    progress.stage("score", n_left.map(|n| n * n_passes));
    let mut left = rollouts.skip(n_done);
    loop {
        let chunk = left.by_ref().take(args.chunk.max(1)).collect::<gratis::Result<Vec<_>>>()?;
        if chunk.is_empty() {
            break;
        }
        for scores in scorer.score(&chunk, &mut progress)? {
            writer.write(&scores)?;
        }
    }
    writer.finish()?;
    progress.finish();
    warn_skipped(files.n_skipped(), "malformed lines");
    Ok(())
}

/// Completions of each problem, so that a malformed line is found before the work and the progress
/// has an end; standard input passes by only once.
fn count(input: &Path, files: &RolloutFiles) -> Result<Option<Vec<u64>>> {
    if input == Path::new("-") {
        return Ok(None);
    }
    let counts = files.read().map(|rollout| Ok(rollout?.completions.len() as u64));
    Ok(Some(counts.collect::<gratis::Result<_>>()?))
}

/// The model as what `gratis.json` says it is.
pub(super) fn reward_model<'a>(
    model: &'a mut Model,
    reference: Option<&'a mut Model>,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
    by: By,
) -> Result<Box<dyn RewardModel + 'a>> {
    let engine = &mut model.engine;
    let form = model.manifest.as_ref().and_then(|manifest| manifest.baseline.clone());
    if form.is_some() && reference.is_some() {
        return Err(CliError::Mismatch {
            what: "a model with a head or label tokens has no reference".to_owned(),
            hint: "leave `--reference` out",
        }
        .into());
    }
    Ok(match (by, form) {
        (By::SelfCertainty, _) => Box::new(SelfCertainty { engine, encoder, settings }),
        (By::Reward, None) => {
            let reference = reference.map(|model| &mut model.engine as &mut dyn Engine);
            Box::new(Scorer { policy: engine, reference, encoder, settings })
        }
        (By::Reward, Some(BaselineForm::Head { pooling, .. })) => {
            Box::new(HeadScorer { engine, pooling, encoder, settings })
        }
        (By::Reward, Some(BaselineForm::Tokens { labels })) => {
            let labels = LabelTokens::new(&labels, encoder.tokenizer())?;
            Box::new(TokenScorer { engine, labels, encoder, settings })
        }
    })
}

/// The reference's folder: the one given, or the one that the model names.
pub(super) fn reference_of(given: Option<&Path>, model: &Model) -> Result<Option<PathBuf>> {
    match given {
        Some(path) if path == Path::new("none") => Ok(None),
        Some(path) => Ok(Some(path.to_owned())),
        None => match &model.manifest {
            Some(manifest) => Ok(manifest.reference.as_ref().map(|r| PathBuf::from(&r.path))),
            None => Err(CliError::Missing {
                field: "reference",
                hint: "the model has no `gratis.json` that names one: give `--reference FOLDER`, \
                       or `--reference none`"
                    .to_owned(),
            }
            .into()),
        },
    }
}
