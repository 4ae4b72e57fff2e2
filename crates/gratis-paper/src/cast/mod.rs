//! Casts: the models and problems that experiments run on.
//!
//! An experiment asks a [`Cast`] for the rows of its table and for their evaluations, and knows neither
//! where models and problems come from nor how they are trained. The tiny world is the built-in cast
//! ([`crate::tiny`]); a file names a user's own ([`crate::own`]).

mod costs;

use gratis::evaluation::Bootstrap;
use gratis::objective::Objective;
use gratis::theory::PrefixEstimate;

use crate::error::Result;
use crate::evaluation::{Controls, Evaluation};
use crate::example::Examples;
use crate::outcome::PlainTable;
use crate::rows::{Factor, Learns, RewardModel, Tuned};

pub(crate) use costs::Propositions;
pub(crate) use costs::{Inference, Operations, Way};

/// What experiments ask of the models and problems that they run on.
pub(crate) trait Cast {
    /// The seeds; intervals are over seeds and test problems.
    fn seeds(&self) -> Vec<u64>;
    /// Numbers of candidates that one is selected from.
    fn ns(&self) -> Vec<usize>;
    /// How intervals are computed.
    fn bootstrap(&self) -> Bootstrap;
    /// The names of the generators of the candidates, in the order of the tables.
    fn generators(&self) -> Vec<String>;
    /// Training problems, and the most responses of one.
    ///
    /// # Errors
    /// Those of reading them.
    fn train_size(&mut self) -> Result<(usize, usize)>;
    /// What every number depends on.
    fn conditions(&self) -> Vec<String>;
    /// How the settings of the rows of table 1 were chosen, and from how many trials each.
    fn tuning(&self) -> Option<String>;
    /// What was left out so far, and why: `[what, why]`.
    fn left_out(&self) -> Vec<[String; 2]>;
    /// Adds to what was left out.
    fn leave_out(&mut self, what: &str, why: &str);
    /// Whether the cast has what a model is trained on.
    ///
    /// # Errors
    /// Why not.
    fn offers(&self, model: &RewardModel) -> Result<(), &'static str>;
    /// The model that reward models start from, in words.
    fn start_name(&self) -> String;
    /// The cast in a sentence: `in the tiny world`.
    fn here(&self) -> &'static str;
    /// The margin over the majority vote that this project expects, in a share; `None` for no claim.
    fn margin(&self) -> Option<f64>;
    /// Sets the row of a table and the seed of the following stages.
    fn begin_row(&mut self, row: &str, seed: u64);
    /// The rows of table 1 below the selectors that need no reward model.
    fn rows(&mut self) -> Vec<TableRow>;
    /// An objective with the settings chosen for it; `None` if the cast has no such row.
    fn recipe(&mut self, objective: Objective) -> Option<Tuned>;
    /// Selectors that need no reward model, on the test problems of a seed.
    ///
    /// # Errors
    /// Those of sampling and grading.
    fn controls(&mut self, seed: u64) -> Result<Controls>;
    /// A reward model on the test problems of a seed, trained first if need be.
    ///
    /// # Errors
    /// Those of training and scoring.
    fn evaluate(&mut self, seed: u64, model: &RewardModel) -> Result<Evaluation>;
    /// The share of correct answers that a model gives itself, per test problem: `[n_problems]`.
    ///
    /// # Errors
    /// Those of training and sampling.
    fn policy(&mut self, seed: u64, model: &RewardModel, n_samples: usize) -> Result<Vec<f64>>;
    /// The sampling temperature of candidates.
    fn temperature(&self) -> f32;
    /// A way's name in the figures.
    fn way_name(&self, way: Way) -> String;
    /// The reward model of a way, from the first `n_responses` of each training problem (`None` for all);
    /// `None` if the cast has no such row.
    fn way_model(&mut self, way: Way, n_responses: Option<usize>) -> Option<RewardModel>;
    /// Operations of a way, from the first `n_responses` of each training problem.
    ///
    /// # Errors
    /// Those of reading the training data, and of training where packing is measured.
    fn operations(&mut self, seed: u64, way: Way, n_responses: usize) -> Result<Operations>;
    /// How operations are counted.
    fn counting(&self) -> String;
    /// Processor seconds of a way with all responses: labels and training, where they were measured.
    ///
    /// # Errors
    /// Those of training.
    fn processor_seconds(&mut self, seed: u64, way: Way) -> Result<Option<f64>>;
    /// The cost of selecting with CE, for each generator of the test candidates; empty if the cast has no
    /// such row.
    ///
    /// # Errors
    /// Those of training and scoring.
    fn inference(&mut self, seed: u64) -> Result<Vec<Inference>>;
    /// How many prefixes [`Self::prefix_estimates`] has.
    fn propositions(&self) -> Propositions;
    /// Both propositions on the CE reward model and its reference, by Monte Carlo; empty if the cast has
    /// no such row.
    ///
    /// # Errors
    /// Those of training, sampling and scoring.
    fn prefix_estimates(&mut self, seed: u64) -> Result<Vec<PrefixEstimate>>;
    /// What table 1 shows below its table.
    ///
    /// # Errors
    /// Those of scoring.
    fn details(&mut self, rows: &[TableRow]) -> Result<Details>;
}

/// A row of table 1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableRow {
    /// The rows' common heading.
    pub(crate) group: &'static str,
    /// The row's name.
    pub(crate) name: String,
    /// Its settings.
    pub(crate) detail: String,
    /// The paper's average in percent.
    pub(crate) paper: Option<f64>,
    /// The model.
    pub(crate) model: RewardModel,
    /// Which of the paper's claims it is part of.
    pub(crate) role: Role,
}

/// Which claims a row is part of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// An implicit model of the paper.
    Implicit(Objective, Factor),
    /// A baseline.
    Baseline(Learns),
    /// None.
    Other,
}

/// What table 1 shows beside its table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Details {
    /// Further tables.
    pub(crate) tables: Vec<PlainTable>,
    /// Example solutions.
    pub(crate) examples: Option<Examples>,
}

/// What a cast left out, as a table; `None` if nothing.
pub(crate) fn left_out(cast: &dyn Cast) -> Option<PlainTable> {
    let rows = cast.left_out();
    (!rows.is_empty()).then(|| PlainTable {
        caption: "Left out on this cast".to_owned(),
        header: ["", "why"].map(str::to_owned).to_vec(),
        rows: rows.into_iter().map(Vec::from).collect(),
    })
}
