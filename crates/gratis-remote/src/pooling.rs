//! The route of vLLM for heads: `POST /pooling`.
//!
//! `token_classify` gives the head's output at each token, or with the pooling `STEP` at each step tag;
//! `classify` gives it at the last token and reads the prefix cache. The activation (a softmax or a
//! logistic function) is on unless `use_activation` says otherwise.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Sequence;

/// Route of the requests.
pub(crate) const ROUTE: &str = "/pooling";

/// What a reward model on a server reads its scores from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// The output of its classifier at tokens of the sequence. A server may give the values only at
    /// this token, which ends the steps.
    EachToken {
        /// The token that ends a step, if there is one such.
        tag: Option<u32>,
    },
    /// The output of its classifier at the last token.
    LastToken,
    /// The log-probabilities of two tokens, of a good step and of a bad one, that may come next.
    Labels([u32; 2]),
}

/// A head whose server passed the check at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    Pooled { task: Task, tag: Option<u32>, n_channels: usize },
    Labels([u32; 2]),
}

impl Checked {
    pub(crate) fn n_channels(self) -> usize {
        match self {
            Self::Pooled { n_channels, .. } => n_channels,
            Self::Labels(labels) => labels.len(),
        }
    }
}

/// At which tokens the head is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    EachToken,
    LastToken,
    /// At the last token of a sequence that ends where a value is wanted.
    Prefix,
}

/// Whether the server applies its activation to the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    On,
    Off,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    data: Data,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Data {
    PerToken(Vec<Vec<Option<f64>>>),
    One(Vec<Option<f64>>),
}

/// The values of sequences: of each a row `[n_channels, n_scored]`, NaN where the server gives none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pooled {
    pub(crate) n_channels: usize,
    pub(crate) rows: Vec<Vec<f32>>,
}

/// The body that asks for the values of sequences.
pub(crate) fn body(
    model: &str,
    sequences: &[Sequence],
    task: Task,
    activation: Activation,
) -> Value {
    let inputs: Vec<&[u32]> = sequences.iter().map(|sequence| &sequence.tokens[..]).collect();
    json!({
        "model": model,
        "input": inputs,
        "task": match task {
            Task::EachToken => "token_classify",
            Task::LastToken | Task::Prefix => "classify",
        },
        "use_activation": activation == Activation::On,
        "encoding_format": "float",
        "add_special_tokens": false,
    })
}

/// The values of an answer. `tag` is the token at which alone a server may give values.
pub(crate) fn read(
    body: &[u8],
    sequences: &[Sequence],
    task: Task,
    tag: Option<u32>,
) -> Result<Pooled, String> {
    let Answer { data: mut items } =
        serde_json::from_slice(body).map_err(|error| format!("its shape: {error}"))?;
    items.sort_by_key(|item| item.index);
    if items.iter().map(|item| item.index).ne(0..sequences.len()) {
        let (n, expected) = (items.len(), sequences.len());
        return Err(format!("it has {n} results for {expected} sequences"));
    }
    let mut n_channels = None;
    let mut rows = Vec::with_capacity(sequences.len());
    for (item, sequence) in items.into_iter().zip(sequences) {
        let n_tokens = sequence.tokens.len();
        let (positions, values) = match (task, item.data) {
            (Task::LastToken | Task::Prefix, Data::One(values)) => {
                (vec![n_tokens - 1], vec![values])
            }
            (Task::EachToken, Data::PerToken(values)) => {
                (positions(sequence, values.len(), tag)?, values)
            }
            (Task::LastToken | Task::Prefix, Data::PerToken(_)) => {
                return Err("it has a list of values per token, one value was asked for".to_owned());
            }
            (Task::EachToken, Data::One(_)) => {
                return Err("it has one value per sequence, one per token was asked for".to_owned());
            }
        };
        let n_own = *n_channels.get_or_insert(values.first().map_or(0, Vec::len));
        if n_own == 0 || values.iter().any(|values| values.len() != n_own) {
            return Err("it has other numbers of values at different tokens, or none".to_owned());
        }
        let n_scored = sequence.n_scored();
        let mut row = vec![f32::NAN; n_own * n_scored];
        for (at, values) in positions.into_iter().zip(values) {
            let Some(place) = at.checked_sub(sequence.n_context) else { continue };
            for (channel, value) in values.into_iter().enumerate() {
                let value = value.filter(|value| value.is_finite());
                let value = value.ok_or_else(|| format!("token {at}: the value is not finite"))?;
                row[channel * n_scored + place] = value as f32;
            }
        }
        rows.push(row);
    }
    Ok(Pooled { n_channels: n_channels.unwrap_or_default(), rows })
}

/// The tokens that `n` values belong to: all, or those that are the tag.
fn positions(sequence: &Sequence, n: usize, tag: Option<u32>) -> Result<Vec<usize>, String> {
    let n_tokens = sequence.tokens.len();
    if n == n_tokens {
        return Ok((0..n).collect());
    }
    let of_tag = |tag| {
        let tokens = sequence.tokens.iter().enumerate();
        tokens.filter(|(_, token)| **token == tag).map(|(at, _)| at).collect::<Vec<_>>()
    };
    match tag.map(of_tag) {
        Some(places) if places.len() == n => Ok(places),
        Some(places) => Err(format!(
            "it has {n} values for {n_tokens} tokens, {} of which end a step: start the server with \
             `--pooler-config` and `step_tag_id` {}, or with `pooling_type` `ALL`",
            places.len(),
            tag.unwrap_or_default()
        )),
        None => Err(format!("it has {n} values for {n_tokens} tokens")),
    }
}

