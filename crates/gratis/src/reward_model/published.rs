//! Published reward models as they are opened and inspected; what each format is, `formats` says.

use gratis_model::{ModelConfig, Tokenizer};

use super::formats::{
    Chat, Definition, Prompter, PublishedScorer, Reading, Recipe, Reward, Scope, Sequence,
    recognise,
};
use super::model::Model;
use super::place::Place;
use super::prompt::PromptSettings;
use super::tokens::Room;
use super::{OpenOptions, ReferenceChoice, RewardModel, ScoreBy};
use crate::data::{ModelFormat, Rollout, ScorePart, StepSplitter};
use crate::encoding::OnOverlong;
use crate::error::{Error, Result};
use crate::reward::ValueRule;
use crate::scoring::{ScoringSettings, TokenRewards, steps_of};
use crate::selection::Aggregation;

/// How a published reward model with a head is scored.
#[derive(Debug)]
pub(super) struct PublishedModel {
    format: ModelFormat,
    recipe: &'static Recipe,
    reward: Reward,
    /// Text after each step.
    tag: String,
    chat: Option<Chat>,
    pad: Option<u32>,
}

impl PublishedModel {
    /// That of a loaded model; `None` unless it was loaded with the head of a published format.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for prompt settings or a chat template that do not fit.
    pub(super) fn of(model: &Model, options: &OpenOptions) -> Result<Option<Self>> {
        let Some(published) = model.published() else { return Ok(None) };
        let Some(reward) = published.reward.clone() else { return Ok(None) };
        let recipe = &published.definition.recipe;
        let chat = options.prompt.published_chat(model.place(), model.tokenizer(), recipe)?;
        let format = published.definition.format;
        let tag = options.step_tag.clone().unwrap_or_else(|| recipe.tag.to_owned());
        Ok(Some(Self { format, recipe, reward, tag, chat, pad: published.pad }))
    }

    pub(super) fn format(&self) -> ModelFormat {
        self.format
    }

    fn prompter<'a>(&'a self, model: &'a Model) -> Prompter<'a> {
        Prompter {
            format: self.format,
            recipe: self.recipe,
            tokenizer: model.tokenizer(),
            tag: &self.tag,
            chat: self.chat.as_ref(),
            pad: self.pad,
            path: model.place().path.clone(),
        }
    }

    pub(super) fn scorer<'a>(
        &'a self,
        model: &'a Model,
        settings: &ScoringSettings,
        on_overlong: OnOverlong,
    ) -> PublishedScorer<'a> {
        PublishedScorer {
            engine: model.values(),
            prompter: self.prompter(model),
            reward: &self.reward,
            step_split: settings.step_split.clone(),
            on_overlong,
            batch_tokens: settings.batch_tokens,
        }
    }

    /// Whether each step gets a reward, or the solution as a whole.
    pub(super) fn rewards_steps(&self) -> bool {
        self.recipe.scope == Scope::Steps
    }

    /// Number of tokens of a problem with one of its solutions.
    ///
    /// # Errors
    /// Those of the prompt.
    pub(super) fn n_tokens(
        &self,
        model: &Model,
        rollout: &Rollout,
        idx: usize,
        splitter: &StepSplitter,
    ) -> Result<usize> {
        Ok(self.sequence(model, rollout, idx, splitter)?.tokens.len())
    }

    fn sequence(
        &self,
        model: &Model,
        rollout: &Rollout,
        idx: usize,
        splitter: &StepSplitter,
    ) -> Result<Sequence> {
        let steps = steps_of(rollout, idx, splitter)?;
        self.prompter(model).sequence(rollout, idx, &steps)
    }

    /// How much of a solution the context holds.
    ///
    /// # Errors
    /// Those of the prompt.
    pub(super) fn room(
        &self,
        model: &Model,
        rollout: &Rollout,
        idx: usize,
        splitter: &StepSplitter,
    ) -> Result<Room> {
        let Sequence { tokens, reads } = self.sequence(model, rollout, idx, splitter)?;
        let context_length = model.config().context_length;
        Ok(match reads.first() {
            _ if tokens.len() <= context_length => Room::Whole,
            Some(&first) if first < context_length => Room::Part,
            _ => Room::Nothing,
        })
    }

    /// The reward model, ready to score.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for options that do not fit the format, or a tokenizer or chat template
    /// without what it needs.
    pub(super) fn open(self, model: Model, options: &OpenOptions) -> Result<RewardModel> {
        let refused = |what: &str, hint| {
            let what = format!("a reward model of the kind `{}` {what}", self.format);
            Err(Error::Mismatch { what, hint })
        };
        if let ReferenceChoice::At(_) = options.reference {
            return refused("has no reference", "leave `--reference` out");
        }
        if options.by == ScoreBy::SelfCertainty {
            return refused("is scored by its head", "leave `--by` out");
        }
        if options.beta.is_some() {
            return refused("has no factor `beta`", "leave `--beta` out");
        }
        if options.tokens == TokenRewards::Write {
            return refused("gives no reward to single tokens", "leave `--tokens` out");
        }
        options.check_part()?;
        if options.step_tag.is_some() && self.recipe.reading != Reading::Tag {
            return refused("is not read at a tag after each step", "leave `--step-tag` out");
        }
        if self.recipe.reading == Reading::Tag && self.tag.is_empty() {
            return refused("is read at a tag after each step", "give a text to `--step-tag`");
        }
        let prompter = self.prompter(&model);
        prompter.check()?;
        let template = prompter.example()?;
        let recipe = self.recipe;
        let settings = ScoringSettings {
            beta: 1.0,
            value_rule: ValueRule::Sum,
            step_split: options.step_split.clone().unwrap_or_else(|| recipe.step_split.clone()),
            batch_tokens: options.batch_tokens,
            tokens: TokenRewards::Omit,
            part: ScorePart::All,
        };
        Ok(RewardModel {
            conversations: None,
            template,
            recorded_aggregation: Some(options.aggregation.unwrap_or(recipe.aggregation)),
            published: Some(self),
            model,
            reference: None,
            kind: None,
            by: options.by,
            on_overlong: options.on_overlong,
            token_ids: options.token_ids,
            settings,
        })
    }
}

