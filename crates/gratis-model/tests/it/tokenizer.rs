//! Tokenizers as files: what is written is read back, published ones are read, faults are named.

use std::fs;
use std::path::Path;

use gratis_model::Error;
use gratis_model::gguf::GgufFile;
use gratis_model::{End, SpecialTokens, Tokenizer};
use serde_json::{Value, json};

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

/// In `transformers` 5 the post-processor of `tokenizer.json` puts the token there, whatever
/// `add_bos_token` says; in 4 it depended on the class of the tokenizer.
#[test]
fn the_post_processor_decides_whether_a_prompt_begins_with_bos() {
    let prompt = |settings: &str, edit: fn(&mut Value)| {
        edited(digits(), settings, edit).expect("read").encode_prompt("4").expect("a digit")
    };
    let as_is: fn(&mut Value) = |_| ();
    assert_eq!(prompt(r#"{"bos_token": "<s>"}"#, as_is), [1, 7]);
    assert_eq!(
        prompt(r#"{"bos_token": {"content": "<s>"}, "add_bos_token": true}"#, as_is),
        [1, 7]
    );
    assert_eq!(prompt(r#"{"bos_token": "<s>", "add_bos_token": false}"#, as_is), [1, 7]);
    assert_eq!(prompt(r#"{"bos_token": null, "add_bos_token": true}"#, as_is), [7]);
    let without = |json: &mut Value| json["post_processor"] = Value::Null;
    assert_eq!(prompt(r#"{"bos_token": "<s>", "add_bos_token": true}"#, without), [7]);
}

/// A tokenizer read from its files, its `tokenizer.json` changed.
fn edited(
    tokenizer: Tokenizer,
    settings: &str,
    edit: impl FnOnce(&mut Value),
) -> Result<Tokenizer, Error> {
    let folder = tempfile::tempdir().expect("a folder");
    tokenizer.save(folder.path()).expect("saved");
    let path = folder.path().join("tokenizer.json");
    let text = fs::read_to_string(&path).expect("there");
    let mut json = serde_json::from_str(&text).expect("JSON");
    edit(&mut json);
    fs::write(path, json.to_string()).expect("written");
    fs::write(folder.path().join("tokenizer_config.json"), settings).expect("written");
    Tokenizer::load(folder.path())
}

fn bpe() -> Tokenizer {
    let texts = ["Step 1: Ann has 12 apples and buys 30 more apples. ".repeat(20)];
    let special = SpecialTokens { eos: Some("</s>".to_owned()), ..SpecialTokens::default() };
    Tokenizer::train_bpe(texts.iter(), 300, &special).expect("trained")
}

#[test]
fn tokens_that_stand_only_in_the_settings_are_added() {
    let size = bpe().vocab_size() as u32;
    let entry = |content: &str| {
        json!({"content": content, "lstrip": false, "rstrip": false, "single_word": false,
               "normalized": false, "special": true})
    };
    let decoder = |ids: [u32; 2]| {
        json!({"eos_token": "</s>", "added_tokens_decoder": {
            ids[0].to_string(): entry("<think>"), ids[1].to_string(): entry("<step>")}})
    };
    // In the order of the ids, not of the file.
    let tokenizer = edited(bpe(), &decoder([size + 1, size]).to_string(), |_| ()).expect("read");
    assert_eq!(tokenizer.encode("<step><think>").expect("encoded").ids, [size, size + 1]);
    assert_eq!(tokenizer.vocab_size() as u32, size + 2);
    let message = edited(bpe(), &decoder([size + 5, size]).to_string(), |_| ()).expect_err("a gap");
    let expected = format!("says that `<think>` is token {}, and by", size + 5);
    assert!(message.to_string().contains(&expected), "{message}");
    // Special ones without an id, after them.
    let settings = json!({"eos_token": "</s>", "additional_special_tokens": ["<step>", "</s>"]});
    let tokenizer = edited(bpe(), &settings.to_string(), |_| ()).expect("read");
    assert_eq!(tokenizer.encode("<step>").expect("encoded").ids, [size]);
    // Files of earlier versions, which are written into the settings.
    let folder = tempfile::tempdir().expect("a folder");
    bpe().save(folder.path()).expect("saved");
    fs::write(folder.path().join("tokenizer_config.json"), "{}").expect("written");
    let added = json!({"<step>": size}).to_string();
    fs::write(folder.path().join("added_tokens.json"), added).expect("written");
    let special = r#"{"eos_token": {"content": "</s>", "lstrip": false}}"#;
    fs::write(folder.path().join("special_tokens_map.json"), special).expect("written");
    let copy = tempfile::tempdir().expect("a folder");
    Tokenizer::load(folder.path()).expect("read").save(copy.path()).expect("saved");
    for folder in [folder.path(), copy.path()] {
        let tokenizer = Tokenizer::load(folder).expect("read");
        assert_eq!(tokenizer.encode("<step>").expect("encoded").ids, [size]);
        assert_eq!(tokenizer.eos(), Some(0));
    }
}

#[test]
fn a_padding_token_outside_the_vocabulary_does_not_stop_loading() {
    let settings = r#"{"eos_token": "</s>", "pad_token": "[PAD]", "sep_token": "</s>"}"#;
    let tokenizer = edited(bpe(), settings, |_| ()).expect("read");
    let size = bpe().vocab_size();
    assert_eq!(tokenizer.pad(), Some(size as u32));
    let fits = |vocab_size| {
        tokenizer.check_fits(&gratis_model::ModelConfig {
            vocab_size,
            ..gratis_model::ModelConfig::LLAMA
        })
    };
    fits(size).expect("the padding needs no embedding");
    assert!(matches!(fits(size - 1), Err(Error::VocabularyMismatch { .. })));
    let special = serde_json::to_value(tokenizer.special_tokens()).expect("JSON");
    assert_eq!(special, json!({"eos_token": "</s>", "sep_token": "</s>", "pad_token": "[PAD]"}));
}

#[test]
fn settings_that_would_change_a_text_are_set_aside() {
    let text = "Step 1: Ann has 12 apples. Step 2: Ann buys 30 more apples.".repeat(8);
    let expected = bpe().encode(&text).expect("encoded");
    let settings = r#"{"eos_token": "</s>"}"#;
    let changed = edited(bpe(), settings, |json| {
        json["model"]["dropout"] = json!(0.5);
        json["padding"] = json!({
            "strategy": {"Fixed": 100_000_000}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "</s>",
        });
        json["truncation"] = json!({
            "direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 9,
        });
    })
    .expect("read");
    for _ in 0..4 {
        assert_eq!(changed.encode(&text).expect("encoded"), expected);
    }
}

#[test]
fn pipelines_on_which_the_library_fails_are_refused() {
    type Edit = fn(&mut Value);
    let settings = r#"{"eos_token": "</s>"}"#;
    let message = |edit: Edit| {
        let outcome = edited(bpe(), settings, edit).and_then(|tokenizer| {
            let ids = tokenizer.encode("a b\u{301} \u{1f34e} <step>")?.ids;
            tokenizer.decode(&ids)
        });
        outcome.expect_err("a fault").to_string()
    };
    let cases: [(Edit, &str); 6] = [
        (
            |j| {
                j["normalizer"] =
                    json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"});
            },
            "`normalizer` holds an empty `pattern`",
        ),
        (
            |j| {
                j["decoder"] = json!({"type": "Sequence", "decoders": [
                    {"type": "Replace", "pattern": {"String": ""}, "content": "x"}]});
            },
            "`decoder.decoders[0]` holds an empty `pattern`",
        ),
        (
            |j| {
                j["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": ""},
                    "behavior": "Isolated", "invert": false});
            },
            "`pre_tokenizer` holds an empty `pattern`",
        ),
        (
            |j| j["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}),
            "`pre_tokenizer.length` is 0",
        ),
        (
            |j| {
                j["decoder"] = json!({"type": "Strip", "content": " ",
                    "start": 1_000_000_000_000_u64, "stop": 0});
            },
            "`decoder.start` = 1000000000000 is too large",
        ),
        (
            |j| {
                j["decoder"] =
                    json!({"type": "Strip", "content": "a", "start": 1000, "stop": 1000});
            },
            "pipeline that panics",
        ),
    ];
    for (edit, expected) in cases {
        let message = message(edit);
        assert!(message.contains(expected), "{message}");
    }
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
