//! The CPU engine: explicit forward and backward passes of a decoder in f32, AdamW, low-rank
//! adapters, and sampling with a cache of keys and values.
//!
//! [`NativeEngine`] implements the traits of [`gratis_engine`]. The same seed, data and number of
//! threads give the same bits. This crate contains no rewards and no text processing.
//!
//! ```
//! use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
//! use gratis_engine::{PackedBatch, Score};
//! use gratis_model::ModelConfig;
//!
//! let config = ModelConfig {
//!     vocab_size: 31, hidden_size: 16, intermediate_size: 24, n_layers: 2,
//!     n_heads: 4, n_kv_heads: 2, head_dim: 4, context_length: 64, ..ModelConfig::LLAMA
//! };
//! let options = NativeOptions::default();
//! let engine = NativeEngine::initialise(config, Initialisation::default(), 0, options)?;
//! let batch = PackedBatch::from_groups([(&[1, 2][..], [&[3, 4][..]])])?;
//! let log_probs = engine.log_probs(&[batch])?;
//! assert!(log_probs[0].row(0).iter().all(|&log_prob| log_prob < 0.0));
//! # Ok::<(), gratis_cpu::Error>(())
//! ```

#![deny(missing_docs)]

pub mod error;
mod kernels;
mod lora;
mod matrix;
pub mod memory;
mod model;
pub mod native;
mod optimizer;
mod sampling;
mod shard;
mod state;
mod weights;

pub use error::{Error, Result};
pub use kernels::matmul::Precision;
#[doc(hidden)]
pub use kernels::peak::multiply_adds;
pub use model::Initialisation;
pub use native::{NativeEngine, NativeOptions, Recompute, WeightStorage};
