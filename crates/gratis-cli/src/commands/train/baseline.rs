//! `gratis train --kind orm|prm-head|prm-token`: reward models of the usual kinds.

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::Error;
use gratis::baseline::{
    BaselineForm, HeadTask, LabelTexts, LabelTokens, Pooling, TokenTask, ValueObjective,
};
use gratis::objective::{Dpo, Objective};
use gratis::selection::Aggregation;
use gratis::training::{Learner, RewardData, Task};
use gratis_cpu::NativeEngine;
use gratis_model::{StateValue, Tokenizer, ValueHead};
use serde::{Deserialize, Serialize};

use crate::failure::CliError;
use crate::model::Model;

/// What kind of reward model is trained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// Log-ratio to a reference (the paper's).
    #[default]
    Implicit,
    /// Outcome reward model with a scalar head.
    Orm,
    /// Process reward model with a scalar head, from step labels.
    PrmHead,
    /// Process reward model by good and bad tokens after each step, from step labels.
    PrmToken,
}

impl Kind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether values are read from a scalar head.
    pub(super) fn has_head(self) -> bool {
        matches!(self, Self::Orm | Self::PrmHead)
    }

    /// The aggregation that suits this kind, unless another than the default was asked for.
    pub(super) fn aggregation(self, asked: Aggregation) -> Aggregation {
        match self {
            _ if asked != Aggregation::default() => asked,
            Self::Implicit => asked,
            Self::Orm => Aggregation::Outcome,
            Self::PrmHead | Self::PrmToken => Aggregation::QMin,
        }
    }

    /// The model as a task of this kind sees it.
    pub(super) fn learner(self, engine: &mut NativeEngine) -> Learner<'_> {
        if self.has_head() { Learner::Values(engine) } else { Learner::LogProbs(engine) }
    }
}

/// What is read from the states of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Head {
    /// A linear map of the state at each token.
    #[default]
    Linear,
    /// The value of each token in the state before it.
    ActionValue,
    /// The same, and the value of the state.
    ActionAndStateValue,
}

impl From<Head> for ValueHead {
    fn from(head: Head) -> Self {
        match head {
            Head::Linear => Self::Linear,
            Head::ActionValue => Self::ActionValue { state_value: StateValue::Absent },
            Head::ActionAndStateValue => Self::ActionValue { state_value: StateValue::Linear },
        }
    }
}

/// What becomes of the step labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepLabelUse {
    /// As they are.
    #[default]
    AsGiven,
    /// 1 if above 0: any right continuation.
    Hard,
}

/// What is said of the steps after the first bad one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AfterError {
    /// What their labels say.
    #[default]
    Keep,
    /// Nothing.
    Forget,
}

/// Settings of models that are not implicit.
#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BaselineSettings {
    /// Scalar head (`orm`, `prm-head`).
    #[arg(long, value_enum, default_value_t, help_heading = "Baselines")]
    head: Head,
    /// How the tokens' values become those of prefixes.
    #[arg(long, value_enum, default_value_t, help_heading = "Baselines")]
    pooling: Pooling,
    /// What an outcome reward model learns by.
    #[arg(long, value_enum, default_value_t, help_heading = "Baselines")]
    value_loss: ValueObjective,
    /// Learning rate of the head over that of the other parameters.
    #[arg(long, default_value_t = Self::default().head_rate, help_heading = "Baselines")]
    head_rate: f64,
    /// What becomes of step labels.
    #[arg(long, value_enum, default_value_t, help_heading = "Baselines")]
    step_labels: StepLabelUse,
    /// What is said of steps after the first bad one.
    #[arg(long, value_enum, default_value_t, help_heading = "Baselines")]
    after_error: AfterError,
    /// Tag and labels (`prm-token`).
    #[command(flatten, next_help_heading = "Baselines")]
    labels: LabelTexts,
}

impl Default for BaselineSettings {
    fn default() -> Self {
        Self {
            head: Head::default(),
            pooling: Pooling::default(),
            value_loss: ValueObjective::default(),
            head_rate: 1.0,
            step_labels: StepLabelUse::default(),
            after_error: AfterError::default(),
            labels: LabelTexts::default(),
        }
    }
}

