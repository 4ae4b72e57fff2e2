//! From a problem and its solution to tokens and reading positions, as a [`Recipe`] says.
//!
//! Positions follow from the construction. Where a text is encoded in one piece, the place of each
//! tag in it is known in bytes, and the token that covers this place is the one that is read. So a
//! step may hold the text of a tag, `+` or `-` without moving a reading.

use std::ops::Range;
use std::path::PathBuf;

use gratis_model::chat_template::{ChatTemplate, Message, RenderOptions};
use gratis_model::{Encoding, Tokenizer};

use super::recipe::{Begin, Reading, Recipe, Scope, Template, Unit};
use crate::data::{ModelFormat, Rollout};
use crate::error::{Error, Result};

const TEMPLATE_HINT: &str = "the format needs the chat template that the model was trained with; put it beside the model as \
     `chat_template.jinja`";

/// A solution as tokens, up to the last one that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    /// Tokens at which the head is read, in their order, at least one.
    pub(crate) reads: Vec<usize>,
}

/// A chat template with what it sees beside the messages.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) template: ChatTemplate,
    pub(crate) options: RenderOptions,
}

/// Makes sequences of one format for one model.
#[derive(Debug)]
pub(crate) struct Prompter<'a> {
    /// The format, for errors.
    pub(crate) format: ModelFormat,
    pub(crate) recipe: &'a Recipe,
    pub(crate) tokenizer: &'a Tokenizer,
    /// Text after each step: the recipe's, or one that was asked for.
    pub(crate) tag: &'a str,
    /// For the templates that are chats.
    pub(crate) chat: Option<&'a Chat>,
    /// Padding, which the last token read is not.
    pub(crate) pad: Option<u32>,
    /// The model, for errors.
    pub(crate) path: PathBuf,
}

/// A problem with the messages before it.
#[derive(Clone, Copy)]
struct Problem<'a> {
    context: &'a [Message],
    text: &'a str,
}

impl<'a> Problem<'a> {
    /// One without earlier messages.
    fn alone(text: &'a str) -> Self {
        Self { context: &[], text }
    }

    /// The earlier messages, then what the user says.
    fn with_user(self, content: impl Into<String>) -> Vec<Message> {
        let mut messages = self.context.to_vec();
        messages.push(Message::user(content));
        messages
    }
}

/// A text with places in it: ends of tags, or where a turn begins.
struct Marked {
    text: String,
    /// Bytes, ascending.
    marks: Vec<usize>,
}

