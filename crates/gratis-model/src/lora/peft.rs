//! Adapters on disk as peft has them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! A field that changes the computation is supported or rejected by name, and unknown fields are
//! rejected, as in `config.json`. The fields are those of peft 0.21.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{AdapterLayout, BaseName, LoraScaling, LoraSettings, LoraTarget};
use crate::atomic;
use crate::checkpoint;
use crate::dtype::WeightType;
use crate::error::{Error, Result};

/// The configuration's name.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The parameters' name.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Fields that are read.
const READ: &[&str] = &[
    "base_model_name_or_path",
    "bias",
    "init_lora_weights",
    "lora_alpha",
    "peft_type",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Fields under which an adapter is another thing than `W + s B A`; each must be absent, `null`,
/// `false` or empty.
const REFUSED: &[&str] = &[
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "ensure_weight_tying",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_to_transform",
    "lora_bias",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
];

/// Fields without effect on a trained adapter, by the reason.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    ("says where the file comes from", &["auto_mapping", "peft_version"]),
    ("used in training only", &["inference_mode", "lora_dropout", "runtime_config"]),
    (
        "settings of an initialisation, which `init_lora_weights` names",
        &["corda_config", "eva_config", "loftq_config", "lora_ga_config"],
    ),
    (
        "looked at only beside a field that is refused",
        &["layers_pattern", "megatron_core", "qalora_group_size"],
    ),
];

/// Initialisations that leave the base as it is. The others (`pissa`, `olora`, `loftq`, `corda`,
/// `lora_ga`) subtract the adapter's first state from the base, or quantise it, whenever peft loads
/// the adapter.
const INITIALISATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// What `adapter_config.json` says.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// The shape of the adapter.
    pub settings: LoraSettings,
    /// What it is an adapter to.
    pub base: BaseName,
}

impl AdapterConfig {
    /// Whether a folder holds an adapter and not a model.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(CONFIG_FILE).is_file() && !folder.join("config.json").is_file()
    }

    /// Reads the configuration of a folder.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::MalformedFile`], [`Error::InvalidConfig`] for an absent or
    /// impossible field, [`Error::UnsupportedConfig`] for another kind of adapter,
    /// [`Error::UnknownField`].
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| Error::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        Self::from_json(&text, &path)
    }

    /// Parses the text of the file; `path` only names it in errors.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let map: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            Error::MalformedFile { path: path.to_owned(), reason: error.to_string() }
        })?;
        let shown = |field: &str| map.get(field).map_or("nothing".to_owned(), Value::to_string);
        let invalid = |field: &str, expected: &str| Error::InvalidConfig {
            path: path.to_owned(),
            field: field.to_owned(),
            expected: expected.to_owned(),
            got: shown(field),
        };
        let unsupported = |field: &str, supported: &str| Error::UnsupportedConfig {
            path: path.to_owned(),
            field: field.to_owned(),
            got: shown(field),
            supported: supported.to_owned(),
        };
        if map.get("peft_type").and_then(Value::as_str) != Some("LORA") {
            return Err(unsupported("peft_type", "`LORA`"));
        }
        if !matches!(map.get("bias").map(Value::as_str), None | Some(Some("none"))) {
            return Err(unsupported("bias", "`none`"));
        }
        for field in REFUSED {
            let is_neutral = map.get(*field).is_none_or(|value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            });
            if !is_neutral {
                return Err(unsupported(field, "nothing there"));
            }
        }
        if !matches!(map.get("task_type").map(Value::as_str), None | Some(None | Some("CAUSAL_LM")))
        {
            return Err(unsupported("task_type", "`CAUSAL_LM`"));
        }
        let keeps_base = match map.get("init_lora_weights") {
            None | Some(Value::Null | Value::Bool(_)) => true,
            Some(Value::String(name)) => INITIALISATIONS.contains(&name.as_str()),
            Some(_) => false,
        };
        if !keeps_base {
            let names: Vec<String> = INITIALISATIONS.iter().map(|n| format!("`{n}`")).collect();
            let supported = format!(
                "`true`, `false`, {}; the others change the base: convert the adapter with peft \
                 (`path_initial_model_for_weight_conversion`) or merge it there",
                names.join(", ")
            );
            return Err(unsupported("init_lora_weights", &supported));
        }
        let is_known = |field: &str| {
            let without_effect = WITHOUT_EFFECT.iter().any(|(_, fields)| fields.contains(&field));
            READ.contains(&field) || REFUSED.contains(&field) || without_effect
        };
        if let Some((field, value)) =
            map.iter().find(|(field, value)| !value.is_null() && !is_known(field))
        {
            return Err(Error::UnknownField {
                path: path.to_owned(),
                field: field.clone(),
                got: value.to_string(),
            });
        }
        let rank = map.get("r").and_then(Value::as_u64);
        let rank = rank.ok_or_else(|| invalid("r", "a positive integer"))?;
        let alpha = map.get("lora_alpha").and_then(Value::as_f64);
        let settings = LoraSettings {
            rank: rank as usize,
            alpha: alpha.ok_or_else(|| invalid("lora_alpha", "a number"))?,
            scaling: match map.get("use_rslora") {
                None | Some(Value::Null | Value::Bool(false)) => LoraScaling::Standard,
                Some(Value::Bool(true)) => LoraScaling::RankStabilised,
                Some(_) => return Err(invalid("use_rslora", "a boolean")),
            },
            targets: match map.get("target_modules") {
                Some(Value::String(all)) if all == "all-linear" => LoraTarget::ALL.to_vec(),
                Some(Value::Array(names)) => names
                    .iter()
                    .map(|name| {
                        Some(LoraTarget::of_module(name.as_str()?)).filter(|t| !t.is_empty())
                    })
                    .collect::<Option<Vec<_>>>()
                    .map(|targets| targets.concat())
                    .ok_or_else(|| unsupported("target_modules", &target_names()))?,
                _ => return Err(unsupported("target_modules", &target_names())),
            },
        };
        settings.validate()?;
        let text_of = |field: &str| map.get(field).and_then(Value::as_str).map(str::to_owned);
        let name = text_of("base_model_name_or_path")
            .ok_or_else(|| invalid("base_model_name_or_path", "the name of the base"))?;
        Ok(Self { settings, base: BaseName { name, revision: text_of("revision") } })
    }
}

