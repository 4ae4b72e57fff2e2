//! No file makes the reader of checkpoints panic, allocate what it merely claims, or read past its
//! end: `cargo +nightly fuzz run safetensors`.
#![no_main]

use gratis_cpu::{NativeEngine, NativeOptions, WeightStorage};
use gratis_engine::{PackedBatch, Score as _};
use gratis_model::checkpoint;
use gratis_model::config::ModelConfig;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "vocab_size": 5, "hidden_size": 4,
    "intermediate_size": 6, "num_hidden_layers": 1, "num_attention_heads": 1,
    "max_position_embeddings": 8, "tie_word_embeddings": true}"#;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.json");
    std::fs::write(&path, CONFIG).expect("written");
    std::fs::write(folder.path().join("model.safetensors"), bytes).expect("written");
    ModelConfig::read(&path).expect("valid");
    let _ = checkpoint::weight_files(folder.path());
    for weights in [WeightStorage::Loaded, WeightStorage::Mapped] {
        let options = NativeOptions { weights, ..NativeOptions::default() };
        if let Ok(engine) = NativeEngine::load(folder.path(), options) {
            let batch = PackedBatch::from_groups([(&[1][..], [&[2, 3][..]])]).expect("valid");
            let _ = engine.log_probs(&[batch]);
        }
    }
});
