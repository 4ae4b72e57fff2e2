//! `gratis cast` and `gratis reproduce --cast`: experiments on models and problems of one's own.

use std::fmt::Write as _;

use gratis_bench_remote::{Behaviour, EngineModel, FakeServer, Losses, TinkerServer};
use gratis_cpu::{NativeEngine, NativeOptions};
use serde_json::{Value, json};

use crate::workspace::{Workspace, ok, stderr, stdout};

/// Rollouts of 12 sums with four candidates by two writers, and problems without candidates.
fn write_data(workspace: &Workspace) {
    let graded = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    let (mut rollouts, mut problems) = (String::new(), String::new());
    for (idx, line) in graded.lines().enumerate() {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        // Prompts repeat in the file; problems of a cast are told apart by their prompts.
        let prompt = format!("{}({idx}) ", line["prompt"].as_str().expect("a prompt"));
        line["prompt"] = json!(prompt);
        line["by"] = json!(["a", "b", "a", "b"]);
        writeln!(rollouts, "{line}").expect("written");
        let problem = json!({ "prompt": prompt, "reference": line["reference"] });
        writeln!(problems, "{problem}").expect("written");
    }
    workspace.write("rollouts.jsonl", &rollouts);
    workspace.write("problems.jsonl", &problems);
    std::fs::create_dir(workspace.path("bench")).expect("a folder");
    let solutions: Vec<Value> = (0..6)
        .map(|idx| {
            json!({ "id": format!("g-{idx}"), "generator": "g", "problem": format!("{idx} and 1"),
                    "steps": [format!("{idx} and 1"), format!("are {idx}")],
                    "final_answer_correct": idx % 2 == 0, "label": if idx % 2 == 0 { -1 } else { 1 } })
        })
        .collect();
    workspace.write("bench/gsm8k.json", &json!(solutions).to_string());
}

/// A cast whose one generator is `generator`.
fn cast(generator: &str) -> String {
    format!(
        r#"
name = "sums"
start = "./model"
ns = [1, 2]
[prompt]
template = "{{prompt}}"
[train]
rollouts = ["rollouts.jsonl"]
part = [0.0, 0.5]
order = "shuffled"
[validation]
problems = ["problems.jsonl"]
part = [0.5, 0.7]
[test]
problems = ["problems.jsonl"]
part = [0.7, 1.0]
n_candidates = 4
[sampling]
max_new_tokens = 8
[[generators]]
name = "theirs"
{generator}
[propositions]
n_problems = 2
n_prefixes = 2
n_continuations = 8
[training.optimization]
batch_size = 4
max_steps = 1
learning_rate = 1e-3
[[rows]]
name = "ce"
training.objective = {{ name = "ce", beta = 0.1 }}
[[rows]]
name = "ce, LoRA"
training.objective = {{ name = "ce", beta = 0.1 }}
training.lora.lora_rank = 2
[[rows]]
name = "outcome"
kind = "orm"
[[rows]]
name = "steps"
kind = "prm-head"
[[rows]]
name = "likelihood"
kind = "likelihood"
[process_bench]
folder = "bench"
n_solutions = 4
"#
    )
}

const FILES: &str = "candidates = [\"rollouts.jsonl\"]\nwriters = \"by\"";
const ALL: [&str; 4] = ["reproduce", "all", "--cast", "cast.toml"];

fn table<'a>(outcome: &'a Value, caption: &str) -> &'a Value {
    let tables = outcome["tables"].as_array().expect("tables");
    let is_it = |table: &&Value| table["caption"].as_str().is_some_and(|of| of.contains(caption));
    tables.iter().find(is_it).unwrap_or_else(|| panic!("no table `{caption}` in {outcome}"))
}

