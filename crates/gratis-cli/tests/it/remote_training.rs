//! Training on a server by the binary: a run that is killed, a server that dies, and settings that the
//! server does not have.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use gratis_bench_remote::{Behaviour, EngineModel, FakeServer, Losses, TinkerServer};
use gratis_cpu::{NativeEngine, NativeOptions};

use crate::workspace::{Workspace, ok, stderr};

/// A training server of the workspace's model, and `tinker.toml` for it.
fn server(workspace: &Workspace, settings: &str) -> (TinkerServer, FakeServer) {
    let model = NativeEngine::load(&workspace.path("model"), NativeOptions::default());
    let tinker = TinkerServer::new(model.expect("a model"), "base", Losses::Mean);
    let tinker = tinker.expect("a folder");
    let server = FakeServer::start_training("127.0.0.1:0", tinker.clone(), Behaviour::default());
    let server = server.expect("a free port");
    let file = format!(
        "protocol = \"tinker\"\nurl = \"{}\"\nmodel = \"base\"\ntokenizer = \"model\"\n{settings}\n",
        server.url()
    );
    workspace.write("tinker.toml", &file);
    (tinker, server)
}

fn arguments(run: &str) -> Vec<&str> {
    let settings = "--lora-rank 4 --epochs 2 --max-steps 9 --batch-size 8 --learning-rate 1e-2 --clip 0 \
                    --validation-share 0.25 --checkpoint-every 3 --validate-every 4 --resume";
    ["train", "--engine", "tinker.toml", "--data", "graded.jsonl", "--run", run]
        .into_iter()
        .chain(settings.split_whitespace())
        .collect()
}

#[test]
fn a_run_killed_at_random_moments_takes_no_step_twice() {
    let workspace = Workspace::new();
    let (tinker, _server) = server(&workspace, "snapshot_steps = 2");
    let started = Instant::now();
    let whole = workspace.run(&arguments("whole"));
    assert!(whole.status.success(), "{}", stderr(&whole));
    let takes = started.elapsed();
    assert_eq!(tinker.n_steps(), [9], "one model took all steps");
    let said = stderr(&whole);
    assert!(said.contains("`importance_sampling` carries them"), "{said}");
    assert!(said.contains("requests, "), "{said}");

    let mut moments = Vec::new();
    for kill in 0..4 {
        let share = RandomState::new().hash_one(kill) as f64 / u64::MAX as f64;
        let moment = takes.mul_f64(share);
        moments.push(moment);
        workspace.kill_after(moment, &arguments("killed"));
    }
    let last = workspace.run(&arguments("killed"));
    assert!(last.status.success(), "killed after {moments:?}: {}", stderr(&last));
    let metrics = ["whole", "killed"].map(|run| workspace.metrics(run));
    assert!(metrics[0] == metrics[1], "the metrics differ after kills at {moments:?} of {takes:?}");
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        let of = |run: &str| workspace.read(&format!("{run}/model/{file}"));
        assert_eq!(of("whole"), of("killed"), "{file} after kills at {moments:?} of {takes:?}");
    }
    // However often the run was killed, its model took each step once.
    assert_eq!(tinker.n_steps(), [9, 9], "after kills at {moments:?} of {takes:?}");
}

#[test]
fn a_run_outlives_its_server() {
    let workspace = Workspace::new();
    let (tinker, _server) = server(&workspace, "snapshot_steps = 2");
    ok(&workspace, &arguments("whole"));
    let mut child = workspace.command(&arguments("restarted")).spawn().expect("it starts");
    while tinker.n_steps().get(1).is_none_or(|&n| n < 5) {
        std::thread::sleep(Duration::from_millis(1));
        assert!(child.try_wait().expect("a status").is_none(), "it ended too early");
    }
    tinker.restart();
    assert!(child.wait().expect("it ends").success());
    assert_eq!(workspace.metrics("whole"), workspace.metrics("restarted"));
    let weights = |run: &str| workspace.read(&format!("{run}/model/adapter_model.safetensors"));
    assert_eq!(weights("whole"), weights("restarted"));
    let n_steps = tinker.n_steps();
    assert!(n_steps.len() == 3 && n_steps[1] < 9, "{n_steps:?}");
    assert_eq!(tinker.n_loaded(), 0, "nothing is left on the server");
}

