//! One way in: a place becomes a reward model that scores rollouts.
//!
//! [`open`] finds the model, reads its `gratis.json`, loads its reference and decides what kind of
//! reward model it is ([`Kind`]), with which prompt, step split, beta and aggregation it scores. The
//! command line and every other front end call it and decide nothing themselves.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use gratis::Silent;
//! use gratis::data::{OnInvalid, RolloutFiles};
//! use gratis::reward_model::{NoHub, OpenOptions, open};
//!
//! let files = RolloutFiles::new(vec!["candidates.jsonl".into()], OnInvalid::Stop);
//! let rollouts = files.read().collect::<Result<Vec<_>, _>>()?;
//! let options = OpenOptions::default();
//! let reward_model = open(Path::new("runs/prm"), &options, &NoHub, &mut Silent)?;
//! for scores in reward_model.score(&rollouts, &mut Silent)? {
//!     println!("{}: {:?}", scores.id, scores.scores[0].steps);
//! }
//! # Ok::<(), gratis::Error>(())
//! ```

mod elsewhere;
mod engine;
mod formats;
mod model;
pub(crate) mod place;
mod prompt;
pub(crate) mod published;
mod remote;
pub(crate) mod tokens;

use std::path::{Path, PathBuf};

pub(crate) use elsewhere::ALPHA;
pub use model::{LoadOptions, Model, Weights};
pub use place::{Hub, NoHub};
pub use prompt::PromptSettings;

use serde::Serialize;

use crate::baseline::{LabelTokens, self_certainty};
use crate::cost::{Architecture, JobWork};
use crate::data::{
    Fingerprint, ModelFormat, ProblemScores, Rollout, ScoreKind, ScoreOrigin, ScorePart, StepSplit,
};
use crate::encoding::{Conversations, Encoder, OnOverlong, TokenIds};
use crate::error::{Error, Result};
use crate::evaluation::StepSignal;
use crate::manifest::{Kind, Manifest, ReferenceModel};
use crate::numeric::check_positive;
use crate::observer::Observer;
use crate::reward::ValueRule;
use crate::scoring::{ScoreRollouts, Scorer, ScoringSettings, TokenRewards};
use crate::selection::Aggregation;
use formats::COEFFICIENT;
use published::PublishedModel;

/// What gives the rewards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum ScoreBy {
    /// The reward of the reward model, or else the log-ratio to the reference.
    #[default]
    Reward,
    /// How certain the model is of each token; no training, no reference.
    SelfCertainty,
}

/// Which model the log-ratio is taken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ReferenceChoice {
    /// The one that `gratis.json` names.
    #[default]
    Own,
    /// None: the log-ratio is the log-probability.
    Absent,
    /// The one at this place.
    At(PathBuf),
}

/// What to do with a reference that is not the one of the training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReferenceCheck {
    /// Refuse it.
    #[default]
    Require,
    /// Use it and say so.
    Accept,
}

/// How a reward model is opened; what is `None` is read from `gratis.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenOptions {
    /// How the weights are loaded.
    pub load: LoadOptions,
    /// Which published format it has; `None` to recognise it, if it has one.
    pub format: Option<ModelFormat>,
    /// What gives the rewards.
    pub by: ScoreBy,
    /// The reference.
    pub reference: ReferenceChoice,
    /// Whether the reference must be that of the training.
    pub reference_check: ReferenceCheck,
    /// Factor of the log-ratio.
    pub beta: Option<f64>,
    /// How the log-ratios of a prefix make its Q value.
    pub value_rule: Option<ValueRule>,
    /// How completions without steps of their own are split.
    pub step_split: Option<StepSplit>,
    /// How the steps become a response's score.
    pub aggregation: Option<Aggregation>,
    /// Text after each step, for published formats that are read at one.
    pub step_tag: Option<String>,
    /// The prompt.
    pub prompt: PromptSettings,
    /// What to do with completions longer than the context.
    pub on_overlong: OnOverlong,
    /// What to do with the token ids that completions bring.
    pub token_ids: TokenIds,
    /// Tokens per batch.
    pub batch_tokens: usize,
    /// Whether token rewards are kept.
    pub tokens: TokenRewards,
    /// Which part of a completion is scored.
    pub part: ScorePart,
}

