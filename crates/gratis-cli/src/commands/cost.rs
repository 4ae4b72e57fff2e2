//! `gratis cost`: the cost of jobs in operations and processor time, and the paper's own figures.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::cost::{Architecture, COST_FILE, CostRecord, Flops, Pass, Phase};
use gratis_paper::calculator::{Assumptions, InstructionCosts, N_INSTRUCTIONS};
use serde_json::json;

use super::cost_servers;
use super::resumable::{Spent, is_file};
use super::server_plan::ServerPlan;
use crate::{output, usage};

/// Tokens per sequence for the absolute figures of `--paper`; the ratios do not depend on it.
const PAPER_TOKENS: f64 = 1024.0;

/// Show the cost of jobs: operations as run, operations as the paper counts, processor seconds.
///
/// Training runs write `cost.json` to their run folder; `rollout`, `annotate` and `score` write
/// `OUTPUT.cost.json` beside their output. As the paper counts, every sequence is computed on its
/// own; as run, shared prompts and duplicates are computed once and keys and values are cached.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis cost runs/prm rollouts.jsonl.cost.json
  gratis cost --paper
  gratis cost --paper --steps 10 --sampling-passes 1
  gratis cost --servers
  gratis cost --servers --gpus 16 --response-tokens 2000 --price 1.8")]
pub(crate) struct CostArgs {
    /// Run folders or cost records.
    #[arg(value_name = "RUN", required_unless_present_any = ["paper", "servers"])]
    runs: Vec<PathBuf>,
    /// Compute the ratios of the paper's figure 3 from assumptions.
    #[arg(long)]
    paper: bool,
    /// Steps per response at the paper's scale.
    #[arg(long, default_value_t = Assumptions::default().n_steps)]
    steps: f64,
    /// Continuations per step.
    #[arg(long, default_value_t = Assumptions::default().n_continuations)]
    continuations: f64,
    /// An instruction with K responses has this times K (K - 1) pairs.
    #[arg(long, default_value_t = Assumptions::default().pair_share)]
    pair_share: f64,
    /// Forward passes of the reference per trained response.
    #[arg(long, default_value_t = Assumptions::default().n_reference_passes)]
    reference_passes: f64,
    /// How often the sampling of the responses themselves is counted.
    #[arg(long, default_value_t = Assumptions::default().n_sampling_passes)]
    sampling_passes: f64,
    /// Estimate the paper's run on inference and training servers: tokens, requests, bytes, time, price
    /// and what limits each job (`docs/scale.md`).
    #[arg(long, conflicts_with = "paper")]
    servers: bool,
    #[command(flatten)]
    plan: ServerPlan,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &CostArgs) -> Result<()> {
    if args.servers {
        return cost_servers::run(args.plan, args.json);
    }
    args.plan.check_unused()?;
    if args.paper { paper(args) } else { records(args) }
}

fn paper(args: &CostArgs) -> Result<()> {
    let assumptions = Assumptions {
        n_steps: args.steps,
        n_continuations: args.continuations,
        pair_share: args.pair_share,
        n_reference_passes: args.reference_passes,
        n_sampling_passes: args.sampling_passes,
    };
    let costs = assumptions.figure_3();
    let llama = Architecture::LLAMA_3_1_8B;
    let n_weights = llama.n_dense_weights() + llama.vocab_size * llama.hidden_size;
    let unit = n_weights as f64 * PAPER_TOKENS * N_INSTRUCTIONS as f64;
    if args.json {
        let of_costs = |costs: &InstructionCosts| {
            json!({
                "n_responses": costs.n_responses,
                "flops_ce": costs.ce * unit,
                "flops_dpo": costs.dpo * unit,
                "flops_math_shepherd": costs.math_shepherd * unit,
                "math_shepherd_over_ce": costs.over_ce(),
                "math_shepherd_over_dpo": costs.over_dpo(),
            })
        };
        let rows: Vec<_> = costs.iter().map(of_costs).collect();
        let varied = assumptions.variations().into_iter().map(|(what, varied)| {
            let ratios = varied.figure_3().map(|costs| [costs.over_ce(), costs.over_dpo()]);
            json!({ "changed": what, "assumptions": varied, "over_ce_and_dpo": ratios })
        });
        let varied: Vec<_> = varied.collect();
        let document = json!({ "assumptions": assumptions, "costs": rows, "variations": varied });
        return output::print_json(&document);
    }
    let rows: Vec<Vec<String>> = costs
        .iter()
        .map(|costs| {
            vec![
                costs.n_responses.to_string(),
                format!("{:.2e}", costs.ce * unit),
                format!("{:.2e}", costs.dpo * unit),
                format!("{:.2e}", costs.math_shepherd * unit),
                format!("{:.1}", costs.over_ce()),
                format!("{:.1}", costs.over_dpo()),
            ]
        })
        .collect();
    let header = ["responses", "CE", "DPO", "Math-Shepherd", "over CE", "over DPO"];
    let unchanged = std::iter::once(("as assumed".to_owned(), assumptions));
    let variations = unchanged.chain(assumptions.variations()).map(|(what, varied)| {
        let costs = varied.figure_3();
        let over_dpo = costs.iter().map(|costs| format!("{:.1}", costs.over_dpo()));
        let over_ce = format!("{:.1}", costs[0].over_ce());
        [what, over_ce].into_iter().chain(over_dpo).collect()
    });
    let rows_varied: Vec<Vec<String>> = variations.collect();
    let header_varied = ["Math-Shepherd", "over CE", "over DPO, K = 2", "K = 4", "K = 8"];
    output::print(&format!(
        "{}\n{}",
        output::table(&header, &rows),
        output::table(&header_varied, &rows_varied)
    ))
}