impl BaselineSettings {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The loss of a head of this kind.
    fn value_objective(&self, kind: Kind) -> ValueObjective {
        if kind == Kind::PrmHead { ValueObjective::Steps } else { self.value_loss }
    }

    /// Checks the settings.
    pub(super) fn validate(&self, kind: Kind) -> Result<()> {
        if !(self.head_rate > 0.0 && self.head_rate.is_finite()) {
            let (field, expected) = ("head_rate", "a finite number above 0".to_owned());
            let got = format!("`{}`", self.head_rate);
            return Err(Error::InvalidSetting { field, expected, got }.into());
        }
        if kind == Kind::Orm && self.value_loss.needs_step_labels() {
            let expected = "a loss on outcome labels for `--kind orm`".to_owned();
            let got = "`steps`".to_owned();
            return Err(Error::InvalidSetting { field: "value_loss", expected, got }.into());
        }
        Ok(())
    }

    /// How such a model is to be scored with.
    pub(super) fn form(&self, kind: Kind) -> Option<BaselineForm> {
        match kind {
            Kind::Implicit => None,
            Kind::Orm | Kind::PrmHead => Some(BaselineForm::Head {
                head: self.head.into(),
                pooling: self.pooling,
                objective: self.value_objective(kind),
            }),
            Kind::PrmToken => Some(BaselineForm::Tokens { labels: self.labels.clone() }),
        }
    }

    /// Gives the model its head: a fresh one, unless it has such a head already.
    pub(super) fn fit_head(&self, kind: Kind, mut model: Model) -> Result<Model> {
        if !kind.has_head() {
            return Ok(model);
        }
        if model.engine.adapter().is_some() {
            return Err(CliError::Mismatch {
                what: "a scalar head cannot be trained with an adapter".to_owned(),
                hint: "leave out `--lora-rank`, or merge the adapter first (`gratis merge`)",
            }
            .into());
        }
        let head = ValueHead::from(self.head);
        if model.engine.value_head() != Some(head) {
            model.engine = model.engine.with_value_head(head);
        }
        model.engine.set_head_learning_rate_factor(self.head_rate);
        Ok(model)
    }

    /// The step labels as they are to be learnt from.
    pub(super) fn relabel(&self, data: &mut RewardData) {
        for example in &mut data.examples {
            if self.after_error == AfterError::Forget
                && let Some(first) = example.steps.iter().position(|step| step.label < 0.5)
            {
                example.steps.truncate(first + 1);
            }
            if self.step_labels == StepLabelUse::Hard {
                for step in &mut example.steps {
                    step.label = step.label.ceil();
                }
            }
        }
    }

    /// Whether a model of this kind can learn something from the data.
    pub(super) fn check(
        &self,
        kind: Kind,
        objective: &Objective,
        data: &RewardData,
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        match kind {
            Kind::Implicit => data.check(objective)?,
            Kind::Orm if self.value_loss.needs_pairs() => {
                data.check(&Objective::Dpo(Dpo::default()))?;
            }
            Kind::Orm => data.check(&Objective::default())?,
            Kind::PrmHead | Kind::PrmToken => {
                let first = data.examples.first();
                let problem =
                    first.ok_or(Error::NoExamples { purpose: "train on" })?.problem.clone();
                if data.examples.iter().all(|example| example.steps.is_empty()) {
                    let objective = if kind == Kind::PrmHead { "prm-head" } else { "prm-token" };
                    return Err(Error::NoStepLabels { objective, problem }.into());
                }
                if kind == Kind::PrmToken {
                    LabelTokens::new(&self.labels, tokenizer)?;
                }
            }
        }
        Ok(())
    }

    /// The task of a model that is not implicit.
    pub(super) fn task(
        &self,
        kind: Kind,
        data: RewardData,
        tokenizer: &Tokenizer,
    ) -> Result<Box<dyn Task>> {
        if kind == Kind::PrmToken {
            let labels = LabelTokens::new(&self.labels, tokenizer)?;
            return Ok(Box::new(TokenTask::new(&labels, &data)?));
        }
        Ok(Box::new(HeadTask::new(self.value_objective(kind), self.pooling, data)?))
    }
}
