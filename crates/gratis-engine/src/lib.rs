//! Causal language models on the CPU: what gratis needs of a transformer and nothing else.
//!
//! Every objective of the paper sees a language model only through the log-probabilities of
//! response tokens, so the whole interface is [`Engine`]: log-probabilities out, per-token
//! weights in, an optimizer step, and samples. This crate knows no reward and no objective.

#![deny(missing_docs)]

pub mod atomic;
pub mod batch;
pub mod chat_template;
pub mod checkpoint;
pub mod config;
pub mod engine;
pub mod error;
pub mod gguf;
#[cfg(feature = "hub")]
pub mod hub;
mod kernels;
pub mod layout;
pub mod links;
pub mod lora;
pub mod memory;
mod model;
pub mod native;
mod optimizer;
mod sampling;
pub mod schedule;
mod shard;
pub mod tokenizer;
pub mod value;
mod weights;

pub use batch::{PackedBatch, PackedBatchBuilder, Role, Segment, SegmentIdx, TokenValues};
pub use chat_template::{ChatTemplate, Message, RenderOptions};
pub use checkpoint::WeightType;
pub use config::ModelConfig;
pub use engine::{
    Engine, EngineDescription, FinishReason, OptimizerStep, Sample, SampleRequest,
    SamplingSettings, StepReport,
};
pub use error::{Error, Result};
pub use layout::Layout;
pub use lora::{BaseName, LoraScaling, LoraSettings, LoraTarget};
pub use model::Initialisation;
pub use native::{NativeEngine, NativeOptions, Recompute, WeightStorage};
pub use schedule::{Decay, Schedule};
pub use tokenizer::{Encoding, End, SpecialTokens, Tokenizer};
pub use value::{StateValue, ValueEngine, ValueHead};