impl Default for OpenOptions {
    /// Everything from `gratis.json`, one thread, 8192 tokens per batch.
    fn default() -> Self {
        Self {
            load: LoadOptions::default(),
            format: None,
            by: ScoreBy::default(),
            reference: ReferenceChoice::default(),
            reference_check: ReferenceCheck::default(),
            beta: None,
            value_rule: None,
            step_split: None,
            aggregation: None,
            step_tag: None,
            prompt: PromptSettings::default(),
            on_overlong: OnOverlong::default(),
            token_ids: TokenIds::default(),
            batch_tokens: 8192,
            tokens: TokenRewards::Omit,
            part: ScorePart::All,
        }
    }
}

impl OpenOptions {
    /// Checks that whole completions are scored: the value of a prefix is that of all before it.
    pub(super) fn check_part(&self) -> Result<()> {
        if self.part.is_all() {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: "the value of a model with a head or label tokens is that of all text before it"
                .to_owned(),
            hint: "leave `--score-part` out: it applies to implicit reward models and to \
                   `--by self-certainty`, whose rewards are sums over tokens",
        })
    }
}

/// A reward model that is ready to score.
#[derive(Debug)]
pub struct RewardModel {
    model: Model,
    reference: Option<Model>,
    /// `None` for a model without `gratis.json`: its rewards are log-ratios all the same.
    kind: Option<Kind>,
    by: ScoreBy,
    /// For a published format with a head.
    published: Option<PublishedModel>,
    template: String,
    conversations: Option<Conversations>,
    /// As asked for or read from `gratis.json`.
    recorded_aggregation: Option<Aggregation>,
    on_overlong: OnOverlong,
    token_ids: TokenIds,
    settings: ScoringSettings,
}

/// Opens the reward model at `path`.
///
/// # Errors
/// [`Error::Load`] and [`Error::LoadReference`] for a model that cannot be loaded,
/// [`Error::NoReference`] if none is named, [`Error::ReferenceDiffers`], [`Error::OtherTokenizer`] if
/// the reference reads tokens differently, [`Error::Mismatch`] for options that do not fit the kind.
pub fn open(
    path: &Path,
    options: &OpenOptions,
    hub: &dyn Hub,
    observer: &mut dyn Observer,
) -> Result<RewardModel> {
    options.beta.map_or(Ok(()), |beta| check_positive("beta", beta))?;
    let model = Model::load_reward_model(path, options.load, options.format, hub, observer)?;
    let definition = model.published().map(|published| published.definition);
    if let Some(published) = PublishedModel::of(&model, options)? {
        return published.open(model, options);
    }
    let manifest = model.manifest().cloned();
    let kind = manifest.as_ref().map(|manifest| manifest.kind.clone());
    let is_sum = matches!(
        (options.by, &kind),
        (ScoreBy::SelfCertainty, _) | (_, None | Some(Kind::Implicit { .. }))
    );
    if !is_sum {
        options.check_part()?;
    }
    let takes_reference = match (options.by, &kind) {
        (ScoreBy::SelfCertainty, _) => false,
        (ScoreBy::Reward, None | Some(Kind::Implicit { .. })) => true,
        (ScoreBy::Reward, Some(_)) => {
            if let ReferenceChoice::At(_) = options.reference {
                return Err(Error::Mismatch {
                    what: "a model with a head or label tokens has no reference".to_owned(),
                    hint: "leave `--reference` out",
                });
            }
            false
        }
    };
    let reference = if takes_reference { reference(&model, options, hub, observer)? } else { None };
    let own = manifest.as_ref();
    // An implicit one of a published format.
    let implicit = definition.filter(|definition| definition.is_implicit());
    let recipe = implicit.map(|definition| &definition.recipe);
    let settings = ScoringSettings {
        beta: options
            .beta
            .or(own.map(|own| own.beta))
            .or(implicit.map(|_| COEFFICIENT))
            .unwrap_or(1.0),
        value_rule: options
            .value_rule
            .or(own.map(Manifest::value_rule))
            .filter(|_| options.by == ScoreBy::Reward)
            .unwrap_or_default(),
        step_split: options
            .step_split
            .clone()
            .or(own.map(|own| own.step_split.clone()))
            .or(recipe.map(|recipe| recipe.step_split.clone()))
            .unwrap_or_default(),
        batch_tokens: options.batch_tokens,
        tokens: options.tokens,
        part: options.part,
    };
    // What `gratis.json` says is of the rewards it describes.
    let own_aggregation = own.map(|own| own.aggregation);
    let own_aggregation = own_aggregation.or(recipe.map(|recipe| recipe.aggregation));
    let own_aggregation = own_aggregation.filter(|_| options.by == ScoreBy::Reward);
    let prompt = match implicit {
        Some(_) => options.prompt.clone().or_chat(),
        None => options.prompt.clone(),
    };
    Ok(RewardModel {
        template: prompt.template(&model, observer)?,
        conversations: prompt.conversations(&model)?,
        published: None,
        recorded_aggregation: options.aggregation.or(own_aggregation),
        model,
        reference,
        kind,
        by: options.by,
        on_overlong: options.on_overlong,
        token_ids: options.token_ids,
        settings,
    })
}

