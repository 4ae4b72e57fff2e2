//! A fake server that speaks the bodies of vLLM, SGLang, OpenAI and the Tinker API, for tests and
//! measurements.
//!
//! Its log-probabilities are those of a real model ([`EngineModel`]) or a deterministic function
//! ([`HashModel`]). Latency and faults can be set ([`Behaviour`]); whether a request fails depends on
//! its body and on how often it was sent, so a run can be repeated.

mod bodies;
mod model;
mod pooling;
mod protobuf;
mod server;
mod tinker;

pub use model::{EngineModel, HashModel, Model, Sampling};
pub use pooling::{HeadModel, Pooling, PoolingTask};
pub use server::{Behaviour, FakeServer, Faults};
pub use tinker::{Losses, Spoilt, TinkerServer};
