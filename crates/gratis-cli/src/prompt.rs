//! How a problem becomes the prompt: a text, or the chat template of the model.

use anyhow::{Context, Result};
use clap::Args;
use gratis::encoding::chat_prompt;
use gratis_model::Tokenizer;
use gratis_model::chat_template::{ChatTemplate, Date, RenderOptions};
use gratis_model::gguf::GgufFile;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::failure::CliError;
use crate::model::Model;
use crate::place::{Kind, Place};

/// The prompt of a model that was not told another.
const PROBLEM_ALONE: &str = "{prompt}";

/// The value of `--template` that stands for the model's own chat template.
const CHAT: &str = "chat";

/// The prompt that problems are put into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PromptSettings {
    /// The prompt: a text in which `{prompt}` stands for the problem, or `chat` for the model's chat
    /// template [default: that of `gratis.json`, or else the problem alone].
    #[arg(long, value_name = "TEXT|chat")]
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// System message of the chat template [default: the template's own].
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_system: Option<String>,
    /// What the chat template takes for today, as `2024-07-26`; the clock is never asked [default:
    /// none, so that a template prints the date it holds, if any].
    #[arg(long, value_name = "DATE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    chat_date: Option<Date>,
}

impl PromptSettings {
    /// Whether nothing was asked for.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The text that `{prompt}` is replaced in: what was asked for, or else the model's own.
    ///
    /// # Errors
    /// [`CliError::Mismatch`] for a chat template that the model has not, or settings of one that
    /// is not asked for; those of the template.
    pub(crate) fn template(&self, model: &Model) -> Result<String> {
        if self.template.as_deref() == Some(CHAT) {
            let path = model.place.path.display();
            let template = chat_template(&model.place)?.ok_or_else(|| CliError::Mismatch {
                what: format!("`{path}` has no chat template"),
                hint: "give the prompt as a text (`--template 'Question: {prompt}\nAnswer:'`), or \
                       put a `chat_template.jinja` beside the model",
            })?;
            let text = self
                .chat(&template, &model.tokenizer)
                .with_context(|| format!("cannot use the chat template of `{path}`"))?;
            info!("prompt {text:?}");
            return Ok(text);
        }
        let unused =
            [("chat-system", self.chat_system.is_some()), ("chat-date", self.chat_date.is_some())];
        if let Some((flag, _)) = unused.iter().find(|(_, given)| *given) {
            return Err(CliError::Mismatch {
                what: format!("`--{flag}` is for chat templates, and none is used"),
                hint: "ask for the model's with `--template chat`",
            }
            .into());
        }
        if let Some(text) = &self.template {
            return Ok(text.clone());
        }
        if let Some(manifest) = &model.manifest {
            return Ok(manifest.template.clone());
        }
        if chat_template(&model.place)?.is_some() {
            warn!("the prompt is the problem alone; `--template chat` takes the chat template");
        }
        Ok(PROBLEM_ALONE.to_owned())
    }

    /// A chat template as a text to put the problem in.
    ///
    /// # Errors
    /// Those of the template.
    pub(crate) fn chat(&self, template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<String> {
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
        let options = RenderOptions {
            bos_token: token(tokenizer.bos()),
            eos_token: token(tokenizer.eos()),
            system: self.chat_system.clone(),
            date: self.chat_date,
            ..RenderOptions::default()
        };
        Ok(chat_prompt(template, &options)?)
    }
}

/// The chat template beside the weights; an adapter may have its base's.
pub(crate) fn chat_template(place: &Place) -> Result<Option<ChatTemplate>> {
    Ok(match &place.kind {
        Kind::Gguf => GgufFile::open(&place.path)?.chat_template()?,
        Kind::Folder => ChatTemplate::from_folder(&place.path)?,
        Kind::Adapter(base) => match ChatTemplate::from_folder(&place.path)? {
            Some(own) => Some(own),
            None => chat_template(base)?,
        },
    })
}
