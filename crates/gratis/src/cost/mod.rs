//! What everything costs in floating-point operations (paper section 4.2, figures 1 and 3).
//!
//! [`Work`] counts what a transformer was asked to do, whatever its shape: tokens, tokens they
//! attend to, predictions. [`Architecture`] turns it into operations. Each phase of a job is counted
//! twice: *as counted* in the paper, every sequence on its own, and *as run*, with shared prompts,
//! copies computed once and cached keys and values. [`paper`] is the calculator at the paper's scale.

mod flops;
pub mod paper;
mod record;
mod work;

pub use flops::{Architecture, Flops, Pass};
pub use record::{COST_FILE, CostRecord, Phase};
pub use work::{JobWork, Work};
