//! `gratis grade`: outcome labels from final answers.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use gratis::data::{Case, RecordReader, RecordWriter, Rollout};
use gratis::grade_cases;
use gratis::rollout::{GradeCounts, grade_all};
use gratis::{Error, Observer};
use gratis_grading::Options;
use tracing::{info, warn};

use super::grade_examples::GradeExamples;
use super::resumable::is_stream;
use super::{InvalidArgs, OUTPUT, OutputArgs, warn_skipped};
use crate::Common;
use crate::pipeline::{Ahead, in_batches};
use crate::progress::Progress;

/// Label each completion by comparing its final answer with the problem's.
///
/// Reads rollouts with `reference` and writes them with `correctness`, `extracted` and `how`. With
/// `--cases` reads lines with `gold` and `pred` and writes them with `verdict`, `extracted` and
/// `how`. Lines without a gold answer are counted and stay unchanged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis grade rollouts.jsonl -o graded.jsonl
  gratis rollout --model m problems.jsonl | gratis grade - > graded.jsonl
  gratis grade --cases cases.jsonl -o verdicts.jsonl")]
pub(crate) struct GradeArgs {
    /// Rollout file; `-` is standard input.
    #[arg(value_name = "ROLLOUTS", default_value = "-")]
    input: PathBuf,
    /// File of lines with `gold` and `pred` (a bare answer or a solution) instead of rollouts.
    #[arg(long, value_name = "CASES", conflicts_with = "input")]
    cases: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    /// Accept only answers equal as written: no rounding, the same unit, order and form.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    invalid: InvalidArgs,
}

pub(crate) fn run(args: &GradeArgs, common: &Common) -> Result<()> {
    let options = if args.strict { Options::strict() } else { Options::default() };
    args.output.check(&[args.cases.as_ref().unwrap_or(&args.input)])?;
    let mut progress = Progress::new(common);
    progress.stage("grade", None);
    let mut graded = Graded::default();
    let n_skipped = match &args.cases {
        Some(cases) => run_cases(cases, args, &options, &mut progress, &mut graded)?,
        None => run_rollouts(args, &options, &mut progress, &mut graded)?,
    };
    progress.finish();
    warn_skipped(n_skipped, "malformed lines");
    graded.report();
    if args.cases.is_none() {
        let train = ["train", "--model", "MODEL", "--data", OUTPUT, "--run", "runs/prm"];
        args.output.next(&train);
    }
    Ok(())
}

/// The counts reported at the end.
#[derive(Default)]
struct Graded {
    counts: GradeCounts,
    examples: GradeExamples,
}

impl Graded {
    fn report(&self) {
        let counts = &self.counts;
        let share = 100.0 * counts.correct as f64 / counts.n() as f64;
        info!(
            "{} answers: {} correct ({share:.1} %), {} incorrect, {} without an answer, {} \
             malformed",
            counts.n(),
            counts.correct,
            counts.incorrect,
            counts.no_answer,
            counts.malformed
        );
        for example in self.examples.to_string().lines() {
            info!("{example}");
        }
    }
}

fn run_rollouts(
    args: &GradeArgs,
    options: &Options,
    progress: &mut Progress,
    graded: &mut Graded,
) -> Result<u64> {
    let mut rollouts = RecordReader::answered(&args.input, args.invalid.reading())?;
    let mut fields = None;
    let mut writer = RecordWriter::create(&args.output.output)?;
    // A program that writes its rollouts one by one gets their grades one by one.
    let ahead = if is_stream(&args.input) { Ahead::Nothing } else { Ahead::Batch };
    let records = rollouts.by_ref().map(|rollout| Ok(rollout?));
    let work = |batch: &mut [Rollout]| grade_all(batch, options);
    in_batches(records, ahead, Rollout::n_text_bytes, work, |batch, grades| {
        for (rollout, grades) in batch.iter().zip(&grades) {
            fields.get_or_insert_with(|| rollout.field_names());
            graded.counts.add_problem(grades.as_deref());
            for found in grades.iter().flatten() {
                graded.examples.add(&rollout.reference, found);
            }
        }
        let n = batch.len() as u64;
        writer.write_all(batch)?;
        progress.advance(n, &[]);
        Ok(())
    })?;
    if graded.counts.n() == 0 && graded.counts.without_reference > 0 {
        return Err(Error::NothingToGrade {
            path: args.input.clone(),
            wanted: "a `reference`",
            fields: fields.unwrap_or_default(),
        }
        .into());
    }
    if graded.counts.n() == 0 {
        let n_left_out = rollouts.n_skipped();
        return Err(Error::NoExamples { purpose: "grade", n_left_out }.into());
    }
    writer.finish()?;
    warn_ungraded(graded.counts.without_reference, "problems without a `reference`");
    Ok(rollouts.n_skipped())
}

fn run_cases(
    path: &Path,
    args: &GradeArgs,
    options: &Options,
    progress: &mut Progress,
    graded: &mut Graded,
) -> Result<u64> {
    let mut cases = RecordReader::<Case>::open(path, args.invalid.reading())?;
    let mut writer = RecordWriter::create(&args.output.output)?;
    let (mut fields, mut n_incomplete) = (None, 0);
    let records = cases.by_ref().map(|case| Ok(case?));
    let size = |case: &Case| case.gold().len() + case.pred().len();
    let work = |batch: &mut [Case]| grade_cases(batch, options);
    in_batches(records, Ahead::Batch, size, work, |batch, grades| {
        for (case, found) in batch.iter().zip(&grades) {
            fields.get_or_insert_with(|| case.field_names());
            match found {
                Some(found) => {
                    graded.counts.add(found.verdict);
                    graded.examples.add(&case.gold(), found);
                }
                None => n_incomplete += 1,
            }
        }
        let n_cases = batch.len() as u64;
        writer.write_all(batch)?;
        progress.advance(n_cases, &[]);
        Ok(())
    })?;
    if graded.counts.n() == 0 && n_incomplete > 0 {
        return Err(Error::NothingToGrade {
            path: path.to_owned(),
            wanted: "both `gold` and `pred`",
            fields: fields.unwrap_or_default(),
        }
        .into());
    }
    if graded.counts.n() == 0 {
        let n_left_out = cases.n_skipped();
        return Err(Error::NoExamples { purpose: "grade", n_left_out }.into());
    }
    writer.finish()?;
    warn_ungraded(n_incomplete, "cases without `gold` or `pred`");
    Ok(cases.n_skipped())
}

fn warn_ungraded(n: u64, what: &str) {
    if n > 0 {
        warn!("{what}, left unchanged: {n}");
    }
}
