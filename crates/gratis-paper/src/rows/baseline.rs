//! Reward models other than implicit ones (paper section 4.1): what each is trained on, from which
//! labels, with which configuration.
//!
//! Every row is trained on the rollouts of the implicit models, in one epoch, and its
//! [`Configuration`] was chosen on the same validation problems ([`crate::experiments::tuning`]).
//! *Fair head* is the action-value head with log-sum-exp pooling, which suits the tiny world, with
//! a state value if the labels are values; *classic head* is the linear head of a token classifier.

use gratis::baseline::{Pooling, ValueObjective};
use gratis::objective::{Objective, StepCe};
use gratis_model::ValueHead;
use serde::{Deserialize, Serialize};

use super::Trunk;
use super::recipe::{BETAS, LEARNING_RATES};

/// Where a row's labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Labels {
    /// Final answers.
    Outcome,
    /// Share of correct continuations.
    MonteCarloSoft,
    /// Whether any continuation is correct.
    MonteCarloHard,
    /// Relative change of an outcome verifier's confidence; training continues from the verifier.
    AutoPsv,
    /// The checker's verdicts: a bound, not a method.
    True,
    /// The same, with steps after the first error unlabelled.
    TrueUpToError,
}

/// How a row gives its rewards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// Log-probability of the reference, untrained.
    Likelihood,
    /// Self-certainty of the reference, untrained.
    SelfCertainty,
    /// By a model that is trained.
    #[serde(untagged)]
    Trained(TrainedForm),
}

/// How a trained row gives its rewards.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrainedForm {
    /// Log-ratio to the reference.
    LogRatio(Objective),
    /// Scalar head.
    Head(ValueHead, Pooling, ValueObjective),
    /// Good and bad tokens after steps.
    LabelTokens,
}

impl Form {
    /// The grid that a configuration is chosen from: for log-ratios that of the implicit models; heads
    /// and label tokens have no beta and choose among five learning rates; untrained forms have nothing
    /// to choose.
    pub(crate) fn configurations(self) -> Vec<Configuration> {
        let of_rate = |learning_rate| Configuration { learning_rate, beta: 1.0 };
        match self {
            Self::Likelihood | Self::SelfCertainty => vec![UNTRAINED],
            Self::Trained(TrainedForm::LogRatio(_)) => BETAS
                .into_iter()
                .flat_map(|beta| {
                    LEARNING_RATES.map(|learning_rate| Configuration { learning_rate, beta })
                })
                .collect(),
            Self::Trained(TrainedForm::Head(..) | TrainedForm::LabelTokens) => {
                [5e-4, 1e-3, 2e-3, 4e-3, 8e-3].map(of_rate).to_vec()
            }
        }
    }
}

/// What a row starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Start {
    /// The generator that wrote the training data, as the implicit models do.
    #[default]
    Generator,
    /// A base model of another size, trained in the same way.
    Base(Trunk),
}

/// What is chosen on validation problems.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// Peak learning rate; a head has twice that.
    pub learning_rate: f64,
    /// Factor of the log-ratio, where there is one.
    pub beta: f64,
}

/// Whether a form can learn this task at all, measured with true step labels (`docs/baselines.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Learns {
    /// It does.
    Yes,
    /// It does not, even from true labels, so a comparison with it carries no information about its
    /// labels.
    NotHere,
}

/// A row of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Its name.
    pub(crate) name: String,
    /// How it gives its rewards.
    pub(crate) form: Form,
    /// Its labels.
    pub(crate) labels: Labels,
    /// What it starts from.
    pub(crate) start: Start,
    /// Passes over the data.
    pub(crate) n_epochs: u64,
    /// What was chosen for it: by [`crate::experiments::tuning`] in the world of seed 0 at full scale.
    pub(crate) configuration: Configuration,
    /// The paper's average in percent. The paper has one row per kind of labels, whatever the head.
    pub(crate) paper: Option<f64>,
    /// Whether its form learns this task.
    pub(crate) learns: Learns,
}

