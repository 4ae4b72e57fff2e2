//! Problems and responses under the usual names of their columns.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::super::completion::{self, Completion};
use super::super::reading::{DoubtfulLabel, FileReading};
use super::super::record::{self, Fault};
use super::super::rollout::Rollout;
use super::labels::Label;
use super::{
    DataShape, Parsed, Prompt, fields, is_list_of, labels, messages, shown, take, text, unknown,
};
use crate::exact;

/// Names of the problem, the first that is there counts.
pub(super) const PROMPT: &[&str] =
    &["prompt", "question", "problem", "instruction", "query", "input", "inputs"];

/// Names of the gold answer.
const REFERENCE: &[&str] = &[
    "reference",
    "expected_answer",
    "ground_truth",
    "ground_truth_answer",
    "gt",
    "gts",
    "gold",
    "final_answer",
    "target",
    "answer",
];

/// Names of a list of responses.
const RESPONSES: &[&str] = &[
    "completions",
    "responses",
    "generations",
    "samples",
    "candidates",
    "model_outputs",
    "outputs",
    "answers",
    "code",
];

/// Those of them that are never gold answers or a single program.
const CLEARLY_RESPONSES: usize = 7;

/// Names of a single response.
const RESPONSE: &[&str] = &[
    "completion",
    "response",
    "generation",
    "output",
    "candidate",
    "generated_text",
    "generated_solution",
    "model_output",
    "model_response",
];

/// Names of the token ids of a response.
const TOKEN_IDS: &[&str] = &[
    "token_ids",
    "response_token_ids",
    "completion_token_ids",
    "output_token_ids",
    "response_ids",
    "completion_ids",
    "output_ids",
];

/// Names that only a label has.
const LABEL: &[&str] = &["correctness", "correct", "is_correct", "label"];

/// Names that a label may have: their values decide.
const MAYBE_LABEL: &[&str] = &[
    "labels",
    "symbolic_correct",
    "judge_correct",
    "correctness_math_verify",
    "correctness_llama",
    "score",
    "scores",
    "rewards",
    "reward",
    "acc",
    "accuracy_reward",
];

const ID: &[&str] = &[
    "id",
    "idx",
    "unique_id",
    "uid",
    "problem_id",
    "question_id",
    "request_id",
    "prompt_id",
    "uuid",
    "doc_id",
];
const DATASET: &[&str] = &["dataset", "data_source", "task", "subset"];

/// The shape of a record with a problem and responses, or neither.
pub(super) fn detect(record: &Map<String, Value>) -> Parsed<DataShape> {
    let there = |name: &&str| record.get(*name).is_some_and(|value| !value.is_null());
    if there(&"gold") && (there(&"pred") || there(&"prediction")) {
        return Err(unknown(record, "grading cases, which `gratis grade --cases` reads"));
    }
    if there(&"scores") && there(&"version") {
        return Err(unknown(record, "a score file, which `gratis select --scores` reads"));
    }
    let Some(prompt) = PROMPT.iter().copied().find(|name| there(name)) else {
        let has_responses = RESPONSES.iter().chain(RESPONSE).any(there);
        return if has_responses || conversation_column(record) {
            Ok(DataShape::Problems)
        } else {
            Err(unknown(record, "one problem per record, which needs `prompt`"))
        };
    };
    let responses = RESPONSES.iter().copied().find(|name| {
        // `answers` may as well be a list of gold answers.
        there(name) && (*name != "answers" || !there(&"completion"))
    });
    if is_table(&record[prompt]) {
        let expected = "one record per problem, not one object of columns (with pandas: \
                        `to_json(path, orient=\"records\", lines=True)`)";
        return Err(Fault::new("record", expected, shown(&record[prompt])));
    }
    let Some(responses) = responses else {
        return if list_of_responses(record).is_some() {
            Ok(DataShape::Problems)
        } else if RESPONSE.iter().any(there) {
            Ok(DataShape::Responses)
        } else if prompt == "prompt" && is_plain_problem(record) {
            Ok(DataShape::Gratis)
        } else {
            Ok(DataShape::Problems)
        };
    };
    if responses == "completions"
        && !LABEL.iter().any(there)
        && record.get("labels").is_some_and(labels::are_shares)
    {
        if REFERENCE.iter().any(there) {
            let expected = "`correctness` for the labels of rival responses; `labels` beside \
                            `completions` may also be those of the steps of one response (choose by \
                            `--column correctness=labels` or `--shape stepwise`)";
            return Err(Fault::new("labels", expected, fields(record)));
        }
        return Ok(DataShape::Stepwise);
    }
    let is_text_list = record[responses]
        .as_array()
        .is_some_and(|items| items.iter().all(|item| item.is_string() || item.is_null()));
    let is_ours = prompt == "prompt"
        && responses == "completions"
        && is_text_list
        && is_plain_problem(record)
        && record.get("correctness").is_none_or(are_plain_labels)
        && !record.get("step_labels").is_some_and(has_booleans)
        && (there(&"correctness") || !LABEL.iter().chain(MAYBE_LABEL).any(there));
    Ok(if is_ours { DataShape::Gratis } else { DataShape::Problems })
}

