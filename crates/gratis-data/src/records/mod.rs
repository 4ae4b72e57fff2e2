//! Records as they are stored and as they are held: rollouts with their completions, steps and masks, and
//! everything that reads one from a file of any container and shape.

pub(crate) mod completion;
mod container;
pub(crate) mod mask;
mod problem;
pub mod published;
pub(crate) mod reader;
pub(crate) mod reading;
pub(crate) mod record;
pub(crate) mod rollout;
pub(crate) mod rows;
pub(crate) mod score_table;
pub(crate) mod shapes;
pub(crate) mod step_labels;
pub(crate) mod steps;
