//! The reward model of a command: the flags that all who score share, the model with its reference,
//! and what gives the rewards.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::baseline::{BaselineForm, HeadScorer, LabelTokens, SelfCertainty, TokenScorer};
use gratis::cost::Architecture;
use gratis::data::{ScoreKind, ScoreOrigin, StepSplit};
use gratis::encoding::{Encoder, OnOverlong};
use gratis::numeric::check_positive;
use gratis::scoring::{RewardModel, Scorer, ScoringSettings};
use gratis_engine::Score as _;
use gratis_model::Tokenizer;
use tracing::warn;

use crate::Common;
use crate::failure::CliError;
use crate::model::{Model, Weights};
use crate::prompt::PromptSettings;

/// What gives the rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// What the model was trained for, or its log-probabilities.
    Reward,
    /// How certain the model is of each token; no training, no reference.
    SelfCertainty,
}

/// How a reward model is used.
#[derive(Debug, Args)]
pub(crate) struct RewardModelArgs {
    /// Reference model, or `none` [default: the one the model was trained with].
    #[arg(short, long)]
    reference: Option<PathBuf>,
    /// Where the weights are; the scores are the same to the bit.
    #[arg(long, value_enum, default_value_t = Weights::Auto)]
    weights: Weights,
    /// Factor of the log-ratio [default: the model's].
    #[arg(long)]
    beta: Option<f64>,
    #[command(flatten)]
    prompt: PromptSettings,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 8192)]
    pub(super) batch_tokens: usize,
}

/// A loaded reward model with its reference.
pub(crate) struct Judge {
    /// The reward model.
    pub(crate) model: Model,
    /// Where the reference is, unless there is none.
    pub(crate) reference_path: Option<PathBuf>,
    /// Factor of the log-ratio.
    pub(crate) beta: f64,
    /// The reference.
    pub(crate) reference: Option<Model>,
    template: String,
    tokenizer: Tokenizer,
}

impl RewardModelArgs {
    /// Whether the flags are such as can be used.
    pub(super) fn check(&self) -> Result<()> {
        Ok(self.beta.map_or(Ok(()), |beta| check_positive("beta", beta))?)
    }

    /// Loads the model at `path`, and its reference.
    pub(super) fn load(&self, path: &Path, by: By, common: &Common) -> Result<Judge> {
        let model = Model::load_as(path, common.threads, self.weights)?;
        let reference_path = match by {
            By::Reward => reference_of(self.reference.as_deref(), &model)?,
            By::SelfCertainty => None,
        };
        let load =
            |path: &PathBuf| Model::load_beside(path, common.threads, self.weights, Some(&model));
        let reference = reference_path.as_ref().map(load).transpose()?;
        if let Some(reference) = &reference
            && let Some(expected) = model.manifest.as_ref().and_then(|m| m.reference.as_ref())
            && reference.hash()? != expected.hash
        {
            warn!("`{}` is not the reference of the training", reference.place.path.display());
        }
        let own_beta = model.manifest.as_ref().map(|manifest| manifest.beta);
        Ok(Judge {
            beta: self.beta.or(own_beta).unwrap_or(1.0),
            template: self.prompt.template(&model)?,
            tokenizer: model.tokenizer.clone(),
            model,
            reference_path,
            reference,
        })
    }
}

impl Judge {
    /// What the scores of this model record. `path` is how the model was given.
    pub(crate) fn origin(&self, path: &Path, by: By, step_split: &StepSplit) -> ScoreOrigin {
        let manifest = self.model.manifest.as_ref();
        let kind = match (by, manifest.and_then(|manifest| manifest.baseline.as_ref())) {
            (By::SelfCertainty, _) => ScoreKind::SelfCertainty,
            (By::Reward, None) => ScoreKind::Implicit,
            (By::Reward, Some(BaselineForm::Head { .. })) => ScoreKind::Head,
            (By::Reward, Some(BaselineForm::Tokens { .. })) => ScoreKind::LabelTokens,
        };
        let aggregation = manifest.map(|manifest| manifest.aggregation);
        let reference = self.reference_path.as_ref();
        ScoreOrigin {
            model: path.display().to_string(),
            kind,
            aggregation: aggregation.filter(|_| by == By::Reward),
            beta: self.beta,
            reference: reference.map(|path| path.display().to_string()),
            step_split: step_split.clone(),
        }
    }

