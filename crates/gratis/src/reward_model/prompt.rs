//! How a problem becomes the prompt of a model: a text, or the model's chat template.

use gratis_model::Tokenizer;
use gratis_model::chat_template::{ChatTemplate, Date, RenderOptions};
use gratis_model::gguf::GgufFile;
use serde::{Deserialize, Serialize};

use super::model::Model;
use super::place::{Place, PlaceKind};
use crate::encoding::chat_prompt;
use crate::error::{Error, Result};
use crate::observer::Observer;

/// The prompt of a model for which none was given.
const PROBLEM_ALONE: &str = "{prompt}";

/// The value of `template` that stands for the model's own chat template.
const CHAT: &str = "chat";

/// The prompt that problems are put into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct PromptSettings {
    /// Prompt: a text in which `{prompt}` stands for the problem, or `chat` for the model's chat
    /// template [default: that of `gratis.json`, or else the problem alone].
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT|chat"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// System message of the chat template [default: the template's own].
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_system: Option<String>,
    /// Date that the chat template prints as today's, such as `2024-07-26`; the clock is never read
    /// [default: none, so that a template prints the date it holds, if any].
    #[cfg_attr(feature = "clap", arg(long, value_name = "DATE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_date: Option<Date>,
}

impl PromptSettings {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The text that `{prompt}` is replaced in: what was asked for, or else the model's own.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a chat template that the model does not have, or for settings of one
    /// that is not asked for; those of the template.
    pub fn template(&self, model: &Model, observer: &mut dyn Observer) -> Result<String> {
        if self.template.as_deref() == Some(CHAT) {
            let path = model.place().path.display();
            let template = chat_template(model.place())?.ok_or_else(|| Error::Mismatch {
                what: format!("`{path}` has no chat template"),
                hint: "give the prompt as a text (`--template 'Question: {prompt}\nAnswer:'`), or \
                       put a `chat_template.jinja` beside the model",
            })?;
            let text = self.chat(&template, model.tokenizer()).map_err(|source| {
                Error::ChatTemplate { path: model.place().path.clone(), source: Box::new(source) }
            })?;
            observer.note(&format!("prompt {text:?}"));
            return Ok(text);
        }
        let unused =
            [("chat-system", self.chat_system.is_some()), ("chat-date", self.chat_date.is_some())];
        if let Some((flag, _)) = unused.iter().find(|(_, given)| *given) {
            return Err(Error::Mismatch {
                what: format!("`--{flag}` is for chat templates, and none is used"),
                hint: "ask for the model's with `--template chat`",
            });
        }
        if let Some(text) = &self.template {
            return Ok(text.clone());
        }
        if let Some(manifest) = model.manifest() {
            return Ok(manifest.template.clone());
        }
        if chat_template(model.place())?.is_some() {
            observer.note(
                "the prompt is the problem alone; `--template chat` uses the model's chat template",
            );
        }
        Ok(PROBLEM_ALONE.to_owned())
    }

    /// A chat template as a text to put the problem in.
    ///
    /// # Errors
    /// Those of the template.
    pub fn chat(&self, template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<String> {
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
        let options = RenderOptions {
            bos_token: token(tokenizer.bos()),
            eos_token: token(tokenizer.eos()),
            system: self.chat_system.clone(),
            date: self.chat_date,
            ..RenderOptions::default()
        };
        chat_prompt(template, &options)
    }
}

/// The chat template beside the weights; an adapter may have its base's.
///
/// # Errors
/// A fault of the template's file.
pub fn chat_template(place: &Place) -> Result<Option<ChatTemplate>> {
    Ok(match &place.kind {
        PlaceKind::Gguf => GgufFile::open(&place.path)?.chat_template()?,
        PlaceKind::Folder => ChatTemplate::from_folder(&place.path)?,
        PlaceKind::Adapter(base) => match ChatTemplate::from_folder(&place.path)? {
            Some(own) => Some(own),
            None => chat_template(base)?,
        },
    })
}