fn has_booleans(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_booleans),
        value => value.is_boolean(),
    }
}

/// Booleans as 1 and 0.
fn as_numbers(value: Value) -> Value {
    match value {
        Value::Bool(label) => Value::from(u8::from(label)),
        Value::Array(items) => items.into_iter().map(as_numbers).collect(),
        value => value,
    }
}

/// Whether a problem's column holds the problems of a whole table.
fn is_table(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty() && items.iter().all(Value::is_string),
        Value::Object(rows) => rows.keys().all(|name| name.parse::<u64>().is_ok()),
        _ => false,
    }
}

fn conversation_column(record: &Map<String, Value>) -> bool {
    messages::conversation(record).is_some()
}

/// Whether prompt and gold answer need no conversion.
fn is_plain_problem(record: &Map<String, Value>) -> bool {
    let is_null = |name: &str| record.get(name).is_none_or(Value::is_null);
    record.get("prompt").is_some_and(Value::is_string)
        && match record.get("reference") {
            Some(Value::String(_)) => true,
            None | Some(Value::Null) => REFERENCE.iter().all(|name| is_null(name)),
            Some(_) => false,
        }
}

fn are_plain_labels(value: &Value) -> bool {
    let is_plain = |item: &Value| item.is_boolean() || item.is_null();
    value.is_null() || value.as_array().is_some_and(|items| items.iter().all(is_plain))
}

/// The columns of a record that are read under another name, `(ours, the file's)`.
pub(crate) fn mapping(
    shape: DataShape,
    record: &Map<String, Value>,
) -> Vec<(&'static str, String)> {
    let there = |names: &[&str]| {
        let name = names.iter().find(|name| record.get(**name).is_some_and(|v| !v.is_null()));
        name.map(|name| (*name).to_owned())
    };
    let responses = match shape {
        DataShape::Problems | DataShape::Gratis if there(RESPONSES).is_some() => RESPONSES,
        DataShape::Problems | DataShape::Gratis => {
            if list_of_responses(record).is_some() {
                RESPONSE
            } else {
                &[]
            }
        }
        DataShape::Responses => RESPONSE,
        _ => return Vec::new(),
    };
    let certain = MAYBE_LABEL
        .iter()
        .copied()
        .filter(|name| record.get(*name).is_some_and(|v| labels::are_certain(&labels::inner(v))));
    let label = there(LABEL).or_else(|| certain.map(str::to_owned).next());
    let found = [
        ("prompt", there(PROMPT)),
        ("reference", there(REFERENCE)),
        ("completions", there(responses)),
        ("correctness", label),
    ];
    let other = |(ours, theirs): (&'static str, Option<String>)| {
        theirs.filter(|theirs| theirs != ours).map(|theirs| (ours, theirs))
    };
    found.into_iter().filter_map(other).collect()
}

/// The name of a single response that holds a list of them.
fn list_of_responses(record: &Map<String, Value>) -> Option<&'static str> {
    let is_list = |name: &&&'static str| {
        record.get(**name).is_some_and(|value| {
            is_list_of(value, |item| item.is_string() || item.is_object())
                && !messages::are_messages(value)
        })
    };
    RESPONSE.iter().find(is_list).copied()
}

/// Whether a record has a list of responses of its own, beside a conversation.
pub(super) fn has_responses(record: &Map<String, Value>) -> bool {
    let names = &RESPONSES[..CLEARLY_RESPONSES];
    names.iter().any(|name| record.get(*name).is_some_and(Value::is_array))
}

