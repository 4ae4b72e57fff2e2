//! `/get_reward`: the remote reward model of OpenRLHF (`--reward.remote_url`, earlier
//! `--remote_rm_url`).
//!
//! A request has the whole texts (`query`) and their prompts, often one of each; a trainer with
//! several servers sends empty lists to the others.

use gratis::data::Rollout;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{scored, single_rewards};
use crate::error::Failure;
use crate::service::{Outcome, Prepared, Service, Work};

#[derive(Debug, Deserialize)]
struct Body {
    query: Vec<String>,
    prompts: Vec<String>,
}

pub(super) fn prepare(service: &Service, body: &[u8]) -> Result<Prepared, Failure> {
    let Body { query, prompts } = serde_json::from_slice(body)?;
    if query.len() != prompts.len() {
        let (n, n_prompts) = (query.len(), prompts.len());
        return Err(Failure::invalid(format!("{n} texts in `query`, but {n_prompts} `prompts`")));
    }
    let mut rollouts = Vec::new();
    for (number, (text, prompt)) in (1..).zip(query.iter().zip(&prompts)) {
        let exchange = service.form.split_after(prompt, text)?;
        rollouts.push(Rollout {
            id: Some(format!("{number}")),
            prompt: exchange.problem,
            completions: vec![exchange.response.into()],
            ..Rollout::default()
        });
    }
    Ok(Prepared { work: Work::Score(rollouts), deadline: None, shape: Box::new(shape) })
}

fn shape(service: &Service, outcome: Outcome) -> Result<Value, Failure> {
    let (_, scores, _) = scored(outcome)?;
    let rewards = single_rewards(service, &scores)?;
    let of_each = |value: fn(&gratis::data::Scored) -> f64| -> Vec<f64> {
        scores.iter().filter_map(|line| line.scores.first()).map(value).collect()
    };
    let logs = json!({
        "outcome": of_each(|scored| scored.outcome),
        "n_steps": of_each(|scored| scored.steps.len() as f64),
        "min_step": of_each(|scored| scored.steps.iter().copied().fold(f64::INFINITY, f64::min)),
    });
    let logs = if scores.is_empty() { json!({}) } else { logs };
    Ok(json!({"rewards": rewards, "scores": rewards, "extra_logs": logs}))
}
