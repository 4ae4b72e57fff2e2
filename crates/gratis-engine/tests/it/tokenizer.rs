//! Tokenizers as files: what is written is read back, published ones are read, faults are named.

use std::fs;
use std::path::Path;

use gratis_engine::{End, Error, SpecialTokens, Tokenizer};

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
    let mut config = crate::checkpoint::small_llama();
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
        let last = encoding.token_index_of_end(boundary).expect("a token");
        let range = &encoding.offsets[last];
        assert!(range.start < boundary && range.end >= boundary, "{name}: {range:?}");
    }
}
