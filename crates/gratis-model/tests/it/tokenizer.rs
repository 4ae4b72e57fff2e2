//! Tokenizers as files: what is written is read back, published ones are read, faults are named.

use std::fs;
use std::path::Path;

use gratis_model::Error;
use gratis_model::gguf::GgufFile;
use gratis_model::{End, SpecialTokens, Tokenizer};

use crate::data::shared;

fn digits() -> Tokenizer {
    let phrases: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    let special = SpecialTokens {
        pad: Some("<pad>".to_owned()),
        bos: Some("<s>".to_owned()),
        eos: Some("</s>".to_owned()),
    };
    Tokenizer::from_phrases(&phrases, &special).expect("valid phrases")
}

#[test]
fn what_is_saved_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    digits().save(folder.path()).expect("saved");
    let text = fs::read_to_string(folder.path().join("tokenizer.json")).expect("there");
    let tokenizer = Tokenizer::load(folder.path()).expect("read");
    assert_eq!((tokenizer.pad(), tokenizer.bos(), tokenizer.eos()), (Some(0), Some(1), Some(2)));
    assert_eq!(tokenizer.encode_prompt("42").expect("digits"), [1, 7, 5]);
    tokenizer.save(folder.path()).expect("saved again");
    assert_eq!(fs::read_to_string(folder.path().join("tokenizer.json")).expect("there"), text);
}

#[test]
fn settings_decide_whether_a_prompt_begins_with_bos() {
    let folder = tempfile::tempdir().expect("a folder");
    let prompt = |settings: &str| {
        digits().save(folder.path()).expect("saved");
        fs::write(folder.path().join("tokenizer_config.json"), settings).expect("written");
        Tokenizer::load(folder.path()).expect("read").encode_prompt("4").expect("a digit")
    };
    assert_eq!(prompt(r#"{"bos_token": "<s>"}"#), [1, 7]);
    assert_eq!(prompt(r#"{"bos_token": {"content": "<s>"}, "add_bos_token": true}"#), [1, 7]);
    assert_eq!(prompt(r#"{"bos_token": "<s>", "add_bos_token": false}"#), [7]);
    assert_eq!(prompt(r#"{"bos_token": null, "add_bos_token": true}"#), [7]);
}

#[test]
fn faults_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = || Tokenizer::load(folder.path()).expect_err("a fault").to_string();
    assert!(message().contains("tokenizer.json` is absent: a model is read with its tokenizer"));
    fs::write(folder.path().join("tokenizer.json"), "{}").expect("written");
    assert!(message().contains("tokenizer.json` is malformed"), "{}", message());
    digits().save(folder.path()).expect("saved");
    let settings = folder.path().join("tokenizer_config.json");
    fs::write(&settings, r#"{"eos_token": "<end>"}"#).expect("written");
    assert!(message().ends_with("`eos_token` `<end>` is not in the vocabulary"), "{}", message());
    fs::remove_file(settings).expect("removed");
    let tokenizer = Tokenizer::load(folder.path()).expect("read");
    let error = tokenizer.encode_completion("4", End::Eos).expect_err("no end of sequence");
    assert!(matches!(error, Error::MissingSpecialToken { which: "eos_token" }));
    assert_eq!(tokenizer.encode_completion("4", End::Open).expect("a digit").ids, [7]);
}

#[test]
fn a_tokenizer_must_fit_the_embedding() {
    let mut config = gratis_model::ModelConfig {
        vocab_size: 61,
        hidden_size: 24,
        n_heads: 2,
        head_dim: 12,
        ..gratis_model::ModelConfig::LLAMA
    };
    config.vocab_size = 13;
    digits().check_fits(&config).expect("13 tokens in 13 rows");
    config.vocab_size = 12;
    let error = digits().check_fits(&config).expect_err("too few rows");
    assert!(matches!(error, Error::VocabularyMismatch { largest: 12, vocab_size: 12 }));
}

/// Published tokenizers trim the offsets of their tokens; ours cover the text.
#[test]
#[expect(clippy::print_stderr, reason = "says why nothing was tested")]
fn offsets_of_published_tokenizers_cover_the_text() {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/tokenizers_permissive");
    if !root.exists() {
        eprintln!("skipped: no `{}`", root.display());
        return;
    }
    let text = "Step 1: 12 * 3 = 36 apples.\n\n  Step 2: für 5 € 🍎🍏 more.\n";
    for name in ["phi-2", "phi-3-mini", "falcon-tokenizer"] {
        let tokenizer = Tokenizer::load(&root.join(name)).expect("read");
        let encoding = tokenizer.encode(text).expect("encoded");
        let mut end = 0;
        for range in &encoding.offsets {
            assert!(range.start <= end && range.end >= end, "{name}: {range:?} after {end}");
            end = range.end;
        }
        assert_eq!(end, text.len(), "{name}");
        assert_eq!(tokenizer.decode(&encoding.ids).expect("decoded").trim_start(), text, "{name}");
        let boundary = text.find("Step 2").expect("there");
        let last =
            encoding.offsets.iter().rposition(|range| range.start < boundary).expect("a token");
        let range = &encoding.offsets[last];
        assert!(range.start < boundary && range.end >= boundary, "{name}: {range:?}");
    }
}

/// Texts and tokens of `chat_template_cases/tokenizer_vectors.jsonl` for one tokenizer.
fn published_vectors(tokenizer: &str) -> Option<Vec<(String, Vec<u32>)>> {
    let path = shared("chat_template_cases")?.join("tokenizer_vectors.jsonl");
    let lines = std::fs::read_to_string(path).expect("vectors");
    let vector = |line: &str| {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let ids = case["ids"].as_array().expect("tokens").iter();
        let ids = ids.map(|id| id.as_u64().expect("a token") as u32).collect();
        let text = case["text"].as_str().expect("text").to_owned();
        (case["tokenizer"] == tokenizer).then_some((text, ids))
    };
    Some(lines.lines().filter_map(vector).collect())
}

/// Asserts that all but `n_differing` texts become the tokens expected of them after `begin`.
fn agrees(tokenizer: &Tokenizer, name: &str, begin: &[u32], n_differing: usize) {
    let Some(vectors) = published_vectors(name) else { return };
    assert!(vectors.len() > 10, "{name}");
    let differing: Vec<_> = vectors
        .iter()
        .filter(|(text, expected)| {
            let ids = tokenizer.encode(text).expect("tokens").ids;
            [begin, &ids].concat() != *expected
        })
        .collect();
    assert_eq!(differing.len(), n_differing, "{name}, of {}: {differing:?}", vectors.len());
}

#[test]
fn published_vectors_of_vocabularies_at_hand() {
    let Some(ggml) = shared("llamacpp_tokenizer_vectors") else { return };
    let gpt2 = GgufFile::open(&ggml.join("ggml-vocab-gpt-2.gguf")).expect("a file");
    let gpt2 = gpt2.tokenizer().expect("a tokenizer");
    for name in ["Xenova/gpt2", "openai-community/gpt2", "tiiuae/falcon-rw-1b"] {
        agrees(&gpt2, name, &[], 0);
    }
    let Some(permissive) = shared("tokenizers_permissive") else { return };
    let falcon = Tokenizer::load(&permissive.join("falcon-tokenizer")).expect("read");
    agrees(&falcon, "tiiuae/falcon-7b", &[], 0);
    // Phi-3 has Llama 2's vocabulary.
    let phi3 = Tokenizer::load(&permissive.join("phi-3-mini")).expect("read");
    agrees(&phi3, "Xenova/llama-tokenizer", &[1], 0);
}
