//! Token ids from sampling to training: what was sampled is what is scored and trained on.

use serde_json::{Value, json};

use crate::workspace::{Workspace, stderr};

fn lines(workspace: &Workspace, name: &str) -> Vec<Value> {
    let text = String::from_utf8(workspace.read(name)).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn samples_are_scored_as_they_were_sampled() {
    let workspace = Workspace::new();
    let run = |arguments: &[&str]| {
        let output = workspace.run(arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let rollout = ["rollout", "--model", "model", "graded.jsonl", "-k"];
    run(&[&rollout[..], &["3", "--max-tokens", "20", "-o", "r.jsonl"]].concat());
    let score = ["score", "--model", "model", "--reference", "none", "r.jsonl", "--tokens", "-o"];
    let said = run(&[&score[..], &["s.jsonl"]].concat());
    assert!(said.contains("36 completions bring their token ids, which are used as they are"));
    let (rollouts, scores) = (lines(&workspace, "r.jsonl"), lines(&workspace, "s.jsonl"));
    for (rollout, scores) in rollouts.iter().zip(&scores) {
        for idx in 0..3 {
            let (ids, scored) = (&rollout["token_ids"][idx], &scores["scores"][idx]);
            assert_eq!(scored["token_ids"], *ids);
            let n = ids.as_array().expect("ids").len();
            let tokens: Vec<f64> =
                serde_json::from_value(scored["tokens"].clone()).expect("numbers");
            let ends: Vec<usize> =
                serde_json::from_value(scored["token_step_ends"].clone()).expect("numbers");
            assert_eq!((tokens.len(), ends.last()), (n, Some(&n)));
            // Each step's reward is the sum over its tokens, in another order of addition.
            let mut start = 0;
            for (end, step) in ends.iter().zip(scored["steps"].as_array().expect("steps")) {
                let sum: f64 = tokens[start..*end].iter().sum();
                assert!((sum - step.as_f64().expect("a number")).abs() < 1e-9, "{scored}");
                start = *end;
            }
        }
    }
    // The samples of an untrained model are hardly ever what the tokenizer makes of their texts.
    let said = run(&[&score[..], &["t.jsonl", "--token-ids", "ignore"]].concat());
    assert!(!said.contains("token ids"), "{said}");
    let differs = |(a, b): (&Value, &Value)| {
        (0..3)
            .filter(|idx| a["scores"][*idx]["token_ids"] != b["scores"][*idx]["token_ids"])
            .count()
    };
    let n: usize = scores.iter().zip(&lines(&workspace, "t.jsonl")).map(differs).sum();
    assert!(n > 9, "{n} of 36");

    run(&["grade", "r.jsonl", "-o", "g.jsonl"]);
    let mut graded = lines(&workspace, "g.jsonl");
    for line in &mut graded {
        line["correctness"] = json!([true, false, true]);
    }
    let text: Vec<String> = graded.iter().map(Value::to_string).collect();
    workspace.write("g.jsonl", &text.join("\n"));
    let train = ["train", "--model", "model", "--data", "g.jsonl", "--epochs", "1", "--run"];
    let said = run(&[&train[..], &["run"]].concat());
    assert!(said.contains("36 completions bring their token ids"), "{said}");
    let said = run(&[&train[..], &["run-2", "--token-ids", "ignore"]].concat());
    assert!(!said.contains("bring their token ids"), "{said}");

    let omitted = ["1", "--max-tokens", "8", "--token-ids", "omit", "-o", "o.jsonl"];
    run(&[&rollout[..], &omitted].concat());
    assert_eq!(lines(&workspace, "o.jsonl")[0].get("token_ids"), None);
    // The tokens that were sampled are counted, whether they are written or not.
    run(&[&rollout[..], &["1", "--max-tokens", "8", "-o", "w.jsonl"]].concat());
    let counted = |name: &str| {
        let record = workspace.read(&format!("{name}.jsonl.cost.json"));
        serde_json::from_slice::<Value>(&record).expect("JSON")["phases"].clone()
    };
    assert!(counted("w")[0].is_object(), "{}", counted("w"));
    assert_eq!(counted("o"), counted("w"));
}

#[test]
fn ids_of_another_tokenizer_are_refused_with_what_to_do() {
    let workspace = Workspace::new();
    let line = |ids: Value| {
        json!({ "prompt": "1 + 1?", "completions": ["It is 2."], "token_ids": [ids] }).to_string()
    };
    workspace.write("far.jsonl", &line(json!([3, 151_936])));
    let score = ["score", "--model", "model", "--reference", "none"];
    let error = workspace.error_of(&[&score[..], &["far.jsonl"]].concat());
    assert!(error.contains("token 2 of completion 1 of problem `1` has the id 151936"), "{error}");
    assert!(error.contains("`--token-ids ignore`"), "{error}");
    let foreign = vec![line(json!([11, 12, 13, 14, 15])); 4].join("\n");
    workspace.write("foreign.jsonl", &foreign);
    let error = workspace.error_of(&[&score[..], &["foreign.jsonl"]].concat());
    let expected = "the token ids of 4 of 4 completions decode to texts unlike theirs";
    assert!(error.contains(expected), "{error}");
}
