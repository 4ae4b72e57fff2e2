//! The routes of SGLang for heads: `POST /classify`, which gives one row of outputs per sequence, and
//! `POST /v1/score`, which also gives the state that the head was computed from.
//!
//! `/classify` reads the head at the last token and applies no activation. A value at another token is
//! that of the sequence up to it, which the prefix cache makes cheap. The server can be asked for several
//! positions of a sequence (`token_indices_to_pool`), but it counts them after what it takes from its
//! cache (0.5.23: other values, or the server dies), so that is not used.

use gratis_model::Dense;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{Sequence, one_or_many};
use crate::pooling::Pooled;
use crate::sglang::with_adapter;

/// Route of the requests.
pub(crate) const ROUTE: &str = "/classify";
/// Route that gives states beside the values.
pub(crate) const STATES_ROUTE: &str = "/v1/score";
/// Route that says what the model is.
pub(crate) const INFO_ROUTE: &str = "/model_info";

/// Whether a head's last layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// It has one.
    Present,
    /// It has none.
    Absent,
}

/// What is known here of a head, to compare with what a server computes.
#[derive(Debug, Clone)]
pub struct HeadFiles {
    /// Whether the checkpoints of the format have a bias.
    pub bias: Bias,
    /// The layers, where the tokenizer's folder has their tensors.
    pub layers: Option<Vec<Dense>>,
}

/// Whether the head of a class of SGLang has a bias (0.5.23). A bias that the checkpoint lacks keeps the
/// random values that it was made with; one that the class lacks is dropped.
pub(crate) fn bias_of(class: &str) -> Option<Bias> {
    match class {
        "Qwen2ForSequenceClassification" | "Qwen3ForSequenceClassification" => Some(Bias::Present),
        "LlamaForSequenceClassification" | "Gemma2ForSequenceClassification" => Some(Bias::Absent),
        _ => None,
    }
}

#[derive(Deserialize)]
struct Item {
    embedding: Vec<Option<f64>>,
}

#[derive(Deserialize)]
struct Scores {
    scores: Vec<Vec<f64>>,
    #[serde(default)]
    pooled_hidden_states: Option<Vec<Vec<f32>>>,
}

/// The values at a token, and the state that they are computed from.
pub(crate) type FromState = (Vec<f64>, Vec<f32>);

/// The body that asks for the values at the last tokens of sequences. `adapter` is the name of an
/// adapter, or empty.
pub(crate) fn body(adapter: &str, sequences: &[Sequence]) -> Value {
    let ids: Vec<&[u32]> = sequences.iter().map(|sequence| &sequence.tokens[..]).collect();
    with_adapter(json!({ "input_ids": ids }), adapter, sequences.len())
}

/// The values of an answer, at the last tokens.
pub(crate) fn read(body: &[u8], sequences: &[Sequence]) -> Result<Pooled, String> {
    let items: Vec<Item> = one_or_many(body)?;
    if items.len() != sequences.len() {
        return Err(format!("it has {} results for {} sequences", items.len(), sequences.len()));
    }
    let mut n_channels = None;
    let mut rows = Vec::with_capacity(items.len());
    for (idx, (Item { embedding: values }, sequence)) in
        items.into_iter().zip(sequences).enumerate()
    {
        let n_own = *n_channels.get_or_insert(values.len());
        if n_own == 0 || values.len() != n_own {
            return Err(
                "it has other numbers of values for different sequences, or none".to_owned()
            );
        }
        let n_scored = sequence.n_scored();
        let mut row = vec![f32::NAN; n_own * n_scored];
        for (channel, value) in values.into_iter().enumerate() {
            let value = value.filter(|value| value.is_finite());
            let value = value.ok_or_else(|| format!("sequence {idx}: the value is not finite"))?;
            row[(channel + 1) * n_scored - 1] = value as f32;
        }
        rows.push(row);
    }
    Ok(Pooled { n_channels: n_channels.unwrap_or_default(), rows })
}

/// The body that asks for the values and states of sequences that share all but their last token.
pub(crate) fn states_body(model: &str, sequences: &[Sequence]) -> Value {
    let shared = sequences.first().map_or(&[][..], |sequence| &sequence.tokens[..]);
    let shared = &shared[..shared.len().saturating_sub(1)];
    let last: Vec<&[u32]> =
        sequences.iter().map(|sequence| &sequence.tokens[shared.len()..]).collect();
    json!({
        "model": model,
        "query": shared,
        "items": last,
        "apply_softmax": false,
        "return_pooled_hidden_states": true,
    })
}

/// The values and states of `n` sequences; `None` where the server gives no states.
pub(crate) fn read_states(body: &[u8], n: usize) -> Result<Option<Vec<FromState>>, String> {
    let Scores { scores, pooled_hidden_states } =
        serde_json::from_slice(body).map_err(|error| format!("its shape: {error}"))?;
    let Some(states) = pooled_hidden_states else { return Ok(None) };
    if scores.len() != n || states.len() != n {
        return Err(format!("it has {} values for {n} sequences", scores.len()));
    }
    Ok(Some(scores.into_iter().zip(states).collect()))
}

