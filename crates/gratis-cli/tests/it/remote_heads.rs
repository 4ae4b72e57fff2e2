//! Published reward models on servers: their scores are those of the folder, and what would be read
//! wrongly is refused.

use gratis_bench_remote::{
    Behaviour, EngineModel, FakeServer, Faults, HashModel, HeadModel, Model, Pooling, PoolingTask,
};
use gratis_cpu::{NativeEngine, NativeOptions};
use serde_json::Value;

use crate::published::add_model;
use crate::workspace::{Workspace, ok};

/// The layers of a head: weights and biases.
type Layers = &'static [(&'static str, Option<&'static str>)];

const LINEAR: Layers = &[("score.weight", None)];
const WITH_BIAS: Layers = &[("score.weight", Some("score.bias"))];
const TWO: Layers =
    &[("score.0.weight", Some("score.0.bias")), ("score.2.weight", Some("score.2.bias"))];
/// `<extra_0>` in the tokenizer of the fixtures.
const STEP_TAG: u32 = 327;

fn workspace(name: &str) -> Workspace {
    let workspace = Workspace::new();
    add_model(&workspace, name, "rm");
    workspace
}

fn serve(model: impl Model + 'static, pooling: Pooling) -> FakeServer {
    let behaviour = Behaviour {
        models: vec!["rm".to_owned()],
        faults: Faults { internal: 0.05, cut: 0.05, ..Faults::default() },
        pooling,
        ..Behaviour::default()
    };
    FakeServer::start(model, behaviour).expect("a free port")
}

fn address(server: &FakeServer, protocol: &str) -> String {
    format!("{protocol}://{}/rm?tokenizer=rm&dtype=float32", server.address())
}

/// The step rewards of every completion.
fn rewards(workspace: &Workspace, model: &str, more: &[&str]) -> Vec<Vec<f64>> {
    std::fs::remove_file(workspace.path("scores.jsonl")).ok();
    let arguments = ["score", "graded.jsonl", "--model", model, "-o", "scores.jsonl"];
    ok(workspace, &[&arguments[..], more].concat());
    let text = String::from_utf8(workspace.read("scores.jsonl")).expect("text");
    let mut all = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        for score in line["scores"].as_array().expect("scores") {
            let steps = score["steps"].as_array().expect("steps").iter();
            all.push(steps.map(|step| step.as_f64().expect("a number")).collect());
        }
    }
    all
}

fn largest_difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    let lengths = |all: &[Vec<f64>]| all.iter().map(Vec::len).collect::<Vec<_>>();
    assert!(!a.is_empty() && lengths(a) == lengths(b));
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn heads_on_a_server_give_the_scores_of_the_folder() {
    for (name, layers, tasks) in [
        ("skywork-reward-qwen3", LINEAR, &[PoolingTask::LastToken, PoolingTask::EachToken][..]),
        ("trl-two-labels", WITH_BIAS, &[PoolingTask::EachToken]),
        ("trl-one-label", WITH_BIAS, &[PoolingTask::EachToken]),
        ("qwen-prm", TWO, &[PoolingTask::StepTag(STEP_TAG), PoolingTask::EachToken]),
    ] {
        let workspace = workspace(name);
        let expected = rewards(&workspace, "rm", &[]);
        for &task in tasks {
            let model = HeadModel::load(&workspace.path("rm"), layers);
            let server = serve(model, Pooling { task, ..Pooling::default() });
            let found = rewards(&workspace, &address(&server, "vllm"), &[]);
            // Observed: at most 5.6e-7.
            let difference = largest_difference(&found, &expected);
            assert!(difference < 5e-6, "{name} {task:?}: {difference}");
        }
    }
}

