//! Records on disk and what is done with them (paper section 4.1 and appendix C): rollouts, scores,
//! foreign shapes, Parquet, operations.
//!
//! A [`Rollout`] is a problem with its candidate solutions, each a [`Completion`]; a [`ProblemScores`]
//! has the rewards of all of them. A [`RecordReader`] reads either from JSON lines, JSON arrays, CSV and
//! Parquet, compressed or not, in our columns or in those of other libraries ([`DataShape`]); a
//! [`RecordWriter`] writes them in one piece or not at all. A [`DataOperation`] changes rollouts.
//! Neither reading, nor writing, nor an operation needs memory in proportion to the file.
//!
//! # Read, change, write
//!
//! ```
//! use gratis_data::{DataOperation, OnInvalid, RecordReader, RecordWriter, Rollout, Silent, apply};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (input, output) = (folder.path().join("all.jsonl"), folder.path().join("few.jsonl"));
//! std::fs::write(
//!     &input,
//!     r#"{"prompt": "1 + 1?", "completions": ["2", "3", "2"], "correctness": [true, false, true]}"#,
//! )?;
//! let rollouts = RecordReader::<Rollout>::open(&input, OnInvalid::Stop)?;
//! let rollouts = rollouts.collect::<Result<Vec<_>, _>>()?;
//!
//! let operations: Vec<DataOperation> = vec!["deduplicate".parse()?];
//! let (rollouts, reports) = apply(&operations, rollouts, &mut Silent)?;
//! assert_eq!((reports[0].before.n_responses, reports[0].after.n_responses), (3, 2));
//!
//! let mut writer = RecordWriter::create(&output)?;
//! for rollout in rollouts {
//!     writer.write(rollout)?;
//! }
//! writer.finish()?;
//! assert!(std::fs::read_to_string(&output)?.contains(r#""completions":["2","3"]"#));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(missing_docs)]

mod aggregation;
mod candidate_scores;
mod case;
mod columns;
mod decimal;
mod error;
mod exact;
mod fingerprint;
mod format;
mod language;
mod model_format;
mod operations;
mod output;
mod parquet;
mod part;
mod quick;
mod quick_rollout;
mod records;
mod resumable;
mod seeding;
mod summary;
mod table;
mod value_rule;
mod writer;

// Hidden modules and items are internal to this workspace and have no stability guarantee.
#[doc(hidden)]
pub mod digest;
#[doc(hidden)]
pub mod named_settings;
pub mod observer;
pub mod prm_bench;
pub mod process_bench;
pub mod score;

pub use aggregation::Aggregation;
// What selection reads of a score file.
#[doc(hidden)]
pub use candidate_scores::CandidateScores;
// Lines of other files than those of rollouts and scores, and counts of a file: for the command line.
#[doc(hidden)]
pub use case::Case;
pub use error::Error;
#[doc(hidden)]
pub use fingerprint::Fingerprint;
#[doc(hidden)]
pub use language::LanguageExample;
pub use model_format::ModelFormat;
pub use observer::{Figure, Observer, Silent};
pub use operations::apply::apply;
// Whole files and lines, with reports: for the command line and training.
#[doc(hidden)]
pub use operations::apply::{FileReport, apply_streaming, apply_to_file, split_file};
pub use operations::dedup::DedupScope;
pub use operations::mix::MixRule;
pub use operations::operation::{Counts, DataOperation, OperationReport};
pub use operations::segment::StepText;
pub use operations::split::Side;
pub use part::ScorePart;
pub use records::completion::Completion;
pub use records::mask::Mask;
pub use records::published;
pub use records::reader::RecordReader;
#[doc(hidden)]
pub use records::reader::RolloutFiles;
pub use records::reading::{Reading, ShapeSettings};
pub use records::record::OnInvalid;
pub use records::rollout::Rollout;
pub use records::shapes::DataShape;
pub use records::steps::StepSplit;
// A split at work, and steps that were given.
#[doc(hidden)]
pub use records::steps::{StepSplitter, ends_in_chars, locate};
// Output of commands that can be resumed: for the command line.
#[doc(hidden)]
pub use resumable::{ReservedOutput, ResumableWriter, check_output};
pub use score::{Extent, Precision, ProblemScores, ScoreKind, ScoreOrigin, Scored};
// The draws of the bootstrap.
#[doc(hidden)]
pub use seeding::Draws;
#[doc(hidden)]
pub use summary::Summary;
pub use value_rule::ValueRule;
pub use writer::RecordWriter;