    /// The reference in words.
    pub(crate) fn against(&self) -> String {
        match &self.reference_path {
            Some(path) => format!("against `{}`", path.display()),
            None => "without a reference".to_owned(),
        }
    }

    /// The encoder of this model.
    pub(crate) fn encoder(&self, on_overlong: OnOverlong) -> Result<Encoder<'_>> {
        self.model.encoder(&self.template, on_overlong)
    }

    /// The shapes of the models that pass over what is scored: the reward model's, and the
    /// reference's if there is one.
    pub(crate) fn architectures(&self, by: By) -> Vec<Architecture> {
        let own = Architecture::from(self.model.engine.config());
        let form = self.model.manifest.as_ref().and_then(|manifest| manifest.baseline.as_ref());
        let own = match (by, form) {
            (By::Reward, Some(BaselineForm::Head { .. })) => own.with_scalar_head(),
            _ => own,
        };
        let of_reference = self.reference.as_ref();
        let of_reference = of_reference.map(|model| Architecture::from(model.engine.config()));
        std::iter::once(own).chain(of_reference).collect()
    }

    /// What scores.
    pub(crate) fn scorer(
        &mut self,
        on_overlong: OnOverlong,
        settings: ScoringSettings,
        by: By,
    ) -> Result<Box<dyn RewardModel + '_>> {
        let description = self.model.engine.describe();
        let encoder = Encoder::new(&self.tokenizer, &self.template, description, on_overlong)?;
        reward_model(&mut self.model, self.reference.as_mut(), encoder, settings, by)
    }
}

/// The model as what `gratis.json` says it is.
pub(super) fn reward_model<'a>(
    model: &'a mut Model,
    reference: Option<&'a mut Model>,
    encoder: Encoder<'a>,
    settings: ScoringSettings,
    by: By,
) -> Result<Box<dyn RewardModel + 'a>> {
    let engine = &model.engine;
    let form = model.manifest.as_ref().and_then(|manifest| manifest.baseline.clone());
    if form.is_some() && reference.is_some() {
        return Err(CliError::Mismatch {
            what: "a model with a head or label tokens has no reference".to_owned(),
            hint: "leave `--reference` out",
        }
        .into());
    }
    Ok(match (by, form) {
        (By::SelfCertainty, _) => Box::new(SelfCertainty { engine, encoder, settings }),
        (By::Reward, None) => {
            let reference = reference.map(|model| &model.engine as _);
            Box::new(Scorer { policy: engine, reference, encoder, settings })
        }
        (By::Reward, Some(BaselineForm::Head { pooling, .. })) => {
            Box::new(HeadScorer { engine, pooling, encoder, settings })
        }
        (By::Reward, Some(BaselineForm::Tokens { labels })) => {
            let labels = LabelTokens::new(&labels, encoder.tokenizer())?;
            Box::new(TokenScorer { engine, labels, encoder, settings })
        }
    })
}

/// The reference's folder: the one given, or the one that the model names.
pub(super) fn reference_of(given: Option<&Path>, model: &Model) -> Result<Option<PathBuf>> {
    match given {
        Some(path) if path == Path::new("none") => Ok(None),
        Some(path) => Ok(Some(path.to_owned())),
        None => match &model.manifest {
            Some(manifest) => Ok(manifest.reference.as_ref().map(|r| PathBuf::from(&r.path))),
            None => Err(CliError::Missing {
                field: "reference",
                hint: "the model has no `gratis.json` that names one: give `--reference FOLDER`, \
                       or `--reference none`"
                    .to_owned(),
            }
            .into()),
        },
    }
}
