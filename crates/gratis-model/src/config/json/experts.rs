//! The experts of a `config.json`: Qwen2-MoE and Qwen3-MoE.

use serde_json::{Value, json};

use super::fields::{Fields, LARGEST_SIZE};
use crate::config::{Architecture, ExpertWeights, Experts};
use crate::error::Result;

impl Fields<'_> {
    /// The experts of an architecture that has them; `None` if every layer is a plain one.
    pub(super) fn experts(
        &self,
        architecture: Architecture,
        n_layers: usize,
    ) -> Result<Option<Experts>> {
        // The defaults of the classes: width, number, how many of them, width of the shared one.
        let (width, n_experts, n_active, shared) = match architecture {
            Architecture::Qwen2Moe => (1408, 60, 4, Some(5632)),
            Architecture::Qwen3Moe => (768, 128, 8, None),
            _ => return Ok(None),
        };
        if self.get("num_experts").and_then(Value::as_u64) == Some(0) {
            return Ok(None);
        }
        let n_experts = self.size("num_experts", Some(n_experts))?;
        let n_active = self.size("num_experts_per_tok", Some(n_active))?;
        if n_active > n_experts {
            let expected = format!("at most `num_experts` = {n_experts}");
            return Err(self.invalid("num_experts_per_tok", &expected));
        }
        let intermediate_size = self.size("moe_intermediate_size", Some(width))?;
        if n_experts.saturating_mul(intermediate_size) > LARGEST_SIZE {
            return Err(self.invalid("num_experts", "2^24 / `moe_intermediate_size` at most"));
        }
        let shared_intermediate_size = match shared {
            Some(_) => Some(self.size("shared_expert_intermediate_size", shared)?),
            None => None,
        };
        let weights = if self.flag("norm_topk_prob")? {
            ExpertWeights::Normalised
        } else {
            ExpertWeights::Probabilities
        };
        let every = self.size("decoder_sparse_step", Some(1))?;
        let listed = self.layers_without_experts()?;
        let is_dense = |layer: &usize| listed.contains(layer) || !(layer + 1).is_multiple_of(every);
        let dense_layers: Vec<usize> = (0..n_layers).filter(is_dense).collect();
        Ok((dense_layers.len() < n_layers).then_some(Experts {
            n_experts,
            n_active,
            intermediate_size,
            shared_intermediate_size,
            weights,
            dense_layers,
        }))
    }

    /// The layers that `mlp_only_layers` lists.
    fn layers_without_experts(&self) -> Result<Vec<usize>> {
        let field = "mlp_only_layers";
        let Some(list) = self.get(field) else { return Ok(Vec::new()) };
        let index = |value: &Value| value.as_u64().and_then(|idx| usize::try_from(idx).ok());
        list.as_array()
            .and_then(|list| list.iter().map(index).collect())
            .ok_or_else(|| self.invalid(field, "a list of layers"))
    }
}

/// How the experts are written into a `config.json`.
pub(super) fn write(experts: Option<&Experts>, config: &mut Value) {
    let Some(experts) = experts else {
        config["num_experts"] = json!(0);
        return;
    };
    config["num_experts"] = json!(experts.n_experts);
    config["num_experts_per_tok"] = json!(experts.n_active);
    config["moe_intermediate_size"] = json!(experts.intermediate_size);
    config["norm_topk_prob"] = json!(experts.weights == ExpertWeights::Normalised);
    config["decoder_sparse_step"] = json!(1);
    config["mlp_only_layers"] = json!(experts.dense_layers);
    if let Some(shared) = experts.shared_intermediate_size {
        config["shared_expert_intermediate_size"] = json!(shared);
    }
}
