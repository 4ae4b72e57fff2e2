//! `/classify`, `/pooling` and `/v1/embeddings`: how inference servers serve reward models.
//!
//! The input is a text that the model's chat template rendered, a list of such texts, or
//! `messages`. `/classify` and `/v1/embeddings` give one number per text, the reward; `/pooling`
//! gives one per step.

use gratis::data::Rollout;
use gratis_model::chat_template::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{scored, single_rewards};
use crate::conversation::Exchange;
use crate::error::Failure;
use crate::service::{Outcome, Prepared, Service, Work};

/// Fields that ask for nothing that changes the answer, such as `activation`, are ignored.
#[derive(Debug, Deserialize)]
struct Body {
    input: Option<Value>,
    messages: Option<Vec<Message>>,
}

pub(super) fn classify(service: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    prepare(service, body, |service, outcome| {
        let (_, scores, n_tokens) = scored(outcome)?;
        let rewards = single_rewards(service, &scores)?;
        let data = rewards.iter().enumerate().map(|(index, reward)| {
            json!({"index": index, "label": "LABEL_0", "probs": [reward], "num_classes": 1})
        });
        Ok(answer(service, "classify", data.collect(), n_tokens))
    })
}

pub(super) fn embeddings(service: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    prepare(service, body, |service, outcome| {
        let (_, scores, n_tokens) = scored(outcome)?;
        let rewards = single_rewards(service, &scores)?;
        let data = rewards.iter().enumerate().map(
            |(index, reward)| json!({"index": index, "object": "embedding", "embedding": [reward]}),
        );
        Ok(answer(service, "embd", data.collect(), n_tokens))
    })
}

pub(super) fn pooling(service: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    prepare(service, body, |service, outcome| {
        let (_, scores, n_tokens) = scored(outcome)?;
        let data = scores.iter().enumerate().map(|(index, line)| {
            let steps = line.scores.first().map_or(&[][..], |scored| &scored.steps);
            let steps: Vec<[f64; 1]> = steps.iter().map(|reward| [*reward]).collect();
            json!({"index": index, "object": "pooling", "data": steps})
        });
        Ok(answer(service, "pooling", data.collect(), n_tokens))
    })
}

fn answer(service: &Service, kind: &str, data: Vec<Value>, n_tokens: usize) -> Value {
    json!({
        "id": format!("{kind}-gratis"),
        "object": "list",
        "created": 0,
        "model": service.about.origin.model,
        "data": data,
        "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens, "completion_tokens": 0},
    })
}

fn prepare(
    service: &Service,
    body: &[u8],
    shape: fn(&Service, Outcome) -> Result<Value, Failure>,
) -> Result<Prepared, Failure> {
    let Body { input, messages } = serde_json::from_slice(body)?;
    let rollouts = match (input, messages) {
        (Some(Value::String(text)), None) => vec![of_text(service, &text, 1)?],
        (Some(Value::Array(texts)), None) => (1..)
            .zip(texts)
            .map(|(number, text)| match text {
                Value::String(text) => of_text(service, &text, number),
                _ => Err(Failure::invalid("`input` should be a text or a list of texts")
                    .hinted("token ids are not read: decode them, special tokens included")),
            })
            .collect::<Result<_, _>>()?,
        (None, Some(messages)) => vec![of_messages(messages)?],
        _ => return Err(Failure::invalid("the body should have `input` or `messages`")),
    };
    Ok(Prepared { work: Work::Score(rollouts), deadline: None, shape: Box::new(shape) })
}

fn of_text(service: &Service, text: &str, number: usize) -> Result<Rollout, Failure> {
    let Exchange { problem, response } = service.form.split(text)?;
    Ok(Rollout {
        id: Some(format!("{number}")),
        prompt: problem,
        completions: vec![response.into()],
        ..Rollout::default()
    })
}

/// The last message is the response, the one before it the problem.
fn of_messages(mut messages: Vec<Message>) -> Result<Rollout, Failure> {
    let response = messages.pop().filter(|message| message.role == "assistant");
    let problem = messages.pop().filter(|message| message.role == "user");
    let (Some(response), Some(problem)) = (response, problem) else {
        let message = "`messages` should end in one of the `user` and one of the `assistant`";
        return Err(Failure::invalid(message));
    };
    Ok(Rollout {
        id: Some("1".to_owned()),
        prompt: problem.content,
        context: messages,
        completions: vec![response.content.into()],
        ..Rollout::default()
    })
}
