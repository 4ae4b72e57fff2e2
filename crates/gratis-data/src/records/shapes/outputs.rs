//! What inference servers and evaluation harnesses write.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::super::completion::{self, Completion};
use super::super::container::{Container, Raw};
use super::super::reading::FileReading;
use super::super::record::{self, Fault};
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, is_list_of, labels, messages, named, shown, take, text};
use crate::error::Result;

/// Whether a record has completion objects: `outputs` of vLLM, `choices` of the OpenAI interface, or
/// `text` with the `meta_info` of SGLang.
pub(super) fn has_outputs(record: &Map<String, Value>) -> bool {
    let is_object_list =
        |name: &str| record.get(name).is_some_and(|value| is_list_of(value, Value::is_object));
    is_object_list("outputs") || is_object_list("choices") || is_sglang(record)
}

fn is_sglang(record: &Map<String, Value>) -> bool {
    record.get("text").is_some_and(Value::is_string)
        && record.get("meta_info").is_some_and(Value::is_object)
}

/// Completion objects under `outputs` or `choices`, or a single one of SGLang.
pub(super) fn outputs(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let completions = if is_sglang(&record) {
        let mut output = Map::new();
        for name in ["text", "output_ids"] {
            output.extend(record.shift_remove(name).map(|value| (name.to_owned(), value)));
        }
        let reason = record["meta_info"].get("finish_reason").cloned();
        output.extend(reason.map(|reason| ("finish_reason".to_owned(), reason)));
        Value::Array(vec![Value::Object(output)])
    } else if let Some(Value::Array(choices)) = record.shift_remove("choices") {
        let text = |choice: &Value| {
            let mut output = choice.as_object().cloned().unwrap_or_default();
            if let Some(Value::Object(message)) = output.shift_remove("message") {
                output.extend(message);
            }
            Value::Object(output)
        };
        choices.iter().map(text).collect()
    } else {
        record.shift_remove("outputs").unwrap_or_default()
    };
    record.insert("completions".to_owned(), completions);
    named::problem(record, reading)
}

/// Samples of evalchemy: an example with `model_outputs` or `model_output`, or a whole file of results
/// with the examples of each task.
pub(super) fn evalchemy(record: Map<String, Value>, reading: &FileReading) -> Parsed<Vec<Rollout>> {
    let Some(Value::Object(tasks)) = record.get("results") else {
        return example(record, None, reading).map(|rollout| vec![rollout]);
    };
    let mut rollouts = Vec::new();
    for (task, results) in tasks {
        let Some(examples) = results.get("examples").and_then(Value::as_array) else { continue };
        for (idx, value) in examples.iter().enumerate() {
            let name = format!("results.{task}.examples[{idx}]");
            let Value::Object(fields) = value else {
                return Err(Fault::new(name, "an example", shown(value)));
            };
            let rollout = example(fields.clone(), Some(task), reading);
            rollouts.push(rollout.map_err(|fault| fault.within(&name))?);
        }
    }
    if rollouts.is_empty() {
        let expected = "tasks with `examples`";
        return Err(Fault::new(
            "results",
            expected,
            "none (evalchemy leaves them out if asked to)",
        ));
    }
    Ok(rollouts)
}

fn example(
    mut fields: Map<String, Value>,
    task: Option<&str>,
    reading: &FileReading,
) -> Parsed<Rollout> {
    if let Some(task) = task {
        fields.entry("dataset").or_insert_with(|| task.into());
    }
    let single = fields.shift_remove("model_output");
    if let Some(output) = single.filter(|output| !output.is_null()) {
        fields.entry("model_outputs").or_insert_with(|| json!([output]));
    }
    named::problem(fields, reading)
}

/// A problem of OpenR1-Math: `generations` with their verdicts, and whether each came to its end.
pub(super) fn openr1(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    record.shift_remove("messages");
    let complete = record.shift_remove("is_reasoning_complete");
    let has_reasons = record.get("finish_reasons").is_some_and(|reasons| !reasons.is_null());
    if let (Some(Value::Array(complete)), false) = (complete, has_reasons) {
        let reason = |complete: &Value| match complete.as_bool() {
            Some(true) => json!("stop"),
            Some(false) => json!("length"),
            None => Value::Null,
        };
        record.insert("finish_reasons".to_owned(), complete.iter().map(reason).collect());
    }
    named::problem(record, reading)
}

/// The prompts of a batch by `custom_id`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests(HashMap<String, Prompt>);

impl Requests {
    /// Reads a file of requests.
    ///
    /// # Errors
    /// [`crate::Error::InvalidRecord`] for a line that is no request.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut container = Container::open(path)?;
        let mut prompts = HashMap::new();
        while let Some((number, raw)) = container.next()? {
            let (id, prompt) = request(raw).map_err(|fault| fault.at(path, number))?;
            prompts.insert(id, prompt);
        }
        Ok(Self(prompts))
    }
}

