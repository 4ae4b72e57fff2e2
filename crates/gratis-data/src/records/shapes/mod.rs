//! The shapes in which other tools write problems, responses and labels, read as rollouts.
//!
//! The shape of a file is found from its first record ([`detect`]) or given by name. Each shape is a
//! pure function from a JSON object to a [`Rollout`]; `docs/data.md` lists them all.

mod labels;
mod messages;
mod named;
mod outputs;
mod preference;
mod steps;

use std::fmt;
use std::str::FromStr;

use gratis_model::chat_template::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reading::FileReading;
use super::record::Fault;
use super::rollout::Rollout;
use crate::exact::{self, NotFinite};
pub(crate) use named::{doubtful_label, fold_case, mapping, unread_label};
pub(crate) use outputs::Requests;

type Parsed<T> = Result<T, Fault>;

/// How a record of a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataShape {
    /// gratis' own columns, which are those of the authors' data set.
    Gratis,
    /// A problem per record under any of the usual names, with a list of responses or none.
    Problems,
    /// One response per record; records of one prompt that follow each other are one problem.
    Responses,
    /// Preference pairs: `chosen` and `rejected`.
    Preference,
    /// A conversation per record; its last assistant message is the response.
    Messages,
    /// TRL's stepwise supervision: `completions` are the steps of one response, `labels` theirs.
    Stepwise,
    /// Conversations in which the assistant answers each step with `+` or `-` (RLHFlow).
    PrmChat,
    /// Math-Shepherd: a tag after each step, and the same text with labels in place of the tags.
    MathShepherd,
    /// PRM800K, as published or as flat lists of steps and ratings.
    Prm800k,
    /// Prefixes with Monte Carlo values (openr's `math-aps`).
    MathAps,
    /// ProcessBench: steps and the index of the first wrong one.
    ProcessBench,
    /// `outputs` of vLLM or SGLang: objects with `text` and `finish_reason`.
    Outputs,
    /// Results of the OpenAI batch interface; their prompts are in the file of requests.
    OpenaiBatch,
    /// Samples that lm-evaluation-harness logs; of several filters the first.
    LmEval,
    /// Samples of evalchemy, one per record or a file of results.
    Evalchemy,
    /// OpenR1-Math: generations with their verdicts.
    #[serde(rename = "openr1")]
    OpenR1,
}

const NAMES: [(DataShape, &str, &str); 16] = [
    (DataShape::Gratis, "gratis", "gratis' own columns"),
    (DataShape::Problems, "problems", "one problem per record"),
    (DataShape::Responses, "responses", "one response per record"),
    (DataShape::Preference, "preference", "preference pairs"),
    (DataShape::Messages, "messages", "one conversation per record"),
    (DataShape::Stepwise, "stepwise", "TRL stepwise supervision"),
    (DataShape::PrmChat, "prm-chat", "conversations that answer each step with `+` or `-`"),
    (DataShape::MathShepherd, "math-shepherd", "Math-Shepherd's tagged steps"),
    (DataShape::Prm800k, "prm800k", "PRM800K's rated steps"),
    (DataShape::MathAps, "math-aps", "prefixes with Monte Carlo values"),
    (DataShape::ProcessBench, "process-bench", "ProcessBench"),
    (DataShape::Outputs, "outputs", "outputs of an inference server"),
    (DataShape::OpenaiBatch, "openai-batch", "OpenAI batch results"),
    (DataShape::LmEval, "lm-eval", "samples of lm-evaluation-harness"),
    (DataShape::Evalchemy, "evalchemy", "samples of evalchemy"),
    (DataShape::OpenR1, "openr1", "generations of OpenR1-Math"),
];

impl DataShape {
    /// The name by which it is chosen.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(shape, ..)| *shape == self).map_or("", |(_, name, _)| name)
    }

    /// What it is, in words.
    pub fn describe(self) -> &'static str {
        NAMES.iter().find(|(shape, ..)| *shape == self).map_or("", |(.., words)| words)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(shape, ..)| *shape)
    }

    /// Whether records of one prompt that follow each other are one problem.
    pub(crate) fn is_grouped(self) -> bool {
        matches!(self, Self::Responses | Self::Messages | Self::Preference | Self::LmEval)
    }
}

impl fmt::Display for DataShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DataShape {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::all().find(|shape| shape.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::all().map(Self::name).collect();
            format!("not one of {}", names.join(", "))
        })
    }
}

/// The shape of a record, by the fields it has.
pub(crate) fn detect(record: &Map<String, Value>) -> Parsed<DataShape> {
    let has = |name: &str| record.get(name).is_some_and(|value| !value.is_null());
    let is_text = |name: &str| record.get(name).is_some_and(Value::is_string);
    if has("modified_process") || has("error_steps") {
        return Err(unknown(record, "PRMBench, which `gratis evaluate prmbench` reads"));
    }
    if has("doc") && (has("resps") || has("filtered_resps")) {
        return Ok(DataShape::LmEval);
    }
    if has("custom_id") {
        let is_result = record.contains_key("response");
        return if is_result {
            Ok(DataShape::OpenaiBatch)
        } else {
            let advice = "the requests of a batch: give the file of its results, and this one as \
                          `--batch-input`";
            Err(unknown(record, advice))
        };
    }
    if has("chosen") && has("rejected") {
        return Ok(DataShape::Preference);
    }
    if has("generations")
        && (record.contains_key("correctness_math_verify") || has("is_reasoning_complete"))
    {
        return Ok(DataShape::OpenR1);
    }
    let has_examples = |task: &Value| task.get("examples").is_some_and(Value::is_array);
    let is_results = record
        .get("results")
        .and_then(Value::as_object)
        .is_some_and(|tasks| tasks.values().any(has_examples));
    if is_results || has("model_outputs") || (has("model_output") && has("model_answer")) {
        return Ok(DataShape::Evalchemy);
    }
    if let Some(conversation) = messages::conversation(record)
        && !named::has_responses(record)
    {
        let is_prm = steps::is_prm_chat(conversation);
        return Ok(if is_prm { DataShape::PrmChat } else { DataShape::Messages });
    }
    if is_text("input") && is_text("label") {
        return Ok(DataShape::MathShepherd);
    }
    if record.get("question").is_some_and(Value::is_object) || (has("steps") && has("ratings")) {
        return Ok(DataShape::Prm800k);
    }
    if has("reasoning_steps") {
        return Ok(DataShape::MathAps);
    }
    if has("problem") && has("steps") && has("final_answer_correct") {
        return Ok(DataShape::ProcessBench);
    }
    if outputs::has_outputs(record) {
        return Ok(DataShape::Outputs);
    }
    named::detect(record)
}

