//! Scalar heads: which numbers a model gives for each token in place of its log-probability.

use serde::{Deserialize, Serialize};

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
