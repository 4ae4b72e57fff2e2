//! Files in the shapes of other tools are read as they are, or refused with what to do. The table in
//! `docs/data-files.md` says which; `GRATIS_UPDATE_DOCS=1 cargo test -p gratis-data --test it data_files`
//! writes it anew.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gratis_data::{DataShape, OnInvalid, Reading, RecordReader, Rollout, ShapeSettings};
use serde_json::json;

const FOLDERS: [&str; 5] =
    ["field_shapes", "field_prm", "ipvrm_qwen3_0.6b", "bon_gsm8k", "openr_step_samples"];

fn shared(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder)
}

/// What becomes of a file, in a few words.
fn outcome(path: &Path) -> String {
    let mut reader = match RecordReader::<Rollout>::open(path, OnInvalid::Stop) {
        Ok(reader) => reader,
        Err(error) => return format!("refused: {}", plain(&error, path)),
    };
    let (mut n_problems, mut n_responses, mut n_labels) = (0, 0, 0);
    for rollout in reader.by_ref() {
        match rollout {
            Ok(rollout) => {
                n_problems += 1;
                n_responses += rollout.completions.len();
                n_labels += rollout.completions.iter().filter(|c| c.is_labelled()).count();
            }
            Err(error) => return format!("refused: {}", plain(&error, path)),
        }
    }
    let words = reader.notice().unwrap_or("read as it is").to_owned();
    format!("{n_problems} problems, {n_responses} responses, {n_labels} labels; {words}")
}