/// The reference of a model: the one asked for, or the one that its `gratis.json` names.
fn reference(
    model: &Model,
    options: &OpenOptions,
    hub: &dyn Hub,
    observer: &mut dyn Observer,
) -> Result<Option<Model>> {
    let named = model.manifest().map(|manifest| manifest.reference.as_ref());
    let path = match (&options.reference, named) {
        (ReferenceChoice::Absent, _) | (ReferenceChoice::Own, Some(None)) => return Ok(None),
        (ReferenceChoice::At(path), _) => path.clone(),
        (ReferenceChoice::Own, Some(Some(named))) => named.place_from(&model.place().path),
        (ReferenceChoice::Own, None) => {
            return Err(Error::NoReference { path: model.place().path.clone() });
        }
    };
    let reference = load_reference(model, &path, options.load, hub, observer)?;
    if let Some(expected) = named.flatten() {
        check_hash(&reference, expected, options.reference_check, observer)?;
    }
    Ok(Some(reference))
}

/// Loads the reference of a model and checks that both read the same tokens.
///
/// # Errors
/// [`Error::LoadReference`], [`Error::OtherTokenizer`].
pub(crate) fn load_reference(
    model: &Model,
    path: &Path,
    options: LoadOptions,
    hub: &dyn Hub,
    observer: &mut dyn Observer,
) -> Result<Model> {
    let reference = Model::load_beside(path, options, Some(model), hub, observer)
        .map_err(|source| Error::LoadReference { source: Box::new(source) })?;
    check_tokenizers(model, &reference)?;
    let is_remote = |model: &Model| model.place().engine_settings().is_some();
    if is_remote(model) && is_remote(&reference) {
        // In turn: one server may run both, and requests for one may change the other's numbers.
        for model in [model, &reference, model] {
            model.check_scores()?;
        }
    }
    Ok(reference)
}

fn check_hash(
    reference: &Model,
    expected: &ReferenceModel,
    check: ReferenceCheck,
    observer: &mut dyn Observer,
) -> Result<()> {
    if reference.hash()? == expected.hash {
        return Ok(());
    }
    let path = reference.place().path.clone();
    match check {
        ReferenceCheck::Require => Err(Error::ReferenceDiffers { path }),
        ReferenceCheck::Accept => {
            observer.note(&format!("`{}` is not the reference used in training", path.display()));
            Ok(())
        }
    }
}