#[test]
fn experiments_run_on_files_and_are_found_again() {
    let workspace = Workspace::new();
    write_data(&workspace);
    workspace.write("cast.toml", &cast(FILES));

    // The plan lists every training and pass, and leaves nothing behind that counts as done.
    let plan: Value =
        serde_json::from_str(&ok(&workspace, &[&ALL[..], &["--dry-run", "--json"]].concat()))
            .expect("JSON");
    let jobs = plan["jobs"].as_array().expect("jobs");
    let trained = jobs.iter().filter(|job| job["job"] == "train").count();
    // ce, its LoRA, orm; ce without the reference (table 4); ce on parts of the data (figures 4 and 5).
    assert_eq!(trained, 3 + 1 + 3 + 2, "{plan}");
    assert!(jobs.iter().all(|job| job["n_tokens"].as_u64() > Some(0)), "{plan}");
    let has_time = |job: &Value| job["seconds"].as_f64() > Some(0.0);
    assert!(jobs.iter().all(has_time), "{plan}");

    let first: Value =
        serde_json::from_str(&ok(&workspace, &[&ALL[..], &["--json"]].concat())).expect("JSON");
    let names: Vec<&str> =
        first.as_array().expect("outcomes").iter().filter_map(|of| of["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "Section 3",
            "Table 1",
            "Figure 6",
            "Table 2",
            "Table 3",
            "Table 4",
            "Table 5",
            "Figure 1",
            "Figure 3",
            "Figure 4",
            "Figure 5"
        ]
    );
    let outcome = |name: &str| {
        let outcomes = first.as_array().expect("outcomes");
        outcomes.iter().find(|of| of["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    };
    let rows = &outcome("Table 2")["tables"][0]["rows"];
    assert_eq!(rows.as_array().map(Vec::len), Some(2), "start and ce");
    let table_1 = outcome("Table 1");
    let columns = &table_1["comparisons"][0]["columns"];
    assert_eq!(columns[0], json!({ "generator": "theirs", "n": 1 }), "the cast's own generators");
    let rows = table_1["comparisons"][0]["rows"].as_array().expect("rows");
    let rows: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    let expected = ["pass@1", "majority vote", "oracle", "ce", "ce, LoRA", "outcome", "likelihood"];
    assert_eq!(rows, expected, "`steps` has no labels to learn from");
    // First errors are not known: there is no F1, and it says so.
    assert_eq!(table_1["comparisons"][0]["rows"][3]["first_error"], Value::Null);
    let left_out = table(table_1, "Left out")["rows"].to_string();
    for part in ["first-error F1", "row `steps`", "no step labels"] {
        assert!(left_out.contains(part), "`{part}` is missing in {left_out}");
    }
    // Four rows, and the rule that knows only the length of a step.
    assert_eq!(table(table_1, "ProcessBench")["rows"].as_array().map(Vec::len), Some(5));
    assert_eq!(table(table_1, "each writer")["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(table(table_1, "Length and style")["rows"].as_array().map(Vec::len), Some(4));
    // Two aggregations of four rows, and the writer alone, which cannot rank a writer's own candidates.
    let areas = table(table_1, "Area under the curve of correct")["rows"].as_array().expect("rows");
    assert_eq!(areas.len(), 9);
    assert_eq!(areas[8][2], "0.500 (0.500 to 0.500)", "{}", areas[8]);
    // `dpo` has no row in the cast: table 4 says so and has the four rows of `ce`.
    let table_4 = outcome("Table 4");
    assert_eq!(table_4["comparisons"][0]["rows"].as_array().map(Vec::len), Some(5));
    assert!(table(table_4, "Left out")["rows"].to_string().contains("`dpo`"));

    // Table 5 is of `dpo` alone.
    assert_eq!(outcome("Table 5")["comparisons"], json!([]));
    costs_are_counted_on_the_rollouts(outcome("Figure 1"), outcome("Figure 3"), outcome("Table 3"));

    // Two problems, each with the empty prefix and one more: the model before its training is almost
    // the reference, so every Q value is close to its estimate.
    let of_prefixes = table(outcome("Section 3"), "2 problems x 2 prefixes x 8 continuations");
    let row = &of_prefixes["rows"][0];
    assert_eq!(row[1], "4", "{row}");
    let difference: f64 = row[2].as_str().and_then(|text| text.parse().ok()).expect("a number");
    assert!(difference < 0.1, "{row}");

    // Again: everything is in the cache, and the figures are the same.
    let output = workspace.run(&[&ALL[..], &["--json"]].concat());
    let again: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(again, first);
    assert!(stderr(&output).contains("table1 done, 0 artefacts made"), "{}", stderr(&output));
    let plan = ok(&workspace, &[&ALL[..], &["--dry-run"]].concat());
    assert!(plan.contains("Everything is in the cache"), "{plan}");

    // A figure alone plans its parts of the data too.
    let alone = ["reproduce", "figure4", "--cast", "cast.toml", "--cache", "other", "--dry-run"];
    let plan = ok(&workspace, &[&alone[..], &["--json"]].concat());
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let jobs = plan["jobs"].as_array().expect("jobs").iter();
    let of_parts = jobs.filter(|job| job["job"] == "train" && job["n_tokens"].as_u64() > Some(0));
    assert_eq!(of_parts.count(), 4, "{plan}");

    // Other settings train again, and only what they change.
    let more = cast(FILES).replace("max_steps = 1", "max_steps = 2");
    workspace.write("cast.toml", &more);
    let plan = ok(&workspace, &["reproduce", "table4", "--cast", "cast.toml", "--dry-run"]);
    assert!(plan.contains("train ce") && !plan.contains("train outcome"), "{plan}");
}

/// Figures 1 and 3 and table 3 of a cast with files, and with one of the three ways alone.
fn costs_are_counted_on_the_rollouts(figure_1: &Value, figure_3: &Value, table_3: &Value) {
    let points = figure_1["tables"][0]["rows"].as_array().expect("rows");
    let names: Vec<&str> = points.iter().filter_map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["implicit PRM, CE, 2 responses", "implicit PRM, CE, 4 responses"]);
    let left_out = table(figure_1, "Left out")["rows"].to_string();
    assert!(left_out.contains("Math-Shepherd") && left_out.contains("DPO"), "{left_out}");

    // Eight expected continuations of the first of two lines cost several times what CE costs, fewer
    // as run.
    let on_cast = &table(figure_3, "On this cast")["rows"];
    assert_eq!(on_cast.as_array().map(Vec::len), Some(2), "2 and 4 responses: {on_cast}");
    let ratio = |column: usize| -> f64 {
        on_cast[1][column].as_str().and_then(|text| text.parse().ok()).expect("a number")
    };
    let (counted, run) = (ratio(1), ratio(3));
    assert!(counted > 1.5 && counted < 8.0 && run < counted, "{on_cast}");
    let seconds = &table(figure_3, "Measured")["rows"][0];
    assert!(seconds[1].as_str().is_some_and(|text| !text.is_empty()), "{seconds}");

    let row = &table_3["tables"][0]["rows"][0];
    assert_eq!(row[0], "theirs, seed 0");
    assert_eq!(row[1], "", "files were not sampled here");
    let share: f64 = row[6].as_str().and_then(|text| text.parse().ok()).expect("a number");
    // Generation, reward model and reference read about the same tokens.
    assert!((60.0..72.0).contains(&share), "{row}");
    let left_out = table(table_3, "Left out")["rows"].to_string();
    assert!(left_out.contains("a model of the reward model's size"), "{left_out}");
}

#[cfg(unix)]
#[test]
fn a_killed_run_continues_to_the_same_figures() {
    let workspace = Workspace::new();
    write_data(&workspace);
    workspace.write("cast.toml", &cast(FILES));
    let table_1 = ["reproduce", "table1", "--cast", "cast.toml", "--json", "--cache"];
    let whole = ok(&workspace, &[&table_1[..], &["whole"]].concat());
    // Killed while it writes the first file of more than 100 KiB: weights of a checkpoint.
    workspace.cut_off(200, &[&table_1[..], &["cut"]].concat());
    let runs = workspace.names("cut/runs");
    let begun = workspace.path("cut/runs").join(&runs[0]).join("config.toml");
    assert!(begun.exists(), "the training had begun");
    // The same cache under another name.
    let cut = workspace.path("cut").display().to_string();
    let found = ok(&workspace, &[&table_1[..], &[&cut]].concat());
    assert_eq!(without_seconds(&found), without_seconds(&whole));
}

/// Outcomes without the processor seconds of trainings.
#[cfg(unix)]
fn without_seconds(text: &str) -> Value {
    let mut outcomes: Value = serde_json::from_str(text).expect("JSON");
    for table in outcomes[0]["tables"].as_array_mut().expect("tables") {
        let header = table["header"].as_array().expect("a header");
        let Some(column) = header.iter().position(|name| name == "processor seconds") else {
            continue;
        };
        for row in table["rows"].as_array_mut().expect("rows") {
            row[column] = Value::Null;
        }
    }
    outcomes
}

#[test]
fn generators_that_are_engines_are_sampled_and_graded() {
    let workspace = Workspace::new();
    write_data(&workspace);
    workspace.write("cast.toml", &cast("engine = \"./model\""));
    let checked: Value =
        serde_json::from_str(&ok(&workspace, &["cast", "check", "cast.toml", "--json"]))
            .expect("JSON");
    assert_eq!(checked["generators"][0]["is_sampled"], true);
    assert_eq!(checked["generators"][0]["is_correct"], false, "a fresh model knows nothing");
    let prompt = checked["prompt"].as_str().expect("a prompt");
    assert!(prompt.contains("How much are"), "{prompt}");

    let table_1 = ["reproduce", "table1", "--cast", "cast.toml"];
    let plan: Value =
        serde_json::from_str(&ok(&workspace, &[&table_1[..], &["--dry-run", "--json"]].concat()))
            .expect("JSON");
    let sampled = |job: &&Value| job["job"] == "sample";
    let jobs: Vec<&Value> = plan["jobs"].as_array().expect("jobs").iter().filter(sampled).collect();
    assert_eq!(jobs.len(), 2, "validation and test: {plan}");
    let is_timed = |job: &&Value| job["seconds"].as_f64() > Some(0.0);
    assert!(jobs.iter().all(is_timed), "measured on a short sample: {plan}");
    let table_3 = ok(&workspace, &["reproduce", "table3", "--cast", "cast.toml", "--json"]);
    let table_3: Value = serde_json::from_str(&table_3).expect("JSON");
    let row = &table_3[0]["tables"][0]["rows"][0];
    let numbers = (1..7).filter_map(|column| row[column].as_str()?.parse::<f64>().ok());
    assert_eq!(numbers.count(), 6, "sampled and scored here, so all is measured: {row}");
    let first: Value =
        serde_json::from_str(&ok(&workspace, &[&table_1[..], &["--json"]].concat())).expect("JSON");
    let again = ok(&workspace, &[&table_1[..], &["--json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&again).expect("JSON"), first);
}

#[test]
fn an_engine_that_wrote_the_training_data_also_labels_its_steps() {
    let workspace = Workspace::new();
    write_data(&workspace);
    // A model that gives right answers now and then.
    let pretrain = ["pretrain", "--model", "model", "--run", "base", "--data", "rollouts.jsonl"];
    let steps = ["--epochs", "60", "--batch-size", "12", "--learning-rate", "3e-3"];
    ok(&workspace, &[&pretrain[..], &steps].concat());
    let own = cast("engine = \"./base/model\"")
        .replace("max_new_tokens = 8", "max_new_tokens = 32")
        .replace(
            "rollouts = [\"rollouts.jsonl\"]",
            "problems = [\"problems.jsonl\"]\ngenerator = \"theirs\"\nn_responses = 2",
        )
        .replace("kind = \"prm-head\"", "kind = \"prm-head\"\n[annotation]\nn_continuations = 2");
    // The other rows need correct responses, which a fresh model does not give.
    let (head, rest) = own.split_once("[[rows]]").expect("rows");
    let steps = rest.find("[[rows]]\nname = \"steps\"").expect("the row");
    workspace.write("cast.toml", &format!("{head}{}", &rest[steps..]));
    let table_1 = ["reproduce", "table1", "--cast", "cast.toml", "--json"];
    let plan = ok(&workspace, &[&table_1[..], &["--dry-run"]].concat());
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let rows: Vec<&str> = plan["jobs"]
        .as_array()
        .expect("jobs")
        .iter()
        .filter_map(|job| job["row"].as_str())
        .collect();
    for planned in ["theirs, train", "theirs, continuations", "steps"] {
        assert!(rows.contains(&planned), "`{planned}` is missing in {rows:?}");
    }
    let first: Value = serde_json::from_str(&ok(&workspace, &table_1)).expect("JSON");
    let rows = first[0]["comparisons"][0]["rows"].to_string();
    assert!(rows.contains("\"steps\""), "{rows}");
    assert!(!first[0]["tables"].to_string().contains("Math-Shepherd"), "nothing is left out");
}

#[test]
fn what_a_cast_cannot_do_is_said_before_any_work() {
    let workspace = Workspace::new();
    write_data(&workspace);
    workspace.write("cast.toml", &cast(FILES));
    let error = workspace.error_of(&["reproduce", "heads", "--cast", "cast.toml"]);
    assert!(error.contains("`heads` needs the tiny world, because it trains"), "{error}");
    let error = workspace.error_of(&["reproduce", "table1", "--dry-run"]);
    assert!(error.contains("there is no `--cast`"), "{error}");
    let error = workspace.error_of(&["reproduce", "table1", "--cast", "nowhere.toml"]);
    assert!(error.contains("nowhere.toml"), "{error}");
    workspace.write("cast.toml", &cast(FILES).replace("max_steps", "n_steps"));
    let error = workspace.error_of(&["reproduce", "table1", "--cast", "cast.toml"]);
    assert!(error.contains("cast.toml") && error.contains("line 30"), "{error}");
    // A problem in two splits would be a leak.
    workspace.write("cast.toml", &cast(FILES).replace("[0.7, 1.0]", "[0.4, 1.0]"));
    let error = workspace.error_of(&["reproduce", "table1", "--cast", "cast.toml"]);
    assert!(error.contains("problems of the validation split are in the test data"), "{error}");

    ok(&workspace, &["cast", "init", "new.toml"]);
    let text = String::from_utf8(workspace.read("new.toml")).expect("text");
    assert!(text.contains("[[rows]]") && text.contains("# A cast"), "{text}");
    assert!(workspace.error_of(&["cast", "init", "new.toml"]).contains("exists"));
}

#[test]
fn first_errors_are_evaluated_where_step_labels_are_true() {
    let workspace = Workspace::new();
    write_data(&workspace);
    let text = String::from_utf8(workspace.read("rollouts.jsonl")).expect("text");
    let labelled = |line: &str, last: Value| -> String {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let steps = json!(["How much", "is it"]);
        line["steps"] = json!([steps, steps, steps, steps]);
        line["completions"] =
            json!(["How much\nis it", "How much\nis it", "How much\nis it", "How much\nis it"]);
        line["step_labels"] = json!([[1, 1], [1, 0], [0, null], [1, last]]);
        line.to_string() + "\n"
    };
    let file = |last: &Value| text.lines().map(|line| labelled(line, last.clone())).collect();
    let lines: String = file(&json!(1));
    workspace.write("labelled.jsonl", &lines);
    let generator = "candidates = [\"labelled.jsonl\"]\ntruth = \"step_labels\"";
    workspace.write("cast.toml", &cast(generator));
    let table_1 = ["reproduce", "table1", "--cast", "cast.toml", "--json"];
    let found: Value = serde_json::from_str(&ok(&workspace, &table_1)).expect("JSON");
    let row = &found[0]["comparisons"][0]["rows"][3];
    assert!(
        row["first_error"]["mean"].as_f64().is_some_and(|f1| (0.0..=1.0).contains(&f1)),
        "{row}"
    );
    let left_out = table(&found[0], "Left out")["rows"].to_string();
    assert!(!left_out.contains("first-error F1"), "{left_out}");

    // A step without a label before the first wrong one leaves the first error unknown.
    let lines: String = file(&Value::Null);
    workspace.write("labelled.jsonl", &lines);
    let error = workspace.error_of(&table_1);
    assert!(error.contains("candidate 4 of problem") && error.contains("not known"), "{error}");
    workspace.write("cast.toml", &cast("engine = \"./model\"\ntruth = \"step_labels\""));
    assert!(workspace.error_of(&table_1).contains("whose candidates have no step labels"));
}

#[test]
fn table_5_leaves_out_what_needs_other_data() {
    let workspace = Workspace::new();
    write_data(&workspace);
    let dpo = cast(FILES).replace(
        "[[rows]]\nname = \"ce\"\ntraining.objective = { name = \"ce\", beta = 0.1 }",
        "[[rows]]\nname = \"dpo\"\ntraining.objective = { name = \"dpo\", beta = 0.1 }",
    );
    workspace.write("cast.toml", &dpo);
    let table_5 = ok(&workspace, &["reproduce", "table5", "--cast", "cast.toml", "--json"]);
    let table_5: Value = serde_json::from_str(&table_5).expect("JSON");
    let rows = table_5[0]["comparisons"][0]["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["implicit PRM", "+ deduplication by 8-grams"]);
    let left_out = table(&table_5[0], "Left out")["rows"].to_string();
    for part in ["+ other instructions", "+ Math-Shepherd's step labels", "no base model"] {
        assert!(left_out.contains(part), "`{part}` is missing in {left_out}");
    }
}

#[test]
fn a_cast_runs_on_an_inference_server_and_a_training_server() {
    let workspace = Workspace::new();
    write_data(&workspace);
    let load = || NativeEngine::load(&workspace.path("model"), NativeOptions::default());
    let tinker = TinkerServer::new(load().expect("a model"), "base", Losses::Mean);
    let tinker = tinker.expect("a folder");
    let trainer = FakeServer::start_training("127.0.0.1:0", tinker.clone(), Behaviour::default());
    let trainer = trainer.expect("a free port");
    let settings = format!(
        "protocol = \"tinker\"\nurl = \"{}\"\nmodel = \"base\"\ntokenizer = \"model\"\nweights = \
         \"model\"\nwithout_clipping = true\n",
        trainer.url()
    );
    workspace.write("train.toml", &settings);
    let behaviour =
        |name: &str| Behaviour { models: vec![name.to_owned()], ..Behaviour::default() };
    let base = FakeServer::start(EngineModel(load().expect("a model")), behaviour("base"));
    let base = base.expect("a free port");
    let address = format!("vllm://{}/base?tokenizer=model&dtype=float32", base.address());
    let file = cast(&format!("engine = \"{address}\"")).replace(
        "start = \"./model\"",
        &format!("start = \"./train.toml\"\nreference = \"{address}\""),
    );
    // Adapters alone are trained there.
    let (head, rest) = file.split_once("[[rows]]").expect("rows");
    let (lora, likelihood) = (
        rest.find("[[rows]]\nname = \"ce, LoRA\"").expect("the row"),
        rest.find("[[rows]]\nname = \"likelihood\"").expect("the row"),
    );
    let end = rest.find("[[rows]]\nname = \"outcome\"").expect("the row");
    let end_of_all = rest.find("[process_bench]").expect("the table");
    let rows = format!("{}{}", &rest[lora..end], &rest[likelihood..end_of_all]);
    workspace.write("cast.toml", &format!("{head}{rows}"));

    let checked = ok(&workspace, &["cast", "check", "cast.toml", "--json"]);
    let checked: Value = serde_json::from_str(&checked).expect("JSON");
    assert_eq!(checked["generators"][0]["is_sampled"], true, "{checked}");
    let plan =
        ok(&workspace, &["reproduce", "table1", "--cast", "cast.toml", "--dry-run", "--json"]);
    let plan: Value = serde_json::from_str(&plan).expect("JSON");
    let timed = |job: &&Value| job["job"] == "sample" && job["seconds"].as_f64() > Some(0.0);
    let n_timed = plan["jobs"].as_array().expect("jobs").iter().filter(timed).count();
    assert_eq!(n_timed, 2, "{plan}");
    assert!(tinker.n_steps().is_empty(), "a plan trains nothing");

    let table_1 = ["reproduce", "table1", "--cast", "cast.toml", "--json"];
    let first: Value = serde_json::from_str(&ok(&workspace, &table_1)).expect("JSON");
    let rows = first[0]["comparisons"][0]["rows"].as_array().expect("rows");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["pass@1", "majority vote", "oracle", "ce, LoRA", "likelihood"]);
    assert_eq!(tinker.n_steps(), [1], "trained on the server");
    let again: Value = serde_json::from_str(&ok(&workspace, &table_1)).expect("JSON");
    assert_eq!(again, first, "from the cache");
    assert_eq!(tinker.n_steps(), [1], "and not trained again");
}