fn plain(error: &gratis_data::Error, path: &Path) -> String {
    let text = error.to_string().replace(&path.display().to_string(), "FILE");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('|', "\\|").replace("`FILE`, ", "").replace("`FILE` ", "")
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn data_files_of_other_tools() {
    let mut table = String::from("| file | what becomes of it |\n|---|---|\n");
    for folder in FOLDERS {
        let folder_path = shared(folder);
        let Ok(entries) = std::fs::read_dir(&folder_path) else {
            eprintln!("skipped: `{}` is not here", folder_path.display());
            return;
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
        files.retain(|file| {
            file.extension().is_none_or(|extension| extension != "txt")
                || file.ends_with("c_txt.txt")
        });
        files.sort();
        for file in files {
            let name = file.file_name().expect("a name").to_string_lossy();
            writeln!(table, "| `{folder}/{name}` | {} |", outcome(&file)).expect("text");
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data-files.md");
    const MARK: &str = "<!-- table -->\n";
    let text = std::fs::read_to_string(&docs).unwrap_or_default();
    let (before, written) = text.split_once(MARK).unwrap_or((&text, ""));
    if std::env::var_os("GRATIS_UPDATE_DOCS").is_some() {
        std::fs::write(&docs, format!("{before}{MARK}{table}")).expect("written");
        return;
    }
    // Files that are not in the table yet are no fault.
    let name = |row: &str| row.split(" | ").next().unwrap_or_default().to_owned();
    let found: HashMap<String, &str> = table.lines().map(|row| (name(row), row)).collect();
    let mut n_rows = 0;
    for row in written.lines().filter(|row| row.starts_with("| `")) {
        assert_eq!(found.get(&name(row)), Some(&row), "the table in docs/data-files.md");
        n_rows += 1;
    }
    assert!(n_rows > 200, "{n_rows} rows");
}

/// The rollouts of a file with these lines.
fn read(name: &str, lines: &[serde_json::Value], settings: ShapeSettings) -> Vec<Rollout> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    std::fs::write(&path, text).expect("written");
    let reading = Reading { shape: settings, ..Reading::default() };
    let reader = RecordReader::open(&path, reading).expect("opened");
    reader.collect::<Result<_, _>>().expect("valid")
}

fn read_one(line: serde_json::Value) -> Rollout {
    let mut rollouts = read("one.jsonl", &[line], ShapeSettings::default());
    assert_eq!(rollouts.len(), 1);
    rollouts.remove(0)
}

fn texts(rollout: &Rollout) -> Vec<&str> {
    rollout.texts().collect()
}

fn labels(rollout: &Rollout) -> Vec<Option<bool>> {
    rollout.completions.iter().map(|completion| completion.label).collect()
}

#[test]
fn one_response_per_line_is_grouped_by_problem() {
    let lines = [
        json!({"prompt": "p", "completion": "a", "label": true, "id": 7, "level": 1, "n": 1}),
        json!({"prompt": "p", "completion": "b", "label": false, "id": 8, "level": 1, "n": 2}),
        json!({"prompt": "q", "completion": "c", "label": 1.0}),
        json!({"prompt": "p", "completion": "d", "label": 0}),
    ];
    let rollouts = read("x.jsonl", &lines, ShapeSettings::default());
    let found: Vec<_> = rollouts.iter().map(|r| (r.prompt.as_str(), texts(r))).collect();
    assert_eq!(found, [("p", vec!["a", "b"]), ("q", vec!["c"]), ("p", vec!["d"])]);
    assert_eq!(labels(&rollouts[0]), [Some(true), Some(false)]);
    assert_eq!(rollouts[0].id.as_deref(), Some("7"));
    // What differs between the lines belongs to the responses.
    assert_eq!(rollouts[0].extra.get("level"), Some(&json!(1)));
    assert_eq!(rollouts[0].extra.get("n"), None);
}

#[test]
fn preference_pairs_and_conversations() {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let pair = read_one(json!({
        "chosen": [message("system", "s"), message("user", "p"), message("assistant", "good")],
        "rejected": [message("system", "s"), message("user", "p"), message("assistant", "bad")],
    }));
    assert_eq!((pair.prompt.as_str(), texts(&pair)), ("p", vec!["good", "bad"]));
    assert_eq!(labels(&pair), [Some(true), Some(false)]);
    assert_eq!(pair.context, [gratis_model::chat_template::Message::system("s")]);
    // The context survives a round through a file.
    let again = serde_json::to_value(&pair).expect("JSON");
    assert_eq!(read_one(again).context, pair.context);

    let trajectory = read_one(json!({
        "id": "u", "dataset": "own", "trajectory": [{"from": "user", "value": "p"}],
        "chosen": "good", "rejected": "bad",
    }));
    assert_eq!((trajectory.prompt.as_str(), trajectory.dataset.as_str()), ("p", "own"));

    let turns = read_one(json!({"conversations": [
        {"from": "human", "value": "p"}, {"from": "gpt", "value": "more?"},
        {"from": "human", "value": "yes"}, {"from": "gpt", "value": "done"},
    ]}));
    assert_eq!(
        (turns.prompt.as_str(), texts(&turns), turns.context.len()),
        ("yes", vec!["done"], 2)
    );
}

#[test]
fn labelled_steps() {
    let steps = |rollout: &Rollout| {
        let completion = &rollout.completions[0];
        (completion.steps.clone().expect("steps"), completion.step_labels.clone().expect("labels"))
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = (words(&["a", "b"]), vec![Some(1.0), Some(0.0)]);
    let trl = json!({"prompt": "p", "completions": ["a", "b"], "labels": [true, false]});
    let trl = read_one(trl);
    assert_eq!(
        (texts(&trl), steps(&trl), labels(&trl)),
        (vec!["a\nb"], expected.clone(), vec![None])
    );
    let chat = read_one(json!({"conversations": [
        {"role": "user", "content": "p Step 1: a ки"}, {"role": "assistant", "content": "+"},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "-"},
    ]}));
    assert_eq!(chat.prompt, "p");
    assert_eq!(steps(&chat), (words(&["Step 1: a", "b"]), expected.1.clone()));
    let bench = read_one(json!({
        "id": "x", "problem": "p", "steps": ["a", "b", "c"], "final_answer_correct": false, "label": 1,
    }));
    assert_eq!(steps(&bench).1, [Some(1.0), Some(0.0), None]);
    assert_eq!(labels(&bench), [Some(false)]);
    let tagged = read_one(json!({
        "input": "Read Step 1: first. Step 1: a ки\nStep 2: b ки",
        "label": "Read Step 1: first. Step 1: a +\nStep 2: b -", "task": "t",
    }));
    assert_eq!(tagged.prompt, "Read Step 1: first.");
    let aps = read_one(json!({"question": "p", "final_answer": "4", "reasoning_steps": [
        {"solution_prefix": "p", "mc_value": 0.5}, {"solution_prefix": "p\n\na b", "mc_value": 1.0},
        {"solution_prefix": "p\n\na", "mc_value": 0.75}, {"solution_prefix": "p\n\nc", "mc_value": 0.0},
    ]}));
    assert_eq!(texts(&aps), ["a\n\nb", "c"]);
    assert_eq!(steps(&aps), (words(&["a", "b"]), vec![Some(0.75), Some(1.0)]));
    assert_eq!(aps.reference, "4");
}

#[test]
fn names_labels_and_references_of_evaluation_outputs() {
    let qwen = read_one(json!({
        "idx": 3, "question": "p", "gt": "5", "answer": "x", "code": ["a", "b"],
        "score": [true, false], "pred_score": [0.4, -1.0],
    }));
    assert_eq!((qwen.id.as_deref(), qwen.reference.as_str()), (Some("3"), "5"));
    assert_eq!(labels(&qwen), [Some(true), Some(false)]);
    assert_eq!(qwen.extra.get("answer"), Some(&json!("x")));
    let vllm = read_one(json!({"prompt": "p", "outputs": [
        {"text": "a", "finish_reason": "length", "token_ids": [1, 2]},
    ]}));
    assert_eq!(vllm.completions[0].token_ids, Some(vec![1, 2]));
    assert_eq!(vllm.completions[0].finish_reason, Some(gratis_engine::FinishReason::Length));
    let gsm8k = read_one(json!({"question": "p", "answer": "so\n#### 72"}));
    assert_eq!(gsm8k.reference, "72");
    let number = read_one(json!({"prompt": "p", "reference": 204, "completions": ["a"]}));
    assert_eq!(number.reference, "204");
    // Scores that may be anything are labels only where a threshold says so.
    let scored = json!({"prompt": "p", "responses": ["a", "b"], "score": [0.7, -1.0]});
    assert_eq!(labels(&read_one(scored.clone())), [None, None]);
    let settings = ShapeSettings { label_threshold: Some(0.5), ..ShapeSettings::default() };
    assert_eq!(labels(&read("x.jsonl", &[scored], settings)[0]), [Some(true), Some(false)]);
}

/// What is wrong with a record.
fn fault_of(line: &serde_json::Value) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.jsonl");
    std::fs::write(&path, line.to_string()).expect("written");
    let mut reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opened");
    reader.find_map(Result::err).expect("refused").to_string()
}

#[test]
fn samples_of_evalchemy_and_openr1() {
    let example = json!({"id": 7, "problem": "p", "expected_answer": "5", "answer": "x",
        "model_outputs": ["a", "b"], "model_answers": ["5", "6"]});
    let of_example = read_one(example.clone());
    assert_eq!((texts(&of_example), of_example.reference.as_str()), (vec!["a", "b"], "5"));
    let single = json!({"problem": "q", "answer": "5", "model_output": "c", "model_answer": "5"});
    let results = json!({"config": {}, "results": {
        "AIME24": {"accuracy_avg": 0.5, "examples": [example, single]}, "IFEval": {"acc": 1.0},
    }});
    let all = read("results.json", &[results], ShapeSettings::default());
    let found: Vec<_> =
        all.iter().map(|r| (r.id.as_deref(), r.dataset.as_str(), texts(r))).collect();
    assert_eq!(found, [(Some("7"), "AIME24", vec!["a", "b"]), (Some("2"), "AIME24", vec!["c"])]);

    let openr1 = read_one(json!({"problem": "p", "answer": "5", "uuid": "u",
        "generations": ["<think>a</think>5", "<think>b"], "is_reasoning_complete": [true, false],
        "correctness_math_verify": [true, false], "correctness_llama": null,
        "finish_reasons": null, "messages": [{"role": "user", "content": "p"},
        {"role": "assistant", "content": "<think>a</think>5"}]}));
    assert_eq!(texts(&openr1), ["<think>a</think>5", "<think>b"]);
    assert_eq!((labels(&openr1), openr1.id.as_deref()), (vec![Some(true), Some(false)], Some("u")));
    let cut = openr1.completions[1].finish_reason;
    assert_eq!(cut, Some(gratis_engine::FinishReason::Length));
    for (name, shape) in [("evalchemy", DataShape::Evalchemy), ("openr1", DataShape::OpenR1)] {
        assert_eq!((name.parse(), serde_json::json!(shape)), (Ok(shape), json!(name)));
    }
}

#[test]
fn process_bench_as_parquet() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/data/process_bench.parquet");
    let mut reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opened");
    let all: Vec<_> = reader.by_ref().map(|rollout| rollout.expect("valid")).collect();
    assert!(reader.notice().expect("a shape").contains("process-bench"));
    assert_eq!(labels(&all[0]), [Some(false)]);
    assert_eq!(
        all[0].completions[0].step_labels,
        Some(vec![Some(1.0), Some(0.0), None]),
        "the first error is in the second step"
    );
    assert_eq!(all[1].completions[0].step_labels, Some(vec![Some(1.0); 2]));
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(&path, folder.path().join("gsm8k-00000-of-00001.parquet")).expect("copied");
    let subsets = gratis_data::process_bench::read(folder.path()).expect("a benchmark");
    assert_eq!(subsets[0].first_errors, [Some(1), None]);
    assert_eq!(subsets[0].rollouts[0].prompt, all[0].prompt);
}

#[test]
fn what_servers_and_trainers_write_beside_the_text() {
    use gratis_engine::FinishReason::{Length, Stop};
    let sglang = read_one(json!({"prompt": "p", "text": "a", "output_ids": [3, 4],
        "meta_info": {"finish_reason": {"type": "length", "length": 2}, "completion_tokens": 2}}));
    assert_eq!(sglang.completions[0].token_ids, Some(vec![3, 4]));
    assert_eq!(sglang.completions[0].finish_reason, Some(Length));
    let choices = read_one(json!({"prompt": "p", "choices": [
        {"message": {"role": "assistant", "content": "a", "reasoning_content": "hm"},
         "finish_reason": "stop", "token_ids": [5]},
        {"message": {"role": "assistant", "content": "b"}, "finish_reason": "content_filter"},
    ]}));
    assert_eq!(texts(&choices), ["<think>\nhm\n</think>\n\na", "b"]);
    assert_eq!(choices.completions[0].token_ids, Some(vec![5]));
    let reasons: Vec<_> = choices.completions.iter().map(|c| c.finish_reason).collect();
    assert_eq!(reasons, [Some(Stop), Some(Length)]);
    let verl = read_one(json!({"prompt": "p", "responses": ["a", "b"], "reward": [{"score": 1.0,
        "acc": true}, {"score": 0.0, "acc": false}], "response_ids": [[3], [4, 5]],
        "finish_reason": ["eos", "max_tokens"]}));
    assert_eq!(labels(&verl), [Some(true), Some(false)]);
    assert_eq!(verl.completions[1].token_ids, Some(vec![4, 5]));
    assert_eq!(verl.completions[1].finish_reason, Some(Length));
    let words =
        read_one(json!({"prompt": "p", "answers": ["a", "b"], "label": ["yes", "Incorrect"]}));
    assert_eq!(labels(&words), [Some(true), Some(false)]);
    let dict = json!({"prompt": "p", "response": "a", "score": {"acc": true, "score": 0.9}});
    assert_eq!(labels(&read_one(dict)), [Some(true)]);
    let listed = read_one(json!({"messages": [{"role": "user", "content": "p"}],
        "responses": ["a", "b"], "answer": "5"}));
    assert_eq!((listed.prompt.as_str(), texts(&listed)), ("p", vec!["a", "b"]));
    let tools = json!({"messages": [{"role": "user", "content": "p"}, {"role": "assistant",
        "content": "", "tool_calls": [{"id": "c"}]}, {"role": "tool", "content": "5"},
        {"role": "assistant", "content": "5"}]});
    let error = fault_of(&tools);
    assert!(error.contains("`messages[1].tool_calls` should be absent"), "{error}");
    let image = json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]},
        {"role": "assistant", "content": "a"}]});
    assert!(fault_of(&image).contains("(images and other parts are not read)"));
    let odd = json!({"prompt": "p", "completion": "a", "finish_reason": "odd"});
    assert!(
        fault_of(&odd).contains("a finish reason such as `stop` or `length`, or null, got `odd`")
    );
}

