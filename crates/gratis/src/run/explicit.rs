//! Explicit reward models of a training run: a scalar head or label tokens (the paper's baselines).

use gratis_model::{Tokenizer, ValueHead};
use serde::{Deserialize, Serialize};

use crate::baseline::{LabelTexts, LabelTokens, Pooling, ValueObjective};
use crate::data::Error as DataError;
use crate::error::{Error, Result};
use crate::manifest::Kind;
use crate::objective::{Dpo, Objective};
use crate::reward_model::Model;
use crate::selection::Aggregation;
use crate::training::{RewardData, Task};

/// Kind of reward model to train.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum RewardKind {
    /// Log-ratio to a reference (the paper's).
    #[default]
    Implicit,
    /// Outcome reward model with a scalar head.
    Orm,
    /// Process reward model with a scalar head, from step labels.
    PrmHead,
    /// Process reward model that predicts a good or a bad token after each step, from step labels.
    PrmToken,
}

impl RewardKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether values are read from a scalar head.
    pub(super) fn has_head(self) -> bool {
        matches!(self, Self::Orm | Self::PrmHead)
    }

    /// The default aggregation of this kind, unless another one was given.
    pub(super) fn aggregation(self, asked: Aggregation) -> Aggregation {
        match self {
            _ if asked != Aggregation::default() => asked,
            Self::Implicit => asked,
            Self::Orm => Aggregation::Outcome,
            Self::PrmHead | Self::PrmToken => Aggregation::QMin,
        }
    }
}

/// The names of heads in settings.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(remote = "ValueHead", rename_all = "kebab-case")]
enum HeadName {
    /// A linear function of the state at each token.
    Linear,
    /// The value of each token in the state before it.
    ActionValue,
    /// `action-value`, plus a linear value of the state.
    ActionAndStateValue,
}

#[cfg(feature = "clap")]
impl From<HeadName> for ValueHead {
    fn from(name: HeadName) -> Self {
        match name {
            HeadName::Linear => Self::Linear,
            HeadName::ActionValue => Self::ActionValue,
            HeadName::ActionAndStateValue => Self::ActionAndStateValue,
        }
    }
}

/// Reads a head by its name.
#[cfg(feature = "clap")]
fn head_parser() -> impl clap::builder::TypedValueParser<Value = ValueHead> {
    use clap::builder::TypedValueParser;
    clap::builder::EnumValueParser::<HeadName>::new().map(ValueHead::from)
}

/// How step labels are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum StepLabelUse {
    /// As they are.
    #[default]
    AsGiven,
    /// 1 if above 0 (any correct continuation).
    Hard,
}

/// How steps after the first bad one are labelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum AfterError {
    /// By their own labels.
    #[default]
    Keep,
    /// Not at all; they are ignored.
    Forget,
}

/// Settings of models that are not implicit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct ExplicitSettings {
    /// Scalar head (`orm`, `prm-head`).
    #[cfg_attr(
        feature = "clap",
        arg(long, value_parser = head_parser(), default_value = "linear", help_heading = "Baselines")
    )]
    #[serde(with = "HeadName")]
    pub head: ValueHead,
    /// How token values are combined into prefix values.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, default_value_t, help_heading = "Baselines")
    )]
    pub pooling: Pooling,
    /// Loss of an outcome reward model.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, default_value_t, help_heading = "Baselines")
    )]
    pub value_loss: ValueObjective,
    /// Learning rate of the head, relative to that of the other parameters.
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().head_rate, help_heading = "Baselines"))]
    pub head_rate: f64,
    /// How step labels are used.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, default_value_t, help_heading = "Baselines")
    )]
    pub step_labels: StepLabelUse,
    /// How steps after the first bad one are labelled.
    #[cfg_attr(
        feature = "clap",
        arg(long, value_enum, default_value_t, help_heading = "Baselines")
    )]
    pub after_error: AfterError,
    /// Tag and labels (`prm-token`).
    #[cfg_attr(feature = "clap", command(flatten, next_help_heading = "Baselines"))]
    pub labels: LabelTexts,
}

