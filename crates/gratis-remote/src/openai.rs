//! The completions route of vLLM and of OpenAI: `POST /v1/completions`.
//!
//! vLLM scores by `prompt_logprobs`, which has the token ids as keys and so can be checked; the
//! route of OpenAI by `echo` with `logprobs`. A request with prompt log-probabilities reads no prefix
//! cache on vLLM.

use std::collections::BTreeMap;

use gratis_engine::Sample;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Draw, Sequence, as_written, finish, log_prob};

/// Route of the requests.
pub(crate) const ROUTE: &str = "/v1/completions";

/// How log-probabilities of a prompt are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScoreBy {
    /// `prompt_logprobs`, of vLLM.
    PromptLogProbs,
    /// `echo`, of OpenAI.
    Echo,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    index: usize,
    #[serde(default)]
    token_ids: Option<Vec<u32>>,
    #[serde(default)]
    prompt_token_ids: Option<Vec<u32>>,
    #[serde(default)]
    prompt_logprobs: Option<Vec<Option<BTreeMap<String, LogProb>>>>,
    #[serde(default)]
    logprobs: Option<LogProbs>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct LogProb {
    logprob: Option<f64>,
}

#[derive(Deserialize)]
struct LogProbs {
    #[serde(default)]
    token_logprobs: Vec<Option<f64>>,
    #[serde(default)]
    tokens: Vec<String>,
}

/// The body that asks for the log-probabilities of sequences.
pub(crate) fn score_body(model: &str, sequences: &[Sequence], by: ScoreBy) -> Value {
    let prompts: Vec<&[u32]> = sequences.iter().map(|sequence| &sequence.tokens[..]).collect();
    match by {
        ScoreBy::PromptLogProbs => json!({
            "model": model,
            "prompt": prompts,
            "max_tokens": 1,
            "temperature": 0,
            "prompt_logprobs": 0,
            "return_token_ids": true,
            "add_special_tokens": false,
        }),
        ScoreBy::Echo => json!({
            "model": model,
            "prompt": prompts,
            "max_tokens": 0,
            "temperature": 0,
            "echo": true,
            "logprobs": 0,
            "return_tokens_as_token_ids": true,
            "add_special_tokens": false,
        }),
    }
}

/// The log-probabilities of the scored tokens of every sequence.
pub(crate) fn read_scores(
    body: &[u8],
    sequences: &[Sequence],
    by: ScoreBy,
) -> Result<Vec<Vec<f32>>, String> {
    let choices = choices(body, sequences.len())?;
    let read = |(choice, sequence): (Choice, &Sequence)| match by {
        ScoreBy::PromptLogProbs => of_prompt_logprobs(choice, sequence),
        ScoreBy::Echo => of_echo(choice, sequence),
    };
    choices.into_iter().zip(sequences).map(read).collect()
}

/// The body that asks for the log-probability of the last token of every sequence, the same in all: it is
/// the only one that may be sampled. Its log-probability is that of the whole softmax all the same.
pub(crate) fn label_body(model: &str, sequences: &[Sequence]) -> Value {
    let prompts: Vec<&[u32]> = sequences
        .iter()
        .map(|sequence| &sequence.tokens[..sequence.tokens.len().saturating_sub(1)])
        .collect();
    let label = sequences.first().and_then(|sequence| sequence.tokens.last());
    json!({
        "model": model,
        "prompt": prompts,
        "max_tokens": 1,
        "temperature": 0,
        "repetition_penalty": 1.0,
        "allowed_token_ids": label.into_iter().collect::<Vec<_>>(),
        "logprobs": 0,
        "return_token_ids": true,
        "return_tokens_as_token_ids": true,
        "add_special_tokens": false,
    })
}

/// The log-probability of the last token of every sequence.
pub(crate) fn read_labels(body: &[u8], sequences: &[Sequence]) -> Result<Vec<f32>, String> {
    let read = |(choice, sequence): (Choice, &Sequence)| {
        let Some((label, prompt)) = sequence.tokens.split_last() else {
            return Err("a sequence without tokens".to_owned());
        };
        if choice.prompt_token_ids.as_ref().is_some_and(|read| read != prompt) {
            return Err("it read other tokens than those sent (`prompt_token_ids`)".to_owned());
        }
        let found = choice.logprobs.ok_or("it has no `logprobs`")?;
        let tokens = choice.token_ids.or_else(|| ids_of(&found.tokens)).unwrap_or_default();
        match (&tokens[..], &found.token_logprobs[..]) {
            ([token], [Some(value)]) if token == label => log_prob(*value),
            _ => Err(format!(
                "it sampled {tokens:?}, and {label} alone was allowed (`allowed_token_ids`)"
            )),
        }
    };
    choices(body, sequences.len())?.into_iter().zip(sequences).map(read).collect()
}

