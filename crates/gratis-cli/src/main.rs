//! The command line of gratis: flags, printing, progress and exit codes.
//!
//! One file a command under `commands/`. Data goes to stdout, everything else to stderr; the exit
//! code is 0, 1 where the user can mend it, 2 where only we can.

mod commands;
mod config;
mod failure;
mod hub;
mod model;
mod output;
mod place;
mod progress;
mod prompt;
mod usage;

use std::process::ExitCode;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use progress::Verbosity;

/// Train, run and study implicit process reward models.
#[derive(Debug, Parser)]
#[command(name = "gratis", version, about, after_help = EXAMPLES, max_term_width = 100)]
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

`-` is standard input or output. Each command's `--help` has examples of its own.";

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Threads that compute; the same number gives the same bits.
    #[arg(long, global = true, value_name = "N", default_value_t = default_threads(),
          hide_default_value = true, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) threads: usize,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing on stderr but errors.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Common {
    /// How much is said on stderr.
    pub(crate) fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, 0) => Verbosity::Normal,
            (false, _) => Verbosity::Verbose,
        }
    }
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(commands::demo::DemoArgs),
    Reproduce(commands::reproduce::ReproduceArgs),
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
    Evaluate(commands::evaluate::EvaluateArgs),
    Theory(commands::theory::TheoryArgs),
    Cost(commands::cost::CostArgs),
}

fn main() -> ExitCode {
    let parsed = with_negative_numbers(Cli::command()).try_get_matches().and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return failure::usage(&error),
    };
    progress::start_log(&cli.common);
    match run(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

/// Lets `--beta -1` be a value, so that it is refused for what it is and not as an unknown flag.
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
    // The flags of the command itself, to tell those given from defaults.
    let given = matches.subcommand().map_or(matches, |(_, given)| given);
    match cli.command {
        Command::Demo(args) => commands::demo::run(&args, &common),
        Command::Reproduce(args) => commands::reproduce::run(&args, &common),
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
        Command::Evaluate(args) => commands::evaluate::run(&args, &common),
        Command::Theory(args) => commands::theory::run(&args, &common),
        Command::Cost(args) => commands::cost::run(&args),
    }
}