fn target_names() -> String {
    let names: Vec<String> = LoraTarget::ALL.iter().map(|target| format!("`{target}`")).collect();
    format!("a list of {}", names.join(", "))
}

/// The modules of these targets, as the base of `layout` has them.
fn module_names(targets: &[LoraTarget], layout: &AdapterLayout) -> Vec<&'static str> {
    let is_there = |module: &str| {
        layout.tensors.iter().any(|tensor| tensor.name.contains(&format!(".{module}.lora_")))
    };
    let mut names = Vec::new();
    for target in targets {
        let fused = target.fused_name().filter(|name| is_there(name));
        let name = fused.unwrap_or(target.name());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Reads the parameters of the adapter in `folder`, in the order of `layout`.
///
/// # Errors
/// A fault of the file or of a tensor, as for weights.
pub fn read_weights(folder: &Path, layout: &AdapterLayout) -> Result<Vec<f32>> {
    let mut parameters = vec![0.0; layout.n_parameters()];
    let path = folder.join(WEIGHTS_FILE);
    checkpoint::read_tensors(path, &layout.tensors, "the adapter", &mut [&mut parameters[..]])?;
    Ok(parameters)
}

/// Writes an adapter into `folder`, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::NonFiniteWeight`] if a parameter is NaN or infinite.
pub fn write(
    folder: &Path,
    config: &AdapterConfig,
    layout: &AdapterLayout,
    parameters: &[f32],
) -> Result<()> {
    let LoraSettings { rank, alpha, scaling, targets } = &config.settings;
    let names = module_names(targets, layout);
    // A whole alpha is an integer there, as peft writes it.
    let alpha = if alpha.fract() == 0.0 { json!(*alpha as i64) } else { json!(alpha) };
    let text = json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base.name,
        "revision": config.base.revision,
        "r": rank,
        "lora_alpha": alpha,
        "use_rslora": *scaling == LoraScaling::RankStabilised,
        "target_modules": names,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "inference_mode": true,
        "modules_to_save": null,
    });
    let origin = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let path: PathBuf = folder.join(WEIGHTS_FILE);
    atomic::write_folder(folder, |draft| {
        let draft_path = draft.join(WEIGHTS_FILE);
        checkpoint::write_tensors(
            &draft_path,
            &path,
            &layout.tensors,
            &[parameters],
            WeightType::F32,
            &origin,
        )?;
        atomic::write(&draft.join(CONFIG_FILE), format!("{text:#}\n").as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(edit: impl FnOnce(&mut Value)) -> Result<AdapterConfig> {
        let mut config = json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none",
            "target_modules": ["q_proj", "down_proj"], "base_model_name_or_path": "base",
            "use_dora": false, "rank_pattern": {}, "modules_to_save": null, "lora_dropout": 0.1,
        });
        edit(&mut config);
        AdapterConfig::from_json(&config.to_string(), Path::new("adapter_config.json"))
    }

    #[test]
    fn what_peft_writes_is_understood() {
        let config = parse(|_| ()).expect("valid");
        assert_eq!(config.settings.targets, [LoraTarget::Query, LoraTarget::Down]);
        assert_eq!((config.settings.rank, config.settings.scale()), (4, 2.0));
        let config = parse(|c| c["use_rslora"] = true.into()).expect("valid");
        assert_eq!(config.settings.scale(), 4.0);
        // As peft 0.21 writes them; none of these inits touches the base.
        for init in
            [json!(true), json!(false), json!("gaussian"), json!("eva"), json!("orthogonal")]
        {
            parse(|c| {
                c["init_lora_weights"] = init;
                c["task_type"] = "CAUSAL_LM".into();
                c["megatron_core"] = "megatron.core".into();
                c["loftq_config"] = json!({});
                c["eva_config"] = json!({"rho": 2.0});
                c["qalora_group_size"] = 16.into();
                c["peft_version"] = "0.21.2".into();
                c["ensure_weight_tying"] = false.into();
                c["inference_mode"] = true.into();
            })
            .expect("valid");
        }
        let config = parse(|c| c["target_modules"] = "all-linear".into()).expect("valid");
        assert_eq!(config.settings.targets, LoraTarget::ALL);
    }

    #[test]
    fn another_kind_of_adapter_is_refused_by_name() {
        for (field, value) in [
            ("peft_type", json!("IA3")),
            ("bias", json!("all")),
            ("use_dora", json!(true)),
            ("rank_pattern", json!({"q_proj": 2})),
            ("modules_to_save", json!(["lm_head"])),
            ("layers_to_transform", json!([0])),
            ("target_modules", json!(["lm_head"])),
            ("target_modules", json!(".*q_proj")),
            ("task_type", json!("SEQ_CLS")),
            ("init_lora_weights", json!("pissa")),
            ("init_lora_weights", json!("pissa_niter_16")),
            ("init_lora_weights", json!("olora")),
            ("init_lora_weights", json!("loftq")),
            ("init_lora_weights", json!("corda")),
            ("init_lora_weights", json!("lora_ga")),
            ("arrow_config", json!({"top_k": 3})),
            ("velora_config", json!({"num_groups": 32})),
            ("megatron_config", json!({"a": 1})),
        ] {
            let message = parse(|c| c[field] = value).expect_err(field).to_string();
            let expected = format!("`adapter_config.json`: `{field}` = ");
            assert!(message.starts_with(&expected), "{message}");
        }
        let message = parse(|c| c["use_xlora"] = json!(true)).expect_err("unknown").to_string();
        assert_eq!(message, "`adapter_config.json`: unknown field `use_xlora` = true");
        let message = parse(|c| c["r"] = json!("four")).expect_err("r").to_string();
        assert!(message.contains("field `r` must be a positive integer"), "{message}");
        let message = parse(|c| c["r"] = json!(0)).expect_err("r").to_string();
        assert!(message.contains("LoRA `rank` must be between"), "{message}");
    }
}
