//! Implicit process reward models: the paper "Free Process Rewards without Process Labels".
//!
//! An outcome reward written as a log-likelihood ratio, `r(y) = beta * log pi(y)/pi_ref(y)`, gives
//! a Q value at every prefix and process rewards as their differences (Proposition 3.1), whatever
//! objective it was trained with. Everything here is arithmetic over small f64 arrays; the
//! transformer lives behind [`gratis_engine::Engine`].

#![deny(missing_docs)]

pub mod annotate;
pub mod baseline;
pub mod cost;
pub mod data;
pub mod encoding;
pub mod error;
pub mod evaluation;
pub mod manifest;
pub mod named_settings;
pub mod numeric;
pub mod objective;
pub mod observer;
pub mod reward;
pub mod rollout;
pub mod scoring;
pub mod selection;
pub mod theory;
pub mod training;
pub mod visible;

pub use error::{Error, Result};
pub use observer::{Figure, Observer, Silent};