impl Prompter<'_> {
    /// Checks that the tokenizer and the template have what the recipe needs, on a small example.
    ///
    /// # Errors
    /// [`Error::Mismatch`] that names what was looked for.
    pub(crate) fn check(&self) -> Result<()> {
        let tag = self.tag.trim();
        if self.recipe.reading == Reading::Tag && !tag.is_empty() {
            self.one_token(tag)?;
        }
        let text = "It is 2.";
        let whole = 0..text.len();
        let steps = std::slice::from_ref(&whole);
        self.sequence_of(Problem::alone("1 + 1?"), text, steps).map(drop)
    }

    /// What the model reads, with `{prompt}` for the problem and `{steps}` for the solution.
    ///
    /// # Errors
    /// Those of the template.
    pub(crate) fn example(&self) -> Result<String> {
        let steps = "{steps}";
        let problem = Problem::alone("{prompt}");
        let text = match self.recipe.template {
            Template::Turns { problem_join } => {
                self.turns(problem, problem_join, &[steps.to_owned()])?.text
            }
            Template::Pieces { after_problem, .. } => {
                ["{prompt}", after_problem, steps, self.tag].concat()
            }
            Template::Chat { .. } | Template::Text { .. } => {
                let answer = [steps, self.tag].concat();
                self.whole(problem, &Marked { text: answer, marks: Vec::new() })?.0.text
            }
        };
        Ok(text)
    }

    /// The tokens of a solution whose steps are these ranges of its text, and where it is read.
    /// Earlier messages of a conversation go before the problem, in the chat template; a system
    /// message among them takes the place of the recipe's.
    ///
    /// # Errors
    /// [`Error::PublishedConversation`] if the recipe has no place for earlier messages;
    /// [`Error::Mismatch`] if the chat template does not print a turn, or the tokenizer joins a tag
    /// to what stands beside it; those of the template and the tokenizer.
    pub(crate) fn sequence(
        &self,
        rollout: &Rollout,
        idx: usize,
        steps: &[Range<usize>],
    ) -> Result<Sequence> {
        if !rollout.context.is_empty() && !self.recipe.template.holds_conversations() {
            let problem = rollout.name().to_owned();
            let format = self.format.to_string();
            return Err(Error::PublishedConversation { problem, format });
        }
        let problem = Problem { context: &rollout.context, text: &rollout.prompt };
        self.sequence_of(problem, &rollout.completions[idx].text, steps)
    }

    fn sequence_of(
        &self,
        problem: Problem<'_>,
        text: &str,
        steps: &[Range<usize>],
    ) -> Result<Sequence> {
        let steps: Vec<String> = match self.recipe.scope {
            Scope::Steps => steps.iter().map(|step| text[step.clone()].trim().to_owned()).collect(),
            Scope::Solution => vec![text.to_owned()],
        };
        let mut sequence = match self.recipe.template {
            Template::Pieces { after_problem, unit } => {
                self.pieces(&[problem.text, after_problem].concat(), &steps, unit)?
            }
            Template::Turns { problem_join } => {
                let Marked { text, marks } = self.turns(problem, problem_join, &steps)?;
                let (encoding, shift) = self.encode(&text)?;
                let reads = marks.iter().map(|&mark| {
                    let at = encoding.offsets.partition_point(|token| token.start < mark);
                    let is_tag = encoding.offsets.get(at).is_some_and(|token| token.start == mark);
                    if is_tag && at > 0 { Ok(at - 1 + shift) } else { Err(self.joined()) }
                });
                Sequence { reads: reads.collect::<Result<_>>()?, tokens: encoding.ids }
            }
            Template::Chat { .. } | Template::Text { .. } => {
                let answer = self.answer(&steps);
                let (Marked { text, marks }, opening) = self.whole(problem, &answer)?;
                let (encoding, shift) = self.encode(&text)?;
                let reads = self.reads(&encoding, shift, &marks, opening)?;
                Sequence { reads, tokens: encoding.ids }
            }
        };
        if let Some(&last) = sequence.reads.last() {
            sequence.tokens.truncate(last + 1);
        }
        Ok(sequence)
    }

    /// The steps with their tags in one text, marked where each tag ends.
    fn answer(&self, steps: &[String]) -> Marked {
        let mut answer = Marked { text: String::new(), marks: Vec::new() };
        for (nth, step) in steps.iter().enumerate() {
            if nth > 0 {
                answer.text.push_str(self.recipe.step_join);
            }
            answer.text.push_str(step);
            answer.text.push_str(self.tag);
            answer.marks.push(answer.text.len());
        }
        answer
    }

    /// Problem and answer in one text, and the byte at which the answer begins.
    fn whole(&self, problem: Problem<'_>, answer: &Marked) -> Result<(Marked, usize)> {
        let (text, start, n_cut) = if let Template::Text { before, between } = self.recipe.template
        {
            let opening = [before, problem.text, between].concat();
            ([&opening, &*answer.text].concat(), opening.len(), Some(0))
        } else {
            self.last_turn(&problem.with_user(problem.text), &answer.text)?
        };
        let marks = match (self.recipe.reading, n_cut) {
            (Reading::Tag | Reading::BeforeTag, None) => return Err(self.changed()),
            (Reading::Tag | Reading::BeforeTag, Some(n_cut)) => {
                answer.marks.iter().map(|mark| start + mark.saturating_sub(n_cut)).collect()
            }
            (Reading::Last | Reading::LastAndOpening(_), _) => Vec::new(),
        };
        Ok((Marked { text, marks }, start))
    }

    /// The chat of `before` and an assistant's turn: its text, the byte at which the content of that
    /// turn begins, and how many bytes of white space the template cut off its beginning; `None` if
    /// it prints another content, as templates do that move a thought.
    fn last_turn(
        &self,
        before: &[Message],
        content: &str,
    ) -> Result<(String, usize, Option<usize>)> {
        let chat = self.chat.ok_or_else(|| self.no_template())?;
        let mut options = chat.options.clone();
        if before.iter().any(|message| message.role == "system") {
            options.system = None;
        }
        let render = |content: &str| -> Result<String> {
            let messages = [before, &[Message::assistant(content)]].concat();
            Ok(chat.template.render(&messages, &options)?)
        };
        let text = render(content)?;
        // A content that begins otherwise parts from this one where the content begins.
        let other = render(if content.trim_start().starts_with('x') { "y" } else { "x" })?;
        if text == other {
            return Err(Error::Mismatch {
                what: format!(
                    "the chat template of `{}` has no turn of the assistant",
                    self.path.display()
                ),
                hint: TEMPLATE_HINT,
            });
        }
        let same = text.chars().zip(other.chars()).take_while(|(a, b)| a == b);
        let start: usize = same.map(|(c, _)| c.len_utf8()).sum();
        let n_cut = if text[start..].starts_with(content) {
            Some(0)
        } else if text[start..].starts_with(content.trim()) {
            Some(content.len() - content.trim_start().len())
        } else {
            None
        };
        Ok((text, start, n_cut))
    }

    /// The conversation with an answer after each step, marked where each answer begins.
    fn turns(&self, problem: Problem<'_>, problem_join: &str, steps: &[String]) -> Result<Marked> {
        let tag = self.tag;
        let mut messages = problem.context.to_vec();
        let mut starts: Vec<(String, usize)> = Vec::new();
        for (nth, step) in steps.iter().enumerate() {
            let first =
                if nth == 0 { [problem.text, problem_join, step].concat() } else { step.clone() };
            messages.push(Message::user(first));
            let (text, start, n_cut) = self.last_turn(&messages, tag)?;
            if n_cut.is_none() {
                return Err(self.changed());
            }
            starts.push((text, start));
            messages.push(Message::assistant(tag));
        }
        let text = starts.last().map(|(text, _)| text.clone()).unwrap_or_default();
        // One pass reads what many read only if no earlier turn depends on a later one.
        if starts.iter().any(|(cut, start)| !text.starts_with(&cut[..*start])) {
            return Err(Error::Mismatch {
                what: format!(
                    "the chat template of `{}` prints earlier turns otherwise when others follow",
                    self.path.display()
                ),
                hint: TEMPLATE_HINT,
            });
        }
        let marks = starts.into_iter().map(|(_, start)| start).collect();
        Ok(Marked { text, marks })
    }

    /// Pieces that are encoded one by one.
    fn pieces(&self, problem: &str, steps: &[String], unit: Unit) -> Result<Sequence> {
        let encode = |text: &str| -> Result<Vec<u32>> { Ok(self.tokenizer.encode(text)?.ids) };
        let tag = encode(self.tag)?;
        let mut tokens: Vec<u32> = self.begin().into_iter().collect();
        tokens.extend(encode(problem)?);
        let mut reads = Vec::new();
        for step in steps {
            let units = match unit {
                Unit::Step => vec![step.as_str()],
                Unit::Line => step.split('\n').collect(),
            };
            for unit in units {
                tokens.extend(encode(unit)?);
                tokens.extend(&tag);
            }
            reads.push(tokens.len() - 1);
        }
        Ok(Sequence { tokens, reads })
    }

    /// The positions to read of a text: `marks` are the ends of its tags, `opening` is where the
    /// solution begins.
    fn reads(
        &self,
        encoding: &Encoding,
        shift: usize,
        marks: &[usize],
        opening: usize,
    ) -> Result<Vec<usize>> {
        let Encoding { ids, offsets } = encoding;
        let last = || {
            let is_text = |id: &u32| Some(*id) != self.pad;
            ids.iter().rposition(is_text).unwrap_or(ids.len().saturating_sub(1))
        };
        match self.recipe.reading {
            Reading::Last => Ok(vec![last()]),
            Reading::LastAndOpening(text) => {
                let expected = self.tokenizer.encode(text)?.ids;
                let end = shift + offsets.partition_point(|token| token.start < opening);
                match end.checked_sub(expected.len()) {
                    Some(start) if ids[start..end] == expected[..] => Ok(vec![start, last()]),
                    _ => Err(Error::Mismatch {
                        what: format!(
                            "the chat template of `{}` does not open the turn of the assistant \
                             with {text:?}",
                            self.path.display()
                        ),
                        hint: TEMPLATE_HINT,
                    }),
                }
            }
            Reading::Tag | Reading::BeforeTag => {
                let tag = self.one_token(self.tag.trim())?;
                let place = |&mark: &usize| {
                    let at = offsets.partition_point(|token| token.start < mark);
                    let at = at.checked_sub(1).map(|at| at + shift);
                    at.filter(|&at| ids[at] == tag).ok_or_else(|| self.joined())
                };
                marks.iter().map(place).collect()
            }
        }
    }

    /// The tokens of a text with their offsets, and by how much the beginning of sequence moved
    /// them.
    fn encode(&self, text: &str) -> Result<(Encoding, usize)> {
        let mut encoding = self.tokenizer.encode(text)?;
        match self.begin() {
            Some(bos) if encoding.ids.first() != Some(&bos) => {
                encoding.ids.insert(0, bos);
                Ok((encoding, 1))
            }
            _ => Ok((encoding, 0)),
        }
    }

    /// The beginning of sequence that the recipe puts first.
    fn begin(&self) -> Option<u32> {
        let is_wanted = match self.recipe.begin {
            Begin::Tokenizer => self.tokenizer.begins_with_bos(),
            Begin::AsWritten => false,
            Begin::Always => true,
        };
        self.tokenizer.bos().filter(|_| is_wanted)
    }

    /// The token of a tag.
    fn one_token(&self, tag: &str) -> Result<u32> {
        match self.tokenizer.encode(tag)?.ids[..] {
            [token] => Ok(token),
            ref tokens => Err(Error::Mismatch {
                what: format!(
                    "the tokenizer of `{}` makes {} tokens of the tag `{tag}`, which ends each step \
                     as one token",
                    self.path.display(),
                    tokens.len()
                ),
                hint: "take the tokenizer that was published with the model, or another `--kind`",
            }),
        }
    }

    fn joined(&self) -> Error {
        Error::Mismatch {
            what: format!(
                "the tokenizer of `{}` joins the tag `{}` to the text beside it",
                self.path.display(),
                self.tag.trim()
            ),
            hint: "take the tokenizer that was published with the model",
        }
    }

    fn changed(&self) -> Error {
        Error::Mismatch {
            what: format!(
                "the chat template of `{}` changes what the assistant says",
                self.path.display()
            ),
            hint: TEMPLATE_HINT,
        }
    }

    fn no_template(&self) -> Error {
        Error::Mismatch {
            what: format!("`{}` has no chat template", self.path.display()),
            hint: TEMPLATE_HINT,
        }
    }
}
