//! GGUF files: a trained model to the token, both tokenizers, and headers made to harm.

use std::fs;
use std::path::Path;

use gratis_cpu::{NativeEngine, NativeOptions};
use gratis_engine::{Generate as _, SampleRequest, SamplingSettings};
use gratis_model::gguf::GgufFile;
use gratis_model::tokenizer::Tokenizer;
use gratis_model::{Error, Layout};
use half::{bf16, f16};
use proptest::prelude::*;

use crate::data::shared;

/// What is written of a value, and its type's number.
pub(crate) enum Meta<'a> {
    U32(u32),
    F32(f32),
    Text(&'a str),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

/// A tensor to write: name, sizes as GGUF orders them, type, bytes.
type Tensor<'a> = (&'a str, Vec<u64>, u32, Vec<u8>);

/// Writes a GGUF file of version 2 or 3.
fn write_gguf(version: u32, metadata: &[(&str, Meta<'_>)], tensors: &[Tensor<'_>]) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }
    fn array(out: &mut Vec<u8>, element: u32, n: usize) {
        out.extend([9, element].iter().flat_map(|number| number.to_le_bytes()));
        out.extend((n as u64).to_le_bytes());
    }
    let mut out = b"GGUF".to_vec();
    out.extend(version.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut out, key);
        match value {
            Meta::U32(number) => out.extend([4, *number].iter().flat_map(|n| n.to_le_bytes())),
            Meta::F32(number) => {
                out.extend(6_u32.to_le_bytes());
                out.extend(number.to_le_bytes());
            }
            Meta::Text(value) => {
                out.extend(8_u32.to_le_bytes());
                text(&mut out, value);
            }
            Meta::Texts(values) => {
                array(&mut out, 8, values.len());
                for value in values {
                    text(&mut out, value);
                }
            }
            Meta::F32s(values) => {
                array(&mut out, 6, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Meta::I32s(values) => {
                array(&mut out, 5, values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
        }
    }
    let mut data: Vec<u8> = Vec::new();
    for (name, sizes, tensor_type, bytes) in tensors {
        text(&mut out, name);
        out.extend((sizes.len() as u32).to_le_bytes());
        out.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        out.extend(tensor_type.to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
        data.extend(bytes);
        data.resize(data.len().next_multiple_of(32), 0);
    }
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

/// Numbers that f16, bf16 and Q8_0 hold exactly.
fn exact(n: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 % 255) as f32 - 127.0) / 64.0).collect()
}

/// `numbers` as a tensor type stores them.
fn store(numbers: &[f32], tensor_type: u32) -> Vec<u8> {
    match tensor_type {
        0 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        1 => numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
        30 => numbers.iter().flat_map(|number| bf16::from_f32(*number).to_le_bytes()).collect(),
        8 => numbers
            .chunks(32)
            .flat_map(|block| {
                let quantised = block.iter().map(|number| (number * 64.0) as i8 as u8);
                f16::from_f32(1.0 / 64.0).to_le_bytes().into_iter().chain(quantised)
            })
            .collect(),
        other => random_blocks(numbers.len(), other),
    }
}

/// Numbers in a block of a quantised type, and its bytes.
fn block_of(tensor_type: u32) -> (usize, usize) {
    match tensor_type {
        2 | 20 => (32, 18),
        3 => (32, 20),
        6 => (32, 22),
        7 => (32, 24),
        8 => (32, 34),
        10 => (256, 84),
        11 => (256, 110),
        12 => (256, 144),
        13 => (256, 176),
        14 => (256, 210),
        23 => (256, 136),
        _ => (1, 4),
    }
}

/// Blocks without a pattern. No byte has its second bit, so that every scale is finite.
fn random_blocks(n: usize, tensor_type: u32) -> Vec<u8> {
    let (n_values, n_bytes) = block_of(tensor_type);
    let bytes = (0..(n / n_values * n_bytes) as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 13);
    bytes.map(|byte| byte as u8 & 0xbf).collect()
}

/// A model of one layer of this architecture, its matrices stored as `tensor_type`.
pub(crate) fn small(architecture: &str, tensor_type: u32, version: u32) -> Vec<u8> {
    let width = block_of(tensor_type).0.max(32) as u64;
    let (hidden, inter, vocab, kv) = (width, 2 * width, 5_u64, width / 2);
    let mut shapes = vec![
        ("token_embd.weight", vec![hidden, vocab]),
        ("blk.0.attn_norm.weight", vec![hidden]),
        ("blk.0.attn_q.weight", vec![hidden, hidden]),
        ("blk.0.attn_k.weight", vec![hidden, kv]),
        ("blk.0.attn_v.weight", vec![hidden, kv]),
        ("blk.0.attn_output.weight", vec![hidden, hidden]),
        ("blk.0.ffn_norm.weight", vec![hidden]),
        ("blk.0.ffn_gate.weight", vec![hidden, inter]),
        ("blk.0.ffn_up.weight", vec![hidden, inter]),
        ("blk.0.ffn_down.weight", vec![inter, hidden]),
        ("output_norm.weight", vec![hidden]),
    ];
    if architecture == "qwen2" {
        shapes.push(("blk.0.attn_q.bias", vec![hidden]));
        shapes.push(("blk.0.attn_k.bias", vec![kv]));
        shapes.push(("blk.0.attn_v.bias", vec![kv]));
    }
    let tensors: Vec<Tensor<'_>> = shapes
        .into_iter()
        .map(|(name, sizes)| {
            let n = sizes.iter().product::<u64>() as usize;
            let tensor_type = if sizes.len() == 1 { 0 } else { tensor_type };
            (name, sizes, tensor_type, store(&exact(n), tensor_type))
        })
        .collect();
    let keys: Vec<(String, Meta<'_>)> = [
        ("block_count", Meta::U32(1)),
        ("context_length", Meta::U32(16)),
        ("embedding_length", Meta::U32(hidden as u32)),
        ("feed_forward_length", Meta::U32(inter as u32)),
        ("attention.head_count", Meta::U32(4)),
        ("attention.head_count_kv", Meta::U32(2)),
        ("attention.layer_norm_rms_epsilon", Meta::F32(1e-6)),
        ("rope.freq_base", Meta::F32(500_000.0)),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{architecture}.{key}"), value))
    .collect();
    let mut metadata = vec![("general.architecture", Meta::Text(architecture))];
    metadata.extend(keys.iter().map(|(key, value)| {
        let value = match value {
            Meta::U32(number) => Meta::U32(*number),
            Meta::F32(number) => Meta::F32(*number),
            _ => unreachable!("numbers only"),
        };
        (key.as_str(), value)
    }));
    write_gguf(version, &metadata, &tensors)
}

/// A file of these bytes, opened.
fn open(bytes: &[u8]) -> gratis_model::Result<GgufFile> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).expect("written");
    GgufFile::open(&path)
}

