//! `gratis inspect`: kind and shape of a model, its memory, and how it scores.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use gratis::data::ModelFormat;
use gratis::manifest::{Kind, Manifest};
use gratis::reward_model::PromptSettings;
use gratis::training::OptimizationSettings;
use gratis::{Place, PlaceKind, PublishedAt};
use gratis_cpu::{Recompute, WeightStorage, memory};
use gratis_model::chat_template::ChatTemplates;
use gratis_model::checkpoint::{self, WeightFiles};
use gratis_model::config::ModelConfig;
use gratis_model::gguf::GgufFile;
use gratis_model::lora::peft::AdapterConfig;
use gratis_model::{Layout, LoraScaling, LoraSettings, LoraTarget, Tokenizer};
use gratis_remote::EngineSettings;
use serde_json::{Value, json};

use super::engine;
use crate::{Common, model, output};

/// Rank for the estimate of an adapter's memory if the model has no adapter.
const EXAMPLE_RANK: usize = 16;

/// Describe a model: its shape, its memory, its tokenizer and its kind of reward model.
///
/// Only headers are read, so this is fast for a model of any size.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis inspect runs/prm
  gratis inspect model.gguf --threads 8
  gratis inspect org/name@v1.0 --json
  gratis inspect vllm://127.0.0.1:8000/policy?tokenizer=my-model")]
pub(crate) struct InspectArgs {
    /// A model folder, run folder or adapter folder, a GGUF file, `org/name` on a hub, or an engine
    /// that runs elsewhere (`ENGINE.toml`, `vllm://HOST:PORT/NAME`), which is asked what it can do.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Format of a published reward model [default: recognised by its files, see
    /// `docs/reward-models.md`].
    #[arg(long, value_enum, value_name = "NAME")]
    kind: Option<ModelFormat>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs, common: &Common) -> Result<()> {
    if EngineSettings::is_named_by(&args.model) {
        let report = engine::inspect(&args.model, args.kind, common)?;
        return if args.json {
            output::print_json(&report)
        } else {
            output::print(&engine::page(&report))
        };
    }
    let report = inspect(args, common)
        .with_context(|| format!("cannot inspect `{}`", args.model.display()))?;
    if args.json { output::print_json(&report) } else { output::print(&page(&report)) }
}

