//! Cost of all jobs in floating-point operations (paper section 4.2, figures 1 and 3).
//!
//! [`Work`] counts the work of a transformer independently of its shape: tokens, tokens that they
//! attend to, predictions. [`Architecture`] converts it to operations. Each phase of a job is
//! counted twice: *as counted* in the paper, every sequence on its own, and *as run*, with shared
//! prompts, duplicates computed once and cached keys and values.

mod flops;
mod record;
mod work;

pub use flops::{Architecture, Flops, Pass};
pub use record::{COST_FILE, CostRecord, Phase};
pub use work::{JobWork, Work};