#[test]
fn what_a_server_trained_is_scored_on_another_one() {
    let workspace = Workspace::new();
    // The base is named for the downloaded adapter, whose folder has no configuration of its own.
    let (_tinker, _server) = server(&workspace, "weights = \"model\"");
    ok(&workspace, &arguments("run"));
    let load = || NativeEngine::load(&workspace.path("model"), NativeOptions::default());
    let adapted = load().expect("a model").with_adapter_of(&workspace.path("run/model"));
    let behaviour =
        |name: &str| Behaviour { models: vec![name.to_owned()], ..Behaviour::default() };
    let policy = FakeServer::start(EngineModel(adapted.expect("adapted")), behaviour("policy"));
    let base = FakeServer::start(EngineModel(load().expect("a model")), behaviour("base"));
    let (policy, base) = (policy.expect("a port"), base.expect("a port"));
    let policy =
        format!("vllm://{}/policy?tokenizer=run&adapter=run/model&dtype=float32", policy.address());
    let base = format!("vllm://{}/base?tokenizer=model&dtype=float32", base.address());
    let outcomes = |arguments: &[&str], output: &str| {
        let flags = ["score", "graded.jsonl", "--accept-reference", "-o", output];
        ok(&workspace, &[&flags[..], arguments].concat());
        let text = String::from_utf8(workspace.read(output)).expect("text");
        let lines = text.lines().flat_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let scores = line["scores"].as_array().expect("scores").clone();
            scores.into_iter().map(|score| score["outcome"].as_f64().expect("a number"))
        });
        lines.collect::<Vec<_>>()
    };
    let remote = outcomes(&["--model", &policy, "--reference", &base], "remote.jsonl");
    let local = outcomes(&["--model", "run", "--reference", "model"], "local.jsonl");
    assert!(local.iter().any(|outcome| outcome.abs() > 1e-3), "training changed something");
    for (a, b) in remote.iter().zip(&local) {
        // Observed: 1e-6.
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn what_a_training_server_lacks_is_refused_by_the_name_of_its_flag() {
    let workspace = Workspace::new();
    let (tinker, _server) = server(&workspace, "");
    let train = ["train", "--engine", "tinker.toml", "--data", "graded.jsonl", "--run", "run"];
    let error = |more: &[&str]| workspace.error_of(&[&train[..], more].concat());
    for (flags, expected) in [
        (&[][..], "--lora-rank"),
        (&["--lora-rank", "4", "--lora-alpha", "8"], "--lora-alpha"),
        (&["--lora-rank", "4", "--lora-targets", "q_proj"], "--lora-targets"),
        (&["--lora-rank", "4", "--max-steps", "1"], "--clip 0"),
        (&["--lora-rank", "4", "--clip", "0", "--kind", "orm"], "scalar head"),
    ] {
        let refused = error(flags);
        assert!(refused.contains(expected), "{flags:?}: {refused}");
    }
    assert!(tinker.n_steps().is_empty() && !workspace.path("run").exists(), "nothing was begun");
}

#[test]
fn inspecting_a_training_server_says_what_it_can_do() {
    let workspace = Workspace::new();
    let (_tinker, server) = server(&workspace, "");
    let page = ok(&workspace, &["inspect", "tinker.toml"]);
    for expected in [
        "score           yes: 63 tokens in ",
        "sample          yes: ",
        "train           yes: adapters to `base`; the loss is found by a probe when a training begins",
        "tokenizer       a training server has no route that encodes text",
        "context         64 tokens",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    let report = ok(&workspace, &["inspect", "tinker.toml", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(report["train"]["models"][0], "base");
    // The base is sampled as the model on this machine.
    let rollout = |engine: &str, output: &str| {
        let flags = ["-k", "2", "--max-tokens", "12", "--temperature", "0", "-o", output];
        ok(&workspace, &[&["rollout", "graded.jsonl", "--model", engine], &flags[..]].concat());
        let text = String::from_utf8(workspace.read(output)).expect("text");
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            line["completions"].clone()
        });
        lines.collect::<Vec<_>>()
    };
    assert_eq!(rollout("tinker.toml", "remote.jsonl"), rollout("model", "local.jsonl"));
    drop(server);
}