fn inspect(args: &InspectArgs, common: &Common) -> Result<Value> {
    let place = model::find(&args.model)?;
    let base = place.base();
    let published = PublishedAt::find(&place, args.kind)?;
    let body = published.as_ref().and_then(|published| published.body.clone());
    let has_other_head = body.is_some();
    let (config, files, is_quantised) = match &base.kind {
        PlaceKind::Gguf => {
            let file = GgufFile::open(&base.path)?;
            (file.config()?, file.weight_files(), file.is_quantised())
        }
        PlaceKind::Folder | PlaceKind::Adapter(_) | PlaceKind::Engine(_) => {
            let read = || ModelConfig::read(&base.path.join("config.json"));
            (body.map_or_else(read, Ok)?, checkpoint::weight_files(&base.path)?, false)
        }
    };
    let adapter = match &place.kind {
        PlaceKind::Adapter(_) => Some(AdapterConfig::read(&place.path)?.settings),
        PlaceKind::Folder | PlaceKind::Gguf | PlaceKind::Engine(_) => None,
    };
    let manifest = match &place.kind {
        PlaceKind::Gguf => None,
        PlaceKind::Folder | PlaceKind::Adapter(_) | PlaceKind::Engine(_) => {
            Manifest::read(&place.path)?
        }
    };
    let tokenizer = place.tokenizer()?;
    tokenizer.check_fits(&config)?;
    let stop_tokens = base.stop_tokens(&config)?;
    let templates = place.chat_templates()?;
    let prompt = templates.as_ref().map(|templates| {
        PromptSettings::default()
            .chat(templates, &tokenizer)
            .with_context(|| format!("cannot use the chat template of `{}`", place.path.display()))
    });
    let layout = Layout::new(&config);
    let paths: Vec<String> = files.paths.iter().map(|path| path.display().to_string()).collect();
    Ok(json!({
        "model": place.display_name(),
        "kind": match &published {
            Some(published) => published_kind(published),
            None => kind_of(&place, manifest.as_ref()),
        },
        "architecture": if has_other_head {
            config.architecture.trunk_name()
        } else {
            config.architecture.name()
        },
        "shape": {
            "vocabulary": config.vocab_size,
            "width": config.hidden_size,
            "feed_forward": config.intermediate_size,
            "experts": config.experts.as_ref().map(|experts| json!({
                "experts": experts.n_experts,
                "active": experts.n_active,
                "width": experts.intermediate_size,
                "shared_width": experts.shared_intermediate_size,
                "layers": config.n_layers - experts.dense_layers.len(),
                "active_parameters": layout.n_active_parameters(&config),
            })),
            "layers": config.n_layers,
            "heads": config.n_heads,
            "key_value_heads": config.n_kv_heads,
            "head_width": config.head_dim,
            "head": if has_other_head {
                "reward".to_owned()
            } else {
                format!("{:?}", config.head).to_lowercase()
            },
            "sliding_window": config.sliding_window,
            "layers_with_window": (0..config.n_layers)
                .filter(|&layer| config.window_of(layer).is_some())
                .count(),
            "rope_scaling": format!("{:?}", config.rope_scaling),
        },
        "context": config.context_length,
        "parameters": layout.n_parameters(),
        "types": files.types.iter().map(|(name, n)| json!({"type": name, "parameters": n}))
            .collect::<Value>(),
        "bytes_per_parameter": bytes_per_parameter(&files),
        "quantised": is_quantised,
        "files": paths,
        "file_bytes": files.n_bytes,
        "adapter": adapter.as_ref().map(|settings| json!({
            "rank": settings.rank,
            "alpha": settings.alpha,
            "scale": settings.scale(),
            "targets": settings.targets,
            "parameters": settings.n_parameters(&layout),
            "base": base.display_name(),
        })),
        "memory_bytes": memory_of(&config, adapter.as_ref(), is_quantised, common.threads),
        "threads": common.threads,
        "tokenizer": tokenizer_report(&tokenizer, &stop_tokens),
        "chat_template": templates.is_some(),
        "chat_templates": templates.iter().flat_map(ChatTemplates::names).collect::<Value>(),
        "chat_prompt": prompt.map(|prompt| match prompt {
            Ok(text) => json!({ "text": text }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        }),
        "reward": manifest,
        "published": published.map(|published| json!({
            "kind": published.format,
            "by_name": published.by_name,
            "aggregation": published.aggregation,
            "prompt": published.prompt,
            "missing": published.missing,
        })),
    }))
}

/// The kind of published reward model as text.
fn published_kind(published: &PublishedAt) -> String {
    let (format, aggregation) = (published.format, published.aggregation);
    let what = if published.rewards_steps { "process" } else { "outcome" };
    let of_steps = if published.rewards_steps {
        format!(", aggregated by {aggregation}")
    } else {
        String::new()
    };
    let by_name = if published.by_name { ", by its name" } else { "" };
    format!("published {what} reward model, format `{format}`{by_name}{of_steps}")
}

/// The kind of model as text.
fn kind_of(place: &Place, manifest: Option<&Manifest>) -> String {
    let of_adapter = match &place.kind {
        PlaceKind::Adapter(_) => ", as a low-rank adapter",
        PlaceKind::Folder | PlaceKind::Gguf | PlaceKind::Engine(_) => "",
    };
    match manifest {
        Some(manifest) => {
            let objective = match &manifest.kind {
                Kind::Implicit { objective } => objective.name(),
                Kind::Head { .. } => return "reward model with a scalar head".to_owned(),
                _ => return "reward model with label tokens".to_owned(),
            };
            let against = match &manifest.reference {
                Some(reference) => format!("against `{}`", reference.path),
                None => "without a reference".to_owned(),
            };
            let beta = manifest.beta;
            format!(
                "implicit process reward model ({objective}, beta {beta}) {against}{of_adapter}"
            )
        }
        None => format!(
            "language model{of_adapter}; `gratis score` needs `--reference` to take a reward \
             from it"
        ),
    }
}

/// Bytes of the weights in the files for each parameter there: what mapped weights take.
fn bytes_per_parameter(files: &WeightFiles) -> f64 {
    let n: usize = files.types.iter().map(|(_, n)| n).sum();
    files.n_weight_bytes as f64 / n.max(1) as f64
}

/// Memory by use. Quantised weights are neither loaded nor trained in full: `null`.
fn memory_of(
    config: &ModelConfig,
    adapter: Option<&LoraSettings>,
    is_quantised: bool,
    threads: usize,
) -> Value {
    let example = LoraSettings {
        rank: EXAMPLE_RANK,
        alpha: 1.0,
        scaling: LoraScaling::Standard,
        targets: LoraTarget::ALL.to_vec(),
    };
    let lora = adapter.unwrap_or(&example);
    let n_tokens = OptimizationSettings::default().micro_batch_tokens;
    let score = |storage| memory::to_score(config, storage, threads);
    let train = |adapter, storage| {
        let recompute = Recompute::Nothing;
        memory::to_train(config, adapter, storage, recompute, threads, n_tokens)
    };
    let loaded = |n_bytes| (!is_quantised).then_some(n_bytes);
    json!({
        "score_loaded": loaded(score(WeightStorage::Loaded)),
        "score_mapped": score(WeightStorage::Mapped),
        "train_full": loaded(train(None, WeightStorage::Loaded)),
        "train_lora": loaded(train(Some(lora), WeightStorage::Loaded)),
        "train_lora_mapped": train(Some(lora), WeightStorage::Mapped),
        "lora_rank": lora.rank,
        "micro_batch_tokens": n_tokens,
    })
}

fn tokenizer_report(tokenizer: &Tokenizer, stop_tokens: &[u32]) -> Value {
    let spelt = |id: u32| json!({"id": id, "token": tokenizer.id_to_token(id)});
    json!({
        "tokens": tokenizer.vocab_size(),
        "bos": tokenizer.bos().map(spelt),
        "eos": tokenizer.eos().map(spelt),
        "pad": tokenizer.pad().map(spelt),
        "stop": stop_tokens.iter().map(|&id| spelt(id)).collect::<Value>(),
        "begins_with_bos": tokenizer.begins_with_bos(),
    })
}

/// The report as lines of a name and a value.
fn page(report: &Value) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string does not fail.
        let _ = writeln!(page, "{name:<15} {value}");
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shape = &report["shape"];
    let experts = &shape["experts"];
    line("model", text(&report["model"]));
    line("kind", text(&report["kind"]));
    line("architecture", text(&report["architecture"]));
    let window = match &shape["sliding_window"] {
        Value::Null => String::new(),
        window if shape["layers_with_window"] == shape["layers"] => format!(", window {window}"),
        window => format!(", window {window} in {} layers", shape["layers_with_window"]),
    };
    line(
        "shape",
        format!(
            "{} layers, width {}, feed-forward {}, {} heads ({} of keys and values) of {}{window}",
            shape["layers"],
            shape["width"],
            shape["feed_forward"],
            shape["heads"],
            shape["key_value_heads"],
            shape["head_width"],
        ),
    );
    if !experts.is_null() {
        let shared = match &experts["shared_width"] {
            Value::Null => String::new(),
            width => format!(", and one of width {width} for all"),
        };
        line(
            "experts",
            format!(
                "{} of width {} in {} layers; a token is given to {}{shared}",
                experts["experts"], experts["width"], experts["layers"], experts["active"],
            ),
        );
        line("active", format!("{} parameters per token", experts["active_parameters"]));
    }
    line("vocabulary", format!("{}, {} head", shape["vocabulary"], text(&shape["head"])));
    line("context", format!("{} tokens", report["context"]));
    let types = report["types"].as_array().into_iter().flatten();
    let types: Vec<String> = types.map(|one| text(&one["type"])).collect();
    let per_parameter = report["bytes_per_parameter"].as_f64().unwrap_or_default();
    let is_quantised = report["quantised"].as_bool() == Some(true);
    let held = if is_quantised { ", mapped" } else { " if mapped, 4 if loaded" };
    line(
        "parameters",
        format!(
            "{} in {}; {per_parameter:.2} bytes each{held}",
            report["parameters"],
            types.join(", ")
        ),
    );
    let files = report["files"].as_array().map_or(0, Vec::len);
    let plural = if files == 1 { "" } else { "s" };
    line("files", format!("{files} file{plural}, {}", size(&report["file_bytes"])));
    let adapter = &report["adapter"];
    if !adapter.is_null() {
        let targets = adapter["targets"].as_array().into_iter().flatten();
        let targets: Vec<String> = targets.map(text).collect();
        line(
            "adapter",
            format!(
                "rank {}, alpha {}, {} parameters on {}",
                adapter["rank"],
                adapter["alpha"],
                adapter["parameters"],
                targets.join(", ")
            ),
        );
        line("base", text(&adapter["base"]));
    }
    for (name, value) in memory_lines(report, is_quantised) {
        line(name, value);
    }
    let tokenizer = &report["tokenizer"];
    let special = |token: &Value| match token {
        Value::Null => "none".to_owned(),
        token => format!("`{}` ({})", text(&token["token"]), token["id"]),
    };
    let begins = match tokenizer["begins_with_bos"].as_bool() {
        Some(true) => "begins every prompt, never twice",
        _ => "is not added to prompts",
    };
    line("tokenizer", format!("{} tokens", tokenizer["tokens"]));
    line("begin", format!("{}, {begins}", special(&tokenizer["bos"])));
    line("end", format!("{}, ends every completion", special(&tokenizer["eos"])));
    let stop = tokenizer["stop"].as_array().into_iter().flatten();
    let stop: Vec<String> = stop.map(special).collect();
    line("samples stop at", if stop.is_empty() { "none".to_owned() } else { stop.join(", ") });
    let names: Vec<String> =
        report["chat_templates"].as_array().into_iter().flatten().map(text).collect();
    let template = match names.as_slice() {
        [] => "none".to_owned(),
        [_] => "yes".to_owned(),
        several => several.join(", "),
    };
    line("chat template", template);
    if let Some(prompt) = report["chat_prompt"]["text"].as_str() {
        line("chat prompt", format!("{prompt:?}"));
    }
    if let Some(error) = report["chat_prompt"]["error"].as_str() {
        line("chat prompt", error.to_owned());
    }
    let published = &report["published"];
    if let Some(prompt) = published["prompt"].as_str() {
        line("scored in", format!("{prompt:?}"));
    }
    for missing in published["missing"].as_array().into_iter().flatten() {
        line("missing", text(missing));
    }
    let reward = &report["reward"];
    if !reward.is_null() {
        line(
            "steps",
            format!("by {}, aggregated by {}", reward["step_split"], reward["aggregation"]),
        );
        line("prompt", text(&reward["template"]));
    }
    page
}

