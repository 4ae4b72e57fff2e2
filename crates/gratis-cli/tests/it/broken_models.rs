//! Models that are damaged or do not fit: each fault names its file and tensor or field, says what to
//! do, and leaves nothing behind.

use std::fs;

use serde_json::{Map, Value, json};

use crate::workspace::Workspace;

const NORM: &str = "model.norm.weight";
const WEIGHTS: &str = "model/model.safetensors";
const SHARD: &str = "model-00001-of-00001.safetensors";

/// A workspace whose model gets broken and mended.
struct Patient {
    workspace: Workspace,
    /// The whole file of weights.
    weights: Vec<u8>,
}

impl Patient {
    fn new() -> Self {
        let workspace = Workspace::new();
        Self { weights: workspace.read(WEIGHTS), workspace }
    }

    /// The error of scoring, with weights in memory and mapped alike.
    fn error(&self) -> String {
        let score = ["--quiet", "score", "--model", "model", "--reference", "none"];
        let errors = ["loaded", "mapped"].map(|storage| {
            let more = ["--weights", storage, "graded.jsonl", "-o", "scores.jsonl"];
            self.workspace.error_of(&[&score[..], &more].concat())
        });
        assert_eq!(errors[0], errors[1]);
        let names = self.workspace.names(".");
        assert!(!names.iter().any(|name| name.contains("scores")), "left behind: {names:?}");
        let [error, _] = errors;
        error
    }

    fn write_weights(&self, bytes: &[u8]) {
        fs::write(self.workspace.path(WEIGHTS), bytes).expect("written");
    }

    /// Header and data of the file of weights.
    fn parts(&self) -> (Map<String, Value>, Vec<u8>) {
        let (length, rest) = self.weights.split_at(8);
        let length = u64::from_le_bytes(length.try_into().expect("8 bytes")) as usize;
        let header = serde_json::from_slice(&rest[..length]).expect("an object");
        (header, rest[length..].to_vec())
    }

    fn write_parts(&self, header: &Map<String, Value>, data: &[u8]) {
        let header = serde_json::to_vec(header).expect("text");
        let length = (header.len() as u64).to_le_bytes();
        self.write_weights(&[&length, &header[..], data].concat());
    }

    /// Moves the weights into a shard and writes an index that places these tensors in it.
    fn shard(&self, tensors: &[&str]) {
        let shard = self.workspace.path("model").join(SHARD);
        fs::rename(self.workspace.path(WEIGHTS), shard).expect("moved");
        let places: Map<String, Value> =
            tensors.iter().map(|&name| (name.to_owned(), json!(SHARD))).collect();
        let index = json!({"metadata": {}, "weight_map": places}).to_string();
        self.workspace.write("model/model.safetensors.index.json", &index);
    }
}

fn contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn files_that_are_cut_off_or_claim_too_much_are_named() {
    let patient = Patient::new();
    let whole = patient.weights.clone();
    for (bytes, said) in [
        (&whole[..0], "0 bytes are too few"),
        (&whole[..1000], "its header claims"),
        (&whole[..whole.len() - 9], "its tensors end at byte"),
        // A header of four gigabytes, and one of more than there is in the world.
        (&[0, 0, 0, 0, 1, 0, 0, 0, b'{', b'}'][..], "claims 4294967296 bytes and the file has 10"),
        (&[255, 255, 255, 255, 255, 255, 255, 127, b'{'][..], "and the file has 9"),
    ] {
        patient.write_weights(bytes);
        let error = patient.error();
        contains(
            &error,
            &["`model/model.safetensors` is malformed", said, "hint: the file is truncated"],
        );
    }
    fs::remove_file(patient.workspace.path(WEIGHTS)).expect("removed");
    contains(&patient.error(), &["`model/model.safetensors` is absent"]);
}

