//! `gratis theory`: what is proved holds on models at hand.

use serde_json::Value;

use crate::workspace::{Workspace, ok, stderr, stdout};

fn json(workspace: &Workspace, arguments: &[&str]) -> Value {
    let tables = ok(workspace, &[&["theory", "--json"], arguments].concat());
    serde_json::from_str(&tables).expect("JSON")
}

#[test]
fn q_values_of_random_models_are_exponential_averages() {
    let workspace = Workspace::new();
    let other = [
        "init",
        "other",
        "--preset",
        "nano",
        "--tokenizer",
        "model",
        "--seed",
        "9",
        "--context-length",
        "64",
    ];
    assert!(workspace.run(&other).status.success());
    let arguments = [
        "--model",
        "model",
        "--reference",
        "other",
        "--prompts",
        "graded.jsonl",
        "--beta",
        "2",
        "--problems",
        "2",
        "--prefixes",
        "2",
        "--max-tokens",
        "12",
        "-k",
        "192",
    ];
    let result = json(&workspace, &arguments);
    let prefixes = result["monte_carlo"]["prefixes"].as_array().expect("a list").clone();
    assert_eq!(prefixes.len(), 4);
    for prefix in &prefixes {
        let number = |key: &str| prefix[1][key].as_f64().expect("a number");
        assert!(prefix[2].as_f64().expect("z").abs() < 4.0, "{prefix}");
        assert!(number("exponential_average_error") < 0.5, "{prefix}");
        assert!(number("n_effective") > 30.0, "{prefix}");
        assert!(number("soft") < number("hard"), "{prefix}");
    }
    assert!(prefixes.iter().any(|prefix| prefix[1]["q_value"].as_f64().expect("q").abs() > 0.01));
    let summary = &result["monte_carlo"]["summary"];
    assert!(summary["n_within_bounds"].as_u64().expect("a count") >= 3, "{summary}");
    assert_eq!(json(&workspace, &arguments), result, "the same seed, the same table");

    // Without completions, prefixes of what the reference draws.
    workspace.write("problems.jsonl", "{\"prompt\": \"How much are 1 and 2? \"}\n");
    let output = workspace.run(&[
        "theory",
        "--model",
        "model",
        "--reference",
        "other",
        "--prompts",
        "problems.jsonl",
        "-k",
        "64",
        "--max-tokens",
        "8",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = stdout(&output);
    assert!(table.contains("Proposition 3.2: soft <= q at "), "{table}");
}

#[test]
fn by_enumeration_they_hold_to_rounding() {
    let workspace = Workspace::new();
    let result = json(&workspace, &["--exact", "--vocab", "3", "--length", "5", "--models", "3"]);
    let checks = result["exact"]["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 4);
    for check in checks {
        assert_eq!(check[1]["n_prefixes"], 3 * (1 + 3 + 9 + 27 + 81 + 243));
        assert!(check[1]["max_difference"].as_f64().expect("a number") < 1e-9, "{check}");
        assert!(check[1]["max_violation"].as_f64().expect("a number") < 1e-9, "{check}");
    }
    let table = stdout(&workspace.run(&["theory", "--exact"]));
    assert!(table.contains("worst |q - average|") && table.contains("most from soft"), "{table}");
}

#[test]
fn what_is_missing_is_said() {
    let workspace = Workspace::new();
    let theory =
        |arguments: &[&str]| workspace.error_of(&[&["--quiet", "theory"], arguments].concat());
    let none = theory(&["--model", "model", "--reference", "none", "--prompts", "graded.jsonl"]);
    assert!(none.contains("`reference` is missing") && none.contains("hint: "), "{none}");
    let beta = theory(&["--exact", "--beta", "0"]);
    assert!(beta.contains("`beta` should be a finite number above 0"), "{beta}");
    let large = theory(&["--exact", "--vocab", "10", "--length", "40"]);
    assert!(large.contains("`length` should be"), "{large}");
    assert!(theory(&[]).contains("--model <MODEL>|--exact"));
}
