//! Problems, rollouts and the operations on them (paper section 4.1 and appendix C).

pub mod case;
pub mod file;
pub mod jsonl;
pub mod operation;
pub mod rollout;
pub mod score;
pub mod split;
pub mod steps;

mod balance;
mod dedup;
mod lines;
mod mix;
mod output;
mod pairs;
mod parquet;
mod record;
mod replace;
mod seeding;
mod subsample;

pub use balance::{BalanceDataset, BalanceInstructions};
pub use case::{Case, CaseReader, CaseWriter};
pub use dedup::{DedupScope, Deduplicate};
pub use file::{RolloutReader, RolloutWriter, ScoreReader, ScoreWriter};
pub use jsonl::ResumableWriter;
pub use mix::{Mix, MixRule};
pub use operation::{Counts, DataOperation, FileReport, OperationReport, apply, apply_to_file};
pub use pairs::{MakePairs, PairRule, pairs_of};
pub use record::OnInvalid;
pub use replace::ReplaceResponses;
pub use rollout::Rollout;
pub use score::{CompletionScore, Score};
pub use split::{KeepSide, Side, Split};
pub use steps::{StepSplit, StepSplitter};
pub use subsample::{SubsampleInstructions, SubsampleResponses};