#[test]
fn heads_on_sglang_give_the_scores_of_the_folder() {
    for (name, layers, class) in [
        ("skywork-reward-llama", LINEAR, "LlamaForSequenceClassification"),
        ("trl-two-labels", WITH_BIAS, "Qwen2ForSequenceClassification"),
        ("trl-one-label", WITH_BIAS, "Qwen3ForSequenceClassification"),
    ] {
        let workspace = workspace(name);
        let expected = rewards(&workspace, "rm", &[]);
        let model = HeadModel::load(&workspace.path("rm"), layers);
        let pooling = Pooling { class: Some(class), ..Pooling::default() };
        let server = serve(model, pooling);
        let address = address(&server, "sglang");
        let known = rewards(&workspace, &address, &[]);
        std::fs::remove_file(workspace.path("rm/model.safetensors")).expect("it was there");
        let unknown = rewards(&workspace, &address, &[]);
        // Observed: at most 1.3e-6.
        let difference = largest_difference(&known, &expected);
        assert!(difference < 5e-6, "{name}: {difference}");
        assert_eq!(known, unknown, "{name}");
        // Such a server dies of a request for log-probabilities, so none is sent.
        let report = ok(&workspace, &["inspect", &address, "--json"]);
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["head"]["can"], true);
        for asked in ["score", "sample"] {
            let reason = report[asked]["reason"].as_str().unwrap_or_default();
            assert!(reason.contains("its server runs a classifier"), "{report}");
        }
    }
}

#[test]
fn heads_that_sglang_reads_otherwise_are_refused() {
    let workspace = workspace("skywork-reward-qwen3");
    let score = |pooling| {
        let model = HeadModel::load(&workspace.path("rm"), LINEAR);
        let server = serve(model, pooling);
        let address = address(&server, "sglang");
        workspace.error_of(&["score", "graded.jsonl", "--model", &address, "-o", "s.jsonl"])
    };
    let cases = [
        (Pooling { bias: 0.02, ..Pooling::default() }, "add a tensor `score.bias` of zeros"),
        (
            Pooling { task: PoolingTask::Average, ..Pooling::default() },
            "hardly depends on its last token",
        ),
        (Pooling { ignores_activation: true, ..Pooling::default() }, "look like probabilities"),
    ];
    for (pooling, expected) in cases {
        let error = score(pooling);
        assert!(error.contains(expected), "{pooling:?}: {error}");
        assert!(error.contains("hint: the server computes other values"), "{error}");
        assert!(!error.contains("adapters are the usual cause"), "{error}");
    }
    // A language model.
    let server = serve(HashModel { vocab_size: 329, shift: 0.0 }, Pooling::default());
    let of_server = address(&server, "sglang");
    let error = workspace.error_of(&["score", "graded.jsonl", "--model", &of_server]);
    assert!(error.contains("Please add `--is-embedding`"), "{error}");
    // Servers whose heads differ by a bias, which nothing else tells without the weights.
    let class = Some("LlamaForSequenceClassification");
    let servers = [0.0, 0.02].map(|bias| {
        let model = HeadModel::load(&workspace.path("rm"), LINEAR);
        serve(model, Pooling { bias, class, ..Pooling::default() })
    });
    let [first, second] = [0, 1].map(|idx: usize| servers[idx].url());
    let engine = format!(
        "protocol = \"sglang\"\nurls = [\"{first}\", \"{second}\"]\nmodel = \"rm\"\n\
         tokenizer = \"rm\"\ndtype = \"float32\"\n"
    );
    workspace.write("engine.toml", &engine);
    // Without weights, a class with a bias that the checkpoint lacks is refused, and so is one that is unknown.
    let model = HeadModel::load(&workspace.path("rm"), LINEAR);
    let class = Some("Qwen3ForSequenceClassification");
    let unknown = HeadModel::load(&workspace.path("rm"), LINEAR);
    std::fs::remove_file(workspace.path("rm/model.safetensors")).expect("it was there");
    let error = workspace.error_of(&["score", "graded.jsonl", "--model", "engine.toml"]);
    assert!(error.contains("from that of the first server"), "{error}");
    for (model, class, named) in [
        (
            model,
            class,
            "`Qwen3ForSequenceClassification`, and SGLang gives heads of Qwen classes a bias",
        ),
        (unknown, None, "a class that it does not name"),
    ] {
        let server = serve(model, Pooling { class, ..Pooling::default() });
        let address = address(&server, "sglang");
        let error = workspace.error_of(&["score", "graded.jsonl", "--model", &address]);
        assert!(error.contains(named), "{error}");
    }
    assert!(!workspace.path("s.jsonl").exists());
}

