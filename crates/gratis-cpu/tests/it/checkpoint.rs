//! Checkpoints round-trip, and every fault names its file and tensor.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use crate::single::Single as _;
use gratis_cpu::{NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::{PackedBatch, Score as _};
use gratis_model::Layout;
use gratis_model::config::{Architecture, Head, ModelConfig};
use gratis_model::{Error, Result, WeightType, checkpoint};
use half::bf16;
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

/// A model of a few hundred parameters, with what its class has by default.
pub(crate) fn small(architecture: Architecture, head: Head) -> ModelConfig {
    let experts = r#", "num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 6,
        "mlp_only_layers": [1]"#;
    let text = format!(
        r#"{{"architectures": ["{}"], "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "head_dim": 4, "max_position_embeddings": 32, "rms_norm_eps": 1e-6,
            "bos_token_id": null, "eos_token_id": 1, "tie_word_embeddings": {}{}}}"#,
        architecture.name(),
        head == Head::Tied,
        if architecture.has_experts() { experts } else { "" },
    );
    ModelConfig::from_json(&text, Path::new("config.json")).expect("a configuration")
}

/// A small untied Llama.
pub(crate) fn small_llama() -> ModelConfig {
    small(Architecture::Llama, Head::Untied)
}

/// Different numbers everywhere, some of which bf16 has to round.
fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / 777.0).collect()
}

/// A small untied Llama on disk.
struct Saved {
    folder: TempDir,
    config: ModelConfig,
    layout: Layout,
    parameters: Vec<f32>,
}

impl Saved {
    fn new() -> Self {
        let config = small_llama();
        let layout = Layout::new(&config);
        let parameters = numbers(layout.n_parameters());
        let folder = tempfile::tempdir().expect("a folder");
        checkpoint::write(folder.path(), &config, &layout, &parameters, WeightType::F32)
            .expect("written");
        Self { folder, config, layout, parameters }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn read(&self) -> Result<Vec<f32>> {
        checkpoint::read_weights(self.path(), &self.config, &self.layout)
    }

    /// Replaces the weights by what `edit` makes of the list of tensors.
    fn edit(&self, edit: impl FnOnce(&mut Vec<Tensor>)) -> &Self {
        let mut tensors = self.tensors();
        edit(&mut tensors);
        save(&self.path().join("model.safetensors"), &tensors);
        self
    }

    fn tensors(&self) -> Vec<Tensor> {
        let bytes = |range: std::ops::Range<usize>| {
            self.parameters[range].iter().flat_map(|x| x.to_le_bytes()).collect()
        };
        let tensor = |spec: &gratis_model::layout::TensorSpec| Tensor {
            name: spec.name.clone(),
            dtype: Dtype::F32,
            shape: spec.shape.clone(),
            bytes: bytes(spec.range.clone()),
        };
        self.layout.tensors.iter().map(tensor).collect()
    }

    /// Splits the weights into two shards and an index; gives the index to edit.
    fn shard(&self) -> serde_json::Value {
        let tensors = self.tensors();
        let (first, second) = tensors.split_at(tensors.len() / 2);
        let mut weight_map = HashMap::new();
        for (name, shard) in [("a.safetensors", first), ("b.safetensors", second)] {
            save(&self.path().join(name), shard);
            weight_map.extend(shard.iter().map(|tensor| (tensor.name.clone(), name)));
        }
        fs::remove_file(self.path().join("model.safetensors")).expect("removed");
        serde_json::json!({"metadata": {"total_size": 1}, "weight_map": weight_map})
    }

    fn write_index(&self, index: &serde_json::Value) {
        fs::write(self.path().join("model.safetensors.index.json"), index.to_string())
            .expect("written");
    }
}

struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn save(path: &Path, tensors: &[Tensor]) {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (&tensor.name, view.expect("consistent"))
    });
    fs::write(path, safetensors::serialize(views, None).expect("serialised")).expect("written");
}

