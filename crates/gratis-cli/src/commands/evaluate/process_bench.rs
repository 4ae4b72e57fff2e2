//! `gratis evaluate processbench`: find the first wrong step of published solutions.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use gratis::Observer;
use gratis::encoding::{Encoder, OnOverlong};
use gratis::evaluation::FirstErrorScore;
use gratis::evaluation::process_bench::{self, ProcessBench};
use gratis::scoring::{ScoringSettings, TokenRewards};
use gratis_engine::Engine;
use serde_json::json;
use tracing::{info, warn};

use crate::Common;
use crate::commands::score::{By, reference_of, reward_model};
use crate::model::{Model, Weights};
use crate::output;
use crate::progress::Progress;
use crate::prompt::PromptSettings;

/// Score every step of ProcessBench and find the first wrong one.
///
/// The benchmark's protocol: the threshold below which a step is called wrong is tuned on the GSM8K
/// subset only; a subset's F1 is the harmonic mean of the accuracies on solutions with an error (the
/// very step must be named) and without; the result is the mean over the subsets. Beside it stands
/// the F1 with each subset's own best threshold, which is too good to be true and only there to
/// compare with numbers that were published that way.
#[derive(Debug, Args)]
#[command(after_help = "\
The folder holds the benchmark's files as they are: gsm8k.json and any of math.json,
olympiadbench.json, omnimath.json.

Examples:
  gratis evaluate processbench ProcessBench --model runs/prm
  gratis evaluate processbench ProcessBench --model runs/prm --reference none --json")]
pub(super) struct ProcessBenchArgs {
    /// Folder with the benchmark's files.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Reward model: a folder, the folder of its run, an adapter, or `org/name` on a hub.
    #[arg(short, long)]
    model: PathBuf,
    /// Reference model, or `none` [default: the one the model was trained with].
    #[arg(short, long)]
    reference: Option<PathBuf>,
    /// Where the weights are while they are used.
    #[arg(long, value_enum, default_value_t = Weights::Auto)]
    weights: Weights,
    /// Factor of the log-ratio [default: the model's].
    #[arg(long)]
    beta: Option<f64>,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Solutions scored together.
const CHUNK: usize = 64;

pub(super) fn run(args: &ProcessBenchArgs, common: &Common) -> Result<()> {
    let subsets = process_bench::read(&args.folder)?;
    let mut model = Model::load_as(&args.model, common.threads, args.weights)?;
    let reference_path = reference_of(args.reference.as_deref(), &model)?;
    let mut reference = match &reference_path {
        Some(path) => Some(Model::load_beside(path, common.threads, args.weights, Some(&model))?),
        None => None,
    };
    let own_beta = model.manifest.as_ref().map(|manifest| manifest.beta);
    let settings = ScoringSettings {
        beta: args.beta.or(own_beta).unwrap_or(1.0),
        batch_tokens: args.batch_tokens,
        tokens: TokenRewards::Omit,
        // The benchmark gives the steps.
        step_split: gratis::data::StepSplit::default(),
    };
    info!("beta {}; steps as the benchmark gives them", settings.beta);
    let beta = settings.beta;
    let template = args.prompt.template(&model)?;
    let tokenizer = model.tokenizer.clone();
    let description = model.engine.describe();
    let encoder = Encoder::new(&tokenizer, &template, &description, OnOverlong::Truncate)?;
    // Only the tokens are counted with this one.
    let counting = Encoder::new(&tokenizer, &template, &description, OnOverlong::Skip)?;
    let mut n_cut = 0;
    for rollout in subsets.iter().flat_map(|subset| &subset.rollouts) {
        let n_prompt = counting.prompt(&rollout.prompt)?.len();
        n_cut += usize::from(counting.completion(rollout, 0, n_prompt)?.is_none());
    }
    if n_cut > 0 {
        warn!(
            "{n_cut} solutions are longer than the context of {} tokens and are cut; steps beyond \
             get a reward of 0",
            description.context_length
        );
    }
    let mut scorer = reward_model(&mut model, reference.as_mut(), encoder, settings, By::Reward)?;

    let mut progress = Progress::new(common);
    let mut judged = Vec::new();
    for subset in &subsets {
        progress.stage(&subset.name, Some(subset.rollouts.len() as u64));
        let mut scores = Vec::with_capacity(subset.rollouts.len());
        for chunk in subset.rollouts.chunks(CHUNK) {
            scores.extend(scorer.score(chunk, &mut gratis::Silent)?);
            progress.advance(chunk.len() as u64, &[]);
        }
        judged.push((subset.name.clone(), subset.judged(&scores)?));
    }
    progress.finish();
    let result = ProcessBench::new(&judged)?;
    let against = reference_path.map(|path| path.display().to_string());
    if args.json {
        return output::print_json(&json!({
            "model": args.model, "reference": against, "beta": beta, "n_cut": n_cut,
            "result": result,
        }));
    }
    output::print(&table(&result, beta, against.as_deref()))
}

fn table(result: &ProcessBench, beta: f64, against: Option<&str>) -> String {
    let share = |value: f64| format!("{:.1}", 100.0 * value);
    let mut rows: Vec<Vec<String>> = result
        .subsets
        .iter()
        .map(|subset| {
            let FirstErrorScore { n_erroneous, n_correct, accuracy_erroneous, .. } = subset.score;
            vec![
                subset.name.clone(),
                (n_erroneous + n_correct).to_string(),
                share(accuracy_erroneous),
                share(subset.score.accuracy_correct),
                share(subset.score.f1),
                share(subset.tuned_on_itself.f1),
            ]
        })
        .collect();
    let empty = String::new;
    rows.push(vec![
        "mean".to_owned(),
        empty(),
        empty(),
        empty(),
        share(result.mean_f1),
        share(result.mean_f1_tuned_on_itself),
    ]);
    let header = ["", "solutions", "error found", "none claimed", "F1", "F1, own threshold (!)"];
    let missing = match &result.missing[..] {
        [] => String::new(),
        missing => format!(" Not there: {}.", missing.join(", ")),
    };
    format!(
        "{}A step is called wrong below a process reward of {:.4}, tuned on {} only. (!) tuned on \
         the very solutions it is measured on. Beta {beta}, {}.{missing}\n",
        output::table(&header, &rows),
        result.threshold,
        process_bench::TUNED_ON,
        against.map_or("without a reference".to_owned(), |path| format!("reference `{path}`")),
    )
}
