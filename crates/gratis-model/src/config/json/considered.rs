//! The known fields of a `config.json` and how each is handled.
//!
//! A field is read ([`READ`]), allowed only under values that change nothing ([`NEUTRAL`]), or
//! known to be without effect here ([`WITHOUT_EFFECT`], each group with its reason); some are one
//! or the other by architecture ([`BY_ARCHITECTURE`]). A field that is new in a later version of
//! `transformers` is in none of these tables and is rejected by name.

use std::fmt;

use serde_json::Value;

use crate::config::Architecture;

/// Fields that are read.
const READ: &[&str] = &[
    "architectures",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_size",
    "intermediate_size",
    "layer_types",
    "max_position_embeddings",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "original_max_position_embeddings",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

/// Fields of some architectures: the architecture, how they are handled, their names.
const BY_ARCHITECTURE: &[(&[Architecture], &str, &[&str])] = &[
    (
        &[Architecture::Qwen2, Architecture::Qwen3],
        "read: the window of attention",
        &["max_window_layers", "sliding_window", "use_sliding_window"],
    ),
    (
        &[Architecture::Qwen2Moe, Architecture::Qwen3Moe],
        "read: the experts",
        &[
            "decoder_sparse_step",
            "mlp_only_layers",
            "moe_intermediate_size",
            "norm_topk_prob",
            "num_experts",
            "num_experts_per_tok",
        ],
    ),
    (
        &[Architecture::Qwen2Moe],
        "read: the expert for all tokens, and biases",
        &["qkv_bias", "shared_expert_intermediate_size"],
    ),
    (
        &[Architecture::Qwen2Moe, Architecture::Qwen3Moe],
        "without effect: the window is off; the loss of `transformers` alone has a term for the router",
        &["max_window_layers", "output_router_logits", "router_aux_loss_coef", "sliding_window"],
    ),
    (&[Architecture::Mistral], "read: the window of attention", &["sliding_window"]),
    (
        &[Architecture::Mistral],
        "without effect: the class looks at `sliding_window` alone",
        &["max_window_layers", "use_sliding_window"],
    ),
    (
        &[Architecture::Llama, Architecture::Granite, Architecture::Olmo2],
        "without effect: the class has no window",
        &["max_window_layers", "sliding_window", "use_sliding_window"],
    ),
    (
        &[Architecture::Llama, Architecture::SmolLm3, Architecture::Granite],
        "read: biases",
        &["attention_bias", "mlp_bias"],
    ),
    (
        &[Architecture::Phi3],
        "read: the window of attention, and how much of a head is turned",
        &["sliding_window", "partial_rotary_factor"],
    ),
    (
        &[Architecture::Phi3],
        "without effect: fields of code that the class replaces",
        &["full_attn_mod", "interpolate_factor"],
    ),
    (
        &[Architecture::SmolLm3],
        "read: the window of attention, and layers without positions",
        &["no_rope_layer_interval", "no_rope_layers", "sliding_window", "use_sliding_window"],
    ),
    (
        &[Architecture::SmolLm3],
        "without effect: the class looks at `layer_types` alone",
        &["max_window_layers"],
    ),
    (
        &[Architecture::Granite],
        "read: constant factors",
        &["attention_multiplier", "embedding_multiplier", "logits_scaling", "residual_multiplier"],
    ),
    (&[Architecture::Olmo3], "read: the window of attention", &["sliding_window"]),
    (
        &[Architecture::Gemma2, Architecture::Gemma3],
        "read: the window of attention, the activation, scale and limits of scores and logits",
        &[
            "attn_logit_softcapping",
            "final_logit_softcapping",
            "hidden_activation",
            "query_pre_attn_scalar",
            "sliding_window",
        ],
    ),
    (
        &[Architecture::Gemma2, Architecture::Gemma3],
        "without effect: the class looks at `hidden_activation`",
        &["hidden_act"],
    ),
    (
        &[Architecture::Gemma3],
        "read: which layers have the window, and their rotary base",
        &["_sliding_window_pattern", "rope_local_base_freq", "sliding_window_pattern"],
    ),
];

/// Fields of these or of related architectures that change the computation, with the values under
/// which they change nothing. Any other value is rejected; `null` changes nothing.
pub(super) const NEUTRAL: &[(&str, &[Neutral])] = &[
    ("add_cross_attention", &[Neutral::False]),
    ("attention_bias", &[Neutral::False]),
    ("attention_multiplier", &[]),
    ("attn_logit_softcapping", &[]),
    ("clip_qkv", &[]),
    ("cross_attention_hidden_size", &[]),
    ("embedding_multiplier", &[Neutral::One]),
    ("final_logit_softcapping", &[]),
    ("hidden_act", &[Neutral::Is("silu"), Neutral::Is("swish")]),
    ("is_causal", &[Neutral::True]),
    ("is_encoder_decoder", &[Neutral::False]),
    ("lm_head_bias", &[Neutral::False]),
    ("logit_scale", &[Neutral::One]),
    ("logits_scaling", &[Neutral::One]),
    ("mlp_bias", &[Neutral::False]),
    ("no_rope_layers", &[]),
    ("num_experts", &[]),
    ("num_local_experts", &[]),
    ("partial_rotary_factor", &[Neutral::One]),
    ("per_layer_config", &[Neutral::Empty]),
    ("pruned_heads", &[Neutral::Empty]),
    ("qkv_bias", &[Neutral::False]),
    ("quantization_config", &[]),
    ("query_pre_attn_scalar", &[]),
    ("residual_multiplier", &[Neutral::One]),
    ("rope_interleaved", &[Neutral::False]),
    ("rotary_pct", &[Neutral::One]),
    ("scale_emb", &[Neutral::One]),
    ("use_bidirectional_attention", &[Neutral::False]),
    ("use_mrope", &[Neutral::False]),
    ("use_qk_norm", &[Neutral::False]),
    ("use_sliding_window", &[Neutral::False]),
];

/// Fields without effect on what is computed here, by the reason.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "says where the file comes from; code that it names is never run",
        &[
            "_commit_hash",
            "_name_or_path",
            "auto_map",
            "custom_pipelines",
            "is_llama_config",
            "name_or_path",
            "processor_class",
            "tokenizer_class",
            "transformers.js_config",
            "transformers_version",
            "unsloth_fixed",
            "unsloth_version",
        ],
    ),
    (
        "how numbers are stored or a result is computed, not the result",
        &[
            "_attn_implementation",
            "_attn_implementation_autoset",
            "_experts_implementation",
            "_flash_attn_2_enabled",
            "attn_implementation",
            "cache_implementation",
            "chunk_size_feed_forward",
            "dtype",
            "experts_implementation",
            "pretraining_tp",
            "torch_dtype",
            "torchscript",
            "use_bfloat16",
            "use_cache",
        ],
    ),
    (
        "used in training by `transformers` only",
        &[
            "attention_dropout",
            "attention_probs_dropout_prob",
            "attn_pdrop",
            "classifier_dropout",
            "dropout",
            "embd_pdrop",
            "gradient_checkpointing",
            "hidden_dropout",
            "hidden_dropout_prob",
            "initializer_range",
            "resid_pdrop",
            "tf_legacy_loss",
        ],
    ),
    (
        "what a forward pass returns, or the labels of a classifier",
        &[
            "finetuning_task",
            "id2label",
            "is_decoder",
            "keys_to_ignore_at_inference",
            "label2id",
            "num_labels",
            "output_attentions",
            "output_hidden_states",
            "output_scores",
            "problem_type",
            "return_dict",
            "return_dict_in_generate",
            "task_specific_params",
            "tie_encoder_decoder",
            "tie_last_hidden_states",
            "use_return_dict",
        ],
    ),
    (
        "tokens that this engine neither adds nor skips",
        &[
            "cls_token_id",
            "decoder_start_token_id",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "mask_token_id",
            "pad_token_id",
            "sep_token_id",
            "unk_token_id",
        ],
    ),
    (
        "defaults of generation, which the command line sets",
        &[
            "bad_words_ids",
            "begin_suppress_tokens",
            "diversity_penalty",
            "do_sample",
            "early_stopping",
            "encoder_no_repeat_ngram_size",
            "exponential_decay_length_penalty",
            "length_penalty",
            "max_length",
            "max_new_tokens",
            "max_sequence_length",
            "min_length",
            "min_new_tokens",
            "no_repeat_ngram_size",
            "num_beam_groups",
            "num_beams",
            "num_return_sequences",
            "prefix",
            "remove_invalid_values",
            "repetition_penalty",
            "suppress_tokens",
            "temperature",
            "top_k",
            "top_p",
            "typical_p",
        ],
    ),
];