#[test]
fn weights_come_back_with_the_same_bits() {
    for architecture in Architecture::ALL {
        for head in [Head::Tied, Head::Untied] {
            let config = small(architecture, head);
            let layout = Layout::new(&config);
            let parameters = numbers(layout.n_parameters());
            let root = tempfile::tempdir().expect("a folder");
            let folder = root.path().join("model");
            checkpoint::write(&folder, &config, &layout, &parameters, WeightType::F32)
                .expect("written");
            let read_config = ModelConfig::read(&folder.join("config.json")).expect("read");
            assert_eq!(read_config, config);
            let read = checkpoint::read_weights(&folder, &config, &layout).expect("read");
            assert_eq!(read, parameters);
        }
    }
}

#[test]
fn half_precision_is_rounded_once_and_widened_exactly() {
    let saved = Saved::new();
    let (config, layout) = (&saved.config, &saved.layout);
    checkpoint::write(saved.path(), config, layout, &saved.parameters, WeightType::Bf16)
        .expect("written over the old");
    let rounded: Vec<f32> = saved.parameters.iter().map(|&x| bf16::from_f32(x).to_f32()).collect();
    assert_eq!(saved.read().expect("read"), rounded);
    let bytes = fs::metadata(saved.path().join("model.safetensors")).expect("there").len();
    assert!(bytes < 2 * saved.parameters.len() as u64 + 4096);
    saved.edit(|tensors| {
        for tensor in tensors.iter_mut() {
            tensor.dtype = Dtype::F16;
            tensor.bytes = half::f16::from_f32(0.5).to_le_bytes().repeat(tensor.bytes.len() / 4);
        }
    });
    assert!(saved.read().expect("read").iter().all(|&x| x == 0.5));
}

#[test]
fn shards_are_one_checkpoint() {
    let saved = Saved::new();
    saved.write_index(&saved.shard());
    assert_eq!(saved.read().expect("read"), saved.parameters);
}

#[test]
fn known_buffers_and_a_tied_copy_of_the_embedding_are_passed_over() {
    let saved = Saved::new();
    saved.edit(|tensors| {
        let name = "model.layers.0.self_attn.rotary_emb.inv_freq".to_owned();
        tensors.push(Tensor { name, dtype: Dtype::F32, shape: vec![2], bytes: vec![0; 8] });
    });
    assert_eq!(saved.read().expect("read"), saved.parameters);
    saved.edit(|tensors| {
        let bytes_of = |name: &str| {
            let tensor = tensors.iter().find(|tensor| tensor.name == name).expect("there");
            tensor.bytes.clone()
        };
        let embedding = bytes_of("model.embed_tokens.weight");
        let head = tensors.iter_mut().find(|tensor| tensor.name == "lm_head.weight");
        head.expect("there").bytes = embedding;
    });
    let tied = ModelConfig { head: Head::Tied, ..saved.config.clone() };
    let layout = Layout::new(&tied);
    let read = checkpoint::read_weights(saved.path(), &tied, &layout).expect("read");
    assert_eq!(read, saved.parameters[..layout.n_parameters()]);
}

#[test]
fn an_absent_file_is_named_with_a_hint() {
    let saved = Saved::new();
    fs::remove_file(saved.path().join("model.safetensors")).expect("removed");
    let message = saved.read().expect_err("absent").to_string();
    assert!(message.contains("model.safetensors` is absent"), "{message}");
    fs::write(saved.path().join("pytorch_model.bin"), "").expect("written");
    let message = saved.read().expect_err("absent").to_string();
    assert!(message.contains("save the model as safetensors first"), "{message}");
}

