//! Chat templates: how a conversation becomes the text that a model was trained on.
//!
//! The response's log-probabilities depend on every character before them, so a rendered
//! conversation must be the same to the byte as the one that `transformers` would render. Templates
//! are the Jinja sources of Hugging Face checkpoints, run as untrusted code: no files, no clock, a
//! bound on the work. The date a template may print is passed in, so that a score does not change
//! with the calendar.

mod date;
mod environment;
mod json;

use std::fs;
use std::path::Path;

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::{Deserialize, Serialize};
use serde_json::Map;

pub use date::Date;

use crate::error::{Error, Result};

/// Where a template's source stands inside the environment.
const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, or whatever else the template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message of any role.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }

    /// A message of the `system`.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new("system", content)
    }

    /// A message of the `user`.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new("user", content)
    }

    /// A message of the `assistant`.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new("assistant", content)
    }
}

/// Whether the text ends with the words that open an assistant's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GenerationPrompt {
    /// The text ends where the conversation ends: for scoring.
    #[default]
    Omit,
    /// The text ends where the assistant begins to speak: for sampling.
    Add,
}

/// What a template is given beside the messages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenderOptions {
    /// `add_generation_prompt`.
    pub generation_prompt: GenerationPrompt,
    /// Text of the token that begins a sequence; undefined in the template if absent.
    pub bos_token: Option<String>,
    /// Text of the token that ends a sequence or a turn; undefined in the template if absent.
    pub eos_token: Option<String>,
    /// What the template sees as today: both `strftime_now` and `date_string` (`26 Jul 2024`).
    /// Without it neither is defined, and templates of the Llama 3 family print their own fixed
    /// date.
    pub date: Option<Date>,
    /// Goes before the messages as a system message, unless they begin with one.
    pub system: Option<String>,
    /// Further variables; they win over all of the above.
    pub variables: Map<String, serde_json::Value>,
}

/// A compiled chat template.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    origin: String,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`Error::InvalidTemplate`] if the source is not valid Jinja.
    pub fn new(source: &str) -> Result<Self> {
        Self::with_origin(source, "chat template")
    }

    /// Compiles a template that errors will name by `origin`, the file it came from.
    pub fn with_origin(source: &str, origin: impl Into<String>) -> Result<Self> {
        let origin = origin.into();
        let mut environment = environment::new();
        environment
            .add_template_owned(NAME, environment::rewrite_generation_blocks(source))
            .map_err(|error| Error::InvalidTemplate {
                origin: origin.clone(),
                line: error.line(),
                reason: environment::describe(&error),
            })?;
        Ok(Self { environment, source: source.to_owned(), origin })
    }

    /// The template that a `tokenizer_config.json` holds, if it holds one. Of several named ones
    /// it is the one called `default`.
    pub fn from_tokenizer_config(config: &serde_json::Value) -> Result<Option<Self>> {
        Self::from_config(config, "tokenizer_config.json")
    }

    /// The template of a checkpoint folder: `chat_template.jinja` if there is one, otherwise that
    /// of `tokenizer_config.json`.
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        let source_path = folder.join("chat_template.jinja");
        let config_path = folder.join("tokenizer_config.json");
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|source| Error::Io {
                action: "read",
                path: path.to_owned(),
                source,
            })
        };
        if source_path.is_file() {
            let origin = source_path.display().to_string();
            return Self::with_origin(&read(&source_path)?, origin).map(Some);
        }
        if !config_path.is_file() {
            return Ok(None);
        }
        let origin = config_path.display().to_string();
        let config =
            serde_json::from_str(&read(&config_path)?).map_err(|error| Error::InvalidTemplate {
                origin: origin.clone(),
                line: Some(error.line()),
                reason: error.to_string(),
            })?;
        Self::from_config(&config, &origin)
    }

    fn from_config(config: &serde_json::Value, origin: &str) -> Result<Option<Self>> {
        let source = match config.get("chat_template") {
            None | Some(serde_json::Value::Null) => return Ok(None),
            Some(serde_json::Value::String(source)) => Some(source.as_str()),
            Some(named) => named
                .as_array()
                .and_then(|all| all.iter().find(|one| one["name"] == "default"))
                .and_then(|default| default["template"].as_str()),
        };
        let source = source.ok_or_else(|| Error::InvalidTemplate {
            origin: origin.to_owned(),
            line: None,
            reason: "`chat_template` is neither a string nor a list with a `default`".to_owned(),
        })?;
        Self::with_origin(source, origin).map(Some)
    }

    /// The Jinja source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation.
    ///
    /// # Errors
    /// [`Error::TemplateRaised`] if the template calls `raise_exception`,
    /// [`Error::TemplateFailed`] if it cannot be run on these messages.
    pub fn render(&self, messages: &[Message], options: &RenderOptions) -> Result<String> {
        let mut all = Vec::with_capacity(messages.len() + 1);
        if let Some(system) = &options.system
            && messages.first().is_none_or(|first| first.role != "system")
        {
            all.push(Message::system(system));
        }
        all.extend_from_slice(messages);
        let mut variables = Map::new();
        let mut set = |name: &str, value: serde_json::Value| {
            variables.insert(name.to_owned(), value);
        };
        set("messages", all.iter().map(to_json).collect());
        // `transformers` always passes these two.
        set("tools", serde_json::Value::Null);
        set("documents", serde_json::Value::Null);
        set("add_generation_prompt", (options.generation_prompt == GenerationPrompt::Add).into());
        for (name, token) in [("bos_token", &options.bos_token), ("eos_token", &options.eos_token)]
        {
            if let Some(token) = token {
                set(name, token.as_str().into());
            }
        }
        if let Some(date) = options.date {
            set("date_string", date.format("%d %b %Y")?.into());
        }
        variables.extend(options.variables.clone());
        self.render_variables(&variables, options.date)
    }

    /// The text for any variables whatever (`messages`, `tools`, `documents`, ...), for
    /// conversations richer than [`Message`].
    pub fn render_variables(
        &self,
        variables: &Map<String, serde_json::Value>,
        date: Option<Date>,
    ) -> Result<String> {
        let mut context: Vec<(String, Value)> = variables
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(Serde(value))))
            .collect();
        if let Some(date) = date {
            context.push(("strftime_now".to_owned(), environment::strftime_now(date)));
        }
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(Value::from_pairs(context)))
            .map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &minijinja::Error) -> Error {
        let origin = self.origin.clone();
        match environment::raised(error) {
            Some(message) => Error::TemplateRaised { origin, message: message.to_owned() },
            None => Error::TemplateFailed {
                origin,
                line: error.line(),
                reason: environment::describe(error),
            },
        }
    }
}

fn to_json(message: &Message) -> serde_json::Value {
    serde_json::json!({ "role": message.role, "content": message.content })
}