/// Fields that are read inside `rope_parameters` and `rope_scaling`, or are without effect under the
/// other types. `attn_factor` is a field of other engines, which `transformers` does not read.
const IN_ROPE: &[&str] = &[
    "attention_factor",
    "attn_factor",
    "beta_fast",
    "beta_slow",
    "factor",
    "finetuned",
    "high_freq_factor",
    "long_factor",
    "low_freq_factor",
    "mscale",
    "mscale_all_dim",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_type",
    "short_factor",
    "truncate",
    "type",
];

/// As [`NEUTRAL`], inside `rope_parameters` and `rope_scaling`.
pub(super) const ROPE_NEUTRAL: &[(&str, &[Neutral])] =
    &[("mrope_section", &[]), ("partial_rotary_factor", &[Neutral::One])];

/// A value under which a field changes nothing; `null` always does.
pub(super) enum Neutral {
    False,
    True,
    One,
    /// An empty object or list.
    Empty,
    Is(&'static str),
}

impl Neutral {
    pub(super) fn holds(&self, value: &Value) -> bool {
        match self {
            Self::False => value == &Value::Bool(false),
            Self::True => value == &Value::Bool(true),
            Self::One => value.as_f64() == Some(1.0),
            Self::Empty => match value {
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            },
            Self::Is(name) => value.as_str() == Some(name),
        }
    }
}

impl fmt::Display for Neutral {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::False => "`false`",
            Self::True => "`true`",
            Self::One => "`1`",
            Self::Empty => "`{}`",
            Self::Is(name) => return write!(formatter, "`{name}`"),
        })
    }
}

