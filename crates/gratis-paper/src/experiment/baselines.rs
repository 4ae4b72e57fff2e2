//! The other side of the comparison (paper section 4.1): what is trained on which labels, as rows of
//! the laboratory.
//!
//! Every row learns from the rollouts that the implicit models learn from, in one pass, and chooses
//! its [`Configuration`] on the same validation problems ([`tuning`](super::tuning)). *Fair head* is
//! the action-value read-out with log-sum-exp pooling, which suits this world, with a state value
//! where the labels are values; *classic head* is the linear head of a token classifier.

use gratis_model::{StateValue, ValueHead};
use serde::{Deserialize, Serialize};

use gratis::baseline::{Pooling, ValueObjective};
use gratis::objective::{Objective, StepCe};

/// Where a row's labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Final answers.
    Outcome,
    /// Share of right continuations.
    MonteCarloSoft,
    /// Whether any continuation is right.
    MonteCarloHard,
    /// Relative change of an outcome verifier's confidence; training goes on from the verifier.
    AutoPsv,
    /// The checker's verdicts: a bound, not a method.
    True,
    /// The same, nothing said after the first error.
    TrueUpToError,
}

/// How a row gives its rewards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Log-probability of the reference, untrained.
    Likelihood,
    /// Self-certainty of the reference, untrained.
    SelfCertainty,
    /// Log-ratio to the reference.
    LogRatio(Objective),
    /// Scalar head.
    Head(ValueHead, Pooling, ValueObjective),
    /// Good and bad tokens after steps.
    LabelTokens,
}

/// What a row starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The generator that wrote the training data, as the implicit models do.
    #[default]
    Generator,
    /// A base model of a shape of its own, trained as the cast's base was.
    Base(Trunk),
}

/// The size of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trunk {
    /// Layers.
    pub n_layers: usize,
    /// Width of the residual stream; the inside of the SwiGLU and the heads go with it.
    pub hidden_size: usize,
}

impl Default for Trunk {
    /// The cast's models.
    fn default() -> Self {
        Self { n_layers: 2, hidden_size: 64 }
    }
}

/// A row of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its name.
    pub name: String,
    /// How it gives its rewards.
    pub form: Form,
    /// What it learns from.
    pub labels: Labels,
    /// What it starts from.
    pub start: Start,
    /// Passes over the data.
    pub n_epochs: u64,
}

/// What is chosen on validation problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Highest learning rate; a head has twice that.
    pub learning_rate: f64,
    /// Factor of the log-ratio, where there is one.
    pub beta: f64,
}

impl Baseline {
    fn new(name: &str, form: Form, labels: Labels) -> Self {
        Self { name: name.to_owned(), form, labels, start: Start::Generator, n_epochs: 1 }
    }

    /// The grid that its configuration is chosen from: for log-ratios the implicit models' own, of
    /// three betas and three learning rates; heads and label tokens have no beta, and choose among
    /// five learning rates.
    pub fn configurations(&self) -> Vec<Configuration> {
        use super::tuning::{BETAS, LEARNING_RATES};
        let of_rate = |learning_rate| Configuration { learning_rate, beta: 1.0 };
        match self.form {
            Form::Likelihood | Form::SelfCertainty => vec![of_rate(0.0)],
            Form::LogRatio(_) => {
                let of_beta = |beta| {
                    LEARNING_RATES.map(|learning_rate| Configuration { learning_rate, beta })
                };
                BETAS.into_iter().flat_map(of_beta).collect()
            }
            Form::Head(..) | Form::LabelTokens => {
                [5e-4, 1e-3, 2e-3, 4e-3, 8e-3].map(of_rate).to_vec()
            }
        }
    }
}

const ACTION: ValueHead = ValueHead::ActionValue { state_value: StateValue::Absent };
const ACTION_AND_STATE: ValueHead = ValueHead::ActionValue { state_value: StateValue::Linear };

