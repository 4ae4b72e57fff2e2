//! Scalar heads: the values that a model returns per token instead of log-probabilities.

use serde::{Deserialize, Serialize};

/// How a head reads the states of a response `y`. `h_t` is the last norm's output at token `y_t`;
/// `h_0` is that at the prompt's last token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub enum ValueHead {
    /// `w . h_t + b`, from zero: the head of a sequence or token classifier.
    #[default]
    Linear,
    /// The value of the action `y_t` in the state before it, `w . ((P h_{t-1}) * E[y_t]) + b` with
    /// `E` the rows of the language model's head. `P` starts at the identity, `w` at
    /// [`ACTION_WEIGHT`] and `b` at 0, so it is initialised to a fraction of the token's logit.
    ActionValue,
    /// [`ValueHead::ActionValue`] and a second value, for the state itself: `s . h_t`, from zero.
    ActionAndStateValue,
}

/// A head as files have it.
#[derive(Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Linear,
    ActionValue { state_value: StateValue },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateValue {
    Absent,
    Linear,
}

impl From<Written> for ValueHead {
    fn from(head: Written) -> Self {
        match head {
            Written::Linear => Self::Linear,
            Written::ActionValue { state_value: StateValue::Absent } => Self::ActionValue,
            Written::ActionValue { state_value: StateValue::Linear } => Self::ActionAndStateValue,
        }
    }
}

impl From<ValueHead> for Written {
    fn from(head: ValueHead) -> Self {
        match head {
            ValueHead::Linear => Self::Linear,
            ValueHead::ActionValue => Self::ActionValue { state_value: StateValue::Absent },
            ValueHead::ActionAndStateValue => Self::ActionValue { state_value: StateValue::Linear },
        }
    }
}

/// Initial value of `w` of [`ValueHead::ActionValue`].
pub const ACTION_WEIGHT: f32 = 0.3;

impl ValueHead {
    /// Values of the head per token: the value, then the state's value, if any.
    pub fn n_channels(self) -> usize {
        match self {
            Self::ActionAndStateValue => 2,
            Self::Linear | Self::ActionValue => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_a_head_and_its_state_value() {
        for (head, text) in [
            (ValueHead::Linear, r#"{"name":"linear"}"#),
            (ValueHead::ActionValue, r#"{"name":"action_value","state_value":"absent"}"#),
            (ValueHead::ActionAndStateValue, r#"{"name":"action_value","state_value":"linear"}"#),
        ] {
            assert_eq!(serde_json::to_string(&head).expect("JSON"), text);
            assert_eq!(serde_json::from_str::<ValueHead>(text).expect("a head"), head);
        }
        let unknown = r#"{"name":"action_value","state_value":"absent","bias":1}"#;
        assert!(serde_json::from_str::<ValueHead>(unknown).is_err());
    }
}