/// Memory to score and to train with.
fn memory_lines(report: &Value, is_quantised: bool) -> [(&'static str, String); 2] {
    let (memory, threads) = (&report["memory_bytes"], &report["threads"]);
    let of = |use_of: &str| size(&memory[use_of]);
    let (mapped, lora_mapped) = (of("score_mapped"), of("train_lora_mapped"));
    let rank = &memory["lora_rank"];
    let (score, train) = if is_quantised {
        (
            format!("{mapped} beside the mapped files ({threads} threads)"),
            format!("an adapter of rank {rank}: {lora_mapped} beside the mapped files"),
        )
    } else {
        let (loaded, full, lora) = (of("score_loaded"), of("train_full"), of("train_lora"));
        (
            format!("{loaded} loaded, {mapped} mapped beside the files ({threads} threads)"),
            format!(
                "{full} in full; an adapter of rank {rank}: {lora}, or {lora_mapped} over a mapped \
                 base"
            ),
        )
    };
    [("to score", score), ("to train", train)]
}

/// A number of bytes in a readable unit.
fn size(bytes: &Value) -> String {
    let bytes = bytes.as_u64().unwrap_or_default() as f64;
    match bytes {
        _ if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        _ => format!("{:.1} MB", bytes / 1e6),
    }
}