fn of_prompt_logprobs(choice: Choice, sequence: &Sequence) -> Result<Vec<f32>, String> {
    let tokens = &sequence.tokens;
    if let Some(read) = &choice.prompt_token_ids
        && read != tokens
    {
        return Err("it read other tokens than those sent (`prompt_token_ids`)".to_owned());
    }
    let rows = choice.prompt_logprobs.ok_or("it has no `prompt_logprobs`")?;
    if rows.len() != tokens.len() {
        let (n, expected) = (rows.len(), tokens.len());
        return Err(format!("`prompt_logprobs` has {n} entries for {expected} tokens"));
    }
    if rows.first().is_none_or(Option::is_some) {
        return Err("the first entry of `prompt_logprobs` is not null".to_owned());
    }
    let entries = rows.iter().zip(tokens).enumerate().skip(sequence.n_context);
    let mut values = Vec::with_capacity(sequence.n_scored());
    for (at, (row, token)) in entries {
        let row = row.as_ref().ok_or_else(|| format!("entry {at} is null"))?;
        let entry = row.get(&token.to_string());
        let value = entry.and_then(|entry| entry.logprob);
        let value = value.ok_or_else(|| format!("entry {at} has no value for token {token}"))?;
        values.push(log_prob(value).map_err(|reason| format!("token {at}: {reason}"))?);
    }
    Ok(values)
}

fn of_echo(choice: Choice, sequence: &Sequence) -> Result<Vec<f32>, String> {
    let tokens = &sequence.tokens;
    let found = choice.logprobs.ok_or("it has no `logprobs`: the server does not echo prompts")?;
    let rows = found.token_logprobs;
    if rows.len() != tokens.len() {
        let (n, expected) = (rows.len(), tokens.len());
        return Err(format!("`token_logprobs` has {n} entries for {expected} tokens"));
    }
    if rows.first().is_none_or(Option::is_some) {
        return Err("the first entry of `token_logprobs` is not null".to_owned());
    }
    if let Some(read) = ids_of(&found.tokens)
        && read != *tokens
    {
        return Err("it read other tokens than those sent (`logprobs.tokens`)".to_owned());
    }
    let mut values = Vec::with_capacity(sequence.n_scored());
    for (at, row) in rows.iter().enumerate().skip(sequence.n_context) {
        let value = row.ok_or_else(|| format!("entry {at} is null"))?;
        values.push(log_prob(value).map_err(|reason| format!("token {at}: {reason}"))?);
    }
    Ok(values)
}

/// The body that asks for one sample. The settings that a model's `generation_config.json` would
/// supply are all given. The stop tokens are ours: `ignore_eos` leaves out those of the server.
pub(crate) fn sample_body(model: &str, draw: &Draw) -> Value {
    json!({
        "model": model,
        "prompt": draw.prompt,
        "n": 1,
        "max_tokens": draw.max_new_tokens,
        "temperature": as_written(draw.temperature),
        "top_p": as_written(draw.top_p),
        "top_k": draw.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "seed": draw.seed,
        "stop_token_ids": draw.stop_tokens,
        "ignore_eos": true,
        "logprobs": 0,
        "return_token_ids": true,
        "return_tokens_as_token_ids": true,
        "add_special_tokens": false,
    })
}

/// The sample; `None` if the server ended it early.
pub(crate) fn read_sample(body: &[u8], draw: &Draw) -> Result<Option<Sample>, String> {
    let choice = choices(body, 1)?.pop().ok_or("it has no choice")?;
    if let Some(read) = &choice.prompt_token_ids
        && read != draw.prompt
    {
        return Err("it read other tokens than those sent (`prompt_token_ids`)".to_owned());
    }
    let reason = choice.finish_reason.ok_or("it has no `finish_reason`")?;
    if reason == "abort" {
        return Ok(None);
    }
    let found = choice.logprobs.ok_or("it has no `logprobs`")?;
    let tokens = choice.token_ids.or_else(|| ids_of(&found.tokens)).ok_or(
        "it has neither `token_ids` nor tokens written as `token_id:N`: text would have to be \
         tokenized again, which need not give the tokens that were sampled",
    )?;
    if found.token_logprobs.len() != tokens.len() {
        let (n, expected) = (found.token_logprobs.len(), tokens.len());
        return Err(format!("`token_logprobs` has {n} entries for {expected} tokens"));
    }
    let mut log_probs = Vec::with_capacity(tokens.len());
    for (at, value) in found.token_logprobs.iter().enumerate() {
        let value = value.ok_or_else(|| format!("entry {at} is null"))?;
        log_probs.push(log_prob(value).map_err(|reason| format!("token {at}: {reason}"))?);
    }
    let finish = finish(&reason, &tokens, draw)?;
    Ok(Some(Sample { tokens, log_probs, finish }))
}

/// Token ids written as `token_id:N`, if all are.
fn ids_of(tokens: &[String]) -> Option<Vec<u32>> {
    if tokens.is_empty() {
        return None;
    }
    tokens.iter().map(|token| token.strip_prefix("token_id:")?.parse().ok()).collect()
}

