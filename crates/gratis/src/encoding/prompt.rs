//! Prompts: a text in which `{prompt}` stands for the problem.
//!
//! The chat template of a checkpoint is rendered once into such a text. The text is stored in
//! `gratis.json`, so a model is scored with the prompt that it was trained with, whatever the date
//! and even if the template changes later.

use gratis_model::Tokenizer;
use gratis_model::chat_template::{
    ChatTemplate, GenerationPrompt, Message, Opening, RenderOptions,
};

use crate::error::{Error, Result};

/// Stands for the problem.
const PROBLEM: &str = "{prompt}";

/// Stands for the problem without the white space around it: many chat templates trim.
const TRIMMED: &str = "{prompt|trim}";

/// Stands before a text that begins as it is written: no beginning-of-sequence token is added.
const NO_BOS: &str = "{no_bos}";

/// A prompt template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PromptTemplate {
    before: String,
    after: String,
    space: Space,
    begin: Begin,
}

/// Whether the beginning-of-sequence token goes before a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// As the tokenizer has it.
    Tokenizer,
    /// Only if it is written in the prompt.
    AsWritten,
}

/// How white space around a problem is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Kept,
    Trimmed,
}

impl PromptTemplate {
    /// Reads a text that holds `{prompt}` or `{prompt|trim}`, once, after `{no_bos}` or not.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (begin, text) = match text.strip_prefix(NO_BOS) {
            Some(rest) => (Begin::AsWritten, rest),
            None => (Begin::Tokenizer, text),
        };
        let n_places = text.matches(PROBLEM).count() + text.matches(TRIMMED).count();
        let (place, space) =
            if text.contains(TRIMMED) { (TRIMMED, Space::Trimmed) } else { (PROBLEM, Space::Kept) };
        let Some((before, after)) = text.split_once(place).filter(|_| n_places == 1) else {
            let expected = format!("text with `{PROBLEM}` or `{TRIMMED}` once");
            return Err(Error::setting("template", expected, text));
        };
        Ok(Self { before: before.to_owned(), after: after.to_owned(), space, begin })
    }

    /// Whether the beginning-of-sequence token goes before it.
    pub(super) fn begin(&self) -> Begin {
        self.begin
    }

    /// The tag that every prompt ends in, such as `<think>`: a completion that begins with it as
    /// well repeats it.
    pub(super) fn opening(&self) -> Option<Opening<'_>> {
        Opening::of(&self.after)
    }

    /// The prompt of a problem.
    pub(super) fn fill(&self, problem: &str) -> String {
        let problem = match self.space {
            Space::Kept => problem,
            Space::Trimmed => problem.trim(),
        };
        [&self.before, problem, &self.after].concat()
    }
}

/// The prompt of a chat model: its template rendered up to where the assistant begins to speak, with
/// `{prompt}` as the user's message (`{prompt|trim}` where the template trims it). `options` give the
/// system message, the date and the special tokens.
///
/// # Errors
/// Those of the template; [`InvalidSetting`](crate::data::Error::InvalidSetting) if it does not print the message just once.
fn chat_prompt(template: &ChatTemplate, options: &RenderOptions) -> Result<String> {
    let options = RenderOptions { generation_prompt: GenerationPrompt::Add, ..options.clone() };
    let render = |content: String| template.render(&[Message::user(content)], &options);
    let plain = render(PROBLEM.to_owned())?;
    let spaced = render(format!("\n{PROBLEM}\n"))?;
    let text = if plain == spaced { plain.replace(PROBLEM, TRIMMED) } else { plain };
    if PromptTemplate::parse(&text).is_err() {
        let expected = "a chat template that prints the user's message once";
        return Err(Error::setting("template", expected, text));
    }
    Ok(text)
}

/// Renders conversations: prompts with a system message or earlier turns of their own, which no fixed
/// text around the problem can hold.
#[derive(Debug, Clone)]
pub struct Conversations {
    template: ChatTemplate,
    options: RenderOptions,
}

impl Conversations {
    /// Conversations in a model's chat template. `options` are those of its prompt.
    pub fn new(tokenizer: &Tokenizer, template: ChatTemplate, options: &RenderOptions) -> Self {
        let mut variables = tokenizer.special_tokens().clone();
        variables.extend(options.variables.clone());
        let generation_prompt = GenerationPrompt::Add;
        Self {
            template,
            options: RenderOptions { variables, generation_prompt, ..options.clone() },
        }
    }

    /// The text up to where the assistant begins to speak. A system message in `context` takes the
    /// place of that of the options.
    pub(super) fn render(&self, context: &[Message], problem: &str) -> Result<String> {
        let mut options = self.options.clone();
        if context.iter().any(|message| message.role == "system") {
            options.system = None;
        }
        let mut messages = context.to_vec();
        messages.push(Message::user(problem));
        Ok(self.template.render(&messages, &options)?)
    }
}

/// How a text that a chat template printed begins.
pub(super) fn begin_of(tokenizer: &Tokenizer, text: &str) -> Begin {
    let bos = tokenizer.special_tokens().get("bos_token").and_then(|token| token.as_str());
    let is_begun = bos.is_some_and(|bos| text.starts_with(bos));
    if tokenizer.begins_with_bos() && !is_begun { Begin::AsWritten } else { Begin::Tokenizer }
}

