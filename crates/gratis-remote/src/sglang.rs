//! The native route of SGLang: `POST /generate`.
//!
//! Scoring asks for the response only (`logprob_start_len`), and a prompt that is shared by several
//! sequences is taken from the prefix cache, so the sequences of a prompt are sent together.

use gratis_engine::Sample;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Draw, Sequence, as_written, finish, log_prob};

/// Route of the requests.
pub(crate) const ROUTE: &str = "/generate";

/// `[log-probability, token, text]`.
type Entry = (Option<f64>, u32, Option<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Many(Vec<Item>),
    One(Item),
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    output_ids: Option<Vec<u32>>,
    meta_info: Meta,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    input_token_logprobs: Option<Vec<Entry>>,
    #[serde(default)]
    output_token_logprobs: Option<Vec<Entry>>,
    #[serde(default)]
    finish_reason: Option<FinishReason>,
}

#[derive(Deserialize)]
struct FinishReason {
    #[serde(rename = "type")]
    kind: String,
}

/// The body that asks for the log-probabilities of sequences. `adapter` is the name of an adapter,
/// or empty.
pub(crate) fn score_body(adapter: &str, sequences: &[Sequence]) -> Value {
    let ids: Vec<&[u32]> = sequences.iter().map(|sequence| &sequence.tokens[..]).collect();
    // The first entry of the list has no value: it is the token before the first scored one.
    let starts: Vec<usize> = sequences.iter().map(|sequence| sequence.n_context - 1).collect();
    let body = json!({
        "input_ids": ids,
        "sampling_params": { "max_new_tokens": 0, "temperature": 0 },
        "return_logprob": true,
        "logprob_start_len": starts,
        "top_logprobs_num": 0,
        "return_text_in_logprobs": false,
    });
    with_adapter(body, adapter, sequences.len())
}

fn with_adapter(mut body: Value, adapter: &str, n: usize) -> Value {
    if !adapter.is_empty() {
        body["lora_path"] = if n == 1 { json!([adapter]) } else { json!(vec![adapter; n]) };
    }
    body
}

/// The log-probabilities of the scored tokens of every sequence.
pub(crate) fn read_scores(body: &[u8], sequences: &[Sequence]) -> Result<Vec<Vec<f32>>, String> {
    let items = items(body)?;
    if items.len() != sequences.len() {
        return Err(format!("it has {} results for {} sequences", items.len(), sequences.len()));
    }
    let read = |(item, sequence): (Item, &Sequence)| {
        let entries = item.meta_info.input_token_logprobs.ok_or("no `input_token_logprobs`")?;
        let scored = &sequence.tokens[sequence.n_context - 1..];
        if entries.iter().map(|(_, token, _)| token).ne(scored) {
            return Err(format!(
                "`input_token_logprobs` has other tokens than the {} that were asked for",
                scored.len()
            ));
        }
        let mut values = Vec::with_capacity(sequence.n_scored());
        for (at, (value, _, _)) in entries.iter().enumerate().skip(1) {
            let value = value.ok_or_else(|| format!("entry {at} is null"))?;
            values.push(log_prob(value).map_err(|reason| format!("token {at}: {reason}"))?);
        }
        Ok(values)
    };
    items.into_iter().zip(sequences).map(read).collect()
}

/// The body that asks for one sample.
pub(crate) fn sample_body(adapter: &str, draw: &Draw) -> Value {
    let body = json!({
        "input_ids": [draw.prompt],
        "sampling_params": {
            "n": 1,
            "max_new_tokens": draw.max_new_tokens,
            "temperature": as_written(draw.temperature),
            "top_p": as_written(draw.top_p),
            "top_k": if draw.top_k == 0 { -1 } else { draw.top_k as i64 },
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            // SGLang reads 32 bits.
            "sampling_seed": draw.seed & 0x7fff_ffff,
            "stop_token_ids": draw.stop_tokens,
            "ignore_eos": true,
            "no_stop_trim": true,
        },
        "return_logprob": true,
        "logprob_start_len": -1,
        "top_logprobs_num": 0,
        "return_text_in_logprobs": false,
    });
    with_adapter(body, adapter, 1)
}

/// The sample; `None` if the server ended it early.
pub(crate) fn read_sample(body: &[u8], draw: &Draw) -> Result<Option<Sample>, String> {
    let mut items = items(body)?;
    let item = items.pop().filter(|_| items.is_empty()).ok_or("it has not one result")?;
    let reason = item.meta_info.finish_reason.ok_or("it has no `finish_reason`")?.kind;
    if reason == "abort" {
        return Ok(None);
    }
    let entries = item.meta_info.output_token_logprobs.ok_or("no `output_token_logprobs`")?;
    let tokens: Vec<u32> = entries.iter().map(|(_, token, _)| *token).collect();
    if item.output_ids.is_some_and(|ids| ids != tokens) {
        return Err("`output_ids` and `output_token_logprobs` have different tokens".to_owned());
    }
    let mut log_probs = Vec::with_capacity(tokens.len());
    for (at, (value, _, _)) in entries.iter().enumerate() {
        let value = value.ok_or_else(|| format!("entry {at} is null"))?;
        log_probs.push(log_prob(value).map_err(|reason| format!("token {at}: {reason}"))?);
    }
    let finish = finish(&reason, &tokens, draw)?;
    Ok(Some(Sample { tokens, log_probs, finish }))
}

fn items(body: &[u8]) -> Result<Vec<Item>, String> {
    let answer = serde_json::from_slice(body).map_err(|error| format!("its shape: {error}"))?;
    Ok(match answer {
        Answer::Many(items) => items,
        Answer::One(item) => vec![item],
    })
}
