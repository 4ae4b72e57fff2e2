//! Problems, rollouts and the operations on them (paper section 4.1 and appendix C).

pub mod file;
pub mod jsonl;
pub mod rollout;
pub mod score;
pub mod steps;

mod lines;
mod output;
mod parquet;
mod record;

pub use file::{RolloutReader, RolloutWriter, ScoreReader, ScoreWriter};
pub use jsonl::ResumableWriter;
pub use record::OnInvalid;
pub use rollout::Rollout;
pub use score::{CompletionScore, Score};
pub use steps::{StepSplit, StepSplitter};