#[test]
fn tensors_that_are_absent_misshapen_or_not_finite_are_named() {
    let patient = Patient::new();
    let (header, data) = patient.parts();
    let start = header[NORM]["data_offsets"][0].as_u64().expect("a number") as usize;

    let mut broken = data.clone();
    broken[start + 4..start + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    patient.write_parts(&header, &broken);
    let said = "tensor `model.norm.weight` has NaN at flat index 1";
    contains(&patient.error(), &[WEIGHTS, said, "hint: the model had diverged"]);

    let with = |field: &str, value: Value| {
        let mut header = header.clone();
        header[NORM][field] = value;
        patient.write_parts(&header, &data);
        patient.error()
    };
    let said = "`model.norm.weight` must have shape [64], got [32, 2]";
    contains(
        &with("shape", json!([32, 2])),
        &[WEIGHTS, said, "hint: `config.json` and the weights"],
    );
    let said = "`model.norm.weight` has type I32; supported: F64, F32, BF16, F16";
    contains(&with("dtype", json!("I32")), &[WEIGHTS, said, "hint: save the weights as"]);

    let mut renamed = header.clone();
    let norm = renamed.remove(NORM).expect("there");
    renamed.insert("model.other.weight".to_owned(), norm);
    patient.write_parts(&renamed, &data);
    contains(&patient.error(), &[WEIGHTS, "model.", "hint: `config.json` and the weights"]);
}

#[test]
fn an_index_that_does_not_fit_its_shards_is_named() {
    let patient = Patient::new();
    let (header, _) = patient.parts();
    let tensors: Vec<&str> =
        header.keys().map(String::as_str).filter(|&name| name != "__metadata__").collect();

    patient.shard(&[&tensors[..], &["model.layers.9.mlp.up_proj.weight"]].concat());
    let said = "places `model.layers.9.mlp.up_proj.weight`";
    contains(&patient.error(), &["model.safetensors.index.json` is malformed", said, SHARD]);

    fs::remove_file(patient.workspace.path("model").join(SHARD)).expect("removed");
    let said = "model-00001-of-00001.safetensors` is absent: `model.safetensors.index.json` places";
    contains(&patient.error(), &[said]);

    patient.workspace.write("model/model.safetensors.index.json", "{");
    let said = "model.safetensors.index.json` is malformed";
    contains(&patient.error(), &[said, "hint: the file is truncated"]);
}

#[test]
fn a_configuration_of_other_mathematics_is_refused_by_name() {
    let patient = Patient::new();
    let text = patient.workspace.read("model/config.json");
    let config: Value = serde_json::from_slice(&text).expect("JSON");
    for (field, value, said) in [
        ("architectures", json!(["GPT2LMHeadModel"]), "LlamaForCausalLM, MistralForCausalLM"),
        ("hidden_act", json!("gelu"), "supported: `silu`"),
        ("rope_scaling", json!({"rope_type": "ntk", "factor": 4.0}), "`default`, `linear`"),
        ("num_attention_heads", json!(0), "must be an integer between 1 and 2^24"),
    ] {
        let mut config = config.clone();
        config[field] = value;
        patient.workspace.write("model/config.json", &config.to_string());
        contains(&patient.error(), &["`model/config.json`", field, said]);
    }
}

#[test]
fn a_template_that_raises_or_does_not_parse_is_named() {
    let workspace = Workspace::new();
    let score = ["--quiet", "score", "--model", "model", "--template", "chat"];
    let score = [&score[..], &["--reference", "none", "graded.jsonl", "-o", "out.jsonl"]].concat();
    for (template, said) in [
        ("{{ raise_exception('roles must alternate') }}", "rejects this conversation: roles must"),
        ("{% for x in %}", "line 1: syntax error"),
    ] {
        workspace.write("model/chat_template.jinja", template);
        let error = workspace.error_of(&score);
        contains(&error, &["model/chat_template.jinja`", said, "hint: give the prompt template"]);
    }
    assert!(!workspace.path("out.jsonl").exists());
}

#[test]
fn a_gguf_file_that_is_none_is_named() {
    let workspace = Workspace::new();
    let claims = [&b"GGUF\x03\0\0\0"[..], &u64::MAX.to_le_bytes(), &u64::MAX.to_le_bytes()];
    for (bytes, said) in [
        (b"GGML".to_vec(), "does not begin with `GGUF`"),
        (b"GGUF".to_vec(), "4 bytes are claimed at byte 4, 0 are left"),
        (claims.concat(), "are claimed"),
    ] {
        fs::write(workspace.path("broken.gguf"), bytes).expect("written");
        let error = workspace.error_of(&["inspect", "broken.gguf"]);
        contains(&error, &["`broken.gguf` is malformed", said, "hint: the file is truncated"]);
    }
}