/// Gives each completion its entry of a list in the record, if there is such a list.
fn spread(
    record: &mut Map<String, Value>,
    names: &[&str],
    completions: &mut [Completion],
    put: impl Fn(&mut Completion, &str, &Value) -> Parsed<()>,
) -> Parsed<()> {
    let n = completions.len();
    let is_spread = |value: &Value| value.as_array().is_some_and(|items| items.len() == n);
    let fits = |name: &&&str| record.get(**name).is_some_and(is_spread);
    let Some(name) = names.iter().find(fits).filter(|_| n > 0) else { return Ok(()) };
    let Some(Value::Array(items)) = record.shift_remove(*name) else { return Ok(()) };
    for (idx, (completion, item)) in completions.iter_mut().zip(&items).enumerate() {
        if !item.is_null() {
            put(completion, &format!("{name}[{idx}]"), item)?;
        }
    }
    Ok(())
}

fn put_finish_reason(completion: &mut Completion, name: &str, value: &Value) -> Parsed<()> {
    completion.finish_reason = completion::any_finish_reason(name, value)?;
    Ok(())
}

fn put_token_ids(completion: &mut Completion, name: &str, value: &Value) -> Parsed<()> {
    completion.token_ids = Some(token_ids(name, value)?);
    Ok(())
}

/// A problem with a list of responses, or none.
pub(super) fn problem(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let prompt = take_prompt(&mut record)?;
    let list = take(&mut record, RESPONSES).or_else(|| {
        let name = list_of_responses(&record)?;
        take(&mut record, &[name])
    });
    let mut completions: Vec<Completion> = match list {
        None => Vec::new(),
        Some((name, Value::Array(items))) => {
            let item = |(idx, item)| response_of(&format!("{name}[{idx}]"), item, reading);
            items.iter().enumerate().map(item).collect::<Parsed<_>>()?
        }
        Some((name, value)) => vec![response_of(&name, &value, reading)?],
    };
    let reasons = ["finish_reasons", "finish_reason"];
    spread(&mut record, &reasons, &mut completions, put_finish_reason)?;
    spread(&mut record, TOKEN_IDS, &mut completions, put_token_ids)?;
    rollout(record, prompt, completions, reading)
}

/// A problem with one response.
pub(super) fn response(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let Some((name, value)) = take(&mut record, RESPONSE) else {
        return Err(Fault::new("completion", "a response", format!("only {}", fields(&record))));
    };
    // Alpaca's `input` belongs to its `instruction`.
    let input = record.get("instruction").is_some().then(|| record.shift_remove("input")).flatten();
    let mut prompt = take_prompt(&mut record)?;
    if let Some(input) = input.as_ref().and_then(Value::as_str).filter(|input| !input.is_empty()) {
        prompt.text = format!("{}\n{input}", prompt.text);
    }
    let mut completion = response_of(&name, &value, reading)?;
    if let Some((name, reason)) = take(&mut record, &["finish_reason"]) {
        put_finish_reason(&mut completion, &name, &reason)?;
    }
    if let Some((name, ids)) = take(&mut record, TOKEN_IDS) {
        put_token_ids(&mut completion, &name, &ids)?;
    }
    rollout(record, prompt, vec![completion], reading)
}

