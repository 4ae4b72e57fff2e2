//! Training: optimizer steps through the training loop of the library, in its default order of data.
//! The reference's log-probabilities are computed before, outside the measurement.

use anyhow::Result;
use gratis::encoding::{Corpus, log_probs};
use gratis::objective::{Objective, Pair};
use gratis::observer::Silent;
use gratis::training::{
    ImplicitReward, Learner, OptimizationSettings, RewardExample, Task as _, Trainer,
};
use gratis_cpu::NativeEngine;
use gratis_engine::Score as _;
use gratis_model::lora::LoraScaling;
use gratis_model::{BaseName, LoraSettings, LoraTarget};
use serde::Deserialize;
use serde_json::Value;

use crate::clock::measure;
use crate::data::{Data, Problem};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    set: String,
    /// Steps to measure; whole epochs, so that every response counts equally often.
    n_steps: usize,
    objective: Objective,
    /// Units per optimizer step.
    batch_size: usize,
    /// Rank of an adapter; none if left out.
    lora_rank: Option<usize>,
    /// Steps before the measurement.
    n_warm_up: usize,
}

/// The engine comes back trained.
pub(crate) fn run(
    engine: NativeEngine,
    data: &Data,
    request: &Request,
) -> Result<(Value, NativeEngine)> {
    let mut engine = match request.lora_rank {
        Some(rank) => {
            let settings = LoraSettings {
                rank,
                alpha: 2.0 * rank as f64,
                scaling: LoraScaling::Standard,
                targets: LoraTarget::ALL.to_vec(),
            };
            engine.with_adapter(settings, BaseName { name: "base".into(), revision: None }, 1)?
        }
        None => engine,
    };
    let problems = data.set(&request.set)?;
    let settings = OptimizationSettings {
        epochs: 1000,
        batch_size: request.batch_size,
        learning_rate: Some(1e-5),
        ..OptimizationSettings::default()
    };
    let mut task = task(problems, request.objective, &settings);
    let corpus = &task.units().corpus;
    let budget = engine.describe().preferred_batch_tokens;
    let reference = log_probs(&engine, corpus, budget, &mut Silent)?;
    task = task.with_reference(reference);
    let mut trainer = Trainer::new(&settings, task.units(), 0)?;
    let mut step = || -> Result<()> {
        trainer.step(&mut Learner::LogProbs(&mut engine), &mut task)?;
        Ok(())
    };
    for _ in 0..request.n_warm_up {
        step()?;
    }
    let answer = measure(0.0, || (0..request.n_steps).try_for_each(|_| step()))?;
    Ok((answer, engine))
}

fn task(
    problems: &[Problem],
    objective: Objective,
    settings: &OptimizationSettings,
) -> ImplicitReward {
    let (mut corpus, mut examples, mut pairs) = (Corpus::default(), Vec::new(), Vec::new());
    for (number, problem) in problems.iter().enumerate() {
        let prompt = corpus.prompt(&problem.prompt);
        let first = examples.len();
        for (tokens, &label) in problem.responses.iter().zip(&problem.labels) {
            examples.push(RewardExample {
                response: corpus.response(prompt, tokens),
                problem: number.to_string(),
                label: f64::from(label),
                steps: Vec::new(),
                masked: Vec::new(),
            });
        }
        // The i-th correct response with the i-th incorrect one.
        let with = |wanted: u8| {
            let labels = problem.labels.iter().enumerate();
            labels.filter(move |(_, label)| **label == wanted).map(move |(idx, _)| first + idx)
        };
        pairs.extend(with(1).zip(with(0)).map(|(chosen, rejected)| Pair { chosen, rejected }));
    }
    ImplicitReward::new(objective, corpus, examples, &pairs, usize::MAX, settings)
}
