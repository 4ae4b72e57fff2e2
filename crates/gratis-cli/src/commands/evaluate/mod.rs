//! `gratis evaluate`: the standard benchmarks with any model.

mod best_of_n;
mod judging;
mod policy;
mod prm_bench;
mod process_bench;

use anyhow::Result;
use clap::{Args, Subcommand};
use gratis::evaluation::Interval;

use crate::Common;

/// Evaluate reward models and policies: best-of-N tables, ProcessBench, PRMBench, pass@1.
#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Bon(best_of_n::BestOfNArgs),
    Processbench(process_bench::ProcessBenchArgs),
    Prmbench(prm_bench::PrmBenchArgs),
    Policy(policy::PolicyArgs),
}

pub(crate) fn run(args: &EvaluateArgs, common: &Common) -> Result<()> {
    match &args.what {
        What::Bon(args) => best_of_n::run(args),
        What::Processbench(args) => process_bench::run(args, common),
        What::Prmbench(args) => prm_bench::run(args, common),
        What::Policy(args) => policy::run(args, common),
    }
}

/// A share in percent.
fn share(value: f64) -> String {
    format!("{:.1}", 100.0 * value)
}

/// A share in percent with half its interval.
pub(crate) fn percent(interval: &Interval) -> String {
    let half = (interval.high - interval.low) / 2.0;
    format!("{:.1} ± {:.1}", 100.0 * interval.mean, 100.0 * half)
}
