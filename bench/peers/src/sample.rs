//! Sampling: continuations of the prompts of a set, one prompt at a time.

use anyhow::Result;
use gratis_cpu::NativeEngine;
use gratis_engine::{Generate as _, SampleRequest, SamplingSettings};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::measure;
use crate::data::Data;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    set: String,
    seconds: f64,
    n_samples: usize,
    n_new_tokens: usize,
}

pub(crate) fn run(engine: &NativeEngine, data: &Data, request: &Request) -> Result<Value> {
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: request.n_new_tokens,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let problems = data.set(&request.set)?;
    measure(request.seconds, || {
        for (key, problem) in problems.iter().enumerate() {
            let request = SampleRequest {
                prompt: problem.prompt.clone(),
                key: key as u64,
                first_sample: 0,
                n_samples: request.n_samples,
            };
            engine.sample_all(&[request], &settings)?;
        }
        Ok(())
    })
}