fn request(raw: Raw<'_>) -> Parsed<(String, Prompt)> {
    let value = match raw {
        Raw::Json(line) => record::value_of(line)?,
        Raw::Row(value) => value,
        Raw::Invalid(fault) => return Err(fault),
    };
    let id = text("custom_id", &value["custom_id"])?;
    let body = &value["body"];
    let prompt = match (body.get("messages"), body.get("prompt")) {
        (Some(given), _) => {
            messages::prompt("body.messages", messages::messages("body.messages", given)?)?
        }
        (None, Some(given)) => text("body.prompt", given)?.into(),
        (None, None) => return Err(Fault::new("body", "`messages` or `prompt`", shown(body))),
    };
    Ok((id, prompt))
}

/// The choices of a batch result, with the prompt of its request.
pub(super) fn batch(record: &Map<String, Value>, requests: Option<&Requests>) -> Parsed<Rollout> {
    let id = text("custom_id", record.get("custom_id").unwrap_or(&Value::Null))?;
    let Some(Requests(prompts)) = requests else {
        let expected = "the prompt of its request: give the file of requests as `--batch-input`";
        return Err(Fault::new("custom_id", expected, format!("only the results of `{id}`")));
    };
    let Some(prompt) = prompts.get(&id) else {
        return Err(Fault::new("custom_id", "the id of a request", format!("`{id}`")));
    };
    if let Some(error) = record.get("error").filter(|error| !error.is_null()) {
        let expected = "null: send this request again, or skip such lines (`--skip-invalid`)";
        return Err(Fault::new("error", expected, shown(error)));
    }
    let response = &record["response"];
    let choices = response["body"]["choices"].as_array();
    let choices = choices.ok_or_else(|| {
        let status = &response["status_code"];
        Fault::new("response.body.choices", "a list", format!("none (status {status})"))
    })?;
    let choice = |(idx, choice): (usize, &Value)| {
        let field = format!("response.body.choices[{idx}]");
        let given = choice["message"].get("content").or_else(|| choice.get("text"));
        let text = text(&format!("{field}.message.content"), given.unwrap_or(&Value::Null))?;
        let text = messages::with_thought(&choice["message"], text);
        let reason = &choice["finish_reason"];
        let finish_reason =
            completion::any_finish_reason(&format!("{field}.finish_reason"), reason)?;
        let token_ids = match &choice["token_ids"] {
            Value::Null => None,
            ids => Some(named::token_ids(&format!("{field}.token_ids"), ids)?),
        };
        Ok(Completion { token_ids, finish_reason, ..text.into() })
    };
    Ok(Rollout {
        id: Some(id),
        prompt: prompt.text.clone(),
        context: prompt.context.clone(),
        completions: choices.iter().enumerate().map(choice).collect::<Parsed<_>>()?,
        ..Rollout::default()
    })
}

/// A document with the responses to it. The label is that of the first metric, if it is 0 or 1 and
/// there is just one response.
pub(super) fn lm_eval(record: &Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let mut document = record.get("doc").and_then(Value::as_object).cloned().unwrap_or_default();
    let prompt = if let Some((name, value)) = take(&mut document, named::PROMPT) {
        named::prompt(&format!("doc.{name}"), &value)?
    } else {
        let given = &record["arguments"]["gen_args_0"]["arg_0"];
        text("arguments.gen_args_0.arg_0", given)?.into()
    };
    let responses = record.get("resps").and_then(Value::as_array).map(Vec::as_slice);
    let mut completions = Vec::new();
    for group in responses.unwrap_or_default() {
        let group = group.as_array().map_or(std::slice::from_ref(group), Vec::as_slice);
        for response in group {
            completions.push(Completion::from(text("resps", response)?));
        }
    }
    let metric = record.get("metrics").and_then(|metrics| metrics[0].as_str());
    let metric = metric.and_then(|name| Some((name, record.get(name)?)));
    if let ([only], Some((name, value))) = (completions.as_mut_slice(), metric)
        && (labels::are_certain(value) || reading.shape.label_threshold.is_some())
    {
        labels::put(only, labels::label(name, value, reading)?);
    }
    let mut rest = Map::new();
    for name in ["doc_id", "target"] {
        if let Some(value) = record.get(name) {
            rest.insert(if name == "doc_id" { "id" } else { name }.to_owned(), value.clone());
        }
    }
    if !rest.contains_key("target")
        && let Some((name, value)) = take(&mut document, &["answer"])
    {
        rest.insert(name, value);
    }
    named::rollout(rest, prompt, completions, reading)
}
