//! The bodies of vLLM, SGLang and OpenAI.

use gratis_engine::{FinishReason, Sample, SamplingSettings};
use serde_json::{Map, Value, json};

use crate::model::{Model, Sampling};

/// A status and a body.
pub(crate) type Answer = (u16, Value);

/// An error as vLLM writes it.
pub(crate) fn error(status: u16, message: &str) -> Answer {
    let kind = if status < 500 { "BadRequestError" } else { "InternalServerError" };
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": status}});
    (status, body)
}

/// `GET /v1/models`.
pub(crate) fn models(names: &[String], context_length: usize) -> Answer {
    let of = |(idx, name): (usize, &String)| {
        json!({
            "id": name,
            "object": "model",
            "owned_by": "vllm",
            "root": name,
            "parent": if idx == 0 { Value::Null } else { json!(names[0]) },
            "max_model_len": if idx == 0 { json!(context_length) } else { Value::Null },
        })
    };
    let data: Vec<Value> = names.iter().enumerate().map(of).collect();
    (200, json!({"object": "list", "data": data}))
}

/// One prompt or many.
pub(crate) fn prompts(value: &Value) -> Option<Vec<Vec<u32>>> {
    let list = value.as_array()?;
    let ids = |list: &Vec<Value>| -> Option<Vec<u32>> {
        list.iter().map(|id| id.as_u64().map(|id| id as u32)).collect()
    };
    if list.iter().all(Value::is_array) {
        return list.iter().map(|list| ids(list.as_array()?)).collect();
    }
    Some(vec![ids(list)?])
}

pub(crate) fn check(model: &dyn Model, prompts: &[Vec<u32>]) -> Result<(), Answer> {
    for prompt in prompts {
        if prompt.len() >= model.context_length() {
            let n = model.context_length();
            let message = format!("This model's maximum context length is {n} tokens.");
            return Err(error(400, &message));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= model.vocab_size()) {
            return Err(error(400, &format!("Token id {id} is out of vocabulary")));
        }
    }
    Ok(())
}

/// The sampling settings of a body in which the names of vLLM or of SGLang stand.
fn sampling(body: &Value, max_tokens: &str, seed: &str) -> Sampling {
    let number = |name: &str, default: f64| body[name].as_f64().unwrap_or(default);
    let stop = body["stop_token_ids"].as_array().cloned().unwrap_or_default();
    let stop_tokens = stop.iter().filter_map(Value::as_u64).map(|id| id as u32).collect();
    Sampling {
        settings: SamplingSettings {
            temperature: number("temperature", 1.0) as f32,
            top_p: number("top_p", 1.0) as f32,
            top_k: body["top_k"].as_i64().unwrap_or(0).max(0) as usize,
            max_new_tokens: body[max_tokens].as_u64().unwrap_or(16) as usize,
            stop_tokens,
            seed: body[seed].as_u64().unwrap_or(0),
        },
    }
}

fn reason(sample: &Sample) -> &'static str {
    match sample.finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}

/// `POST /v1/completions`.
pub(crate) fn completions(body: &Value, model: &dyn Model) -> Answer {
    let Some(prompts) = prompts(&body["prompt"]) else { return error(400, "a prompt of ids") };
    if let Err(answer) = check(model, &prompts) {
        return answer;
    }
    let named = |id: u32| format!("token_id:{id}");
    let choice = |(index, prompt): (usize, &Vec<u32>)| {
        let mut choice = json!({
            "index": index, "text": "", "logprobs": null, "finish_reason": "length",
            "stop_reason": null, "prompt_logprobs": null,
        });
        if body["return_token_ids"] == true {
            choice["prompt_token_ids"] = json!(prompt);
        }
        let scores = || model.scores(prompt);
        if body["echo"] == true {
            let values = scores().into_iter().map(|value| json!(value));
            let values: Vec<Value> = std::iter::once(Value::Null).chain(values).collect();
            choice["logprobs"] = json!({
                "tokens": prompt.iter().map(|&id| named(id)).collect::<Vec<_>>(),
                "token_logprobs": values,
            });
            return choice;
        }
        if body["prompt_logprobs"].is_u64() {
            let mut rows = vec![Value::Null];
            for (id, value) in prompt[1..].iter().zip(scores()) {
                let entry = json!({"logprob": value, "rank": 1, "decoded_token": ""});
                let mut row = Map::new();
                row.insert(id.to_string(), entry);
                rows.push(Value::Object(row));
            }
            choice["prompt_logprobs"] = json!(rows);
            choice["token_ids"] = json!([0]);
            return choice;
        }
        let allowed = body["allowed_token_ids"].as_array();
        if let Some(id) = allowed.and_then(|ids| ids.first()).and_then(Value::as_u64) {
            let id = id as u32;
            let value = model.scores(&[prompt, &[id][..]].concat()).last().copied();
            choice["token_ids"] = json!([id]);
            choice["logprobs"] = json!({"tokens": [named(id)], "token_logprobs": [value]});
            return choice;
        }
        let sample = model.sample(prompt, &sampling(body, "max_tokens", "seed"));
        choice["finish_reason"] = json!(reason(&sample));
        choice["token_ids"] = json!(sample.tokens);
        choice["logprobs"] = json!({
            "tokens": sample.tokens.iter().map(|&id| named(id)).collect::<Vec<_>>(),
            "token_logprobs": sample.log_probs,
        });
        choice
    };
    let choices: Vec<Value> = prompts.iter().enumerate().map(choice).collect();
    (200, json!({"id": "cmpl-0", "object": "text_completion", "choices": choices}))
}

/// `POST /generate`.
pub(crate) fn generate(body: &Value, model: &dyn Model) -> Answer {
    let Some(prompts) = prompts(&body["input_ids"]) else { return error(400, "ids") };
    if let Err(answer) = check(model, &prompts) {
        return answer;
    }
    let parameters = &body["sampling_params"];
    let item = |(index, prompt): (usize, &Vec<u32>)| {
        if parameters["max_new_tokens"] == 0 {
            let start = match &body["logprob_start_len"] {
                Value::Array(starts) => starts[index].as_u64(),
                start => start.as_u64(),
            };
            let start = start.unwrap_or(0) as usize;
            let scores = model.scores(prompt);
            let entries = (start..prompt.len()).map(|at| {
                let value = if at == start { Value::Null } else { json!(scores[at - 1]) };
                json!([value, prompt[at], null])
            });
            return json!({
                "text": "", "output_ids": [],
                "meta_info": {
                    "input_token_logprobs": entries.collect::<Vec<_>>(),
                    "finish_reason": {"type": "length", "length": 0},
                },
            });
        }
        let sample = model.sample(prompt, &sampling(parameters, "max_new_tokens", "sampling_seed"));
        let entries = sample.tokens.iter().zip(&sample.log_probs);
        json!({
            "text": "",
            "output_ids": sample.tokens,
            "meta_info": {
                "finish_reason": {"type": reason(&sample)},
                "output_token_logprobs": entries.map(|(id, value)| json!([value, id, null]))
                    .collect::<Vec<_>>(),
            },
        })
    };
    (200, Value::Array(prompts.iter().enumerate().map(item).collect()))
}
