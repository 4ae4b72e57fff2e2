//! The routes: one file per protocol. Each reads a body into work and puts the outcome into its
//! shape.

mod grade;
mod info;
mod openrlhf;
mod score;
mod servers;

use gratis::data::{ProblemScores, Scored};
use gratis::selection::Aggregation;
use serde_json::Value;

use crate::error::{Failure, FailureKind};
use crate::service::{Outcome, Prepare, Service};

/// Routes that compute.
pub(crate) const POSTS: [(&str, Prepare); 6] = [
    ("/score", score::prepare),
    ("/grade", grade::prepare),
    ("/get_reward", openrlhf::prepare),
    ("/classify", servers::classify),
    ("/pooling", servers::pooling),
    ("/v1/embeddings", servers::embeddings),
];

/// Writes what a route shows.
pub(crate) type Show = fn(&Service) -> String;

/// Routes that show something: path, content type, and its text.
pub(crate) const GETS: [(&str, &str, Show); 5] = [
    ("/", "text/html; charset=utf-8", info::page),
    ("/health", JSON, info::health),
    ("/v1/models", JSON, info::models),
    ("/metrics", "text/plain; version=0.0.4", Service::metrics_text),
    ("/openapi.json", JSON, info::openapi),
];

const JSON: &str = "application/json";

/// The body of a request as an object.
fn object(body: &[u8]) -> Result<serde_json::Map<String, Value>, Failure> {
    match serde_json::from_slice(body)? {
        Value::Object(fields) => Ok(fields),
        _ => Err(Failure::invalid("the body should be a JSON object")),
    }
}

/// The reward of a completion.
fn reward(aggregation: Aggregation, scored: &Scored) -> f64 {
    aggregation.score(&scored.steps, &scored.q_values, scored.outcome)
}

/// The first completion of each problem with its reward, for protocols with one number per response.
///
/// # Errors
/// For a completion that was not read to its end and has none.
fn single_rewards(service: &Service, scores: &[ProblemScores]) -> Result<Vec<f64>, Failure> {
    let single = |line: &ProblemScores| {
        let reward = line.scores.first().map(|scored| reward(service.about.aggregation, scored));
        reward.filter(|reward| reward.is_finite()).ok_or_else(|| {
            Failure::invalid(format!(
                "response {} has no reward: it exceeds the context, or has nothing to score",
                line.id
            ))
        })
    };
    scores.iter().map(single).collect()
}

/// The scores of an outcome.
fn scored(
    outcome: Outcome,
) -> Result<(Vec<gratis::data::Rollout>, Vec<ProblemScores>, usize), Failure> {
    match outcome {
        Outcome::Scored { rollouts, scores, n_tokens } => {
            Ok((rollouts, scores, n_tokens.iter().sum()))
        }
        Outcome::Graded(_) => Err(Failure::new(FailureKind::Internal, "internal error: grades")),
    }
}