/// For labels that are right or wrong.
fn fair(objective: ValueObjective) -> Form {
    Form::Head(ACTION, Pooling::LogSumExp, objective)
}

/// For labels that are values.
fn fair_value(objective: ValueObjective) -> Form {
    Form::Head(ACTION_AND_STATE, Pooling::LogSumExp, objective)
}

fn classic(objective: ValueObjective) -> Form {
    Form::Head(ValueHead::Linear, Pooling::Own, objective)
}

fn log_ratio() -> Form {
    Form::LogRatio(Objective::StepCe(StepCe::default()))
}

/// The rows of table 1: those of the paper, with the head that works here and with the classic one,
/// by label tokens, and Math-Shepherd's labels under the log-ratio; then those without training.
pub fn baselines() -> Vec<Baseline> {
    use Labels::{AutoPsv, MonteCarloHard, MonteCarloSoft, Outcome};
    use ValueObjective::{BradleyTerry, Steps};
    let cross_entropy = ValueObjective::Outcome;
    vec![
        Baseline::new("ORM CE, fair head", fair_value(cross_entropy), Outcome),
        Baseline::new("ORM CE, classic head", classic(cross_entropy), Outcome),
        Baseline::new("ORM Bradley-Terry, fair head", fair_value(BradleyTerry), Outcome),
        Baseline::new("ORM Bradley-Terry, classic head", classic(BradleyTerry), Outcome),
        math_shepherd(),
        Baseline::new("Math-Shepherd soft, fair head", fair_value(Steps), MonteCarloSoft),
        Baseline::new("Math-Shepherd hard, classic head", classic(Steps), MonteCarloHard),
        Baseline::new("Math-Shepherd soft, classic head", classic(Steps), MonteCarloSoft),
        Baseline::new("Math-Shepherd hard, label tokens", Form::LabelTokens, MonteCarloHard),
        Baseline::new("Math-Shepherd soft, label tokens", Form::LabelTokens, MonteCarloSoft),
        Baseline::new("Math-Shepherd hard, log-ratio", log_ratio(), MonteCarloHard),
        Baseline::new("Math-Shepherd soft, log-ratio", log_ratio(), MonteCarloSoft),
        Baseline::new("AutoPSV, fair head", fair_value(Steps), AutoPsv),
        Baseline::new("AutoPSV, classic head", classic(Steps), AutoPsv),
        Baseline::new("self-certainty", Form::SelfCertainty, Outcome),
        Baseline::new("reference likelihood", Form::Likelihood, Outcome),
    ]
}

/// The paper's baseline with the head that works here.
pub fn math_shepherd() -> Baseline {
    Baseline::new(
        "Math-Shepherd hard, fair head",
        fair(ValueObjective::Steps),
        Labels::MonteCarloHard,
    )
}

/// What the checker's own labels make of each form: a bound on what it can learn here.
pub fn bounds() -> Vec<Baseline> {
    use Labels::{True, TrueUpToError};
    use ValueObjective::Steps;
    vec![
        Baseline::new("true labels, fair head", fair(Steps), True),
        Baseline::new("true labels, log-ratio", log_ratio(), True),
        Baseline::new("true labels, label tokens", Form::LabelTokens, True),
        Baseline::new("true labels, classic head", classic(Steps), True),
        Baseline::new("true labels up to the error, classic head", classic(Steps), TrueUpToError),
    ]
}

/// A classic head on a base of another shape, with the checker's own labels, in several passes.
pub fn classic_on(trunk: Trunk, labels: Labels, n_epochs: u64) -> Baseline {
    let Trunk { n_layers, hidden_size } = trunk;
    let until = if labels == Labels::TrueUpToError { " up to the error" } else { "" };
    Baseline {
        name: format!("true labels{until}, classic head, {n_layers} layers of {hidden_size}"),
        start: Start::Base(trunk),
        n_epochs,
        ..Baseline::new("", classic(ValueObjective::Steps), labels)
    }
}
