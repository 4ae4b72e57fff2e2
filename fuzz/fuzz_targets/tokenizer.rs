//! No `tokenizer.json` makes reading it, encoding or decoding panic, hang or fill the memory:
//! `cargo +nightly fuzz run tokenizer`. A panic inside the library is caught and counts as an error.
#![no_main]

use gratis_model::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (pipeline, settings, text) = input;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tokenizer.json"), pipeline).expect("written");
    std::fs::write(folder.path().join("tokenizer_config.json"), settings).expect("written");
    let Ok(tokenizer) = Tokenizer::load(folder.path()) else { return };
    if let Ok(encoding) = tokenizer.encode(text) {
        let _ = tokenizer.decode(&encoding.ids);
    }
});
