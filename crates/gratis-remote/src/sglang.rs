//! The native route of SGLang: `POST /generate`.
//!
//! Scoring asks for the response only (`logprob_start_len`), and a prompt that is shared by several
//! sequences is taken from the prefix cache, so the sequences of a prompt are sent together.

use gratis_engine::Sample;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Draw, Sequence, as_written, finish, log_prob, one_or_many};

/// Route of the requests.
pub(crate) const ROUTE: &str = "/generate";

/// `[log-probability, token, text]`.
type Entry = (Option<f64>, u32, Option<String>);

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

pub(crate) fn with_adapter(mut body: Value, adapter: &str, n: usize) -> Value {
    if !adapter.is_empty() {
        body["lora_path"] = if n == 1 { json!([adapter]) } else { json!(vec![adapter; n]) };
    }
    body
}

/// The log-probabilities of the scored tokens of every sequence. SGLang writes the last token of the
/// vocabulary as 0 (observed in 0.5.23; the value is that of the token).
pub(crate) fn read_scores(
    body: &[u8],
    sequences: &[Sequence],
    vocab_size: usize,
) -> Result<Vec<Vec<f32>>, String> {
    let items = one_or_many::<Item>(body)?;
    if items.len() != sequences.len() {
        return Err(format!("it has {} results for {} sequences", items.len(), sequences.len()));
    }
    let read = |(item, sequence): (Item, &Sequence)| {
        let entries = item.meta_info.input_token_logprobs.ok_or("no `input_token_logprobs`")?;
        let scored = &sequence.tokens[sequence.n_context - 1..];
        let is_same = |(entry, &token): (&Entry, &u32)| {
            entry.1 == token || entry.1 == 0 && token as usize + 1 == vocab_size
        };
        if entries.len() != scored.len() || !entries.iter().zip(scored).all(is_same) {
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
            // With `ignore_eos` SGLang ignores `stop_token_ids` too.
            "ignore_eos": false,
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
    let mut items = one_or_many::<Item>(body)?;
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

#[cfg(test)]
pub(crate) mod tests {
    use gratis_engine::FinishReason;

    use super::*;

    /// The body that SGLang 0.5.23 was sent, and its answer.
    pub(crate) fn recorded(name: &str) -> (Value, Vec<u8>) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/engines/sglang");
        let text = std::fs::read(format!("{folder}/{name}.json")).expect("a fixture");
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        (value["request"]["body"].clone(), value["response"].to_string().into_bytes())
    }

    fn ids(value: &Value) -> Vec<u32> {
        let ids = value.as_array().expect("ids").iter();
        ids.map(|id| id.as_u64().expect("an id") as u32).collect()
    }

    #[test]
    fn scores_of_a_real_server_are_read_and_must_match_what_was_asked() {
        let (request, body) = recorded("score");
        let sequences: Vec<Sequence> = request["input_ids"]
            .as_array()
            .expect("sequences")
            .iter()
            .map(|tokens| Sequence { tokens: ids(tokens), n_context: 4 })
            .collect();
        assert_eq!(request, score_body("", &sequences), "the request is what this crate sends");
        let scores = read_scores(&body, &sequences, 512).expect("valid");
        assert_eq!(scores.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3]);
        assert!(scores.iter().flatten().all(|value| (-12.0..0.0).contains(value)));
        let turned: Vec<Sequence> = sequences.iter().rev().cloned().collect();
        assert!(read_scores(&body, &turned, 512).is_err());
        assert!(read_scores(&body, &sequences[..1], 512).is_err());

        // The last token of the vocabulary comes back as 0, and no other does.
        let (request, body) = recorded("score_last_token");
        let tokens = ids(&request["input_ids"][0]);
        let last = tokens.iter().position(|&token| token == 511).expect("it is there");
        let mut sequence = [Sequence { tokens, n_context: 1 }];
        let values = read_scores(&body, &sequence, 512).expect("valid");
        assert!(values[0][last - 1] < 0.0);
        assert!(read_scores(&body, &sequence, 600).is_err());
        sequence[0].tokens[last] = 510;
        assert!(read_scores(&body, &sequence, 512).is_err());
    }

    #[test]
    fn samples_of_a_real_server_end_with_their_stop_token_or_their_length() {
        for (name, finish, n) in
            [("sample_stop", FinishReason::Stop, 14), ("sample_length", FinishReason::Length, 6)]
        {
            let (request, body) = recorded(name);
            let (prompt, parameters) = (ids(&request["input_ids"][0]), &request["sampling_params"]);
            let stop_tokens = ids(&parameters["stop_token_ids"]);
            let draw = Draw {
                prompt: &prompt,
                max_new_tokens: parameters["max_new_tokens"].as_u64().expect("a number") as usize,
                temperature: 1.0,
                top_p: 1.0,
                top_k: 0,
                stop_tokens: &stop_tokens,
                seed: parameters["sampling_seed"].as_u64().expect("a number"),
            };
            assert_eq!(request, sample_body("", &draw), "the request is what this crate sends");
            let sample = read_sample(&body, &draw).expect("valid").expect("not aborted");
            assert_eq!((sample.finish, sample.tokens.len()), (finish, n), "{name}");
            assert_eq!(sample.log_probs.len(), n);
        }
        // What such a server does with `ignore_eos`: it goes on after the stop token.
        let (request, body) = recorded("sample_ignore_eos");
        let prompt = ids(&request["input_ids"][0]);
        let draw = Draw {
            prompt: &prompt,
            max_new_tokens: 48,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            stop_tokens: &[1],
            seed: 4,
        };
        let error = read_sample(&body, &draw).expect_err("it goes on");
        assert!(error.contains("goes on after the stop token 1"), "{error}");
    }
}
