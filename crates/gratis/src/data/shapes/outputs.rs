//! What inference servers and evaluation harnesses write.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::completion::{self, Completion};
use super::super::container::{Container, Raw};
use super::super::reading::Reading;
use super::super::record::{self, Fault};
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, labels, messages, named, shown, take, text};
use crate::error::Result;

/// Completion objects of a vLLM or SGLang dump under `outputs`.
pub(super) fn outputs(mut record: Map<String, Value>, reading: &Reading) -> Parsed<Rollout> {
    let outputs = record.shift_remove("outputs").unwrap_or_default();
    record.insert("completions".to_owned(), outputs);
    named::problem(record, reading)
}

/// The prompts of a batch by `custom_id`.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Requests(HashMap<String, Prompt>);

impl Requests {
    /// Reads a file of requests.
    ///
    /// # Errors
    /// [`crate::Error::InvalidRecord`] for a line that is no request.
    pub(in super::super) fn read(path: &Path) -> Result<Self> {
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
        let reason = choice["finish_reason"].as_str().map(completion::finish_reason).transpose()?;
        Ok(Completion { finish_reason: reason, ..text.into() })
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
pub(super) fn lm_eval(record: &Map<String, Value>, reading: &Reading) -> Parsed<Rollout> {
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
