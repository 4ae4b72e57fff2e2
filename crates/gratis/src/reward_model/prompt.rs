//! How a problem is turned into a prompt: by a text template, or by the model's chat template.

use gratis_model::Tokenizer;
use gratis_model::chat_template::{ChatTemplates, Date, RenderOptions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::formats::{Chat, Recipe, Template};
use super::model::Model;
use super::place::Place;
use crate::encoding::{Conversations, chat_prompt_for};
use crate::error::{Error, Result};
use crate::manifest::ChatSettings;
use crate::observer::Observer;

/// The prompt of a model for which none was given.
const PROBLEM_ALONE: &str = "{prompt}";

/// The value of `template` that selects the model's own chat template.
const CHAT: &str = "chat";

/// The prompt template of problems.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(deny_unknown_fields, default)]
pub struct PromptSettings {
    /// Prompt template: a text in which `{prompt}` stands for the problem, or `chat` for the
    /// model's chat template [default: the one in `gratis.json`, or else the problem alone].
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT|chat"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Name of the chat template, if the model has several [default: `default`].
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<String>,
    /// Variable of the chat template, such as `enable_thinking=false`; repeatable.
    //
    // Names and values.
    #[cfg_attr(
        feature = "clap",
        arg(long = "template-arg", value_name = "NAME=JSON", value_parser = Self::argument)
    )]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "arguments")]
    pub template_args: Vec<(String, Value)>,
    /// System message of the chat template [default: the template's own].
    #[cfg_attr(feature = "clap", arg(long, value_name = "TEXT"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_system: Option<String>,
    /// Today's date for the chat template, such as `2024-07-26`; the clock is never read [default:
    /// none; a template then prints its built-in date, if any].
    #[cfg_attr(feature = "clap", arg(long, value_name = "DATE"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_date: Option<Date>,
}

/// Variables of a chat template as text, `NAME=JSON`.
mod arguments {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    use super::PromptSettings;