/// What is left of a record becomes the rollout of this prompt and these responses.
pub(super) fn rollout(
    mut record: Map<String, Value>,
    prompt: Prompt,
    completions: Vec<Completion>,
    reading: &FileReading,
) -> Parsed<Rollout> {
    let mut columns = Map::new();
    if let Some((_, id)) = take(&mut record, ID) {
        columns.insert("id".to_owned(), id);
    }
    columns.insert("prompt".to_owned(), prompt.text.into());
    if let Some(Value::Object(mut model)) = record.get("reward_model").cloned()
        && let Some(gold) = model.shift_remove("ground_truth")
    {
        record.shift_remove("reward_model");
        record.insert("ground_truth".to_owned(), gold);
    }
    if let Some((name, value)) = take(&mut record, REFERENCE) {
        columns.insert("reference".to_owned(), reference(&name, &value)?.into());
    }
    if let Some((_, Value::String(name))) = take(&mut record, DATASET) {
        columns.insert("dataset".to_owned(), name.into());
    }
    let texts: Vec<_> = completions.iter().map(|completion| completion.text.as_str()).collect();
    columns.insert("completions".to_owned(), json!(texts));
    let labels = take_labels(&mut record, &completions, reading)?;
    let hard: Vec<_> = labels.iter().map(|label| label.and_then(Label::hard)).collect();
    if hard.iter().any(Option::is_some) {
        columns.insert("correctness".to_owned(), json!(hard));
    }
    let soft: Vec<_> = labels.iter().map(|label| label.and_then(Label::soft)).collect();
    if soft.iter().any(Option::is_some) {
        columns.insert("soft_labels".to_owned(), json!(soft));
    }
    if let Some(labels) = record.shift_remove("step_labels") {
        columns.insert("step_labels".to_owned(), as_numbers(labels));
    }
    for (name, value) in record {
        columns.entry(name).or_insert(value);
    }
    let mut rollout: Rollout = record::from_value(Value::Object(columns))?;
    rollout.context = prompt.context;
    for (into, from) in rollout.completions.iter_mut().zip(completions) {
        into.finish_reason = into.finish_reason.or(from.finish_reason);
        into.token_ids = into.token_ids.take().or(from.token_ids);
        into.step_labels = into.step_labels.take().or(from.step_labels);
        into.steps = into.steps.take().or(from.steps);
    }
    Ok(rollout)
}

/// The labels of the responses: their own, or those of the column that holds some.
fn take_labels(
    record: &mut Map<String, Value>,
    completions: &[Completion],
    reading: &FileReading,
) -> Parsed<Vec<Option<Label>>> {
    let own = |completion: &Completion| {
        completion.label.map(Label::Hard).or(completion.soft_label.map(Label::Soft))
    };
    let own: Vec<_> = completions.iter().map(own).collect();
    if completions.is_empty() || own.iter().any(Option::is_some) {
        return Ok(own);
    }
    let name = LABEL.iter().find(|name| record.get(**name).is_some_and(|value| !value.is_null()));
    let has_threshold = reading.shape.label_threshold.is_some();
    let is_label = |value: &Value| {
        let is_number = |value: &Value| value.is_number() || value.is_null();
        labels::are_certain(value)
            || (has_threshold
                && value.as_array().map_or(is_number(value), |items| items.iter().all(is_number)))
    };
    let doubtful = doubtful(record);
    let maybe = doubtful.as_ref().filter(|(_, value)| is_label(value)).map(|(name, _)| *name);
    let maybe = maybe.filter(|_| has_threshold || reading.doubtful_label != DoubtfulLabel::NoLabel);
    if name.is_none()
        && reading.doubtful_label == DoubtfulLabel::Label
        && let Some((name, value)) = doubtful.as_ref().filter(|(_, value)| !is_label(value))
    {
        let expected = "`true`, `false`, 0, 1 or null, as in the records before (`--label-threshold X` \
                        labels responses correct from X on; `--column correctness=NAME` reads \
                        numbers between 0 and 1 as soft labels)";
        return Err(Fault::new(*name, expected, shown(value)));
    }
    let Some(name) = name.copied().or(maybe) else { return Ok(own) };
    let value = record.shift_remove(name).unwrap_or_default();
    labels::labels(name, &labels::inner(&value), completions.len(), reading)
}

/// The first column that may hold labels, and holds something. One with labels comes first.
fn doubtful(record: &Map<String, Value>) -> Option<(&'static str, Cow<'_, Value>)> {
    let there = |name: &&'static str| {
        let value = record.get(*name).filter(|value| !value.is_null())?;
        Some((*name, labels::inner(value)))
    };
    let mut found = MAYBE_LABEL.iter().filter_map(there);
    let certain = found.clone().find(|(_, value)| labels::are_certain(value));
    certain.or_else(|| found.next())
}

/// The column that may hold labels and is not read as such, with what to do; nothing where another
/// column has the labels.
pub(crate) fn unread_label(record: &Map<String, Value>, reading: &FileReading) -> Option<String> {
    let is_there = |name: &&str| record.get(*name).is_some_and(|value| !value.is_null());
    let is_read = LABEL.iter().any(is_there) || reading.shape.label_threshold.is_some();
    let (name, _) =
        doubtful(record).filter(|(_, value)| !labels::are_certain(value) && !is_read)?;
    Some(format!(
        "; `{name}` is not read as labels (`--label-threshold X`: correct from X on; `--column \
         correctness={name}`: soft labels)"
    ))
}

