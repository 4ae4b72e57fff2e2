//! Engines that run elsewhere, behind the traits of `gratis_engine`.
//!
//! - [`InferenceEngine`] scores and samples on one or many inference servers: vLLM, SGLang, or any
//!   server with the completions route of OpenAI. The heads of reward models are read there too
//!   ([`Head`]).
//! - [`TrainingEngine`] trains an adapter on a server that speaks the Tinker API.
//!
//! An engine is named by a file (`ENGINE.toml`) or an address (`vllm://host:port/name`), see
//! [`EngineSettings`]. Only token ids go over the wire, never text, and every answer is checked
//! against its request: servers ignore fields that they do not know, so a server that cannot do
//! what was asked answers with success and without it.
//!
//! Requests are HTTP/1.1 by `ureq` on a pool of threads: a few dozen to a few hundred requests are
//! in flight at once, so an asynchronous runtime would bring dependencies and nothing else.
//!
//! This crate has no rewards, no text and no tokenizer. It reads neither the clock nor the
//! environment: keys, proxies and probes are passed in.

#![deny(missing_docs)]

pub mod address;
mod answer;
mod canary;
mod classify;
pub mod error;
mod head;
pub mod http;
mod inference;
mod openai;
pub mod pool;
mod pooling;
mod sampling;
pub mod settings;
mod sglang;
mod tinker;
pub mod traffic;
mod values;

pub use address::{Protocol, is_address};
pub use classify::{Bias, HeadFiles};
pub use error::{Error, Result};
pub use http::Connection;
pub use inference::{InferenceEngine, ModelShape, Probe, TokenizerCheck};
pub use pooling::Head;
pub use settings::{DataType, EngineSettings};
pub use tinker::TrainingEngine;