impl Default for ExplicitSettings {
    fn default() -> Self {
        Self {
            head: ValueHead::default(),
            pooling: Pooling::default(),
            value_loss: ValueObjective::default(),
            head_rate: 1.0,
            step_labels: StepLabelUse::default(),
            after_error: AfterError::default(),
            labels: LabelTexts::default(),
        }
    }
}

impl ExplicitSettings {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The loss of a head of this kind.
    fn value_objective(&self, kind: RewardKind) -> ValueObjective {
        if kind == RewardKind::PrmHead { ValueObjective::Steps } else { self.value_loss }
    }

    /// Checks the settings.
    pub(super) fn validate(&self, kind: RewardKind) -> Result<()> {
        if !(self.head_rate > 0.0 && self.head_rate.is_finite()) {
            let (field, expected) = ("head_rate", "a finite number above 0".to_owned());
            let got = format!("`{}`", self.head_rate);
            return Err(DataError::InvalidSetting { field, expected, got }.into());
        }
        if kind == RewardKind::Orm && self.value_loss.needs_step_labels() {
            let expected = "a loss on outcome labels for `--kind orm`".to_owned();
            let got = "`steps`".to_owned();
            return Err(DataError::InvalidSetting { field: "value_loss", expected, got }.into());
        }
        Ok(())
    }

    /// How to score with a model of this kind.
    pub(super) fn kind(&self, kind: RewardKind, objective: Objective) -> Kind {
        match kind {
            RewardKind::Implicit => Kind::Implicit { objective },
            RewardKind::Orm | RewardKind::PrmHead => Kind::Head {
                head: self.head,
                pooling: self.pooling,
                objective: self.value_objective(kind),
            },
            RewardKind::PrmToken => Kind::LabelTokens { labels: self.labels.clone() },
        }
    }

    /// Adds a new head to the model, unless it already has such a head.
    pub(super) fn fit_head(&self, kind: RewardKind, model: Model) -> Result<Model> {
        if kind.has_head() { model.with_head(self.head, self.head_rate) } else { Ok(model) }
    }

    /// The step labels for training.
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

    /// Checks that a model of this kind can be trained on the data.
    pub(super) fn check(
        &self,
        kind: RewardKind,
        objective: &Objective,
        data: &RewardData,
        tokenizer: &Tokenizer,
    ) -> Result<()> {
        match kind {
            RewardKind::Implicit => data.check(objective)?,
            RewardKind::Orm if self.value_loss.needs_pairs() => {
                data.check(&Objective::Dpo(Dpo::default()))?;
            }
            RewardKind::Orm => {
                data.check_hard("`--kind orm`")?;
                data.check(&Objective::default())?;
            }
            RewardKind::PrmHead | RewardKind::PrmToken => {
                let first = data.examples.first();
                let problem = first
                    .ok_or(Error::NoExamples { purpose: "train on", n_left_out: 0 })?
                    .problem
                    .clone();
                if data.examples.iter().all(|example| example.steps.is_empty()) {
                    let objective =
                        if kind == RewardKind::PrmHead { "prm-head" } else { "prm-token" };
                    return Err(Error::NoStepLabels { objective, problem });
                }
                if kind == RewardKind::PrmToken {
                    LabelTokens::new(&self.labels, tokenizer)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a model of this kind learns from pairs.
    pub(super) fn needs_pairs(&self, kind: RewardKind, objective: &Objective) -> bool {
        match kind {
            RewardKind::Implicit => objective.needs_pairs(),
            RewardKind::Orm => self.value_loss.needs_pairs(),
            RewardKind::PrmHead | RewardKind::PrmToken => false,
        }
    }

    /// The task of a model that is not implicit.
    pub(super) fn task(
        &self,
        kind: RewardKind,
        data: RewardData,
        tokenizer: &Tokenizer,
    ) -> Result<Box<dyn Task>> {
        if kind == RewardKind::PrmToken {
            let labels = LabelTokens::new(&self.labels, tokenizer)?;
            return Ok(Box::new(labels.task(&data)?));
        }
        Ok(Box::new(self.value_objective(kind).task(self.pooling, data)?))
    }
}
