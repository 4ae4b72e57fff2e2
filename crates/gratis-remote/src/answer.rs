//! Checks that every protocol makes of an answer.

use gratis_engine::FinishReason;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The lowest log-probability that is taken for one: vLLM writes minus infinity as -9999.
const LOWEST: f64 = -9999.0;
/// Rounding may lift a log-probability above 0 by this much.
const HIGHEST: f64 = 1e-3;

/// A token sequence to score: the log-probabilities of `tokens[n_context..]` are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    /// Tokens that are only read; at least 1.
    pub(crate) n_context: usize,
}

impl Sequence {
    /// Number of tokens to score.
    pub(crate) fn n_scored(&self) -> usize {
        self.tokens.len() - self.n_context
    }
}

/// What SGLang answers: a list, or its only item without one.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

/// The items of an answer of SGLang.
pub(crate) fn one_or_many<T: DeserializeOwned>(body: &[u8]) -> Result<Vec<T>, String> {
    let answer = serde_json::from_slice(body).map_err(|error| format!("its shape: {error}"))?;
    Ok(match answer {
        OneOrMany::Many(items) => items,
        OneOrMany::One(item) => vec![item],
    })
}

/// A request for one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw<'a> {
    pub(crate) prompt: &'a [u32],
    pub(crate) max_new_tokens: usize,
    pub(crate) temperature: f32,
    pub(crate) top_p: f32,
    /// 0 keeps all.
    pub(crate) top_k: usize,
    pub(crate) stop_tokens: &'a [u32],
    /// At most 62 bits.
    pub(crate) seed: u64,
}

/// The number as written: 0.7, not all digits of the nearest f32.
pub(crate) fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

/// A log-probability that may be used.
pub(crate) fn log_prob(value: f64) -> Result<f32, String> {
    if value.is_finite() && value > LOWEST && value <= HIGHEST {
        return Ok(value as f32);
    }
    Err(format!("{value} is no log-probability (the model computes minus infinity or NaN)"))
}

/// Why a sample ended, if its tokens agree: a sample that stopped ends with a stop token, and
/// nothing else holds one.
pub(crate) fn finish(reason: &str, tokens: &[u32], draw: &Draw) -> Result<FinishReason, String> {
    let is_stop = |token: &u32| draw.stop_tokens.contains(token);
    if tokens.is_empty() {
        return Err("the sample has no tokens".to_owned());
    }
    if tokens.len() > draw.max_new_tokens {
        let (n, most) = (tokens.len(), draw.max_new_tokens);
        return Err(format!("the sample has {n} tokens, at most {most} were requested"));
    }
    let (last, before) = (&tokens[tokens.len() - 1], &tokens[..tokens.len() - 1]);
    if let Some(token) = before.iter().find(|token| is_stop(token)) {
        return Err(format!("the sample goes on after the stop token {token}"));
    }
    match (reason, is_stop(last)) {
        ("stop" | "length", true) => Ok(FinishReason::Stop),
        ("length", false) => Ok(FinishReason::Length),
        ("stop", false) => Err(format!(
            "the sample stopped at token {last}, which is not one of the stop tokens {:?}: name it \
             in `generation_config.json` of the tokenizer folder",
            draw.stop_tokens
        )),
        (other, _) => Err(format!("the finish reason is `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_minus_infinity_is_refused() {
        assert_eq!(log_prob(-6.987_504_482_269_287), Ok(-6.987_504_5));
        assert_eq!(log_prob(0.0), Ok(0.0));
        for value in [-9999.0, -1e30, f64::NEG_INFINITY, f64::NAN, 0.5] {
            assert!(log_prob(value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_end_of_a_sample_agrees_with_its_tokens() {
        let draw = Draw {
            prompt: &[1],
            max_new_tokens: 3,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            stop_tokens: &[2],
            seed: 0,
        };
        assert_eq!(finish("stop", &[5, 2], &draw), Ok(FinishReason::Stop));
        assert_eq!(finish("length", &[5, 5, 5], &draw), Ok(FinishReason::Length));
        // The stop token was the last one that fitted.
        assert_eq!(finish("length", &[5, 5, 2], &draw), Ok(FinishReason::Stop));
        for (reason, tokens) in [
            ("stop", &[5, 5][..]),
            ("stop", &[2, 2]),
            ("length", &[5, 5, 5, 5]),
            ("length", &[]),
            ("abort", &[5]),
        ] {
            assert!(finish(reason, tokens, &draw).is_err(), "{reason} {tokens:?}");
        }
    }
}
