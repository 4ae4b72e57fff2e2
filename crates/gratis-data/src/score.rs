//! Scores: the rewards of each response of a rollout.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::aggregation::Aggregation;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::model_format::ModelFormat;
use crate::part::ScorePart;
use crate::records::reader::{Source, open_files};
use crate::records::reading::Reading;
use crate::records::record::{Fault, Field, Record, RowLayout, Shape};
use crate::records::rollout::Rollout;
use crate::records::steps::StepSplit;
use crate::seeding::digest;
use crate::value_rule::ValueRule;

/// Version of the scores format this crate writes and the newest it reads.
///
/// Version 2 adds [`Scored::hash`] and [`ProblemScores::origin`].
pub(crate) const SCORES_VERSION: u32 = 2;

/// One line of a scores file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemScores {
    /// Version of the format.
    #[serde(default = "version")]
    pub version: u32,
    /// Names the problem, as in the rollout file.
    pub id: String,
    /// How the scores were computed; absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ScoreOrigin>,
    /// One per completion of the rollout, in its order.
    pub scores: Vec<Scored>,
}

/// How the scores of a file were computed. Every line has it, so files can be split and joined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreOrigin {
    /// The reward model, as it was given.
    pub model: String,
    /// What kind of reward model it is.
    pub kind: ScoreKind,
    /// How the steps become a response's score, as was asked for, as the model's manifest says, or
    /// as the authors of a published model do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Factor of the log-ratio, or of a baseline's value.
    pub beta: f64,
    /// How the log-ratios of a prefix made its Q value; absent for their sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_rule: Option<ValueRule>,
    /// The model in the denominator of the log-ratio; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// How completions without `steps` of their own were split.
    pub step_split: StepSplit,
    /// Which part of the completions the rewards are of, if not all.
    #[serde(default, skip_serializing_if = "ScorePart::is_all")]
    pub part: ScorePart,
    /// How products were rounded, if they were.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
}

/// How the factors of the products with the weights are rounded when gratis' own engine scores. Sums,
/// attention, training and sampling are in f32 in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To bf16: faster, on processors with `avx512_bf16`; what it does to scores is in
    /// `docs/performance.md`.
    Bf16,
}

impl Precision {
    /// Whether it is the exact one.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

/// The kind of rewards in a score file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Log-ratios of an implicit process reward model, or log-probabilities.
    Implicit,
    /// Values of a scalar head.
    Head,
    /// Label tokens.
    LabelTokens,
    /// Self-certainty of a model per token.
    SelfCertainty,
    /// What a published reward model gives, by its format.
    #[serde(untagged)]
    Published(ModelFormat),
}

impl fmt::Display for ScoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Implicit => "implicit",
            Self::Head => "head",
            Self::LabelTokens => "label tokens",
            Self::SelfCertainty => "self-certainty",
            Self::Published(format) => format.name(),
        })
    }
}

/// The rewards of one response.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// What [`completion_hash`] gives for the prompt and the response; absent in files of version 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// How much of the response was read, if not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
    /// Outcome reward; NaN, `null` in files, for a response that was not read to its end.
    #[serde(deserialize_with = "or_nan")]
    pub outcome: f64,
    /// Process reward of each step; NaN for steps that were not read or are fully masked.
    #[serde(deserialize_with = "or_nans")]
    pub steps: Vec<f64>,
    /// Q value at the end of each step; NaN for steps that were not read.
    #[serde(deserialize_with = "or_nans")]
    pub q_values: Vec<f64>,
    /// Where each step ends in the response, in characters (Unicode scalar values).
    pub step_ends: Vec<usize>,
    /// Reward of each token, where asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<f64>>,
    /// Id of each token, with `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// One past the last token of each step, with `tokens`; the end-of-turn token belongs to the last
    /// step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_step_ends: Option<Vec<usize>>,
    /// Half open ranges of masked tokens, whose rewards are 0; with `tokens` only, and only if there
    /// are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_tokens: Option<Vec<(usize, usize)>>,
}

/// What was read of a response that exceeds the model's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Its beginning.
    Truncated,
    /// Nothing.
    Skipped,
    /// Nothing, since it has not the part that was asked for: no thought, or no answer.
    Absent,
}

fn or_nan<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(f64::NAN))
}

fn or_nans<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(source)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

impl Scored {
    /// A response that was not read.
    pub fn skipped(prompt: &str, text: &str) -> Self {
        Self {
            hash: Some(completion_hash(prompt, text)),
            extent: Some(Extent::Skipped),
            outcome: f64::NAN,
            ..Self::default()
        }
    }

    /// The same rewards, those of the steps from `n_read` on and the outcome unknown.
    #[must_use]
    pub fn truncated(mut self, n_read: usize) -> Self {
        self.extent = Some(Extent::Truncated);
        self.outcome = f64::NAN;
        self.steps.iter_mut().skip(n_read).for_each(|reward| *reward = f64::NAN);
        self.q_values.iter_mut().skip(n_read).for_each(|value| *value = f64::NAN);
        self
    }
}

/// Names a prompt with a response: the first half of the SHA-256 over both, each preceded by its
/// number of bytes, in hexadecimal.
pub fn completion_hash(prompt: &str, text: &str) -> String {
    const SEED: u64 = 0;
    hex(&digest(SEED, &[prompt, text])[..16])
}

impl ProblemScores {
    /// The scores of the problem named `id`.
    pub fn new(id: impl Into<String>, scores: Vec<Scored>) -> Self {
        Self { version: SCORES_VERSION, id: id.into(), origin: None, scores }
    }

