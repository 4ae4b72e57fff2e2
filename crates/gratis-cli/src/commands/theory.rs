//! `gratis theory`: Propositions 3.1 and 3.2 checked on the user's own models, or by enumeration.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::MonteCarloSummary;
use gratis::data::{OnInvalid, RecordReader, Rollout};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::numeric::check_positive;
use gratis::reward_model::{OpenOptions, PromptSettings, Weights, open};
use gratis::theory::{
    ExactCheck, MonteCarloSettings, Prefix, PrefixEstimate, check, estimate, limits,
};
use gratis::{Error, Observer};
use gratis_engine::{FinishReason, Generate, SampleRequest};
use gratis_paper::validation_problems;
use serde::Serialize;
use serde_json::json;
use tracing::info;

use super::reward_model::reference_choice;
use crate::Common;
use crate::failure::CliError;
use crate::model::{HUB, Remarks, load_options};
use crate::output;
use crate::progress::Progress;

/// Check the paper's propositions: Q values are exponential averages of the outcome reward, and lie
/// between the soft and the hard estimate.
///
/// Proposition 3.1: the sum of a prefix's token rewards, q, equals `beta log E[exp(r / beta)]` over
/// continuations by the reference. Proposition 3.2: `E[r] <= q <= max r`. With `--model`, both
/// sides are estimated for prefixes of responses, from continuations sampled from the reference at
/// temperature 1. With `--exact`, they are computed for random models so small that every sequence
/// is enumerated.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true)), after_help = "\
Columns: q, the exponential average with its standard error (delta method), z, their difference in
standard errors, soft and hard estimate, and how many continuations the average rests on. Where that
number is small, policy and reference are far apart: the error is then underestimated, and a hard
estimate below q only says that the best continuation was not drawn.

Examples:
  gratis theory --exact
  gratis theory --model runs/prm --prompts problems.jsonl --continuations 1024
  gratis theory --model gratis-demo/models/reward --json | jq .monte_carlo.summary")]
