//! From text to the input of an engine: tokens, distinct responses, micro-batches.

pub mod corpus;
mod given_ids;
pub mod packing;
mod prompt;
pub mod text;

pub use corpus::{Corpus, Item, Response};
pub use given_ids::TokenIds;
pub use packing::{
    MicroBatch, MicroBatches, head_values, head_values_at, log_probs, mean_log_probs, micro_batches,
};
pub use prompt::{Conversations, chat_prompt, chat_prompt_for};
pub use text::{
    EncodedCompletion, EncodedText, Encoder, OnOverlong, Unusual, encode_rollouts, problem_name,
};