#[test]
fn faults_of_an_index_are_named() {
    let saved = Saved::new();
    let index = saved.shard();
    let with = |tensor: &str, shard: &str| {
        let mut index = index.clone();
        index["weight_map"][tensor] = shard.into();
        saved.write_index(&index);
        saved.read().expect_err("a fault")
    };
    let error = with("model.norm.weight", "c.safetensors");
    assert!(matches!(&error, Error::MissingFile { path, .. } if path.ends_with("c.safetensors")));
    let message = with("model.norm.weight", "a.safetensors").to_string();
    assert!(message.contains("places `model.norm.weight` in `a.safetensors`"), "{message}");
    let message = with("model.norm.weight", "../a.safetensors").to_string();
    assert!(message.contains("`../a.safetensors` is not the name of a file"), "{message}");
    saved.write_index(&serde_json::json!({"weights": {}}));
    let message = saved.read().expect_err("no map").to_string();
    assert!(message.contains("index.json` is malformed: missing field `weight_map`"), "{message}");
}

#[test]
fn faults_of_a_tensor_are_named() {
    let name = "model.layers.1.mlp.up_proj.weight";
    let fault = |edit: &dyn Fn(&mut Vec<Tensor>, usize)| {
        let saved = Saved::new();
        saved.edit(|tensors| {
            let idx = tensors.iter().position(|tensor| tensor.name == name).expect("there");
            edit(tensors, idx);
        });
        saved.read().expect_err("a fault")
    };
    let missing = fault(&|tensors, idx| drop(tensors.remove(idx)));
    assert!(matches!(missing, Error::MissingTensor { tensor, .. } if tensor == name));
    let unexpected = fault(&|tensors, idx| tensors[idx].name += "_scale");
    assert!(
        matches!(unexpected, Error::UnexpectedTensor { tensor, .. } if tensor.ends_with("_scale"))
    );
    let wrong = fault(&|tensors, idx| tensors[idx].shape.reverse());
    assert!(
        wrong.to_string().ends_with(&format!("`{name}` must have shape [12, 8], got [8, 12]")),
        "{wrong}"
    );
    let dtype = fault(&|tensors, idx| tensors[idx].dtype = Dtype::I32);
    assert!(dtype.to_string().contains(&format!("`{name}` has type I32")), "{dtype}");
    for value in [f32::NAN, f32::INFINITY] {
        let nan = fault(&|tensors, idx| {
            tensors[idx].bytes[20..24].copy_from_slice(&value.to_le_bytes());
        });
        assert!(nan.to_string().ends_with(&format!("`{name}` has {value} at flat index 5")));
    }
}

#[test]
fn broken_files_are_named_and_claims_are_not_believed() {
    let saved = Saved::new();
    let path = saved.path().join("model.safetensors");
    let whole = fs::read(&path).expect("there");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let error = saved.read().expect_err("a fault");
        assert!(matches!(&error, Error::MalformedFile { path: p, .. } if *p == path), "{error}");
        error.to_string()
    };
    assert!(message(&whole[..whole.len() - 1]).contains("tensors end at byte"));
    assert!(message(&whole[..100]).contains("truncated"));
    assert!(message(&whole[..5]).contains("5 bytes are too few"));
    let mut giant = whole.clone();
    giant[..8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    assert!(message(&giant).contains("claims 1099511627776 bytes"));
    let mut garbled = whole.clone();
    garbled[8] = b'?';
    assert!(message(&garbled).contains("header: "));
    // A tensor of 4 TB in a header of a few bytes.
    let header =
        br#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let mut claim = (header.len() as u64).to_le_bytes().to_vec();
    claim.extend_from_slice(header);
    assert!(message(&claim).contains("tensors end at byte 4398046511190"));
    fs::write(&path, &whole).expect("written");
    assert_eq!(saved.read().expect("whole again"), saved.parameters);
}

#[test]
fn a_model_with_nan_is_not_written() {
    let saved = Saved::new();
    let mut parameters = saved.parameters.clone();
    parameters[3] = f32::NAN;
    let (config, layout) = (&saved.config, &saved.layout);
    let error = checkpoint::write(saved.path(), config, layout, &parameters, WeightType::F32)
        .expect_err("refused");
    assert!(matches!(error, Error::NonFiniteWeight { index: 3, .. }));
    assert_eq!(saved.read().expect("the old model"), saved.parameters);
}

