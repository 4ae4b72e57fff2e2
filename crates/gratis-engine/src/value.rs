//! Scalar heads: numbers for each response token in place of its log-probability.
//!
//! A reward model of the usual kind reads a number from the states of a transformer. It meets the
//! rest of the system at a seam of the same shape as [`Engine`]'s: values out, `dL/dvalue` in. What
//! the values mean, how they are pooled over tokens and what they are trained on is not known here.

use serde::{Deserialize, Serialize};

use crate::batch::{PackedBatch, TokenValues};
use crate::engine::Engine;
use crate::error::Result;

/// What is read from the states of a response `y`. `h_t` is the last norm's output at token `y_t`;
/// `h_0` is that at the prompt's last token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueHead {
    /// `w . h_t + b`, from zero: the head of a sequence or token classifier.
    #[default]
    Linear,
    /// The value of the action `y_t` in the state before it, `w . ((P h_{t-1}) * E[y_t]) + b` with
    /// `E` the rows of the language model's head. `P` starts at the identity, `w` at
    /// [`ACTION_WEIGHT`] and `b` at 0, so that it begins as a share of the token's logit.
    ActionValue {
        /// Whether a second number says how good the state itself is.
        state_value: StateValue,
    },
}

/// A second channel beside [`ValueHead::ActionValue`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateValue {
    /// None.
    #[default]
    Absent,
    /// `s . h_t`, from zero.
    Linear,
}

/// Where `w` of [`ValueHead::ActionValue`] starts.
pub const ACTION_WEIGHT: f32 = 0.3;

impl ValueHead {
    /// Numbers that the head gives for each token: the value, then the state's, if there is one.
    pub fn n_channels(self) -> usize {
        match self {
            Self::ActionValue { state_value: StateValue::Linear } => 2,
            Self::Linear | Self::ActionValue { .. } => 1,
        }
    }
}

/// A model with a scalar head.
pub trait ValueEngine: Engine {
    /// The head.
    ///
    /// # Errors
    /// [`crate::Error::NoValueHead`] if the model is a mere language model.
    fn value_head(&self) -> Result<ValueHead>;

    /// The head's numbers for every response token of `batch`: a row of `[n_channels, n_tokens]`
    /// for each response.
    ///
    /// # Errors
    /// As [`Engine::log_probs`] and [`ValueEngine::value_head`].
    fn values(&mut self, batch: &PackedBatch) -> Result<TokenValues>;

    /// As [`Engine::forward_backward`] with values: `weigh` answers with `dL/dvalue` in the same
    /// shape.
    ///
    /// # Errors
    /// As [`Engine::forward_backward`] and [`ValueEngine::value_head`].
    fn values_backward(
        &mut self,
        batch: &PackedBatch,
        weigh: &mut dyn FnMut(&TokenValues) -> Option<TokenValues>,
    ) -> Result<TokenValues>;
}
