//! What gratis has written is what `transformers` and peft read: the same tokens, the same
//! log-probabilities, from the folders of `fixtures/written` as `fixtures/read_written.py` opened
//! them.

use std::path::{Path, PathBuf};

use crate::single::Single as _;
use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_engine::PackedBatch;
use gratis_model::Tokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    text: String,
    tokens: Vec<u32>,
    log_probs: Vec<f32>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/written").join(name)
}

fn goldens(name: &str) -> Vec<Golden> {
    let text = std::fs::read_to_string(folder(name).join("golden.json")).expect("golden.json");
    serde_json::from_str(&text).expect("golden values")
}

fn agrees(engine: &mut NativeEngine, name: &str) {
    for Golden { text, tokens, log_probs } in goldens(name) {
        let (first, rest) = tokens.split_at(1);
        let batch = PackedBatch::from_groups([(first, [rest])]).expect("a batch");
        let own = engine.scored(&batch).expect("log-probabilities");
        assert_eq!(own.values().len(), log_probs.len());
        for (own, theirs) in own.values().iter().zip(&log_probs) {
            // Observed: at most 9.6e-7.
            assert!((own - theirs).abs() < 1e-5, "{name}, `{text}`: {own} and {theirs}");
        }
    }
}

fn model() -> NativeEngine {
    NativeEngine::load(&folder("model"), NativeOptions::default()).expect("a model")
}

#[test]
fn a_model_that_was_trained_here_opens_in_transformers() {
    agrees(&mut model(), "model");
}

#[test]
fn an_adapter_that_was_trained_here_opens_in_peft() {
    let mut engine = model().with_adapter_of(&folder("adapter")).expect("an adapter");
    agrees(&mut engine, "adapter");
    let of = |name: &str| goldens(name).remove(0).log_probs;
    assert_ne!(of("adapter"), of("model"), "it says something");
}

#[test]
fn a_tokenizer_that_was_learnt_here_opens_in_transformers() {
    let tokenizer = Tokenizer::load(&folder("model")).expect("a tokenizer");
    for Golden { text, tokens, .. } in goldens("model") {
        assert_eq!(tokenizer.encode_prompt(&text).expect("tokens"), tokens, "`{text}`");
    }
}