/// The outputs of layers for a state, with a ReLU between them; `None` for a state of another width.
pub(crate) fn outputs(layers: &[Dense], state: &[f32]) -> Option<Vec<f64>> {
    let mut values: Vec<f64> = state.iter().map(|&value| f64::from(value)).collect();
    for (idx, layer) in layers.iter().enumerate() {
        if values.len() != layer.n_in {
            return None;
        }
        if idx > 0 {
            for value in &mut values {
                *value = value.max(0.0);
            }
        }
        let row = |(nth, weights): (usize, &[f32])| {
            let bias = layer.bias.as_ref().map_or(0.0, |bias| f64::from(bias[nth]));
            let terms = weights.iter().zip(&values).map(|(&w, value)| f64::from(w) * value);
            bias + terms.sum::<f64>()
        };
        values = layer.weight.chunks(layer.n_in.max(1)).enumerate().map(row).collect();
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sglang::tests::recorded;

    fn sequences(all: &[&[u32]], n_context: usize) -> Vec<Sequence> {
        all.iter().map(|tokens| Sequence { tokens: tokens.to_vec(), n_context }).collect()
    }

    #[test]
    fn values_of_a_real_server_stand_at_the_last_tokens() {
        let (request, answer) = recorded("classify");
        let asked = sequences(&[&[5, 6, 7, 8], &[9, 10]], 1);
        assert_eq!(request, body("", &asked), "the request is what this crate sends");
        let found = read(&answer, &asked).expect("valid");
        assert_eq!((found.n_channels, found.rows.len()), (1, 2));
        let [row, second] = &found.rows[..] else { panic!("two rows") };
        assert!(row[0].is_nan() && row[1].is_nan() && (row[2] + 0.239_334_63).abs() < 1e-6);
        assert!(second.len() == 1 && second[0].is_finite());
        assert!(!found.are_probabilities(1e-3));
        assert!(read(&answer, &asked[..1]).is_err());
        for refused in [
            r#"[{"embedding":[1.0]},{"embedding":[1.0,2.0]}]"#,
            r#"[{"embedding":[1.0]},{"embedding":[null]}]"#,
            r#"[{"embedding":[]},{"embedding":[]}]"#,
            r#"[{"embedding":[[1.0]]},{"embedding":[[2.0]]}]"#,
        ] {
            assert!(read(refused.as_bytes(), &asked).is_err(), "{refused}");
        }
        // One result alone, of two labels.
        let found = read(br#"{"embedding":[1.0,2.0]}"#, &sequences(&[&[1, 2, 3]], 2));
        assert_eq!(found.expect("valid").rows, [[1.0, 2.0]]);
    }

    #[test]
    fn states_of_a_real_server_show_a_bias_that_the_checkpoint_lacks() {
        let (request, answer) = recorded("score_states");
        let asked = sequences(&[&[5, 6, 7, 8], &[5, 6, 7, 9], &[5, 6, 7, 12]], 0);
        assert_eq!(request, states_body("rm", &asked), "the request is what this crate sends");
        let states = read_states(&answer, 3).expect("valid").expect("states");
        assert_eq!(states[0].1.len(), 16);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reward_models");
        let folder = std::path::Path::new(folder).join("skywork-reward-qwen3");
        let mut tensors = gratis_model::checkpoint::NamedTensors::open(&folder).expect("weights");
        let weight = tensors.read("score.weight", &[1, 16]).expect("a tensor");
        let layers = [Dense { weight, bias: None, n_in: 16 }];
        let biases = states.iter().map(|(values, state)| {
            values[0] - outputs(&layers, state).expect("a state that fits")[0]
        });
        let biases: Vec<f64> = biases.collect();
        // The class of this server has a bias: the same at every token, and no rounding. Observed:
        // -1.5e-3, equal within 3e-8.
        assert!(biases.iter().all(|bias| bias.abs() > 1e-3), "{biases:?}");
        assert!(biases.iter().all(|bias| (bias - biases[0]).abs() < 1e-5), "{biases:?}");
        assert!(read_states(&answer, 2).is_err());
        let older = br#"{"scores":[[1.0]],"object":"scoring"}"#;
        assert!(read_states(older, 1).expect("valid").is_none());
        assert_eq!(outputs(&layers, &[0.0; 3]), None);
        let second = Dense { weight: vec![2.0], bias: Some(vec![0.5]), n_in: 1 };
        let first = Dense { weight: vec![1.0, -1.0], bias: None, n_in: 2 };
        let of = |state: &[f32]| outputs(&[first.clone(), second.clone()], state);
        assert_eq!((of(&[3.0, 1.0]), of(&[1.0, 3.0])), (Some(vec![4.5]), Some(vec![0.5])));
    }
}