/// Of forms that are not trained.
const UNTRAINED: Configuration = Configuration { learning_rate: 0.0, beta: 1.0 };
/// The paper's averages of Math-Shepherd and AutoPSV, in percent.
const PAPER_MATH_SHEPHERD: Option<f64> = Some(47.8);
const PAPER_AUTO_PSV: Option<f64> = Some(45.7);

const ACTION: ValueHead = ValueHead::ActionValue;
const ACTION_AND_STATE: ValueHead = ValueHead::ActionAndStateValue;

/// A head that suits this world, for labels that are right or wrong.
fn fair(objective: ValueObjective) -> Form {
    Form::Trained(TrainedForm::Head(ACTION, Pooling::LogSumExp, objective))
}

/// The same for labels that are values.
fn fair_value(objective: ValueObjective) -> Form {
    Form::Trained(TrainedForm::Head(ACTION_AND_STATE, Pooling::LogSumExp, objective))
}

fn classic(objective: ValueObjective) -> Form {
    Form::Trained(TrainedForm::Head(ValueHead::Linear, Pooling::Own, objective))
}

fn log_ratio() -> Form {
    Form::Trained(TrainedForm::LogRatio(Objective::StepCe(StepCe::default())))
}

const LABEL_TOKENS: Form = Form::Trained(TrainedForm::LabelTokens);

impl Baseline {
    /// A row that starts from the generator and learns in one pass at this rate.
    fn new(name: &str, form: Form, labels: Labels, learning_rate: f64) -> Self {
        let works = !matches!(
            form,
            Form::Trained(TrainedForm::Head(ValueHead::Linear, ..) | TrainedForm::LabelTokens)
        );
        Self {
            name: name.to_owned(),
            form,
            labels,
            start: Start::Generator,
            n_epochs: 1,
            configuration: Configuration { learning_rate, beta: 1.0 },
            paper: None,
            learns: if works { Learns::Yes } else { Learns::NotHere },
        }
    }

    fn untrained(name: &str, form: Form) -> Self {
        Self { configuration: UNTRAINED, ..Self::new(name, form, Labels::Outcome, 0.0) }
    }

    /// What was chosen, in words.
    pub(crate) fn detail(&self) -> String {
        let Configuration { learning_rate, beta } = self.configuration;
        match self.form {
            Form::Likelihood | Form::SelfCertainty => "not trained".to_owned(),
            Form::Trained(TrainedForm::LogRatio(_)) => {
                format!("beta {beta}, learning rate {learning_rate}")
            }
            Form::Trained(TrainedForm::Head(..) | TrainedForm::LabelTokens) => {
                format!("learning rate {learning_rate}")
            }
        }
    }

    fn with_beta(mut self, beta: f64) -> Self {
        self.configuration.beta = beta;
        self
    }

    fn with_paper(self, paper: Option<f64>) -> Self {
        Self { paper, ..self }
    }
}

