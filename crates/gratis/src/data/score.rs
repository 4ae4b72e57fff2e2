//! Scores: what a reward model says of each response of a rollout.

use serde::{Deserialize, Serialize};

use super::record::{Fault, Field, Record, Shape};

/// Version of the scores format this crate writes and the newest it reads.
pub const SCORES_VERSION: u32 = 1;

/// One line of a scores file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemScores {
    /// Version of the format.
    #[serde(default = "version")]
    pub version: u32,
    /// Names the problem, as in the rollout file.
    pub id: String,
    /// One for each completion of the rollout, in its order.
    pub scores: Vec<Scored>,
}

/// The rewards of one response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// Outcome reward.
    pub outcome: f64,
    /// Process reward of each step.
    pub steps: Vec<f64>,
    /// Q value at the end of each step.
    pub q_values: Vec<f64>,
    /// Where each step ends in the response, in characters (Unicode scalar values).
    pub step_ends: Vec<usize>,
    /// Reward of each token, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<f64>>,
}

impl ProblemScores {
    /// The scores of the problem named `id`.
    pub fn new(id: impl Into<String>, scores: Vec<Scored>) -> Self {
        Self { version: SCORES_VERSION, id: id.into(), scores }
    }
}

fn version() -> u32 {
    SCORES_VERSION
}

impl Record for ProblemScores {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::optional("version", &Shape::Number),
        Field::required("id", &Shape::Text),
        Field::required(
            "scores",
            &Shape::List(&Shape::Object(&[
                Field::required("outcome", &Shape::Number),
                Field::required("steps", &Shape::List(&Shape::Number)),
                Field::required("q_values", &Shape::List(&Shape::Number)),
                Field::required("step_ends", &Shape::List(&Shape::Number)),
                Field::optional("tokens", &Shape::List(&Shape::Number)),
            ])),
        ),
    ];

    fn from_columns(columns: Self) -> Result<Self, Fault> {
        columns.fault().map_or(Ok(columns), Err)
    }
}

impl ProblemScores {
    fn fault(&self) -> Option<Fault> {
        if self.version > SCORES_VERSION {
            let expected = format!("at most {SCORES_VERSION}");
            return Some(Fault::new("version", expected, self.version.to_string()));
        }
        self.scores.iter().enumerate().find_map(|(idx, score)| {
            let n = score.steps.len();
            [("q_values", score.q_values.len()), ("step_ends", score.step_ends.len())]
                .into_iter()
                .find(|(_, len)| *len != n)
                .map(|(field, len)| {
                    let expected = format!("one entry for each of {n} `steps`");
                    Fault::new(format!("scores[{idx}].{field}"), expected, len.to_string())
                })
        })
    }
}