    /// Checks that these are the scores of `rollout`: its name, the number of completions, and the
    /// hash of each completion's text. Scores without hashes are checked by the ends of their
    /// steps.
    ///
    /// # Errors
    /// [`Error::ScoresDiffer`] with the first difference.
    pub fn check(&self, rollout: &Rollout) -> Result<()> {
        fn scored(score: &Scored) -> (Option<&str>, Option<usize>) {
            (score.hash.as_deref(), score.step_ends.last().copied())
        }
        check_scored(&self.id, self.scores.iter().map(scored), rollout)
    }
}

/// Checks that scores of the problem `id` are those of `rollout`, by the hash of each completion and the
/// end of its last step.
pub(crate) fn check_scored<'a>(
    id: &str,
    scored: impl ExactSizeIterator<Item = (Option<&'a str>, Option<usize>)>,
    rollout: &Rollout,
) -> Result<()> {
    let differ =
        |reason: String| Err(Error::ScoresDiffer { problem: rollout.name().to_owned(), reason });
    if id != rollout.name() {
        return differ(format!("the scores in its place are those of `{id}`"));
    }
    let (n, n_scored) = (rollout.completions.len(), scored.len());
    if n != n_scored {
        return differ(format!("it has {n} completions, and {n_scored} are scored"));
    }
    for (number, ((hash, end), completion)) in (1..).zip(scored.zip(&rollout.completions)) {
        let text = &completion.text;
        match (hash, end) {
            (Some(hash), _) if hash != completion_hash(&rollout.prompt, text) => {
                return differ(format!("completion {number} has another text than was scored"));
            }
            (None, Some(end)) => {
                // Mostly all are ASCII, which is faster to tell than to count them.
                let n_chars = if text.is_ascii() { text.len() } else { text.chars().count() };
                if end != n_chars {
                    let reason = format!(
                        "completion {number} has {n_chars} characters, and its scores end after {end}"
                    );
                    return differ(reason);
                }
            }
            (Some(_), _) | (None, None) => {}
        }
    }
    Ok(())
}

fn version() -> u32 {
    SCORES_VERSION
}

const ORIGIN: Shape = Shape::Object(&[
    Field::required("model", &Shape::Text),
    Field::required("kind", &Shape::Text),
    Field::optional("aggregation", &Shape::Text),
    Field::required("beta", &Shape::Number),
    Field::optional("value_rule", &Shape::Text),
    Field::optional("reference", &Shape::Text),
    Field::required("step_split", &Shape::Text),
    Field::optional("part", &Shape::Text),
]);

impl Record for ProblemScores {
    type Columns = Self;

    const FIELDS: &'static [Field] = &[
        Field::optional("version", &Shape::Number),
        Field::required("id", &Shape::Text),
        Field::optional("origin", &ORIGIN),
        Field::required(
            "scores",
            &Shape::List(&Shape::Object(&[
                Field::optional("hash", &Shape::Text),
                Field::optional("extent", &Shape::Text),
                Field::required("outcome", &Shape::OrNull(&Shape::Number)),
                Field::required("steps", &Shape::List(&Shape::OrNull(&Shape::Number))),
                Field::required("q_values", &Shape::List(&Shape::OrNull(&Shape::Number))),
                Field::required("step_ends", &Shape::List(&Shape::Number)),
                Field::optional("tokens", &Shape::List(&Shape::Number)),
                Field::optional("token_ids", &Shape::List(&Shape::Number)),
                Field::optional("token_step_ends", &Shape::List(&Shape::Number)),
                Field::optional("masked_tokens", &Shape::List(&Shape::List(&Shape::Number))),
            ])),
        ),
    ];

    const ROWS: RowLayout = RowLayout::Candidate;

    /// Every number is read in 64 bits in any case, none as it was written.
    fn may_be_rounded(_: &Self) -> bool {
        false
    }

    fn open(path: &Path, reading: Reading) -> Result<Box<dyn Source<Self>>> {
        open_files::<Self, Self>(path, reading)
    }

    fn from_columns(columns: Self) -> std::result::Result<Self, Fault> {
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
            // A step that is fully masked has a Q value and no reward.
            let unknown = |values: &[f64]| values.iter().any(|value| value.is_nan());
            if score.extent.is_none() && (score.outcome.is_nan() || unknown(&score.q_values)) {
                let expected = "numbers, unless `extent` says that the response was not read whole";
                return Some(Fault::new(format!("scores[{idx}]"), expected, "`null`"));
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::record::{from_json, from_value, value_of};

    #[test]
    fn numbers_of_any_length_are_read_in_64_bits() {
        let line = r#"{"id": "a", "scores": [{"outcome": 0.1000000000000000055511151231257827021181583404541015625,
            "steps": [123456789012345678901234567890, -0.30000000000000004441, null],
            "q_values": [1e-400, 1, 2], "step_ends": [1, 2, 3]}]}"#;
        let read: ProblemScores = from_json(line.as_bytes()).expect("scores");
        assert_eq!(read.scores[0].outcome, 0.1);
        assert_eq!(
            read.scores[0].steps[..2],
            [1.234_567_890_123_456_8e29, -0.300_000_000_000_000_04]
        );
        // As when the numbers are held as text first.
        let value = value_of(line.as_bytes()).expect("JSON");
        let held: ProblemScores = from_value(value).expect("scores");
        assert_eq!(format!("{read:?}"), format!("{held:?}"));
        // What JSON has none for, and what no number of 64 bits is.
        for (number, is_read) in [("NaN", false), ("1e400", false), ("1e308", true)] {
            let line = format!(
                r#"{{"id": "a", "scores": [{{"outcome": {number}, "steps": [], "q_values": [], "step_ends": []}}]}}"#
            );
            assert_eq!(from_json::<ProblemScores>(line.as_bytes()).is_ok(), is_read, "{number}");
        }
    }
}