#[test]
fn lists_under_other_names_and_names_in_other_cases() {
    for name in ["output", "response", "generation", "outputs"] {
        let line = json!({"question": "p", name: ["a", "b"], "correct": [true, false], "gold": 5});
        let rollout = read_one(line);
        assert_eq!((texts(&rollout), rollout.reference.as_str()), (vec!["a", "b"], "5"), "{name}");
        assert_eq!(labels(&rollout), [Some(true), Some(false)], "{name}");
    }
    let folded = read_one(json!({"Prompt": "p", "Response": "a", "Label": "TRUE"}));
    assert_eq!((folded.prompt.as_str(), texts(&folded)), ("p", vec!["a"]));
    assert_eq!(labels(&folded), [Some(true)]);
    let tgi = read_one(json!({"inputs": "p", "generated_text": "a"}));
    assert_eq!((tgi.prompt.as_str(), texts(&tgi)), ("p", vec!["a"]));
    let soft = read_one(json!({"prompt": "p", "completions": ["a", "b"], "labels": [1, 0.5]}));
    assert_eq!(soft.completions[0].step_labels, Some(vec![Some(1.0), Some(0.5)]));

    // Numbers that are not read as labels are named.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.jsonl");
    let line = json!({"question": "p", "responses": ["a", "b"], "score": [1, -1]});
    std::fs::write(&path, line.to_string()).expect("written");
    let mut reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opened");
    assert_eq!(labels(&reader.next().expect("one").expect("valid")), [None, None]);
    let notice = reader.notice().expect("a shape");
    assert!(notice.contains("`score` is not read as labels (`--label-threshold X`"), "{notice}");
}

