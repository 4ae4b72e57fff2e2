//! Scalar heads: the values that a model returns per token instead of log-probabilities.

use serde::{Deserialize, Serialize};

/// How a head reads the states of a response `y`. `h_t` is the last norm's output at token `y_t`;
/// `h_0` is that at the prompt's last token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ValueHead {
    /// `w . h_t + b`, from zero: the head of a sequence or token classifier.
    #[default]
    Linear,
    /// The value of the action `y_t` in the state before it, `w . ((P h_{t-1}) * E[y_t]) + b` with
    /// `E` the rows of the language model's head. `P` starts at the identity, `w` at
    /// [`ACTION_WEIGHT`] and `b` at 0, so it is initialised to a fraction of the token's logit.
    ActionValue {
        /// Whether there is a second value, for the state itself.
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

/// Initial value of `w` of [`ValueHead::ActionValue`].
pub const ACTION_WEIGHT: f32 = 0.3;

impl ValueHead {
    /// Values of the head per token: the value, then the state's value, if any.
    pub fn n_channels(self) -> usize {
        match self {
            Self::ActionValue { state_value: StateValue::Linear } => 2,
            Self::Linear | Self::ActionValue { .. } => 1,
        }
    }
}
