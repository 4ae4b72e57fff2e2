//! The gratis side of `bench/peers/run.sh`: one process per model, one line per measurement.
//!
//! `gratis-bench-peers <data.json> <model> <n_threads> <f32|bf16>` opens a Hugging Face folder or a GGUF
//! file, reads requests from standard input, one JSON object per line, and answers each with one line:
//! how much was computed, in how much processor and wall time, at which peak of memory. Nothing runs
//! between requests, so that several engines can be measured alternately on one machine.

#![expect(clippy::print_stdout, reason = "it prints its measurements")]

mod clock;
mod data;
mod peak;
mod sample;
mod score;
mod train;

use std::io::BufRead as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use gratis_cpu::{NativeEngine, NativeOptions, Precision, WeightStorage};
use gratis_model::gguf::GgufFile;
use serde::Deserialize;
use serde_json::Value;

use data::Data;

/// A measurement to make.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// Log-probabilities of every response of a set.
    Score(score::Request),
    /// Optimizer steps on a set. The model is trained, so that this is a process's last request.
    Train(train::Request),
    /// Samples of the prompts of a set.
    Sample(sample::Request),
    /// Multiply-adds on registers alone.
    Peak {
        /// How long to measure.
        seconds: f64,
    },
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, model, n_threads, precision] = &arguments[..] else {
        bail!("usage: gratis-bench-peers <data.json> <model> <n_threads> <f32|bf16>")
    };
    let n_threads: usize = n_threads.parse().context("a number of threads")?;
    let precision = match precision.as_str() {
        "f32" => Precision::F32,
        "bf16" => Precision::Bf16,
        other => bail!("`{other}` is not a precision"),
    };
    let data = Data::read(Path::new(data))?;
    let mut engine = open(Path::new(model), n_threads, precision)?;
    println!("{{\"ready\": true}}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let request: Request =
            serde_json::from_str(&line).with_context(|| format!("request `{line}`"))?;
        let answer: Value = match request {
            Request::Score(request) => score::run(&engine, &data, &request)?,
            Request::Train(request) => {
                let (answer, trained) = train::run(engine, &data, &request)?;
                engine = trained;
                answer
            }
            Request::Sample(request) => sample::run(&engine, &data, &request)?,
            Request::Peak { seconds } => peak::run(n_threads, seconds),
        };
        println!("{answer}");
    }
    Ok(())
}

fn open(model: &Path, n_threads: usize, precision: Precision) -> Result<NativeEngine> {
    let options = NativeOptions { n_threads, precision, ..NativeOptions::default() };
    if model.extension().is_some_and(|extension| extension == "gguf") {
        return Ok(NativeEngine::load_gguf(&GgufFile::open(model)?, options)?);
    }
    // A model of more than a gigabyte is scored from its mapped files, as `gratis score` can.
    let file = model.join("model.safetensors");
    let is_large = file.metadata().is_ok_and(|metadata| metadata.len() > 1 << 30);
    let weights = if is_large { WeightStorage::Mapped } else { WeightStorage::Loaded };
    Ok(NativeEngine::load(model, NativeOptions { weights, ..options })?)
}