#[test]
fn pairs_with_the_prompt_in_both_places_or_in_the_text() {
    let turns = |answer: &str| {
        json!([{"role": "user", "content": "p"},
        {"role": "assistant", "content": answer}])
    };
    let both = json!({"prompt": "p", "chosen": turns("a"), "rejected": turns("b"),
        "score_chosen": 8.5, "messages": turns("a")});
    let rollout = read_one(both.clone());
    assert_eq!((rollout.prompt.as_str(), texts(&rollout)), ("p", vec!["a", "b"]));
    let mut other = both;
    other["prompt"] = json!("another");
    assert!(fault_of(&other).contains("a conversation that repeats `prompt`"));
    let text = |answer: &str| {
        format!("\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: p\n\nAssistant: {answer}")
    };
    let rollout = read_one(json!({"chosen": text("a"), "rejected": text("b\n\nc")}));
    assert_eq!((rollout.prompt.as_str(), texts(&rollout)), ("p", vec!["a", "b\n\nc"]));
    assert_eq!(rollout.context.len(), 2);
}

#[test]
fn samples_of_another_filter_are_the_same_samples() {
    let sample = |doc: usize, filter: &str, metric: f64| {
        json!({"doc_id": doc, "filter": filter,
        "doc": {"question": format!("p{doc}"), "answer": "#### 5"}, "target": "5",
        "resps": [["a"]], "metrics": ["exact_match"], "exact_match": metric})
    };
    let samples = [
        sample(0, "strict", 0.0),
        sample(1, "strict", 1.0),
        sample(0, "flexible", 1.0),
        sample(1, "flexible", 1.0),
    ];
    let all = read("samples.jsonl", &samples, ShapeSettings::default());
    let found: Vec<_> = all.iter().map(|r| (texts(r), labels(r))).collect();
    assert_eq!(found, [(vec!["a"], vec![Some(false)]), (vec!["a"], vec![Some(true)])]);
}