/// The choices in the order of the prompts.
fn choices(body: &[u8], n: usize) -> Result<Vec<Choice>, String> {
    let completion: Completion =
        serde_json::from_slice(body).map_err(|error| format!("its shape: {error}"))?;
    let mut choices = completion.choices;
    choices.sort_by_key(|choice| choice.index);
    if choices.iter().map(|choice| choice.index).ne(0..n) {
        let found: Vec<usize> = choices.iter().map(|choice| choice.index).collect();
        return Err(format!("it has the choices {found:?}, expected 0 to {}", n - 1));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gratis_engine::FinishReason;

    /// A body that vLLM 0.32.0 was sent, and its answer.
    fn recorded(name: &str) -> (Value, Vec<u8>) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/engines/vllm");
        let text = std::fs::read(format!("{folder}/{name}.json")).expect("a fixture");
        let mut value: Value = serde_json::from_slice(&text).expect("JSON");
        (value["request"].take(), value["response"].to_string().into_bytes())
    }

    fn sequence(prompt: &Value, n_context: usize) -> Sequence {
        let ids = prompt.as_array().expect("ids").iter();
        let tokens = ids.map(|id| id.as_u64().expect("an id") as u32).collect();
        Sequence { tokens, n_context }
    }

    #[test]
    fn scores_of_a_real_server_are_read_and_checked() {
        let (request, body) = recorded("score_prompt_logprobs0");
        let whole = sequence(&request["prompt"], 1);
        let by = ScoreBy::PromptLogProbs;
        let scores = read_scores(&body, std::slice::from_ref(&whole), by).expect("valid").concat();
        assert_eq!((scores.len(), scores[0], scores[10]), (11, -6.987_504_5, -6.760_769_4));
        let end = Sequence { n_context: 10, ..whole.clone() };
        assert_eq!(read_scores(&body, &[end], by).expect("valid").concat(), scores[9..]);
        // The same sequence by the other route.
        let (_, echoed) = recorded("echo_max0_logprobs0");
        let by_echo =
            read_scores(&echoed, std::slice::from_ref(&whole), ScoreBy::Echo).expect("valid");
        assert_eq!(by_echo.concat(), scores);
        // Answers to other questions.
        let mut other = whole.clone();
        other.tokens[3] += 1;
        let mut short = whole.clone();
        short.tokens.pop();
        for wrong in [other, short] {
            assert!(read_scores(&body, std::slice::from_ref(&wrong), by).is_err());
            assert!(read_scores(&echoed, &[wrong], ScoreBy::Echo).is_err());
        }
        assert!(read_scores(&body, &[whole.clone(), whole.clone()], by).is_err());
        let error = read_scores(&body, &[whole], ScoreBy::Echo).expect_err("no echo");
        assert!(error.contains("does not echo"), "{error}");
    }

    #[test]
    fn a_batch_comes_back_in_its_order() {
        let (request, body) = recorded("batch");
        let prompts = request["prompt"].as_array().expect("prompts");
        let sequences: Vec<Sequence> = prompts.iter().map(|prompt| sequence(prompt, 1)).collect();
        let scores = read_scores(&body, &sequences, ScoreBy::PromptLogProbs).expect("valid");
        let lengths: Vec<usize> = scores.iter().map(Vec::len).collect();
        assert_eq!(lengths, sequences.iter().map(Sequence::n_scored).collect::<Vec<_>>());
        let turned: Vec<Sequence> = sequences.into_iter().rev().collect();
        assert!(read_scores(&body, &turned, ScoreBy::PromptLogProbs).is_err());
    }

    #[test]
    fn a_sample_of_a_real_server_ends_with_its_stop_token() {
        let (request, body) = recorded("stop_token_ids");
        let prompt = sequence(&request["prompt"], 1).tokens;
        let stops = request["stop_token_ids"].as_array().expect("ids");
        let stop_tokens: Vec<u32> =
            stops.iter().map(|id| id.as_u64().expect("an id") as u32).collect();
        let draw = Draw {
            prompt: &prompt,
            max_new_tokens: request["max_tokens"].as_u64().expect("a number") as usize,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            stop_tokens: &stop_tokens,
            seed: 0,
        };
        let sample = read_sample(&body, &draw).expect("valid").expect("not aborted");
        assert_eq!(sample.finish, FinishReason::Stop);
        assert!(stop_tokens.contains(sample.tokens.last().expect("not empty")));
        assert_eq!(sample.tokens.len(), sample.log_probs.len());
        // With other stop tokens the server would have stopped too early, or gone on too long.
        let draw = Draw { stop_tokens: &[3], ..draw };
        let error = read_sample(&body, &draw).expect_err("another stop token");
        assert!(error.contains("not one of the stop tokens"), "{error}");
    }
}
