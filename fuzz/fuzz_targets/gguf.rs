//! No file makes the reader of GGUF headers panic or allocate what it merely claims:
//! `cargo +nightly fuzz run gguf`.
#![no_main]

use std::path::Path;

use gratis_engine::gguf::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::read(bytes, bytes.len() as u64, Path::new("model.gguf")) {
        for tensor in &header.tensors {
            assert!(tensor.offset + tensor.n_bytes <= bytes.len() as u64);
        }
    }
});