/// The rows of table 1: those of the paper, with the head that works here and with the classic one,
/// by label tokens, and Math-Shepherd's labels under the log-ratio; then those without training. Two
/// rows have another learning rate than the best, by a point at most and in their favour:
/// `docs/baselines.md`.
pub(crate) fn baselines() -> Vec<Baseline> {
    use Labels::{AutoPsv, MonteCarloHard, MonteCarloSoft, Outcome};
    use ValueObjective::{BradleyTerry, Steps};
    let cross_entropy = ValueObjective::Outcome;
    vec![
        Baseline::new("ORM CE, fair head", fair_value(cross_entropy), Outcome, 2e-3),
        Baseline::new("ORM CE, classic head", classic(cross_entropy), Outcome, 8e-3),
        Baseline::new("ORM Bradley-Terry, fair head", fair_value(BradleyTerry), Outcome, 2e-3),
        Baseline::new("ORM Bradley-Terry, classic head", classic(BradleyTerry), Outcome, 2e-3),
        math_shepherd(),
        Baseline::new("Math-Shepherd soft, fair head", fair_value(Steps), MonteCarloSoft, 2e-3),
        Baseline::new("Math-Shepherd hard, classic head", classic(Steps), MonteCarloHard, 8e-3)
            .with_paper(PAPER_MATH_SHEPHERD),
        Baseline::new("Math-Shepherd soft, classic head", classic(Steps), MonteCarloSoft, 2e-3),
        Baseline::new("Math-Shepherd hard, label tokens", LABEL_TOKENS, MonteCarloHard, 5e-4)
            .with_paper(PAPER_MATH_SHEPHERD),
        Baseline::new("Math-Shepherd soft, label tokens", LABEL_TOKENS, MonteCarloSoft, 1e-3),
        Baseline::new("Math-Shepherd hard, log-ratio", log_ratio(), MonteCarloHard, 3e-3)
            .with_beta(0.3)
            .with_paper(PAPER_MATH_SHEPHERD),
        Baseline::new("Math-Shepherd soft, log-ratio", log_ratio(), MonteCarloSoft, 1e-3),
        Baseline::new("AutoPSV, fair head", fair_value(Steps), AutoPsv, 5e-4)
            .with_paper(PAPER_AUTO_PSV),
        Baseline::new("AutoPSV, classic head", classic(Steps), AutoPsv, 5e-4)
            .with_paper(PAPER_AUTO_PSV),
        Baseline::untrained("self-certainty", Form::SelfCertainty),
        Baseline::untrained("reference likelihood", Form::Likelihood),
    ]
}

/// The paper's baseline with the head that works here.
pub(crate) fn math_shepherd() -> Baseline {
    let form = fair(ValueObjective::Steps);
    Baseline::new("Math-Shepherd hard, fair head", form, Labels::MonteCarloHard, 2e-3)
        .with_paper(PAPER_MATH_SHEPHERD)
}

/// Each form with the checker's own labels: an upper bound on what it can learn here. These
/// rows are not tuned.
pub(crate) fn bounds() -> Vec<Baseline> {
    use Labels::{True, TrueUpToError};
    use ValueObjective::Steps;
    vec![
        Baseline::new("true labels, fair head", fair(Steps), True, 2e-3),
        Baseline::new("true labels, log-ratio", log_ratio(), True, 1e-3),
        Baseline::new("true labels, label tokens", LABEL_TOKENS, True, 5e-4),
        Baseline::new("true labels, classic head", classic(Steps), True, 2e-3),
        Baseline::new(
            "true labels up to the error, classic head",
            classic(Steps),
            TrueUpToError,
            2e-3,
        ),
    ]
}

/// A classic head on a base of another size, with the checker's own labels, in several passes.
pub(crate) fn classic_on(trunk: Trunk, labels: Labels, n_epochs: u64) -> Baseline {
    let Trunk { n_layers, hidden_size } = trunk;
    let until = if labels == Labels::TrueUpToError { " up to the error" } else { "" };
    let name = format!("true labels{until}, classic head, {n_layers} layers of {hidden_size}");
    Baseline {
        start: Start::Base(trunk),
        n_epochs,
        ..Baseline::new(&name, classic(ValueObjective::Steps), labels, 2e-3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_written_as_its_variant_alone() {
        // Keys of the cache hold it.
        let json = |form: Form| serde_json::to_string(&form).expect("written");
        assert_eq!(json(Form::SelfCertainty), "\"self_certainty\"");
        assert_eq!(json(LABEL_TOKENS), "\"label_tokens\"");
        for baseline in baselines() {
            let back: Form = serde_json::from_str(&json(baseline.form)).expect("read");
            assert_eq!(back, baseline.form);
        }
    }

    #[test]
    fn the_chosen_learning_rate_is_one_that_was_tried() {
        for Baseline { name, form, configuration, .. } in baselines() {
            assert!(form.configurations().contains(&configuration), "{name}: {configuration:?}");
        }
    }
}