/// Whether a field at the root is known; its value is checked where it is read.
pub(super) fn is_considered(field: &str, architecture: Architecture) -> bool {
    READ.contains(&field)
        || NEUTRAL.iter().any(|(name, _)| *name == field)
        || WITHOUT_EFFECT.iter().any(|(_, fields)| fields.contains(&field))
        || is_of(field, architecture)
}

/// Whether a field has a meaning of its own in this architecture.
pub(super) fn is_of(field: &str, architecture: Architecture) -> bool {
    let of_architecture = |(architectures, _, fields): &(&[Architecture], &str, &[&str])| {
        architectures.contains(&architecture) && fields.contains(&field)
    };
    BY_ARCHITECTURE.iter().any(of_architecture)
}

/// Whether a field of `rope_parameters` or `rope_scaling` is known.
pub(super) fn is_considered_in_rope(field: &str) -> bool {
    IN_ROPE.contains(&field) || ROPE_NEUTRAL.iter().any(|(name, _)| *name == field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_stands_in_two_tables() {
        let neutral = NEUTRAL.iter().map(|(name, _)| *name);
        let without_effect = WITHOUT_EFFECT.iter().flat_map(|(_, fields)| fields.iter().copied());
        let mut all: Vec<&str> =
            READ.iter().copied().chain(neutral).chain(without_effect).collect();
        all.sort_unstable();
        let n_all = all.len();
        all.dedup();
        assert_eq!(all.len(), n_all);
    }
}
