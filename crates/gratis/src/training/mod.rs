//! Training: one loop for language models and implicit process reward models (paper section 3).
//!
//! The loop ([`Trainer`]) knows epochs, micro-batches, the learning rate and AdamW. What is trained
//! is a [`Task`]: it holds the responses and maps the log-probabilities of a micro-batch to their
//! weights `w_t = dL/dlog pi(y_t|y_<t)`. There are two: [`LanguageModelling`], whose weights are
//! constant, and [`ImplicitReward`], whose weights an objective of the paper gives. [`fit()`] drives a
//! trainer through validation and checkpoints to the end; [`fit_until`] is the same loop in memory.

mod card;
mod dataset;
mod export;
mod fit;
mod implicit_reward;
mod language_modelling;
mod learner;
mod learning_rate;
mod metrics;
mod order;
mod reference;
mod run_folder;
mod schedule;
mod settings;
mod task;
mod tensorboard;
mod trainer;
mod units;
mod watch;
mod work;

pub(crate) use card::code;

#[doc(no_inline)]
pub use crate::data::LanguageExample;
pub(crate) use card::ModelCard;
pub(crate) use dataset::HeldOut;
pub use dataset::{LossOn, RewardData, language_data, reward_data};
pub use export::LogFormat;
pub use fit::{Summary, fit, fit_until};
pub use implicit_reward::ImplicitReward;
pub use language_modelling::LanguageModelling;
pub use learner::Learner;
pub use learning_rate::Purpose;
pub(crate) use learning_rate::Trained;
pub use metrics::{Evaluation, StepMetrics, Tally};
pub use reference::reference_log_probs;
pub use run_folder::{Best, OnExisting, RunFolder};
pub use schedule::Decay;
pub use settings::{CheckpointSettings, DataOrder, OptimizationSettings};
pub use task::Task;
pub use trainer::{Trainer, evaluate};
pub(crate) use units::UnitKind;
pub use units::{RewardExample, Units};
pub(crate) use watch::Warning;
pub use work::training_work;
