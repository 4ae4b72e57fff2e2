//! Problems, rollouts and the operations on them (paper section 4.1 and appendix C).

mod candidate_scores;
mod case;
pub mod completion;
mod mask;
mod operation;
pub mod published;
mod quick;
mod quick_rollout;
mod reader;
pub(crate) mod record;
pub(crate) mod rollout;
pub mod score;
mod split;
mod step_labels;
pub mod steps;
mod summary;
mod writer;

mod apply;
mod balance;
mod columns;
mod container;
mod dedup;
mod exact;
mod fingerprint;
mod format;
mod group;
mod mix;
mod model_format;
mod output;
mod pairs;
mod parquet;
pub(crate) mod part;
mod problem;
mod reading;
mod replace;
mod resumable;
mod rows;
mod score_table;
mod scratch;
mod seeding;
mod segment;
mod shapes;
mod subsample;
mod table;

// Whole files and lines, with reports: for the command line.
pub use apply::apply;
#[doc(hidden)]
pub use apply::{FileReport, apply_to_file, split_file};
pub(crate) use apply::{Rollouts, apply_streaming, spool};
pub use candidate_scores::CandidateScores;
pub use case::Case;
pub use completion::Completion;
pub use dedup::DedupScope;
#[doc(hidden)]
pub use fingerprint::Fingerprint;
pub use mask::Mask;
pub use mix::MixRule;
pub use model_format::ModelFormat;
pub use operation::{Counts, DataOperation, OperationReport};
pub use part::ScorePart;
pub use reader::RecordReader;
#[doc(hidden)]
pub use reader::RolloutFiles;
pub use reading::{Reading, ShapeSettings};
pub use record::OnInvalid;
// Output of commands that can be resumed: for the command line.
#[doc(hidden)]
pub use resumable::{ReservedOutput, ResumableWriter, check_output};
pub use rollout::Rollout;
pub use score::{Extent, Precision, ProblemScores, ScoreKind, ScoreOrigin, Scored};
pub use segment::StepText;
pub use shapes::DataShape;
pub use split::Side;
pub use steps::{StepSplit, StepSplitter};
pub use summary::Summary;
pub use writer::RecordWriter;