/// A published bf16 Llama, where the reference data are at hand.
#[test]
#[expect(clippy::print_stderr, reason = "says why nothing was tested")]
fn a_published_checkpoint_is_read_and_scored() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tiny_llama_verl_digit");
    if !folder.exists() {
        eprintln!("skipped: no `{}`", folder.display());
        return;
    }
    let engine = NativeEngine::load(&folder, NativeOptions::default()).expect("a Llama");
    assert_eq!(engine.describe().n_parameters, 795_776);
    // Its characters are numbered from 3, in the order of `0123456789,:`.
    let ids = |text: &str| -> Vec<u32> {
        let id = |c| "0123456789,:".find(c).map(|idx| idx as u32 + 3);
        text.chars().map(|c| id(c).expect("a character it knows")).collect()
    };
    let prompt = ids("12,15,18,21:");
    let answers = ["24,27,30", "24,27,31", "94,21,55"].map(ids);
    let batch = PackedBatch::from_groups([(&prompt[..], answers.iter().map(Vec::as_slice))]);
    let log_probs = engine.scored(&batch.expect("valid")).expect("scored");
    // By transformers 4.57 in f32; observed difference 2e-6.
    for (row, expected) in log_probs.rows().zip([-22.136_795_f32, -21.939_795, -21.776_754]) {
        let sum: f32 = row.iter().sum();
        assert!((sum - expected).abs() < 2e-5, "{sum} against {expected}");
    }
}

/// Reads a folder in both ways, for a panic to show; what is read has been checked against the file.
fn read_in_both_ways(saved: &Saved) {
    if let Ok(parameters) = saved.read() {
        assert_eq!(parameters.len(), saved.parameters.len());
    }
    let _ = checkpoint::weight_files(saved.path());
    let options = NativeOptions { weights: WeightStorage::Mapped, ..NativeOptions::default() };
    if let Ok(engine) = NativeEngine::load(saved.path(), options) {
        let batch = PackedBatch::from_groups([(&[1][..], [&[2, 3][..]])]).expect("valid");
        let _ = engine.scored(&batch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn mutated_files_never_panic(
        changes in proptest::collection::vec((0_usize..2600, any::<u8>()), 1..6),
        cut in 0_usize..4000,
    ) {
        let saved = Saved::new();
        let path = saved.path().join("model.safetensors");
        let mut bytes = fs::read(&path).expect("there");
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(3000)));
        fs::write(&path, &bytes).expect("written");
        read_in_both_ways(&saved);
    }

    #[test]
    fn mutated_headers_never_panic(
        numbers in proptest::collection::vec((0_usize..200, any::<u64>()), 1..4),
    ) {
        let saved = Saved::new();
        let path = saved.path().join("model.safetensors");
        let bytes = fs::read(&path).expect("there");
        let n_header = u64::from_le_bytes(bytes[..8].try_into().expect("eight")) as usize;
        let mut header = String::from_utf8(bytes[8..8 + n_header].to_vec()).expect("text");
        for (nth, number) in numbers {
            // The nth number of the header, whatever it says.
            let starts: Vec<usize> = header
                .char_indices()
                .filter(|&(at, c)| c.is_ascii_digit() && !header[..at].ends_with(|c: char| c.is_ascii_digit()))
                .map(|(at, _)| at)
                .collect();
            let start = starts[nth % starts.len()];
            let n_digits = header[start..].chars().take_while(char::is_ascii_digit).count();
            header.replace_range(start..start + n_digits, &number.to_string());
        }
        let mut claimed = (header.len() as u64).to_le_bytes().to_vec();
        claimed.extend(header.as_bytes());
        claimed.extend(&bytes[8 + n_header..]);
        fs::write(&path, &claimed).expect("written");
        read_in_both_ways(&saved);
    }
}