#[test]
fn label_tokens_on_a_server_give_the_scores_of_the_folder() {
    for (name, kind) in [
        ("math-shepherd", "math-shepherd"),
        ("rlhflow-prm", "rlhflow-prm"),
        ("rlhflow-prm", "rlhflow-orm"),
    ] {
        let workspace = workspace(name);
        // Steps that are lines, so that the kinds read different tokens.
        let kind = ["--kind", kind, "--step-split", "lines"];
        let expected = rewards(&workspace, "rm", &kind);
        let model = NativeEngine::load(&workspace.path("rm"), NativeOptions::default());
        let server = serve(EngineModel(model.expect("a model")), Pooling::default());
        for protocol in ["vllm", "sglang", "openai"] {
            let found = rewards(&workspace, &address(&server, protocol), &kind);
            // Observed: at most 4.2e-7.
            let difference = largest_difference(&found, &expected);
            assert!(difference < 2e-6, "{kind:?} {protocol}: {difference}");
        }
    }
}

#[test]
fn values_that_would_be_read_wrongly_are_refused() {
    let workspace = workspace("skywork-reward-qwen3");
    add_model(&workspace, "qwen-prm", "qwen");
    add_model(&workspace, "armo-rm", "armo");
    let of = |server: &FakeServer, protocol: &str, folder: &str| {
        let address =
            address(server, protocol).replace("tokenizer=rm", &format!("tokenizer={folder}"));
        workspace.error_of(&["score", "graded.jsonl", "--model", &address, "-o", "s.jsonl"])
    };
    let head = || HeadModel::load(&workspace.path("rm"), LINEAR);
    let with =
        |task, ignores_activation| Pooling { task, ignores_activation, ..Pooling::default() };
    let cases = [
        (with(PoolingTask::EachToken, true), "are probabilities although none were asked for"),
        (with(PoolingTask::LastToken, true), "are probabilities although none were asked for"),
        (with(PoolingTask::Average, false), "hardly depends on its last token"),
        (with(PoolingTask::StepTag(9), false), "values for 24 tokens"),
    ];
    for (pooling, expected) in cases {
        let error = of(&serve(head(), pooling), "vllm", "rm");
        assert!(error.contains(expected), "{pooling:?}: {error}");
        assert!(!error.contains("adapters"), "{error}");
    }
    let process = HeadModel::load(&workspace.path("qwen"), TWO);
    let wrong_tag = with(PoolingTask::StepTag(9), false);
    let error = of(&serve(process, wrong_tag), "vllm", "qwen");
    assert!(error.contains("`step_tag_id` 327"), "{error}");
    // One label where the format has two.
    let error = of(&serve(head(), with(PoolingTask::EachToken, false)), "vllm", "qwen");
    assert!(error.contains("the server gives 1 values per token"), "{error}");
    let error = of(&serve(head(), Pooling::default()), "openai", "rm");
    assert!(error.contains("`/pooling` of vLLM or `/classify` of SGLang"), "{error}");
    let error = of(&serve(head(), Pooling::default()), "vllm", "armo");
    assert!(error.contains("the class `LlamaForRewardModelWithGating`"), "{error}");
    // A server that pools nothing.
    let model = HashModel { vocab_size: 329, shift: 0.0 };
    let error = of(&serve(model, Pooling::default()), "vllm", "rm");
    assert!(error.contains("cannot give the values of a head"), "{error}");
    assert!(!workspace.path("s.jsonl").exists());
}
