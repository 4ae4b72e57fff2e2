//! A scoring service over HTTP: the rewards of any reward model, for trainers and for people.
//!
//! Connections are asynchronous; the engine is not. Requests become units of work in a bounded
//! queue, from which one thread takes as many at a time as fill a batch, whichever requests they
//! belong to. Answers are those of `gratis score`; what shares a batch rarely changes a last bit.
//!
//! | route | what it answers |
//! |---|---|
//! | `POST /score` | score lines, rewards and tokens of candidates |
//! | `POST /grade` | verdicts of final answers |
//! | `POST /get_reward` | OpenRLHF's remote reward model |
//! | `POST /classify`, `/pooling`, `/v1/embeddings` | the shapes of inference servers |
//! | `GET /v1/models`, `/health`, `/metrics`, `/openapi.json` | the service itself |
//! | `GET /` | the page |
//!
//! The service reads the monotonic clock, for deadlines and metrics. It opens no model and no file:
//! [`serve`] takes a socket and a [`Scorer`].

#![deny(missing_docs)]

mod answers;
mod auth;
mod cache;
mod conversation;
mod error;
mod metrics;
mod page;
mod queue;
mod routes;
mod scorer;
mod server;
mod service;
mod worker;

pub use answers::Answers;
pub use auth::Token;
pub use error::{Failure, FailureKind};
pub use page::{page, training_page};
pub use scorer::{About, Scorer, about};
pub use server::{Stop, Summary, serve};
pub use service::Settings;