#[test]
fn labels_between_0_and_1_are_soft() {
    let line = json!({"prompt": "p", "completions": ["a", "b", "c", "d"],
        "correctness": [0.7, 1, null, 0.0]});
    let soft =
        |rollout: &Rollout| rollout.completions.iter().map(|c| c.soft_label).collect::<Vec<_>>();
    let rollout = read_one(line.clone());
    assert_eq!(labels(&rollout), [None, Some(true), None, Some(false)]);
    assert_eq!(soft(&rollout), [Some(0.7), None, None, None]);
    let error = rollout.with_completions(&[0, 1]).labels("the test").expect_err("soft");
    assert_eq!(
        error.to_string(),
        "the test requires labels 0 or 1, but problem `1` has the soft label 0.7"
    );
    assert_eq!(
        rollout.with_completions(&[3, 0]).targets("the test").expect("labelled"),
        [0.0, 0.7]
    );
    // Written and read again, in both formats.
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.jsonl", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = gratis_data::RecordWriter::create(&path).expect("opens");
        writer.write(rollout.clone()).expect("written");
        writer.finish().expect("finished");
        let reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opened");
        let again: Vec<_> = reader.map(|rollout| rollout.expect("valid")).collect();
        assert_eq!(again, std::slice::from_ref(&rollout), "{name}");
    }
    let settings = ShapeSettings { label_threshold: Some(0.7), ..ShapeSettings::default() };
    assert_eq!(
        labels(&read("x.jsonl", &[line], settings)[0]),
        [Some(true), Some(true), None, Some(false)]
    );
}