/// As [`chat_prompt`], for a model's tokenizer: the template sees its special tokens (`bos_token`,
/// `pad_token`, ...), and the text begins as the template prints it. A template that prints no
/// beginning of sequence gives a text that begins with `{no_bos}`, where the tokenizer would add one.
///
/// # Errors
/// As [`chat_prompt`].
pub(crate) fn chat_prompt_for(
    tokenizer: &Tokenizer,
    template: &ChatTemplate,
    options: &RenderOptions,
) -> Result<String> {
    let mut variables = tokenizer.special_tokens().clone();
    variables.extend(options.variables.clone());
    let text = chat_prompt(template, &RenderOptions { variables, ..options.clone() })?;
    Ok(match begin_of(tokenizer, &text) {
        Begin::AsWritten => format!("{NO_BOS}{text}"),
        Begin::Tokenizer => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_template_becomes_a_text_with_the_problem_in_it() {
        let template = ChatTemplate::new(
            "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }}\n{% endfor %}\
             {% if add_generation_prompt %}[assistant] {% endif %}",
        );
        let prompt = chat_prompt(&template.expect("a template"), &RenderOptions::default());
        assert_eq!(prompt.expect("a prompt"), "[user] {prompt|trim}\n[assistant] ");
    }

    #[test]
    fn a_chat_prompt_begins_as_its_template_prints_it() {
        let special = gratis_model::SpecialTokens {
            pad: Some("<pad>".to_owned()),
            bos: Some("<s>".to_owned()),
            eos: Some("</s>".to_owned()),
        };
        let phrases = ["a", "<think>", "{", "}", "prompt", "p"].map(str::to_owned);
        let tokenizer = Tokenizer::from_phrases(&phrases, &special).expect("valid");
        let prompt = |source: &str, argument: &str| {
            let template = ChatTemplate::new(source).expect("compiles");
            let mut options = RenderOptions::default();
            if !argument.is_empty() {
                options.variables.insert("pad_token".to_owned(), argument.into());
            }
            chat_prompt_for(&tokenizer, &template, &options).expect("rendered")
        };
        let content = "{{ messages[0].content }}";
        assert_eq!(prompt(&format!("{{{{ bos_token }}}}{content}"), ""), "<s>{prompt}");
        assert_eq!(prompt(content, ""), "{no_bos}{prompt}");
        let padded = format!("{{{{ pad_token }}}}{{{{ eos_token }}}}{content}");
        assert_eq!(prompt(&padded, ""), "{no_bos}<pad></s>{prompt}");
        assert_eq!(prompt(&padded, "p"), "{no_bos}p</s>{prompt}");
        let parsed = PromptTemplate::parse("{no_bos}{prompt}<think>\n").expect("valid");
        assert_eq!((parsed.begin(), parsed.fill("a").as_str()), (Begin::AsWritten, "a<think>\n"));
        assert_eq!(parsed.opening().map(|opening| opening.tag), Some("<think>"));
        let plain = PromptTemplate::parse("<s>{prompt}").expect("valid");
        assert_eq!((plain.begin(), plain.opening()), (Begin::Tokenizer, None));
    }

    #[test]
    fn the_problem_stands_where_the_template_says() {
        let fill = |template: &str, problem: &str| {
            PromptTemplate::parse(template).expect("valid").fill(problem)
        };
        assert_eq!(fill("Q: {prompt}\nA:", " 1 + 1\n"), "Q:  1 + 1\n\nA:");
        assert_eq!(fill("Q: {prompt|trim}\nA:", " 1 + 1\n"), "Q: 1 + 1\nA:");
        // The text of a problem is not interpreted as a template.
        assert_eq!(fill("{prompt}", "{prompt} {prompt|trim}"), "{prompt} {prompt|trim}");
    }

    #[test]
    fn a_template_without_the_problem_or_with_two_is_refused() {
        for template in ["", "Q:", "{prompt}{prompt}", "{prompt} {prompt|trim}", "{ prompt }"] {
            let error = PromptTemplate::parse(template).expect_err(template);
            assert!(error.to_string().contains("`template`"), "{error}");
        }
    }

    #[test]
    fn a_chat_template_says_whether_it_trims() {
        let prompt = |source: &str| {
            let template = ChatTemplate::new(source).expect("compiles");
            let options = RenderOptions {
                system: Some("Be brief.".to_owned()),
                bos_token: Some("<s>".to_owned()),
                ..RenderOptions::default()
            };
            chat_prompt(&template, &options)
        };
        let all = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        assert_eq!(prompt(all).expect("valid"), "<s><system>Be brief.<user>{prompt}");
        let trims = all.replace("m.content", "m.content | trim");
        assert_eq!(prompt(&trims).expect("valid"), "<s><system>Be brief.<user>{prompt|trim}");
        let silent = prompt("nothing").expect_err("no message").to_string();
        assert!(silent.contains("prints the user's message once"), "{silent}");
        let raises = prompt("{{ raise_exception('no system') }}").expect_err("raises").to_string();
        assert!(raises.contains("no system"), "{raises}");
    }
}
