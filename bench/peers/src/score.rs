//! Scoring: the log-probabilities of every response of a set, as `gratis score` computes them.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use gratis::encoding::{Corpus, log_probs};
use gratis::observer::Silent;
use gratis_cpu::NativeEngine;
use gratis_engine::Score as _;
use serde::Deserialize;
use serde_json::Value;

use crate::clock::measure;
use crate::data::Data;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    set: String,
    seconds: f64,
    /// Tokens per batch; what the engine prefers if left out.
    batch_tokens: Option<usize>,
    /// Where to write the log-probabilities: `[n_responses][n_tokens]`.
    dump: Option<PathBuf>,
}

pub(crate) fn run(engine: &NativeEngine, data: &Data, request: &Request) -> Result<Value> {
    let mut corpus = Corpus::default();
    let mut rows = Vec::new();
    for problem in data.set(&request.set)? {
        let prompt = corpus.prompt(&problem.prompt);
        rows.extend(problem.responses.iter().map(|tokens| corpus.response(prompt, tokens)));
    }
    let budget = request.batch_tokens.unwrap_or(engine.describe().preferred_batch_tokens);
    let mut all = Vec::new();
    let mut pass = || -> Result<()> {
        all = log_probs(engine, &corpus, budget, &mut Silent)?;
        Ok(())
    };
    let answer = measure(request.seconds, &mut pass)?;
    if let Some(path) = &request.dump {
        let in_order: Vec<&Vec<f32>> = rows.iter().map(|&row| &all[row]).collect();
        let text = serde_json::to_string(&in_order)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(answer)
}