#[test]
fn a_column_of_scores_holds_labels_in_a_whole_file_or_in_none() {
    let line = |score: serde_json::Value| json!({"prompt": "p", "response": "a", "score": score});
    let settings = ShapeSettings::default;
    let all = read("x.jsonl", &[line(json!(0.3)), line(json!(1))], settings());
    assert_eq!(labels(&all[0]), [None, None]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.jsonl");
    std::fs::write(&path, format!("{}\n{}\n", line(json!(1)), line(json!(0.3)))).expect("written");
    let mut reader = RecordReader::<Rollout>::open(&path, OnInvalid::Stop).expect("opened");
    let error = reader.find_map(Result::err).expect("0.3 is no such label").to_string();
    assert!(error.contains("line 2: `score` should be `true`, `false`, 0, 1 or null"), "{error}");
    let columns = vec![("correctness".to_owned(), "score".to_owned())];
    let named = ShapeSettings { columns, ..ShapeSettings::default() };
    let all = read("x.jsonl", &[line(json!(1)), line(json!(0.3))], named);
    assert_eq!(all[0].targets("the test").expect("labels"), [1.0, 0.3]);
}

#[test]
fn columns_and_shapes_can_be_named() {
    let settings = ShapeSettings {
        columns: vec![
            ("prompt".to_owned(), "ask".to_owned()),
            ("correctness".to_owned(), "ok".to_owned()),
        ],
        ..ShapeSettings::default()
    };
    let line = json!({"ask": "p", "completions": ["a", "b"], "ok": [0, 1]});
    let rollouts = read("x.jsonl", &[line], settings);
    assert_eq!(
        (rollouts[0].prompt.as_str(), labels(&rollouts[0])),
        ("p", vec![Some(false), Some(true)])
    );
    let settings = ShapeSettings { shape: Some(DataShape::Stepwise), ..ShapeSettings::default() };
    let line = json!({"prompt": "p", "reference": "1", "completions": ["a"], "labels": [true]});
    assert_eq!(
        read("x.jsonl", &[line], settings)[0].completions[0].steps,
        Some(vec!["a".to_owned()])
    );
}

#[test]
fn batch_results_find_their_prompts() {
    let folder = tempfile::tempdir().expect("a folder");
    let requests = folder.path().join("in.jsonl");
    let request =
        json!({"custom_id": "q", "body": {"messages": [{"role": "user", "content": "p"}]}});
    std::fs::write(&requests, request.to_string()).expect("written");
    let settings = ShapeSettings { batch_input: Some(requests), ..ShapeSettings::default() };
    let result = json!({"custom_id": "q", "response": {"status_code": 200, "body": {"choices": [
        {"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop",
         "token_ids": [8, 9]},
    ]}}});
    let rollouts = read("out.jsonl", &[result], settings);
    assert_eq!((rollouts[0].prompt.as_str(), texts(&rollouts[0])), ("p", vec!["a"]));
    assert_eq!(rollouts[0].completions[0].token_ids, Some(vec![8, 9]));
    let failed = json!({"custom_id": "q", "response": null, "error": {"code": "rate_limit"}});
    assert!(fault_of(&failed).contains("--batch-input"));
}

#[test]
fn folders_patterns_and_compressed_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = |prompt: &str| json!({"prompt": prompt, "completions": ["a"]}).to_string();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    };
    write("2.json", format!("[{},\n {}]", line("c"), line("d")).as_bytes());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, line("b").as_bytes()).expect("written");
    write("1.jsonl.gz", &gzip.finish().expect("whole"));
    write("0.csv", b"prompt,completion\na,\"x, y\"\n");
    write("notes.md", b"not data");
    let prompts = |path: &Path| {
        let reader = RecordReader::<Rollout>::open(path, OnInvalid::Stop).expect("opened");
        reader.map(|rollout| rollout.expect("valid").prompt).collect::<String>()
    };
    assert_eq!(prompts(folder.path()), "abcd");
    assert_eq!(prompts(&folder.path().join("[12].json*")), "bcd");
    let missing = RecordReader::<Rollout>::open(folder.path().join("*.x"), OnInvalid::Stop);
    assert!(missing.err().expect("nothing fits").to_string().contains("no file that fits"));
}
