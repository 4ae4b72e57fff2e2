//! The paper "Free Process Rewards without Process Labels" on a small synthetic world: the demo, one
//! file per table and figure, the claims that are checked, and the report.

#![deny(missing_docs)]

pub mod demo;
pub mod report;
pub mod world;

mod cache;
mod error;
mod example;
pub mod experiments;
mod measured;
pub mod outcome;
pub mod pages;
mod reproduce;
mod rows;
mod settings;
mod trainer;
mod truth;

pub use error::{Error, Result};
pub use example::{Example, Examples};
pub use reproduce::{Folders, reproduce, tune};
pub use rows::Configuration;
pub use settings::{BaseSettings, LearningSettings, SampleSettings, Scale, Settings};
pub use trainer::{CurvePoint, Training};