/// The token ids of the policy are given to the reference: both must mean the same by them.
fn check_tokenizers(model: &Model, reference: &Model) -> Result<()> {
    let (own, other) = (model.tokenizer(), reference.tokenizer());
    let n_ids = own.vocab_size().max(other.vocab_size()) as u32;
    let differs = |id: &u32| own.id_to_token(*id) != other.id_to_token(*id);
    let Some(id) = (0..n_ids).find(differs) else { return Ok(()) };
    let shown = |token: Option<String>| match token {
        Some(token) => format!("`{}`", token.escape_debug()),
        None => "nothing".to_owned(),
    };
    Err(Error::OtherTokenizer {
        path: reference.place().path.clone(),
        id,
        expected: shown(own.id_to_token(id)),
        got: shown(other.id_to_token(id)),
    })
}

impl RewardModel {
    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The reference, if there is one.
    pub fn reference(&self) -> Option<&Model> {
        self.reference.as_ref()
    }

    /// The published format that it is scored by, if it has one with a head.
    pub fn format(&self) -> Option<ModelFormat> {
        self.published.as_ref().map(PublishedModel::format)
    }

    /// Whether each step gets a reward of its own, or only the solution as a whole.
    pub fn rewards_steps(&self) -> bool {
        self.published.as_ref().is_none_or(PublishedModel::rewards_steps)
    }

    /// What kind of reward model it is; `None` for a model without `gratis.json`.
    #[doc(hidden)]
    pub fn kind(&self) -> Option<&Kind> {
        self.kind.as_ref()
    }

    /// Factor of the log-ratio, or of the model's value.
    pub fn beta(&self) -> f64 {
        self.settings.beta
    }

    /// How the log-ratios of a prefix make its Q value.
    pub fn value_rule(&self) -> ValueRule {
        self.settings.value_rule
    }

    /// How completions without steps of their own are split.
    pub fn step_split(&self) -> &StepSplit {
        &self.settings.step_split
    }

    /// How the steps become a response's score.
    pub fn aggregation(&self) -> Aggregation {
        self.recorded_aggregation.unwrap_or_default()
    }

    /// The prompt, with `{prompt}` for the problem.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// What says that a step is wrong: the Q value of models that say how good a prefix is, the
    /// process reward of the others.
    pub fn step_signal(&self) -> StepSignal {
        if self.published.is_some() {
            return StepSignal::QValue;
        }
        match (self.by, &self.kind) {
            (ScoreBy::Reward, Some(Kind::Head { .. } | Kind::LabelTokens { .. })) => {
                StepSignal::QValue
            }
            _ => StepSignal::Reward,
        }
    }

    /// The reference in words.
    pub fn against(&self) -> String {
        match &self.reference {
            Some(reference) => format!("against `{}`", reference.place().path.display()),
            None => "without a reference".to_owned(),
        }
    }

    /// Adds to a fingerprint everything that the scores depend on beside the input.
    ///
    /// # Errors
    /// A fault of the models' files.
    #[doc(hidden)]
    pub fn add_to(&self, fingerprint: Fingerprint) -> Result<Fingerprint> {
        let fingerprint = self.model.add_to(fingerprint, "model")?;
        let fingerprint = match &self.reference {
            Some(reference) => reference.add_to(fingerprint, "reference")?,
            None => fingerprint.with("reference", "none"),
        };
        let ScoringSettings { beta, value_rule, step_split, batch_tokens, tokens, part } =
            &self.settings;
        Ok(fingerprint
            .with("`--kind`", self.format())
            .with("`--aggregation`", self.recorded_aggregation)
            .with("beta", beta)
            .with("`--value-rule`", value_rule)
            .with("template", &self.template)
            .with("step split", step_split.to_string())
            .with("`--by`", self.by)
            .with("`--on-overlong`", self.on_overlong)
            .with("`--token-ids`", self.token_ids)
            .with("`--score-part`", part)
            .with("`--tokens`", *tokens == TokenRewards::Write)
            .with("`--batch-tokens`", batch_tokens)
            .with("`--precision`", self.model.precision()))
    }