pub(crate) struct TheoryArgs {
    /// The policy: a reward model folder, or its run folder.
    #[arg(short, long, group = "what")]
    model: Option<PathBuf>,
    /// The reference [default: the reference used in training].
    #[arg(short, long)]
    reference: Option<PathBuf>,
    /// Factor of the log-ratio [default: the model's, or 1].
    #[arg(long)]
    beta: Option<f64>,
    /// Rollout or problem file; prefixes are taken from the first completion, or from one sampled
    /// from the reference [default: problems of the tiny world].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Number of problems, from the start of the file.
    #[arg(long, default_value_t = 8)]
    problems: usize,
    /// Prefixes per response, at equal distances, starting with the empty one.
    #[arg(long, default_value_t = 4)]
    prefixes: usize,
    /// Continuations per prefix.
    #[arg(short = 'k', long, default_value_t = 256)]
    continuations: usize,
    /// Maximum continuation length in tokens.
    #[arg(long, default_value_t = 512)]
    max_tokens: usize,
    /// Tokens per batch.
    #[arg(long, default_value_t = 8192)]
    batch_tokens: usize,
    /// Enumerate all sequences of small random models.
    #[arg(long, group = "what")]
    exact: bool,
    /// Vocabulary size of the small models.
    #[arg(long, default_value_t = 4)]
    vocab: usize,
    /// Sequence length of the small models in tokens.
    #[arg(long, default_value_t = 6)]
    length: usize,
    /// Pairs of small models per beta.
    #[arg(long, default_value_t = 5)]
    models: u64,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print the tables as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TheoryArgs, common: &Common) -> Result<()> {
    if let Some(beta) = args.beta {
        check_positive("beta", beta)?;
    }
    let exact = args.exact.then(|| enumerate(args)).transpose()?;
    let monte_carlo = args.model.as_deref().map(|model| draw(model, args, common)).transpose()?;
    if args.json {
        return output::print_json(&json!({ "exact": exact, "monte_carlo": monte_carlo }));
    }
    let tables = [exact.map(|exact| exact.table()), monte_carlo.map(|drawn| drawn.table())];
    output::print(&tables.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}

/// Betas to enumerate if none is given.
const BETAS: [f64; 4] = [0.05, 0.3, 1.0, 10.0];
/// Betas between the two limits of Proposition 3.2.
const LIMITS: [f64; 6] = [1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3];

/// Both propositions by enumeration.
#[derive(Debug, Serialize)]
struct Exact {
    vocab: usize,
    length: usize,
    /// The largest values over all models, per beta.
    checks: Vec<(f64, ExactCheck)>,
    /// Largest distance of Q from the soft and from the hard estimate, per beta.
    limits: Vec<(f64, f64, f64)>,
}

fn enumerate(args: &TheoryArgs) -> Result<Exact> {
    let TheoryArgs { vocab, length, models, seed, .. } = *args;
    let betas = args.beta.map_or_else(|| BETAS.to_vec(), |beta| vec![beta]);
    let mut checks = Vec::new();
    for beta in betas {
        let mut worst: Option<ExactCheck> = None;
        for model in 0..models.max(1) {
            let found = check(vocab, length, beta, seed.wrapping_add(model))?;
            worst = Some(worst.map_or(found, |worst| worst.and(found)));
        }
        checks.extend(worst.map(|worst| (beta, worst)));
    }
    let distances = limits(vocab, length, &LIMITS, seed)?;
    let limits = LIMITS.iter().zip(distances).map(|(&beta, (soft, hard))| (beta, soft, hard));
    Ok(Exact { vocab, length, checks, limits: limits.collect() })
}

impl Exact {
    fn table(&self) -> String {
        let shown = |beta: f64| {
            let text = beta.to_string();
            if text.len() > 8 { format!("{beta:e}") } else { text }
        };
        let row = |(beta, check): &(f64, ExactCheck)| {
            vec![
                shown(*beta),
                check.n_prefixes.to_string(),
                format!("{:.1e}", check.max_difference),
                format!("{:.1e}", check.max_violation),
                format!("{:.2}", check.mean_place),
            ]
        };
        let header = ["beta", "prefixes", "worst |q - average|", "worst violation", "place"];
        let checks = output::table(&header, &self.checks.iter().map(row).collect::<Vec<_>>());
        let row = |&(beta, soft, hard): &(f64, f64, f64)| {
            vec![shown(beta), format!("{soft:.1e}"), format!("{hard:.1e}")]
        };
        let header = ["beta", "most from soft", "most from hard"];
        let limits = output::table(&header, &self.limits.iter().map(row).collect::<Vec<_>>());
        let Self { vocab, length, .. } = self;
        let of_checks = output::notes([format!(
            "All sequences of {length} tokens out of {vocab}, random policies and references: q \
             compared with the exponential average at every prefix (3.1), violations of soft <= q \
             <= hard (3.2), and the mean position of q between them (0 soft, 1 hard)."
        )]);
        let of_limits = output::notes([
            "A fixed reward and the policy that beta makes of it: as beta grows q approaches the \
             soft estimate, as it falls the hard one (3.2).",
        ]);
        format!("{of_checks}{checks}\n{of_limits}{limits}")
    }
}

/// Both propositions on real models.
#[derive(Debug, Serialize)]
struct Drawn {
    beta: f64,
    n_continuations: usize,
    summary: MonteCarloSummary,
    /// One row per estimate: the problem, its values, and z.
    prefixes: Vec<(String, PrefixEstimate, f64)>,
}

fn draw(model: &Path, args: &TheoryArgs, common: &Common) -> Result<Drawn> {
    let rollouts = problems(args)?;
    let options = OpenOptions {
        load: load_options(Weights::Loaded, common),
        reference: reference_choice(args.reference.as_deref()),
        beta: args.beta,
        prompt: args.prompt.clone(),
        ..OpenOptions::default()
    };
    let reward_model = open(model, &options, HUB, &mut Remarks)?;
    let missing = CliError::Missing {
        field: "reference",
        hint: "the propositions compare two models: give `--reference FOLDER`".to_owned(),
    };
    let (policy, reference) = (reward_model.model(), reward_model.reference().ok_or(missing)?);
    let beta = reward_model.beta();
    let encoder = reward_model.encoder(OnOverlong::Stop)?;
    let settings = MonteCarloSettings {
        beta,
        n_continuations: args.continuations,
        max_tokens: args.max_tokens,
        end_token: encoder.end_token()?,
        seed: args.seed,
        batch_tokens: args.batch_tokens,
    };
    let mut prefixes = Vec::new();
    for (rollout, number) in rollouts.iter().zip(0..) {
        let (prompt, response) =
            response_of(rollout, number, &encoder, reference.generate(), &settings)?;
        let name = rollout.name().to_owned();
        let of = Prefix::of(&prompt, &response, args.prefixes.max(1));
        prefixes.extend(of.into_iter().map(|prefix| (name.clone(), prefix)));
    }
    let (names, prefixes): (Vec<String>, Vec<Prefix>) = prefixes.into_iter().unzip();

    let mut progress = Progress::new(common);
    progress.stage("continuations", Some(prefixes.len() as u64));
    let estimates =
        estimate(policy.score(), reference.sampler(), &prefixes, &settings, &mut progress)?;
    progress.finish();
    let summary = MonteCarloSummary::of(&estimates);
    let named = names.into_iter().zip(estimates).map(|(name, e)| (name, e, e.z())).collect();
    Ok(Drawn { beta, n_continuations: args.continuations, summary, prefixes: named })
}

/// The problems to check.
fn problems(args: &TheoryArgs) -> Result<Vec<Rollout>> {
    let rollouts = if let Some(path) = &args.prompts {
        let reader = RecordReader::<Rollout>::open(path, OnInvalid::Stop)?;
        reader.take(args.problems).collect::<Result<Vec<_>, _>>()?
    } else {
        info!("using problems of the tiny world (`--prompts` selects others)");
        validation_problems(args.problems, args.seed)
    };
    if rollouts.is_empty() {
        return Err(Error::NoExamples { purpose: "look at", n_left_out: 0 }.into());
    }
    Ok(rollouts)
}

/// The tokens of a problem and of a response to it, without the end token: the first response of
/// the file, or one sampled from the reference.
fn response_of(
    rollout: &Rollout,
    number: u64,
    encoder: &Encoder,
    reference: &dyn Generate,
    settings: &MonteCarloSettings,
) -> Result<(Vec<u32>, Vec<u32>)> {
    let prompt = encoder.prompt_of(rollout)?;
    let mut response = if rollout.completions.is_empty() {
        let request = SampleRequest {
            prompt: prompt.clone(),
            // Not used as a key of the continuations.
            key: u64::MAX - number,
            first_sample: 0,
            n_samples: 1,
        };
        let sample =
            reference.sample_all(&[request], &settings.sampling())?.into_iter().flatten().next();
        let (tokens, finish) =
            sample.map_or((Vec::new(), FinishReason::Stop), |s| (s.tokens, s.finish));
        if finish == FinishReason::Length {
            // No stop tokens.
            return Ok((prompt, tokens));
        }
        tokens
    } else {
        encoder.completion_tokens(rollout, 0, prompt.len())?.unwrap_or_default()
    };
    response.pop();
    Ok((prompt, response))
}

impl Drawn {
    fn table(&self) -> String {
        let row = |(name, estimate, z): &(String, PrefixEstimate, f64)| {
            vec![
                name.clone(),
                estimate.n_tokens.to_string(),
                format!("{:.4}", estimate.q_value),
                format!(
                    "{:.4} ± {:.4}",
                    estimate.exponential_average, estimate.exponential_average_error
                ),
                format!("{z:+.1}"),
                format!("{:.4}", estimate.soft),
                format!("{:.4}", estimate.hard),
                format!("{:.0}", estimate.n_effective),
            ]
        };
        let header = ["problem", "tokens", "q", "average", "z", "soft", "hard", "effective"];
        let table = output::table(&header, &self.prefixes.iter().map(row).collect::<Vec<_>>());
        let MonteCarloSummary {
            n_prefixes,
            mean_difference,
            max_z,
            n_within_two_errors,
            n_above_soft,
            n_below_hard,
            n_within_bounds,
        } = self.summary;
        let notes = output::notes([
            format!(
                "Proposition 3.1: |q - average| is {mean_difference:.4} on average; at most two \
                 standard errors at {n_within_two_errors} of {n_prefixes} prefixes, {max_z:.1} at \
                 worst."
            ),
            format!(
                "Proposition 3.2: soft <= q at {n_above_soft}, q <= hard at {n_below_hard}, both \
                 at {n_within_bounds} of {n_prefixes} prefixes."
            ),
        ]);
        let (beta, n_continuations) = (self.beta, self.n_continuations);
        format!(
            "beta {beta}, {n_continuations} continuations of each prefix by the reference\n\
             {table}{notes}"
        )
    }
}
