//! The command line of gratis: flags, printing, progress and exit codes.
//!
//! One file per command under `commands/`. Data goes to stdout, everything else to stderr. The exit
//! code is 0, 1 for a user error, 2 for an internal error, or 128 plus the number of a signal.

mod cache;
mod commands;
mod config;
mod failure;
#[cfg(test)]
mod guides;
mod hub;
mod interrupt;
mod log;
mod model;
mod output;
mod pipeline;
mod progress;
mod temporary;
mod terminal;
mod threads;
mod usage;
mod version;

use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

/// Train, run and study implicit process reward models.
#[derive(Debug, Parser)]
#[command(name = "gratis", version, long_version = version::LONG, after_help = EXAMPLES)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  gratis demo
  gratis rollout --model my-model problems.jsonl --samples 8 -o rollouts.jsonl
  gratis grade rollouts.jsonl -o graded.jsonl
  gratis train --model my-model --data graded.jsonl --run runs/prm
  gratis score --model runs/prm/model --reference my-model candidates.jsonl -o scores.jsonl
  gratis select --rollouts candidates.jsonl --scores scores.jsonl
  gratis serve --model runs/prm

`-` is standard input or output. Each command's `--help` has examples of its own.";

/// The flags of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Common {
    /// Number of compute threads; the same number gives the same bits.
    #[arg(long, global = true, value_name = "N", default_value_t = default_threads(),
          hide_default_value = true, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) threads: usize,
    /// Increase verbosity: metrics of every step (`-vv` for debug: every unit, times, modules).
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print only errors on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Seconds between progress lines if stderr is not a terminal.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30.0, value_parser = positive_seconds)]
    progress_every: f64,
}

/// How much is printed on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Errors only.
    Quiet,
    /// Stages, remarks and progress.
    Normal,
    /// Also the metrics of every step.
    Verbose,
    /// Also every unit of work, with times and modules.
    Debug,
}

fn positive_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=1e9).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds between 0.001 and 1e9".to_owned()),
    }
}

impl Common {
    /// How much is printed on stderr.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, 1) => Verbosity::Verbose,
            (false, _) => Verbosity::Debug,
        }
    }

    /// Time between progress lines.
    pub(crate) fn progress_interval(&self) -> Duration {
        Duration::from_secs_f64(self.progress_every)
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoArgs),
    Reproduce(commands::reproduce::ReproduceArgs),
    Cast(commands::cast::CastArgs),
    Init(commands::init::InitArgs),
    Inspect(commands::inspect::InspectArgs),
    Merge(commands::merge::MergeArgs),
    Pretrain(commands::pretrain::PretrainArgs),
    Rollout(commands::rollout::RolloutArgs),
    Grade(commands::grade::GradeArgs),
    Data(commands::data::DataArgs),
    Annotate(commands::annotate::AnnotateArgs),
    Train(Box<commands::train::TrainArgs>),
    Score(commands::score::ScoreArgs),
    Select(commands::select::SelectArgs),
    #[cfg(feature = "serve")]
    Serve(commands::serve::ServeArgs),
    #[cfg(feature = "serve")]
    View(commands::view::ViewArgs),
    Evaluate(commands::evaluate::EvaluateArgs),
    Theory(commands::theory::TheoryArgs),
    Cost(commands::cost::CostArgs),
    Completions(commands::completions::CompletionsArgs),
    Man(commands::completions::ManArgs),
}

impl Command {
    /// Whether the command computes on threads outside an engine.
    fn computes(&self) -> bool {
        !matches!(
            self,
            Self::Inspect(_) | Self::Data(_) | Self::Cost(_) | Self::Completions(_) | Self::Man(_)
        )
    }
}

fn main() -> ExitCode {
    failure::catch_panics(run_command_line)
}

fn run_command_line() -> ExitCode {
    let parsed = with_negative_numbers(Cli::command()).try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return failure::usage(&error),
    };
    log::start(&cli.common);
    interrupt::listen();
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// Parses `--beta -1` as a value, so the error is about the number and not an unknown flag.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| {
            let is_option = arg.get_long().is_some() && arg.get_action().takes_values();
            if is_option { arg.allow_negative_numbers(true) } else { arg }
        })
        .mut_subcommands(with_negative_numbers)
}

fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let common = cli.common;
    // The flags of the command itself, to distinguish given flags from defaults.
    let given = matches.subcommand().map_or(matches, |(_, given)| given);
    if cli.command.computes() {
        threads::start(common.threads)?;
    }
    match cli.command {
        Command::Demo(args) => commands::demo::run(&args, &common),
        Command::Reproduce(args) => commands::reproduce::run(&args, &common),
        Command::Cast(args) => commands::cast::run(&args, &common),
        Command::Init(args) => commands::init::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args, &common),
        Command::Merge(args) => commands::merge::run(&args, &common),
        Command::Pretrain(args) => commands::pretrain::run(args, given, &common),
        Command::Rollout(args) => commands::rollout::run(&args, &common),
        Command::Grade(args) => commands::grade::run(&args, &common),
        Command::Data(args) => commands::data::run(&args, &common),
        Command::Annotate(args) => commands::annotate::run(&args, &common),
        Command::Train(args) => commands::train::run(*args, given, &common),
        Command::Score(args) => commands::score::run(&args, &common),
        Command::Select(args) => commands::select::run(&args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => commands::serve::run(&args, &common),
        #[cfg(feature = "serve")]
        Command::View(args) => commands::view::run(&args),
        Command::Evaluate(args) => commands::evaluate::run(&args, &common),
        Command::Theory(args) => commands::theory::run(&args, &common),
        Command::Cost(args) => commands::cost::run(&args),
        Command::Completions(args) => commands::completions::completions(&args, Cli::command()),
        Command::Man(args) => commands::completions::man(&args, Cli::command()),
    }
}