    /// The encoder of this model.
    ///
    /// # Errors
    /// Those of the template.
    pub fn encoder(&self, on_overlong: OnOverlong) -> Result<Encoder<'_>> {
        let encoder = self.model.encoder(&self.template, on_overlong)?;
        Ok(encoder.with_conversations(self.conversations.clone()).with_token_ids(self.token_ids))
    }

    /// The shapes of the models that pass over what is scored: the reward model's, and the
    /// reference's if there is one.
    #[doc(hidden)]
    pub fn architectures(&self) -> Vec<Architecture> {
        let own = Architecture::from(self.model.config());
        let own = match (self.by, &self.kind) {
            (ScoreBy::Reward, Some(Kind::Head { .. })) => own.with_scalar_head(),
            _ if self.published.is_some() => own.with_scalar_head(),
            _ => own,
        };
        let of_reference = self.reference.as_ref();
        let of_reference = of_reference.map(|model| Architecture::from(model.config()));
        std::iter::once(own).chain(of_reference).collect()
    }

    /// The scores of all completions of `rollouts`, in their order.
    ///
    /// # Errors
    /// As [`ScoreRollouts::score`].
    pub fn score(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<Vec<ProblemScores>> {
        self.score_counted(rollouts, observer).map(|(scores, _)| scores)
    }

    /// As [`ScoreRollouts::score_counted`].
    #[doc(hidden)]
    pub fn score_counted(
        &self,
        rollouts: &[Rollout],
        observer: &mut dyn Observer,
    ) -> Result<(Vec<ProblemScores>, JobWork)> {
        let (mut all, work) = self.scorer()?.score_counted(rollouts, observer)?;
        for scores in &mut all {
            scores.origin = Some(self.origin());
        }
        Ok((all, work))
    }

    /// What the scores of this model record.
    pub fn origin(&self) -> ScoreOrigin {
        let kind = match (self.by, &self.kind) {
            (ScoreBy::SelfCertainty, _) => ScoreKind::SelfCertainty,
            (ScoreBy::Reward, None | Some(Kind::Implicit { .. })) => ScoreKind::Implicit,
            (ScoreBy::Reward, Some(Kind::Head { .. })) => ScoreKind::Head,
            (ScoreBy::Reward, Some(Kind::LabelTokens { .. })) => ScoreKind::LabelTokens,
        };
        let reference = self.reference.as_ref();
        ScoreOrigin {
            model: self.model.place().display_name(),
            kind: self.format().map_or(kind, ScoreKind::Published),
            aggregation: self.recorded_aggregation,
            beta: self.settings.beta,
            value_rule: Some(self.settings.value_rule).filter(|rule| *rule != ValueRule::Sum),
            reference: reference.map(|reference| reference.place().display_name()),
            step_split: self.settings.step_split.clone(),
            part: self.settings.part,
            precision: self.model.precision(),
        }
    }

    fn scorer(&self) -> Result<Box<dyn ScoreRollouts + '_>> {
        if let Some(published) = &self.published {
            return Ok(Box::new(published.scorer(&self.model, &self.settings, self.on_overlong)));
        }
        let encoder = self.encoder(self.on_overlong)?;
        let settings = self.settings.clone();
        let engine = self.model.score();
        Ok(match (self.by, &self.kind) {
            (ScoreBy::SelfCertainty, _) => Box::new(self_certainty(engine, encoder, settings)),
            (ScoreBy::Reward, None | Some(Kind::Implicit { .. })) => {
                let reference = self.reference.as_ref().map(Model::score);
                Box::new(Scorer { policy: engine, reference, encoder, settings })
            }
            (ScoreBy::Reward, Some(Kind::Head { pooling, .. })) => {
                Box::new(pooling.scorer(self.model.values(), encoder, settings))
            }
            (ScoreBy::Reward, Some(Kind::LabelTokens { labels })) => {
                let labels = LabelTokens::new(labels, encoder.tokenizer())?;
                Box::new(labels.scorer(engine, encoder, settings))
            }
        })
    }
}
