//! From text to the input of an engine: tokens, distinct responses, micro-batches.

mod corpus;
mod given_ids;
mod packing;
mod prompt;
mod text;

pub use corpus::{Corpus, Item, Response};
pub use given_ids::TokenIds;
pub use packing::{MicroBatch, MicroBatches, log_probs, micro_batches};
pub(crate) use packing::{head_values, head_values_at, mean_log_probs};
pub use prompt::Conversations;
pub(crate) use prompt::chat_prompt_for;
pub use text::{EncodedCompletion, Encoder, OnOverlong, Unusual, encode_rollouts};
