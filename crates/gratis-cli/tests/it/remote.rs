//! Engines that run elsewhere: a server with the weights of the workspace's model gives what the model
//! itself gives.

use std::time::Duration;

use gratis_bench_remote::{Behaviour, EngineModel, FakeServer, Faults};
use gratis_cpu::{NativeEngine, NativeOptions};
use serde_json::Value;

use crate::workspace::{Workspace, ok, stderr};

fn lines(workspace: &Workspace, name: &str) -> Vec<Value> {
    let text = String::from_utf8(workspace.read(name)).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A server of the workspace's model, under two names, which fails now and then.
fn server(workspace: &Workspace) -> FakeServer {
    let model = NativeEngine::load(&workspace.path("model"), NativeOptions::default());
    let behaviour = Behaviour {
        models: vec!["base".to_owned(), "policy".to_owned()],
        faults: Faults { internal: 0.05, cut: 0.05, slow: 0.05, ..Faults::default() },
        slow: Duration::from_millis(20),
        ..Behaviour::default()
    };
    FakeServer::start(EngineModel(model.expect("a model")), behaviour).expect("a free port")
}

fn address(server: &FakeServer, protocol: &str, name: &str) -> String {
    format!("{protocol}://{}/{name}?tokenizer=model&dtype=float32", server.address())
}

/// The largest difference between the token rewards of two score files.
fn difference(a: &[Value], b: &[Value]) -> f64 {
    let tokens = |lines: &[Value]| -> Vec<f64> {
        let scores = lines.iter().flat_map(|line| line["scores"].as_array().expect("scores"));
        let tokens = scores.flat_map(|score| score["tokens"].as_array().expect("tokens"));
        tokens.map(|token| token.as_f64().expect("a number")).collect()
    };
    let (a, b) = (tokens(a), tokens(b));
    assert!(!a.is_empty() && a.len() == b.len());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn scores_and_samples_of_a_server_are_those_of_its_model() {
    let workspace = Workspace::new();
    let server = server(&workspace);
    let score = |arguments: &[&str], output: &str| {
        let all = ["score", "graded.jsonl", "--tokens", "-o", output];
        ok(&workspace, &[&all[..], arguments].concat());
        lines(&workspace, output)
    };
    let expected = score(&["--model", "model", "--reference", "none"], "local.jsonl");
    for protocol in ["vllm", "sglang", "openai"] {
        let engine = address(&server, protocol, "policy");
        let output = format!("{protocol}.jsonl");
        let found = score(&["--engine", &engine, "--reference", "none"], &output);
        // Observed: 0 to 1e-6.
        let difference = difference(&found, &expected);
        assert!(difference < 4e-6, "{protocol}: {difference}");
        assert_eq!(found[0]["origin"]["model"], engine);
    }
    // Policy and reference on one server, by file and by address: the same model, so no reward.
    let file = format!(
        "protocol = \"vllm\"\nurl = \"{}\"\nmodel = \"policy\"\ntokenizer = \"model\"\n",
        server.url()
    );
    workspace.write("engine.toml", &file);
    let base = address(&server, "vllm", "base");
    let both = score(&["--model", "engine.toml", "--reference", &base], "both.jsonl");
    let zeros = score(&["--model", "model", "--reference", "model"], "zeros.jsonl");
    assert_eq!(difference(&both, &zeros), 0.0);

    // A rollout that is cut off goes on, and its samples are those of the model at temperature 0.
    let engine = address(&server, "vllm", "policy");
    let sampled = |arguments: &[&str], output: &str| {
        let all = ["rollout", "graded.jsonl", "-k", "2", "--max-tokens", "12", "-o", output];
        let output_of = workspace.run(&[&all[..], arguments].concat());
        assert!(output_of.status.success(), "{}", stderr(&output_of));
        let strip = |mut line: Value| {
            line["sampling"]["model"].take();
            line
        };
        let lines = lines(&workspace, output).into_iter().map(strip).collect::<Vec<_>>();
        (lines, stderr(&output_of))
    };
    let greedy = ["--temperature", "0", "--model"];
    let (local, _) = sampled(&[&greedy[..], &["model"]].concat(), "greedy.jsonl");
    let (remote, said) = sampled(&[&greedy[..], &[&engine]].concat(), "remote.jsonl");
    assert_eq!(remote, local);
    assert!(said.contains("requests, ") && said.contains(" sampled, "), "{said}");
    let warm = ["--temperature", "2", "--seed", "5", "--model", &engine];
    let (once, _) = sampled(&[&warm[..], &["--chunk", "1"]].concat(), "once.jsonl");
    let (again, _) = sampled(&warm, "again.jsonl");
    assert_eq!(once, again, "a sample does not depend on its chunk");
    assert_ne!(once[0]["completions"], remote[0]["completions"]);
}

#[test]
fn training_takes_its_reference_from_a_server() {
    let workspace = Workspace::new();
    let server = server(&workspace);
    let train = |reference: &str, run: &str| {
        let arguments = [
            "train",
            "--model",
            "model",
            "--data",
            "graded.jsonl",
            "--run",
            run,
            "--max-steps",
            "3",
            "--batch-size",
            "8",
            "--learning-rate",
            "1e-3",
            "--reference",
            reference,
        ];
        let output = workspace.run(&arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = workspace.metrics(run);
        let losses = text.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            line["loss"].as_f64()
        });
        losses.collect::<Vec<_>>()
    };
    let local = train("model", "runs/local");
    let remote = train(&address(&server, "vllm", "base"), "runs/remote");
    assert_eq!(local.len(), 3);
    for (local, remote) in local.iter().zip(&remote) {
        // Observed: 1e-8.
        assert!((local - remote).abs() < 1e-6, "{local} {remote}");
    }
    // The run says which reference it had, and scoring finds it again.
    let scored = ok(&workspace, &["score", "--model", "runs/remote", "graded.jsonl"]);
    assert!(scored.contains(&address(&server, "vllm", "base")), "{scored}");
}

#[test]
fn the_other_commands_take_an_engine() {
    let workspace = Workspace::new();
    let server = server(&workspace);
    let engine = address(&server, "vllm", "policy");
    let report = ok(&workspace, &["inspect", &engine, "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["score"]["can"], &report["sample"]["can"]), (&true.into(), &true.into()));
    assert_eq!(report["context"], 63);
    let page = ok(&workspace, &["inspect", &engine]);
    assert!(page.contains("train           no: an inference server cannot train"), "{page}");
    let policy = ["evaluate", "policy", "--engine", &engine, "graded.jsonl", "-k", "2"];
    ok(&workspace, &[&policy[..], &["--max-tokens", "8"]].concat());
    let arguments = [
        "annotate",
        "math-shepherd",
        "graded.jsonl",
        "--engine",
        &engine,
        "-n",
        "2",
        "--max-tokens",
        "8",
        "-o",
        "labelled.jsonl",
    ];
    ok(&workspace, &arguments);
    assert_eq!(lines(&workspace, "labelled.jsonl").len(), 12);
}

#[test]
fn engines_that_cannot_be_used_say_why() {
    let workspace = Workspace::new();
    let server = server(&workspace);
    let error = |engine: &str| {
        workspace.error_of(&["rollout", "--engine", engine, "graded.jsonl", "-o", "r.jsonl"])
    };
    let unnamed = error(&format!("vllm://{}/policy", server.address()));
    assert!(unnamed.contains("has no `tokenizer`") && unnamed.contains("hint: "), "{unnamed}");
    let absent = error(&address(&server, "vllm", "other"));
    assert!(absent.contains("cannot serve `other`: it serves `base`, `policy`"), "{absent}");
    let misspelt = error(&format!("{}&concurency=3", address(&server, "vllm", "policy")));
    assert!(misspelt.contains("concurency"), "{misspelt}");
    let unset = error(&format!("{}&api_key_env=GRATIS_TEST_KEY", address(&server, "vllm", "base")));
    assert!(unset.contains("the variable `GRATIS_TEST_KEY` is not set"), "{unset}");
    server.stop();
    // A server that is not there is an error within seconds, whatever `retry_seconds` is.
    let began = std::time::Instant::now();
    let down = error(&address(&server, "vllm", "policy"));
    assert!(down.contains("does not answer (") && down.contains("refused"), "{down}");
    assert!(down.contains("hint: check the address and that the server runs"), "{down}");
    // Observed: 2 to 4 s; `retry_seconds` is 300.
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(!workspace.path("r.jsonl").exists());
}

/// The peak memory of `gratis rollout` for so many problems of some KiB each, in MiB.
#[cfg(target_os = "linux")]
fn rollout_memory(workspace: &Workspace, engine: &str, n_problems: usize) -> f64 {
    let reference = "7".repeat(8 * 1024);
    let line = |idx| {
        let prompt = format!("How much are {idx} and 2? ");
        serde_json::json!({"prompt": prompt, "reference": reference}).to_string() + "\n"
    };
    workspace.write("problems.jsonl", &(0..n_problems).map(line).collect::<String>());
    let arguments = ["-vv", "rollout", "problems.jsonl", "--model", engine, "-k", "1"];
    let output_name = format!("memory-{n_problems}.jsonl");
    let more = ["--max-tokens", "2", "-o", &output_name];
    let output = workspace.run(&[&arguments[..], &more].concat());
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    let line = said.lines().find(|line| line.contains("rollout: ") && line.contains("MiB"));
    let line = line.unwrap_or_else(|| panic!("no memory in {said}"));
    let number = line.split(" MiB at most").next().and_then(|text| text.rsplit(' ').next());
    let text = workspace.read(&output_name);
    assert_eq!(String::from_utf8_lossy(&text).lines().count(), n_problems);
    number.and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
#[cfg(target_os = "linux")]
fn the_memory_of_rollout_does_not_grow_with_its_input() {
    let workspace = Workspace::new();
    let config: Value = serde_json::from_slice(&workspace.read("model/config.json")).expect("JSON");
    let vocab_size = config["vocab_size"].as_u64().expect("a number") as usize;
    let model = gratis_bench_remote::HashModel { vocab_size, shift: 0.0 };
    let behaviour = Behaviour { models: vec!["policy".to_owned()], ..Behaviour::default() };
    let server = FakeServer::start(model, behaviour).expect("a free port");
    let engine = format!("{}&concurrency=4", address(&server, "vllm", "policy"));
    let (few, many) = (200, 3200);
    let small = rollout_memory(&workspace, &engine, few);
    let large = rollout_memory(&workspace, &engine, many);
    // The further problems take 23 MiB in the file. Observed: 24 MiB both.
    assert!(large - small < 8.0, "{few} problems: {small} MiB, {many}: {large} MiB");
}
