//! Chat templates: they render a conversation to the text format that a model was trained on.
//!
//! The response's log-probabilities depend on every character before them, so a rendered
//! conversation must have the same bytes as in `transformers`. Templates are the Jinja sources of
//! Hugging Face checkpoints, run as untrusted code: no files, no clock, and bounds on work and
//! memory (`limits`). The date a template may print is passed in, so that a score does not change
//! with the calendar.

mod date;
mod environment;
mod guards;
mod json;
mod limits;
mod named;
mod opening;
mod rewrite;
mod source;

use std::path::Path;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, machinery};
use serde::{Deserialize, Serialize};
use serde_json::Map;

pub use date::Date;
pub use named::ChatTemplates;
pub use opening::Opening;

use crate::error::{Error, Result};
use crate::guard;
use limits::Budget;

/// Name of a template's source in the environment.
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
    /// The text ends at the start of the assistant's turn: for sampling.
    Add,
}

/// The variables of a template besides the messages.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenderOptions {
    /// `add_generation_prompt`.
    pub generation_prompt: GenerationPrompt,
    /// Text of the token that begins a sequence; undefined in the template if absent.
    pub bos_token: Option<String>,
    /// Text of the token that ends a sequence or a turn; undefined in the template if absent.
    pub eos_token: Option<String>,
    /// Today's date for the template: both `strftime_now` and `date_string` (`26 Jul 2024`).
    /// Without it neither is defined, and templates of the Llama 3 family print their own fixed
    /// date.
    pub date: Option<Date>,
    /// Goes before the messages as a system message, unless they begin with one.
    pub system: Option<String>,
    /// Further variables; they override all of the above.
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
        let invalid = |error: &minijinja::Error| Error::InvalidTemplate {
            origin: origin.clone(),
            line: error.line(),
            reason: environment::describe(error),
        };
        let mut environment = environment::new();
        let rewritten = environment::rewrite_generation_blocks(source);
        source::check(&rewritten).map_err(|error| invalid(&error))?;
        environment.add_template_owned(NAME, rewritten).map_err(|error| invalid(&error))?;
        Ok(Self { environment, source: source.to_owned(), origin })
    }

    /// The template that a `tokenizer_config.json` holds, if it holds one. Of several named ones
    /// it is the one called `default`.
    ///
    /// # Errors
    /// As [`ChatTemplates::from_tokenizer_config`] and [`ChatTemplates::select`].
    pub fn from_tokenizer_config(config: &serde_json::Value) -> Result<Option<Self>> {
        let all = ChatTemplates::from_tokenizer_config(config, "tokenizer_config.json")?;
        all.map(|all| all.select(None)).transpose()
    }

    /// The template of a checkpoint folder that is used when none is asked for: see
    /// [`ChatTemplates`].
    ///
    /// # Errors
    /// As [`ChatTemplates::from_folder`] and [`ChatTemplates::select`].
    pub fn from_folder(folder: &Path) -> Result<Option<Self>> {
        ChatTemplates::from_folder(folder)?.map(|all| all.select(None)).transpose()
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
        context.push(Budget::variable(variables.iter().map(|(_, value)| n_bytes(value)).sum()));
        // What a filter of the library panics on is a fault of the template.
        let run = || self.run(Value::from_pairs(context));
        match guard::run(run) {
            Ok(outcome) => outcome.map_err(|error| self.failure(&error)),
            Err(message) => Err(Error::TemplateFailed {
                origin: self.origin.clone(),
                line: None,
                reason: format!("a function of the template panics ({message})"),
            }),
        }
    }

    /// Runs the template with everything that it makes measured.
    fn run(&self, context: Value) -> Result<String, minijinja::Error> {
        let template = self.environment.get_template(NAME)?;
        let compiled = machinery::get_compiled_template(&template);
        let instructions = rewrite::guarded(&compiled.instructions)?;
        let blocks = compiled.blocks.iter();
        let blocks = blocks.map(|(name, block)| Ok((*name, rewrite::guarded(block)?)));
        let blocks = blocks.collect::<Result<_, minijinja::Error>>()?;
        let mut text = String::new();
        let mut out = machinery::make_string_output(&mut text);
        let environment = &self.environment;
        machinery::eval(environment, &instructions, context, &blocks, &mut out, AutoEscape::None)?;
        Ok(text)
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

/// Approximate size of a value with its content, in bytes.
fn n_bytes(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len() + 16,
        serde_json::Value::Array(list) => 16 + list.iter().map(n_bytes).sum::<usize>(),
        serde_json::Value::Object(map) => {
            16 + map.iter().map(|(key, value)| key.len() + n_bytes(value)).sum::<usize>()
        }
        _ => 16,
    }
}

fn to_json(message: &Message) -> serde_json::Value {
    serde_json::json!({ "role": message.role, "content": message.content })
}