/// Everything that is read of a model's file.
fn load(bytes: &[u8]) -> gratis_model::Result<Vec<f32>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).expect("written");
    let file = GgufFile::open(&path)?;
    let config = file.config()?;
    file.weights(&config, &Layout::new(&config))
}

#[test]
fn a_trained_model_continues_as_its_author_says() {
    let Some(folder) = shared("tiny_llama_stories260k") else { return };
    let path = folder.join("tinyllamas-stories-260k-f32.gguf");
    assert_eq!(fs::read(&path).expect("a file")[4..8], 1_u32.to_le_bytes(), "the version");
    let file = GgufFile::open(&path).expect("a file");
    let config = file.config().expect("a shape");
    let tokenizer = file.tokenizer().expect("a tokenizer");
    tokenizer.check_fits(&config).expect("a token a row");
    let layout = Layout::new(&config);
    let weights = file.weights(&config, &layout).expect("weights");
    let engine =
        NativeEngine::from_weights(config, weights, NativeOptions::default()).expect("an engine");
    let prompt = vec![tokenizer.bos().expect("a BOS")];
    let request = SampleRequest { prompt, key: 0, first_sample: 0, n_samples: 1 };
    let greedy = SamplingSettings {
        temperature: 0.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 200,
        stop_tokens: Vec::new(),
        seed: 0,
    };
    let samples = engine.sample_all(&[request], &greedy).expect("a continuation");
    let tokens = &samples[0][0].tokens;
    assert_eq!(tokens.len(), 200);
    let expected = fs::read_to_string(folder.join("expected_greedy_200.txt")).expect("a text");
    assert_eq!(tokenizer.decode(tokens).expect("a text"), expected.trim_end_matches('\n'));
}

#[test]
fn every_type_and_version_gives_the_same_weights() {
    let reference = load(&small("qwen2", 0, 3)).expect("weights");
    assert!(reference.iter().any(|weight| *weight != reference[0]));
    for (tensor_type, version) in [(1, 2), (30, 3), (8, 3), (0, 2)] {
        let weights = load(&small("qwen2", tensor_type, version)).expect("weights");
        assert_eq!(weights, reference, "type {tensor_type}, version {version}");
    }
}

