//! `gratis inspect ENGINE`: what an engine that runs elsewhere can do, whether its tokenizer is ours,
//! and how long a scoring round trip takes.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use gratis::data::ModelFormat;
use gratis_engine::{ErrorKind, PackedBatch, SampleRequest, SamplingSettings, TokenValues};
use serde_json::{Value, json};

use crate::{Common, model};

/// Tokens of the sequence whose round trip is measured.
const N_TOKENS: u32 = 64;

/// Connects to an engine and asks it for a score and a sample.
pub(crate) fn inspect(given: &Path, kind: Option<ModelFormat>, common: &Common) -> Result<Value> {
    let model = model::load_reward_model(given, kind, common)?;
    let place = model.place();
    let description = model.score().describe();
    let n_vocab = description.vocab_size as u32;
    let n_tokens = N_TOKENS.min(description.context_length as u32 - 1);
    let tokens: Vec<u32> = (0..n_tokens).map(|at| (7 * at + 1) % n_vocab).collect();
    let batch = PackedBatch::from_groups([(&tokens[..1], [&tokens[1..]])])?;
    // The first request includes the checks, and servers compile for it.
    let first = model.score().log_probs(std::slice::from_ref(&batch));
    let score = match first {
        Ok(_) => {
            let (found, seconds) = timed(|| model.score().log_probs(std::slice::from_ref(&batch)))?;
            json!({
                "can": true,
                "seconds": seconds,
                "tokens": n_tokens,
                "mean_log_prob": mean(&found),
            })
        }
        Err(error) if error.kind() == ErrorKind::TryAgain => return Err(error.into()),
        Err(error) => json!({ "can": false, "reason": error.to_string() }),
    };
    let head = match model.head_format() {
        Some(format) => {
            let wanted = [vec![vec![n_tokens as usize - 2]]];
            let (_, seconds) =
                timed(|| model.values().values_at(std::slice::from_ref(&batch), &wanted))?;
            json!({
                "can": true,
                "kind": format,
                "channels": model.values().n_channels(),
                "seconds": seconds,
                "tokens": n_tokens,
            })
        }
        None => Value::Null,
    };
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 8,
        stop_tokens: model.stop_tokens()?,
        seed: 0,
    };
    let request =
        SampleRequest { prompt: tokens[..4].to_vec(), key: 0, first_sample: 0, n_samples: 1 };
    let drawn = timed(|| model.generate().sample_all(&[request], &settings));
    let sample = match drawn {
        Ok((samples, seconds)) => {
            let n_tokens: usize = samples.iter().flatten().map(|sample| sample.tokens.len()).sum();
            json!({ "can": true, "seconds": seconds, "tokens": n_tokens })
        }
        Err(error) if error.kind() == ErrorKind::TryAgain => return Err(error.into()),
        Err(error) => json!({ "can": false, "reason": error.to_string() }),
    };
    let settings = place.engine_settings();
    Ok(json!({
        "engine": place.display_name(),
        "protocol": settings.map(|settings| settings.protocol),
        "servers": settings.map(gratis_remote::EngineSettings::servers),
        "model": settings.map(|settings| &settings.model),
        "dtype": settings.map(|settings| settings.dtype),
        "identity": model.hash()?,
        "tokenizer": place.path,
        "reward_model": model.manifest().is_some() || model.head_format().is_some(),
        "architecture": description.architecture,
        "parameters": description.n_parameters,
        "vocabulary": description.vocab_size,
        "context": description.context_length,
        "head": head,
        "score": score,
        "sample": sample,
        "train": match model.offered_to_train() {
            Some(offered) => json!({
                "can": true,
                "models": offered,
                "loss": "found by a probe when a training begins",
            }),
            None => json!({ "can": false, "reason": "an inference server cannot train" }),
        },
        "tokenizer_check": match model.offered_to_train() {
            Some(_) => "a training server has no route that encodes text",
            None => "compared with the server's where it has a route for it",
        },
        "traffic": model.traffic().map(|traffic| traffic.to_string()),
    }))
}

fn timed<T>(work: impl FnOnce() -> gratis_engine::Result<T>) -> gratis_engine::Result<(T, f64)> {
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed().as_secs_f64()))
}

fn mean(values: &[TokenValues]) -> f64 {
    let all: Vec<f64> =
        values.iter().flat_map(TokenValues::values).map(|&v| f64::from(v)).collect();
    all.iter().sum::<f64>() / all.len().max(1) as f64
}

/// The report as lines of a name and a value.
pub(crate) fn page(report: &Value) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(page, "{name:<15} {value}");
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    line("engine", text(&report["engine"]));
    let servers = report["servers"].as_array().into_iter().flatten();
    let servers: Vec<String> = servers.map(text).collect();
    line("servers", format!("{} ({})", servers.join(", "), text(&report["protocol"])));
    line("model", format!("{}, computed in {}", text(&report["model"]), text(&report["dtype"])));
    line(
        "architecture",
        format!("{}, {} parameters", text(&report["architecture"]), report["parameters"]),
    );
    line(
        "vocabulary",
        format!("{} tokens, encoded as in `{}`", report["vocabulary"], text(&report["tokenizer"])),
    );
    line("tokenizer", text(&report["tokenizer_check"]));
    line("context", format!("{} tokens", report["context"]));
    if report["head"]["can"] == true {
        let head = &report["head"];
        let seconds = head["seconds"].as_f64().unwrap_or_default();
        let kind = text(&head["kind"]);
        let what = format!("`{kind}`, {} values per token, checked", head["channels"]);
        line("head", format!("{what}: {} tokens in {seconds:.3} s, one request", head["tokens"]));
    }
    for what in ["score", "sample", "train"] {
        let found = &report[what];
        let told = if found["can"] == true && found["seconds"].is_null() {
            let models = found["models"].as_array().into_iter().flatten();
            let models: Vec<String> = models.map(|name| format!("`{}`", text(name))).collect();
            format!("yes: adapters to {}; the loss is {}", models.join(", "), text(&found["loss"]))
        } else if found["can"] == true {
            let seconds = found["seconds"].as_f64().unwrap_or_default();
            format!("yes: {} tokens in {seconds:.3} s, one request", found["tokens"])
        } else {
            format!("no: {}", text(&found["reason"]))
        };
        line(what, told);
    }
    line("requests", text(&report["traffic"]));
    page
}
