//! No file makes the reader of GGUF panic or allocate what it merely claims:
//! `cargo +nightly fuzz run gguf`.
#![no_main]

use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_model::gguf::GgufFile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("written");
    let Ok(file) = GgufFile::open(&path) else { return };
    assert!(file.weight_files().n_weight_bytes <= bytes.len() as u64);
    let _ = file.tokenizer();
    let _ = file.chat_template();
    // Quantised weights are mapped; `merged` reads them all.
    if let Ok(engine) = NativeEngine::load_gguf(&file, NativeOptions::default()) {
        let _ = engine.merged();
    }
});