/// A published reward model that was found at a place and not loaded.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PublishedAt {
    /// Its format.
    pub format: ModelFormat,
    /// Whether it was recognised by its name alone.
    pub by_name: bool,
    /// Whether each step gets a reward, or the solution as a whole.
    pub rewards_steps: bool,
    /// The shape of its body, where its class is not that of a language model.
    pub body: Option<ModelConfig>,
    /// What the authors make of the step rewards.
    pub aggregation: Aggregation,
    /// The prompt, with `{prompt}` for the problem and `{steps}` for the solution, where it can be
    /// made.
    pub prompt: Option<String>,
    /// What keeps it from being scored with: tensors, a tag of the tokenizer, a chat template.
    pub missing: Vec<String>,
}

impl PublishedAt {
    /// What published reward model is at a place, from its headers alone: of the format `asked`, or of
    /// the one that it is recognised by. `None` if it is another model.
    ///
    /// # Errors
    /// A fault of its files.
    pub fn find(place: &Place, asked: Option<ModelFormat>) -> Result<Option<Self>> {
        let Some(recognised) = recognise(place, asked)? else { return Ok(None) };
        let definition = recognised.definition;
        let recipe = &definition.recipe;
        let mut missing: Vec<String> = recognised
            .missing(&place.base().path)?
            .into_iter()
            .map(|name| format!("tensor `{name}`"))
            .collect();
        let tokenizer = place.tokenizer()?;
        let prompt = prompt_at(place, &tokenizer, definition, recognised.pad());
        let prompt = prompt.map_err(|error| missing.push(error.to_string())).ok();
        Ok(Some(Self {
            format: definition.format,
            by_name: recognised.by_name,
            rewards_steps: recipe.scope == Scope::Steps || definition.is_implicit(),
            body: recognised.body()?,
            aggregation: recipe.aggregation,
            prompt,
            missing,
        }))
    }
}

/// The prompt of a place, checked on an example.
fn prompt_at(
    place: &Place,
    tokenizer: &Tokenizer,
    definition: &Definition,
    pad: Option<u32>,
) -> Result<String> {
    let Definition { format, recipe, .. } = definition;
    let chat = PromptSettings::default().published_chat(place, tokenizer, recipe)?;
    let path = place.path.clone();
    let (tag, chat) = (recipe.tag, chat.as_ref());
    let prompter = Prompter { format: *format, recipe, tokenizer, tag, chat, pad, path };
    prompter.check()?;
    prompter.example()
}