#[test]
fn the_pairs_of_llama_become_halves_and_those_of_qwen_stay() {
    let query_of = |architecture: &str| {
        let file = open_kept(&small(architecture, 0, 3));
        let config = file.1.config().expect("a shape");
        let layout = Layout::new(&config);
        let weights = file.1.weights(&config, &layout).expect("weights");
        weights[layout.layers[0].query.clone()].to_vec()
    };
    let stored = exact(32 * 32);
    assert_eq!(query_of("qwen2"), stored);
    let llama = query_of("llama");
    // A head has 8 rows of 32: row 1 of the halves is row 2 of the pairs, row 4 is row 1.
    assert_eq!(llama[32..64], stored[64..96]);
    assert_eq!(llama[4 * 32..5 * 32], stored[32..64]);
}

/// An opened file and the folder that keeps it.
pub(crate) fn open_kept(bytes: &[u8]) -> (tempfile::TempDir, GgufFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).expect("written");
    let file = GgufFile::open(&path).expect("a file");
    (folder, file)
}

/// Texts and tokens of llama.cpp's own tests.
fn vectors(folder: &Path, name: &str) -> Vec<(String, Vec<u32>)> {
    let read = |suffix: &str| {
        fs::read_to_string(folder.join(format!("ggml-vocab-{name}.gguf.{suffix}"))).expect("a file")
    };
    let texts = read("inp");
    let ids = read("out");
    let ids = ids.lines().map(|line| {
        line.split_whitespace().map(|id| id.parse().expect("a token")).collect::<Vec<u32>>()
    });
    texts.split("\n__ggml_vocab_test__\n").map(str::to_owned).zip(ids).collect()
}

/// How many of the texts become the expected tokens, and those that do not.
fn agreement(tokenizer: &Tokenizer, vectors: &[(String, Vec<u32>)]) -> (usize, Vec<String>) {
    let mut differing = Vec::new();
    for (text, expected) in vectors {
        if tokenizer.encode(text).expect("tokens").ids != *expected {
            differing.push(text.clone());
        }
    }
    (vectors.len() - differing.len(), differing)
}

#[test]
fn byte_level_vocabularies_encode_as_llama_cpp() {
    let Some(folder) = shared("llamacpp_tokenizer_vectors") else { return };
    for (name, expected) in [("gpt-2", 46), ("starcoder", 46)] {
        let file = GgufFile::open(&folder.join(format!("ggml-vocab-{name}.gguf"))).expect("a file");
        let tokenizer = file.tokenizer().expect("a tokenizer");
        let vectors = vectors(&folder, name);
        let (n_equal, differing) = agreement(&tokenizer, &vectors);
        assert_eq!((n_equal, vectors.len()), (expected, 46), "{name}: {differing:?}");
    }
}