/// Reads one record of a shape, which may hold many problems.
pub(crate) fn adapt_all(
    shape: DataShape,
    record: Map<String, Value>,
    reading: &FileReading,
    requests: Option<&Requests>,
) -> Parsed<Vec<Rollout>> {
    match shape {
        DataShape::Evalchemy => outputs::evalchemy(record, reading),
        shape => adapt(shape, record, reading, requests).map(|rollout| vec![rollout]),
    }
}

/// Reads one record of a shape with one problem.
fn adapt(
    shape: DataShape,
    record: Map<String, Value>,
    reading: &FileReading,
    requests: Option<&Requests>,
) -> Parsed<Rollout> {
    match shape {
        DataShape::Gratis | DataShape::Problems => named::problem(record, reading),
        DataShape::Responses => named::response(record, reading),
        DataShape::Preference => preference::pair(record, reading),
        DataShape::Messages => messages::record(record, reading),
        DataShape::Stepwise => steps::stepwise(record, reading),
        DataShape::PrmChat => steps::prm_chat(record),
        DataShape::MathShepherd | DataShape::Prm800k => {
            super::published::parse(&Value::Object(record))
        }
        DataShape::MathAps => steps::math_aps(&record),
        DataShape::ProcessBench => steps::process_bench(record, reading),
        DataShape::Outputs => outputs::outputs(record, reading),
        DataShape::OpenaiBatch => outputs::batch(&record, requests),
        DataShape::LmEval => outputs::lm_eval(&record, reading),
        DataShape::OpenR1 => outputs::openr1(record, reading),
        DataShape::Evalchemy => Err(Fault::new("record", "one problem", "a file of results")),
    }
}

/// Applies the names that the user gave to columns.
pub(crate) fn rename(record: &mut Map<String, Value>, columns: &[(String, String)]) -> Parsed<()> {
    for (ours, theirs) in columns {
        let Some(value) = record.shift_remove(theirs) else {
            let expected = format!("a column, to be read as `{ours}`");
            return Err(Fault::new(theirs, expected, format!("only {}", fields(record))));
        };
        record.insert(ours.clone(), value);
    }
    Ok(())
}

/// Adds the completions of the next record to a problem, if it is the same problem.
pub(crate) fn merge(into: &mut Rollout, next: Rollout) -> Result<(), Box<Rollout>> {
    let is_same = into.prompt == next.prompt
        && into.context == next.context
        && into.reference == next.reference
        && !into.completions.is_empty();
    if !is_same {
        return Err(Box::new(next));
    }
    join(into, next);
    Ok(())
}

/// Adds the completions of another record of the same problem, and returns how many columns are
/// dropped: what differs belongs to the responses, and there is no column for it.
pub(crate) fn join(into: &mut Rollout, next: Rollout) -> u64 {
    let n_before = into.extra.len();
    into.completions.extend(next.completions);
    into.extra.retain(|name, value| next.extra.get(name) == Some(value));
    (n_before - into.extra.len()) as u64
}

/// The fields of a record, for messages.
fn fields(record: &Map<String, Value>) -> String {
    let names: Vec<_> = record.keys().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "no fields".to_owned() } else { names.join(", ") }
}

/// The fault of a record in no known shape.
fn unknown(record: &Map<String, Value>, nearest: &str) -> Fault {
    let expected = format!(
        "a problem with its responses in a known shape; the nearest is {nearest} (name the columns \
         by `--column prompt=NAME`, or the shape by `--shape`)"
    );
    Fault::new("record", expected, fields(record))
}

fn is_list_of(value: &Value, is_item: impl Fn(&Value) -> bool) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(is_item))
}

/// Takes the first of these fields that is there and not null.
fn take(record: &mut Map<String, Value>, names: &[&str]) -> Option<(String, Value)> {
    let name =
        names.iter().find(|name| record.get(**name).is_some_and(|value| !value.is_null()))?;
    Some(((*name).to_owned(), record.shift_remove(*name)?))
}

/// A text at a field.
fn text(name: &str, value: &Value) -> Parsed<String> {
    let fault = || Fault::new(name, "a string", shown(value));
    value.as_str().map(str::to_owned).ok_or_else(fault)
}

/// The beginning of a value, for messages.
fn shown(value: &Value) -> String {
    const MAX_CHARS: usize = 60;
    let text = exact::to_json(value, NotFinite::Named);
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("`{}...`", &text[..end]),
        None => format!("`{text}`"),
    }
}

/// A prompt with what was said before it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Prompt {
    /// Everything before the last user message.
    context: Vec<Message>,
    text: String,
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self { context: Vec::new(), text }
    }
}
