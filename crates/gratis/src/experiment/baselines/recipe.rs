//! The rows: what is trained on which labels, and the three configurations that each may choose
//! from on validation problems.

use gratis_engine::{StateValue, ValueHead};
use serde::{Deserialize, Serialize};

use crate::baseline::{Pooling, ValueObjective};
use crate::objective::{Ce, Objective, StepCe};

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
    /// Relative change of an outcome verifier's confidence.
    AutoPsv,
    /// The checker's verdicts: a bound, not a method.
    True,
    /// The same, nothing said after the first error.
    TrueUpToError,
}

/// What a row is.
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

/// A row of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// What is trained.
    pub form: Form,
    /// On what.
    pub labels: Labels,
}

/// What is chosen on validation problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Factor of the log-ratio, where there is one.
    pub beta: f64,
}

impl Recipe {
    fn new(name: &str, form: Form, labels: Labels) -> Self {
        Self { name: name.to_owned(), form, labels }
    }

    /// Three for everything that is trained: of beta for log-ratios, of the learning rate for the
    /// others.
    pub fn configurations(&self) -> Vec<Configuration> {
        let of_rate = |learning_rate| Configuration { learning_rate, beta: 1.0 };
        match self.form {
            Form::Likelihood | Form::SelfCertainty => vec![of_rate(0.0)],
            Form::LogRatio(_) => {
                [0.05, 0.3, 1.0].map(|beta| Configuration { learning_rate: 1e-3, beta }).to_vec()
            }
            Form::Head(..) | Form::LabelTokens => [1e-3, 2e-3, 4e-3].map(of_rate).to_vec(),
        }
    }
}

/// All rows, in the order of the table.
pub fn recipes() -> Vec<Recipe> {
    use Labels::{AutoPsv, MonteCarloHard, MonteCarloSoft, Outcome, True, TrueUpToError};
    use ValueObjective::{BradleyTerry, Steps};
    let action = ValueHead::ActionValue { state_value: StateValue::Absent };
    let with_state = ValueHead::ActionValue { state_value: StateValue::Linear };
    // For labels that are right or wrong, and for labels that are values.
    let fair = |objective| Form::Head(action, Pooling::LogSumExp, objective);
    let fair_value = |objective| Form::Head(with_state, Pooling::LogSumExp, objective);
    let classic = |objective| Form::Head(ValueHead::Linear, Pooling::Own, objective);
    let steps = Form::LogRatio(Objective::StepCe(StepCe::default()));
    let outcome_ce = Form::LogRatio(Objective::Ce(Ce::default()));
    vec![
        Recipe::new("reference likelihood", Form::Likelihood, Outcome),
        Recipe::new("self-certainty", Form::SelfCertainty, Outcome),
        Recipe::new("implicit CE", outcome_ce, Outcome),
        Recipe::new("ORM CE, fair head", fair_value(ValueObjective::Outcome), Outcome),
        Recipe::new("Math-Shepherd hard, fair head", fair(Steps), MonteCarloHard),
        Recipe::new("Math-Shepherd soft, fair head", fair_value(Steps), MonteCarloSoft),
        Recipe::new("AutoPSV, fair head", fair_value(Steps), AutoPsv),
        Recipe::new("Math-Shepherd hard, log-ratio", steps, MonteCarloHard),
        Recipe::new("Math-Shepherd soft, log-ratio", steps, MonteCarloSoft),
        Recipe::new("ORM CE, classic head", classic(ValueObjective::Outcome), Outcome),
        Recipe::new("Math-Shepherd hard, classic head", classic(Steps), MonteCarloHard),
        Recipe::new("AutoPSV, classic head", classic(Steps), AutoPsv),
        Recipe::new("true labels, fair head", fair(Steps), True),
        Recipe::new("true labels, classic head", classic(Steps), True),
        Recipe::new("true labels up to error, classic head", classic(Steps), TrueUpToError),
        Recipe::new("Math-Shepherd hard, label tokens", Form::LabelTokens, MonteCarloHard),
        Recipe::new("Math-Shepherd soft, classic head", classic(Steps), MonteCarloSoft),
        Recipe::new("ORM BT, fair head", fair_value(BradleyTerry), Outcome),
        Recipe::new("ORM BT, classic head", classic(BradleyTerry), Outcome),
        Recipe::new("true labels, label tokens", Form::LabelTokens, True),
        Recipe::new("true labels, log-ratio", steps, True),
    ]
}