#[test]
fn sentence_piece_vocabularies_encode_as_llama_cpp() {
    let (Some(folder), Some(llama2)) =
        (shared("llamacpp_tokenizer_vectors"), shared("tiny_llama_stories260k/tokenizer.bin"))
    else {
        return;
    };
    // Llama 2's vocabulary in the layout of llama2.c: length of the longest, then score, length and
    // text of each token, with spaces for their mark.
    let bytes = fs::read(llama2).expect("a vocabulary");
    let (mut tokens, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = &bytes[4..];
    while let Some((score, tail)) = rest.split_first_chunk::<4>() {
        let (n, tail) = tail.split_first_chunk::<4>().expect("a length");
        let (text, tail) = tail.split_at(u32::from_le_bytes(*n) as usize);
        let id = tokens.len();
        let text = String::from_utf8(text.to_vec()).expect("UTF-8");
        tokens.push(match id {
            0..3 => text.trim().to_owned(),
            _ => text.replace(' ', "\u{2581}"),
        });
        scores.push(f32::from_le_bytes(*score));
        kinds.push(match id {
            0 => 2,
            1 | 2 => 3,
            3..=258 => 6,
            _ => 1,
        });
        rest = tail;
    }
    let bytes = write_gguf(
        3,
        &[
            ("tokenizer.ggml.model", Meta::Text("llama")),
            ("tokenizer.ggml.tokens", Meta::Texts(tokens)),
            ("tokenizer.ggml.scores", Meta::F32s(scores)),
            ("tokenizer.ggml.token_type", Meta::I32s(kinds)),
            ("tokenizer.ggml.bos_token_id", Meta::U32(1)),
        ],
        &[],
    );
    let tokenizer = open(&bytes).expect("a file").tokenizer().expect("a tokenizer");
    let vectors = vectors(&folder, "llama-spm");
    let (n_equal, differing) = agreement(&tokenizer, &vectors);
    assert_eq!((n_equal, vectors.len()), (46, 46), "{differing:?}");
    assert_eq!(tokenizer.encode_prompt("Hello").expect("tokens"), [1, 15043]);
}

#[test]
fn faults_name_the_file_and_the_tensor() {
    let good = small("llama", 0, 3);
    let mut nan = good.clone();
    let n = nan.len();
    nan[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let replaced = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).expect("it");
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let mut claims = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0".to_vec();
    claims.extend(u64::MAX.to_le_bytes());
    let mut errors = Vec::new();
    for bytes in [
        b"GGML".to_vec(),
        b"GGUF\0\0\0\x03".to_vec(),
        claims,
        good[..good.len() - 64].to_vec(),
        nan,
        replaced("blk.0.ffn_up", "blk.1.ffn_up"),
        replaced("llama.rope.freq_base", "llama.rope.freq_bass"),
        replaced(
            "general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
            "general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0mamba",
        ),
        small("llama", 0, 4),
        // Two rows more than the embedding has.
        replaced(
            "token_embd.weight\x02\0\0\0 \0\0\0\0\0\0\0\x05",
            "token_embd.weight\x02\0\0\0 \0\0\0\0\0\0\0\x07",
        ),
    ] {
        let error = load(&bytes).expect_err("a fault").to_string();
        let (before, after) = error.split_once('`').expect("a path");
        let (path, after) = after.split_once('`').expect("a path");
        assert!(path.ends_with("model.gguf"), "{error}");
        errors.push(format!("{before}`model.gguf`{after}"));
    }
    insta::assert_snapshot!(errors.join("\n"), @"
    `model.gguf` is malformed: it does not begin with `GGUF`
    `model.gguf` is malformed: GGUF version 50331648 (big-endian) is not 1, 2 or 3
    `model.gguf` is malformed: 18446744073709551615 items of 1 bytes or more are claimed at byte 32, 0 are left
    `model.gguf` is malformed: tensor `output_norm.weight` takes 128 bytes at 37760 after 1056, the file has 38880
    `model.gguf`: tensor `output_norm.weight` has NaN at flat index 31
    `model.gguf` has no tensor `blk.0.ffn_up.weight`, which the model needs
    `model.gguf`: `llama.rope.freq_bass` = 500000 is not supported; supported: its absence
    `model.gguf`: `general.architecture` = mamba is not supported; supported: llama, qwen2, qwen3
    `model.gguf` is malformed: GGUF version 4 is not 1, 2 or 3
    `model.gguf` is malformed: tensors `token_embd.weight` and `blk.0.attn_norm.weight` overlap at byte 1696
    ");
}

/// Reads whatever can be read of a file, for a panic or an endless loop to show.
fn exhaust(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    fs::write(&path, bytes).expect("written");
    let Ok(file) = GgufFile::open(&path) else { return };
    assert!(file.weight_files().n_weight_bytes <= bytes.len() as u64);
    let _ = file.chat_template();
    let _ = file.tokenizer();
    let Ok(config) = file.config() else { return };
    let layout = Layout::new(&config);
    // The smallest blocks have 84 bytes for 256 numbers.
    if let Ok(weights) = file.weights(&config, &layout) {
        assert!(weights.len() <= 4 * bytes.len());
    }
    if let Ok(mapped) = file.map_weights(&config, &layout) {
        let _ = mapped.check_finite();
    }
}

#[test]
fn the_seeds_of_the_fuzz_target_are_models() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/gguf");
    for (name, is_quantised) in [("tiny", false), ("quantised", true)] {
        let file = GgufFile::open(&seeds.join(format!("{name}.gguf"))).expect("a file");
        assert_eq!(file.is_quantised(), is_quantised, "{name}");
        let engine = NativeEngine::load_gguf(&file, NativeOptions::default()).expect("an engine");
        assert_eq!(engine.is_mapped(), is_quantised, "{name}");
        let weights = engine.merged().expect("read").parameters().to_vec();
        assert!(weights.iter().all(|weight| weight.is_finite()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(version in 0_u32..5, tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(tail);
        exhaust(&bytes);
    }

    #[test]
    fn mutated_files_never_panic(
        version in 2_u32..4,
        tensor_type in proptest::sample::select(vec![0_u32, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 20, 23, 30]),
        changes in proptest::collection::vec((0_usize..1200, any::<u8>()), 1..6),
        cut in 0_usize..4000,
    ) {
        let mut bytes = small("llama", tensor_type, version);
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(3000)));
        exhaust(&bytes);
    }

    #[test]
    fn claims_beyond_the_file_are_refused_without_reading(n in 1_u64 << 33..u64::MAX) {
        let mut bytes = b"GGUF\x03\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0k\x09\0\0\0\x08\0\0\0".to_vec();
        bytes.extend(n.to_le_bytes());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.gguf");
        fs::write(&path, &bytes).expect("written");
        let read = GgufFile::open(&path);
        prop_assert!(matches!(read, Err(Error::MalformedFile { .. })), "{read:?}");
    }
}