/// Gives a record names in lower case, if its problem has one of the usual names but for the case.
pub(crate) fn fold_case(record: &mut Map<String, Value>) {
    let is_usual = |name: &str| PROMPT.contains(&name);
    if record.keys().any(|name| is_usual(name))
        || !record.keys().any(|name| is_usual(&name.to_lowercase()))
    {
        return;
    }
    let fields = std::mem::take(record);
    for (name, value) in fields {
        let lower = name.to_lowercase();
        let name = if record.contains_key(&lower) { name } else { lower };
        record.insert(name, value);
    }
}

/// Whether the column that may hold labels holds some, by the first record that has such a column.
pub(crate) fn doubtful_label(record: &Map<String, Value>) -> DoubtfulLabel {
    match doubtful(record) {
        None => DoubtfulLabel::Unknown,
        Some((_, value)) if labels::are_certain(&value) => DoubtfulLabel::Label,
        Some(_) => DoubtfulLabel::NoLabel,
    }
}

fn take_prompt(record: &mut Map<String, Value>) -> Parsed<Prompt> {
    if let Some((name, value)) = take(record, PROMPT) {
        return prompt(&name, &value);
    }
    let columns = ["messages", "conversations", "conversation"];
    if let Some((name, value)) = take(record, &columns) {
        return prompt(&name, &value);
    }
    let got = format!("only {}", fields(record));
    Err(Fault::new("prompt", "a problem (`--column prompt=NAME` names its column)", got))
}

/// A prompt given as text or as messages.
pub(super) fn prompt(name: &str, value: &Value) -> Parsed<Prompt> {
    if messages::are_messages(value) {
        messages::prompt(name, messages::messages(name, value)?)
    } else {
        text(name, value).map(Prompt::from)
    }
}

/// A response given as text, as messages, or as an object with its text.
fn response_of(name: &str, value: &Value, reading: &FileReading) -> Parsed<Completion> {
    if messages::are_messages(value) {
        let messages = messages::messages(name, value)?;
        return messages::response(name, &messages).map(Completion::from);
    }
    let Value::Object(fields) = value else { return text(name, value).map(Completion::from) };
    let mut fields = fields.clone();
    let texts = ["text", "completion", "response", "generation", "content", "output"];
    let Some((key, value)) = take(&mut fields, &texts) else {
        return Err(Fault::new(name, "a response: text, or an object with `text`", shown(value)));
    };
    let said = text(&format!("{name}.{key}"), &value)?;
    let given = Value::Object(fields);
    let mut completion = Completion::from(messages::with_thought(&given, said));
    let Value::Object(mut fields) = given else { return Ok(completion) };
    if let Some((key, value)) = take(&mut fields, LABEL) {
        let label = labels::label(&format!("{name}.{key}"), &value, reading)?;
        labels::put(&mut completion, label);
    }
    if let Some((key, reason)) = take(&mut fields, &["finish_reason"]) {
        put_finish_reason(&mut completion, &format!("{name}.{key}"), &reason)?;
    }
    if let Some((key, ids)) = take(&mut fields, TOKEN_IDS) {
        put_token_ids(&mut completion, &format!("{name}.{key}"), &ids)?;
    }
    Ok(completion)
}

pub(super) fn token_ids(name: &str, value: &Value) -> Parsed<Vec<u32>> {
    let id = |item: &Value| item.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = value.as_array().and_then(|items| items.iter().map(id).collect());
    ids.ok_or_else(|| Fault::new(name, "a list of token ids", shown(value)))
}

/// A gold answer: text, a number, or a list of just one. What follows `####` is GSM8K's answer.
pub(super) fn reference(name: &str, value: &Value) -> Parsed<String> {
    let expected = "a gold answer: a string, a number, or a list of just one";
    let fault = || Fault::new(name, expected, shown(value));
    match value {
        Value::String(text) => {
            Ok(text.rsplit_once("####").map_or(text.as_str(), |(_, answer)| answer.trim()).into())
        }
        Value::Array(items) => match items.as_slice() {
            [only] => reference(name, only),
            _ => Err(fault()),
        },
        Value::Number(number) => Ok(number.to_string()),
        value => exact::text_of(value).map(str::to_owned).ok_or_else(fault),
    }
}