impl Pooled {
    /// Whether these values, asked for without an activation, have none, given those with it.
    pub(crate) fn check_activation(&self, activated: &Self, tolerance: f32) -> Result<(), String> {
        let mut is_activated = true;
        let mut is_same = true;
        for (raw, activated) in self.columns().zip(activated.columns()) {
            let differs = |other: &[f32]| {
                let pairs = activated.iter().zip(other);
                pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) > tolerance
            };
            // A softmax, or a logistic function of each value.
            let largest = raw.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f32> = raw.iter().map(|value| (value - largest).exp()).collect();
            let total: f32 = powers.iter().sum();
            let softmax: Vec<f32> = powers.iter().map(|power| power / total).collect();
            let logistic: Vec<f32> = raw.iter().map(|value| 1.0 / (1.0 + (-value).exp())).collect();
            is_activated &= !differs(&logistic) || raw.len() > 1 && !differs(&softmax);
            is_same &= !differs(&raw);
        }
        let is_share = self.are_probabilities(tolerance);
        let hint = "start it with `--pooler-config '{\"use_activation\":false}'`";
        match (is_activated, is_same) {
            (true, _) => Ok(()),
            // A model without an activation, unless the server ignores what was asked.
            (false, true) if !is_share => Ok(()),
            (false, true) => Err(format!(
                "its values are probabilities although none were asked for (`use_activation`); {hint}"
            )),
            (false, false) => Err(format!(
                "its values with an activation are neither a softmax nor a logistic function of those \
                 without one, so what they are is unknown; {hint}"
            )),
        }
    }

    /// Whether all values look like probabilities: between 0 and 1, and 1 together if there are several.
    pub(crate) fn are_probabilities(&self, tolerance: f32) -> bool {
        self.columns().all(|column| {
            let is_within = column.iter().all(|value| (0.0..=1.0).contains(value));
            let is_one = (column.iter().sum::<f32>() - 1.0).abs() <= tolerance;
            is_within && (column.len() == 1 || is_one)
        })
    }

    /// The channels at every token that has values.
    fn columns(&self) -> impl Iterator<Item = Vec<f32>> + '_ {
        let n_channels = self.n_channels;
        self.rows.iter().flat_map(move |row| {
            let n = row.len() / n_channels.max(1);
            let column = move |at: usize| (0..n_channels).map(move |c| row[c * n + at]);
            let columns = (0..n).map(move |at| column(at).collect::<Vec<f32>>());
            columns.filter(|column| column.iter().all(|value| !value.is_nan()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that vLLM 0.32.0 was sent, and its answers without and with the activation.
    fn recorded(name: &str) -> (Vec<Sequence>, Vec<u8>, Vec<u8>) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/engines/vllm");
        let text = std::fs::read(format!("{folder}/{name}.json")).expect("a fixture");
        let value: Value = serde_json::from_slice(&text).expect("JSON");
        let inputs = value["request"]["input"].as_array().expect("inputs").iter();
        let sequences = inputs.map(|ids| {
            let ids = ids.as_array().expect("ids").iter();
            let tokens = ids.map(|id| id.as_u64().expect("an id") as u32).collect();
            Sequence { tokens, n_context: 0 }
        });
        let bytes = |name: &str| value[name].to_string().into_bytes();
        (sequences.collect(), bytes("response"), bytes("response_with_activation"))
    }

    #[test]
    fn values_of_a_real_server_are_read_and_their_activation_is_seen() {
        for (name, task, n_channels) in [
            ("pooling_token_classify", Task::EachToken, 2),
            ("pooling_classify", Task::LastToken, 1),
        ] {
            let (sequences, raw, activated) = recorded(name);
            let read = |body: &[u8]| read(body, &sequences, task, None).expect("valid");
            let (raw, activated) = (read(&raw), read(&activated));
            assert_eq!((raw.n_channels, raw.rows.len()), (n_channels, sequences.len()));
            assert_eq!(raw.check_activation(&activated, 1e-5), Ok(()));
            // A server that ignores `use_activation`, and one whose activation is unknown.
            let error = activated.check_activation(&activated, 1e-5).expect_err("probabilities");
            assert!(error.contains("probabilities"), "{error}");
            let error = activated.check_activation(&raw, 1e-5).expect_err("unknown");
            assert!(error.contains("neither"), "{error}");
            // A model that has no activation.
            assert_eq!(raw.check_activation(&raw, 1e-5), Ok(()));
        }
    }

    #[test]
    fn values_at_step_tags_stand_at_their_tokens_and_other_counts_are_refused() {
        let sequence = [Sequence { tokens: vec![4, 9, 5, 9], n_context: 1 }];
        let answer =
            |data: &str| format!("{{\"data\":[{{\"index\":0,\"data\":{data}}}]}}").into_bytes();
        let read = |data: &str, tag| read(&answer(data), &sequence, Task::EachToken, tag);
        let found = read("[[1,2],[3,4]]", Some(9)).expect("valid");
        let row = &found.rows[0];
        assert_eq!((row[0], row[2], row[3], row[5]), (1.0, 3.0, 2.0, 4.0));
        assert!(row[1].is_nan() && row[4].is_nan());
        for (data, tag) in [
            ("[[1,2],[3,4]]", None),
            ("[[1,2],[3,4]]", Some(5)),
            ("[]", Some(9)),
            ("[1,2]", Some(9)),
            ("[[1,2],[3]]", Some(9)),
            ("[[1,null],[3,4]]", Some(9)),
        ] {
            assert!(read(data, tag).is_err(), "{data} {tag:?}");
        }
    }
}
