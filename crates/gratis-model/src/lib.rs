//! Language-model files: everything from a folder, a file or a name on a hub to parameters in
//! memory.
//!
//! Hugging Face checkpoints ([`checkpoint`], [`config`]), GGUF files ([`gguf`]), low-rank adapters
//! in the layout of peft ([`lora`]), tokenizers ([`tokenizer`]) and chat templates
//! ([`chat_template`]). Nothing here computes an activation or a gradient; `gratis-cpu` does.
//!
//! | task | types |
//! |---|---|
//! | the shape of a model | [`ModelConfig`], [`Layout`] |
//! | read or map the weights of a folder | [`checkpoint`], [`WeightType`] |
//! | read a GGUF file | [`gguf::GgufFile`] |
//! | text to tokens and back | [`Tokenizer`], [`Encoding`], [`Decoding`] |
//! | conversations to prompts | [`ChatTemplates`], [`ChatTemplate`], [`Message`], [`RenderOptions`] |
//! | adapters | [`LoraSettings`], [`lora`] |
//! | scalar heads | [`ValueHead`], [`Readout`] |
//! | write a file or a folder as a whole | [`atomic`] |
//!
//! ```
//! use gratis_model::{Layout, ModelConfig};
//!
//! // The position of each parameter of a small Llama in one flat array.
//! let config = ModelConfig { vocab_size: 32, n_layers: 2, ..ModelConfig::LLAMA };
//! let layout = Layout::new(&config);
//! assert_eq!(layout.tensors[0].name, "model.embed_tokens.weight");
//! assert_eq!(layout.tensors[0].shape, [32, config.hidden_size]);
//! ```

#![deny(missing_docs)]

pub mod atomic;
pub mod blocks;
pub mod chat_template;
pub mod checkpoint;
pub mod config;
pub mod destination;
pub mod dtype;
pub mod error;
pub mod gguf;
pub mod guard;
pub mod head;
#[cfg(feature = "hub")]
pub mod hub;
pub mod layout;
pub mod links;
pub mod lock;
pub mod lora;
pub mod readout;
pub mod simd;
pub mod tokenizer;
#[cfg(feature = "web")]
pub mod web;

pub use chat_template::{ChatTemplate, ChatTemplates, Message, RenderOptions};
pub use config::ModelConfig;
pub use dtype::WeightType;
pub use error::{Error, Result};
pub use head::{ACTION_WEIGHT, ValueHead};
pub use layout::Layout;
pub use lora::{BaseName, LoraScaling, LoraSettings, LoraTarget};
pub use readout::{Dense, Readout};
pub use tokenizer::{Decoding, Encoding, End, SpecialText, SpecialTokens, Tokenizer};