    pub(crate) fn serialize<S: Serializer>(
        arguments: &[(String, Value)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(arguments.iter().map(|(name, value)| format!("{name}={value}")))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        source: D,
    ) -> Result<Vec<(String, Value)>, D::Error> {
        let texts = Vec::<String>::deserialize(source)?;
        texts.iter().map(|text| PromptSettings::argument(text).map_err(D::Error::custom)).collect()
    }
}

impl PromptSettings {
    /// A variable of a chat template and its value, from `NAME=JSON`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn argument(text: &str) -> std::result::Result<(String, Value), String> {
        let (name, value) = text.split_once('=').ok_or("expected `NAME=JSON`")?;
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_of_name) || name.starts_with(char::is_numeric) {
            return Err(format!("`{name}` is not the name of a variable"));
        }
        if name == "messages" {
            return Err("`messages` is the problem".to_owned());
        }
        let value = serde_json::from_str(value).map_err(|error| {
            format!(
                "`{value}` is not JSON ({error}); a text is written with its quotes: `\"{value}\"`"
            )
        })?;
        Ok((name.to_owned(), value))
    }

    /// Whether no prompt was given.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The same, with the model's chat template if no prompt was given.
    #[must_use]
    pub(super) fn or_chat(self) -> Self {
        let template = self.template.or_else(|| Some(CHAT.to_owned()));
        Self { template, ..self }
    }

    /// The prompt template: the one given, or else the model's own.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a chat template that the model does not have, or for chat settings
    /// without `chat`; those of the template.
    pub fn template(&self, model: &Model, observer: &mut dyn Observer) -> Result<String> {
        if self.template.as_deref() == Some(CHAT) {
            let path = model.place().path.display();
            let templates = model.place().chat_templates()?.ok_or_else(|| Error::Mismatch {
                what: format!("`{path}` has no chat template"),
                hint: "give the prompt as a text (`--template 'Question: {prompt}\nAnswer:'`), or \
                       put a `chat_template.jinja` beside the model",
            })?;
            let text = self.chat(&templates, model.tokenizer()).map_err(|source| {
                Error::ChatTemplate { path: model.place().path.clone(), source: Box::new(source) }
            })?;
            observer.note(&format!("prompt {text:?}"));
            return Ok(text);
        }
        let unused = [
            ("chat-system", self.chat_system.is_some()),
            ("chat-date", self.chat_date.is_some()),
            ("chat-template", self.chat_template.is_some()),
            ("template-arg", !self.template_args.is_empty()),
        ];
        if let Some((flag, _)) = unused.iter().find(|(_, given)| *given) {
            return Err(Error::Mismatch {
                what: format!("`--{flag}` applies to chat templates, but none is used"),
                hint: "use the model's chat template with `--template chat`",
            });
        }
        if let Some(text) = &self.template {
            return Ok(text.clone());
        }
        if let Some(manifest) = model.manifest() {
            return Ok(manifest.template.clone());
        }
        if model.place().chat_templates()?.is_some() {
            observer.note(
                "the prompt is the problem alone; `--template chat` uses the model's chat template",
            );
        }
        Ok(PROBLEM_ALONE.to_owned())
    }

    /// The chat template of a published format; `None` for a format with its own text template.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a prompt that would replace the format's, chat settings for a format
    /// without a chat, or a model without a chat template; those of the template.
    pub(super) fn published_chat(
        &self,
        place: &Place,
        tokenizer: &Tokenizer,
        recipe: &Recipe,
    ) -> Result<Option<Chat>> {
        if self.template.as_deref().is_some_and(|template| template != CHAT) {
            return Err(Error::Mismatch {
                what: "the prompt of a published reward model is part of its format".to_owned(),
                hint: "omit `--template`",
            });
        }
        let system = match recipe.template {
            Template::Chat { system } => system,
            Template::Turns { .. } => None,
            Template::Text { .. } | Template::Pieces { .. } if self.is_default() => {
                return Ok(None);
            }
            Template::Text { .. } | Template::Pieces { .. } => {
                return Err(Error::Mismatch {
                    what: "this published reward model is scored without a chat template"
                        .to_owned(),
                    hint: "omit the prompt flags",
                });
            }
        };
        let templates = place.chat_templates()?.ok_or_else(|| Error::Mismatch {
            what: format!(
                "`{}` has no chat template, which its format requires",
                place.path.display()
            ),
            hint: "copy the published `chat_template.jinja` into the model folder",
        })?;
        let mut variables = tokenizer.special_tokens().clone();
        variables.extend(self.arguments());
        let options = RenderOptions {
            system: self.chat_system.clone().or(system.map(str::to_owned)),
            date: self.chat_date,
            variables,
            ..RenderOptions::default()
        };
        Ok(Some(Chat { template: templates.select(self.chat_template.as_deref())?, options }))
    }

    /// The record of the chat template for `gratis.json`; `None` for a text template.
    #[doc(hidden)]
    pub fn chat_settings(&self, model: &Model) -> Option<ChatSettings> {
        if self.template.as_deref() == Some(CHAT) {
            return Some(ChatSettings {
                name: self.chat_template.clone(),
                system: self.chat_system.clone(),
                date: self.chat_date,
                arguments: self.arguments(),
            });
        }
        let own = model.manifest().filter(|_| self.template.is_none());
        own.and_then(|manifest| manifest.chat.clone())
    }

    /// How prompts with earlier messages are rendered: `None` unless the prompt is a chat template
    /// that is beside the model.
    ///
    /// # Errors
    /// A fault of a template's file, or no template of the name that was given.
    #[doc(hidden)]
    pub fn conversations(&self, model: &Model) -> Result<Option<Conversations>> {
        let Some(settings) = self.chat_settings(model) else { return Ok(None) };
        let Some(templates) = model.place().chat_templates()? else { return Ok(None) };
        let template = templates.select(settings.name.as_deref())?;
        let options = RenderOptions {
            system: settings.system,
            date: settings.date,
            variables: settings.arguments,
            ..RenderOptions::default()
        };
        Ok(Some(Conversations::new(model.tokenizer(), template, &options)))
    }

    fn arguments(&self) -> Map<String, Value> {
        self.template_args.iter().cloned().collect()
    }

    /// A chat template rendered as a prompt template.
    ///
    /// # Errors
    /// Those of the template, or an error if there is none of this name.
    pub fn chat(&self, templates: &ChatTemplates, tokenizer: &Tokenizer) -> Result<String> {
        let options = RenderOptions {
            system: self.chat_system.clone(),
            date: self.chat_date,
            variables: self.arguments(),
            ..RenderOptions::default()
        };
        let template = templates.select(self.chat_template.as_deref())?;
        chat_prompt_for(tokenizer, &template, &options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_is_a_name_and_json() {
        let parse = PromptSettings::argument;
        for text in ["enable_thinking=false", "n=3", r#"name="a=b""#, r#"tools=[{"a":1}]"#] {
            let settings = PromptSettings {
                template_args: vec![parse(text).expect("valid")],
                ..PromptSettings::default()
            };
            let written = serde_json::json!(settings);
            assert_eq!(written, serde_json::json!({ "template_args": [text] }));
            let read: PromptSettings = serde_json::from_value(written).expect("as written");
            assert_eq!(read, settings);
        }
        for (text, expected) in [
            ("enable_thinking", "expected `NAME=JSON`"),
            ("=1", "not the name of a variable"),
            ("a b=1", "not the name of a variable"),
            ("messages=[]", "`messages` is the problem"),
            ("name=abc", "a text is written with its quotes: `\"abc\"`"),
        ] {
            let message = parse(text).expect_err(text);
            assert!(message.contains(expected), "{message}");
        }
    }
}
