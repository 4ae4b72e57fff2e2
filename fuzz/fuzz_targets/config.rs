//! No `config.json` makes its reader panic; one that is read has a layout whose size fits, and is
//! written and read back the same: `cargo +nightly fuzz run config`.
#![no_main]

use std::path::Path;

use gratis_model::config::ModelConfig;
use gratis_model::{Layout, WeightType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("config.json");
    let Ok(config) = ModelConfig::from_json(text, path) else { return };
    assert!(Layout::new(&config).n_parameters() > 0);
    if let Ok(written) = config.to_json(WeightType::F32, path) {
        assert_eq!(ModelConfig::from_json(&written, path).expect("our own"), config);
    }
});