/// A row of the table and of the JSON.
fn record_at(path: &Path) -> Result<CostRecord> {
    let of_run = path.join(COST_FILE);
    Ok(CostRecord::read(if path.is_dir() { &of_run } else { path })?)
}

fn records(args: &CostArgs) -> Result<()> {
    let mut rows = Vec::new();
    let mut documents = Vec::new();
    let (mut as_run, mut as_counted) = (0.0, 0.0);
    for path in &args.runs {
        let record = record_at(path)?;
        for phase in &record.phases {
            as_run += phase.flops_as_run.total();
            as_counted += phase.flops_as_counted.total();
            rows.push(row(path, phase, record.cpu_seconds));
        }
        documents.push(json!({ "path": path, "record": record }));
    }
    if rows.is_empty() {
        return Err(Error::NoExamples { purpose: "count", n_left_out: 0 }.into());
    }
    if args.json {
        return output::print_json(&json!({
            "records": documents,
            "flops_as_run": as_run,
            "flops_as_counted": as_counted,
        }));
    }
    let total = ["all", "", "", "", &format!("{as_run:.3e}"), &format!("{as_counted:.3e}"), ""];
    rows.push(total.map(str::to_owned).to_vec());
    let header = [
        "job",
        "phase",
        "tokens as run",
        "tokens as counted",
        "FLOPs as run",
        "as counted",
        "CPU s",
    ];
    output::print(&output::table(&header, &rows))
}

fn row(path: &Path, phase: &Phase, cpu_seconds: Option<f64>) -> Vec<String> {
    let total = |flops: &Flops| format!("{:.3e}", flops.total());
    vec![
        path.display().to_string(),
        phase.name.clone(),
        phase.as_run.n_tokens.to_string(),
        phase.as_counted.n_tokens.to_string(),
        total(&phase.flops_as_run),
        total(&phase.flops_as_counted),
        cpu_seconds.map_or_else(String::new, |seconds| format!("{seconds:.1}")),
    ]
}

/// Path of the cost record of an output file; none for a stream.
fn cost_path(output: &Path) -> Option<PathBuf> {
    if !is_file(output) {
        return None;
    }
    let mut name = output.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(COST_FILE);
    Some(output.with_file_name(name))
}

/// Writes the cost record of `output` for sampling or scoring with one model.
pub(crate) fn write_cost(
    output: &Path,
    phase: &str,
    architecture: Architecture,
    spent: &Spent,
) -> Result<()> {
    let phase = Phase::new(phase, Pass::Forward, architecture, spent.as_run, spent.as_counted);
    write_costs(output, vec![phase], spent.cpu_seconds_before)
}

/// Writes the phases of a job beside its `output`; nothing if that is a stream.
pub(crate) fn write_costs(
    output: &Path,
    phases: Vec<Phase>,
    cpu_seconds_before: f64,
) -> Result<()> {
    if let Some(path) = cost_path(output) {
        let cpu_seconds = usage::cpu_seconds().map(|seconds| cpu_seconds_before + seconds);
        CostRecord::new(phases, cpu_seconds).write(&path)?;
    }
    Ok(())
}
