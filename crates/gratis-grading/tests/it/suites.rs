//! Agreement with the public grading suites, kind by kind.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gratis_grading::{Options, Verdict, equivalent, extract, grade};
use serde_json::Value;

/// The lines of a file of the shared data; none when the data are absent.
pub(crate) fn shared_lines(path: &str) -> Option<Vec<Value>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let Ok(text) = std::fs::read_to_string(root.join(path)) else {
        eprintln!("skipped: `{path}` is absent from the shared data");
        return None;
    };
    Some(text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect())
}

/// The least agreement of each kind, as observed: true cases recognised, all true cases,
/// false cases refused, all false cases.
const OBSERVED: &[(&str, [usize; 4])] = &[
    ("adversarial_reject", [0, 0, 2, 2]),
    // A response without `</think>` earns nothing upstream.
    ("deepscaler_think_reward", [2, 2, 1, 2]),
    ("equiv_prm800k", [2, 2, 0, 0]),
    ("equiv_string", [7, 7, 0, 0]),
    ("equiv_symbolic", [25, 25, 8, 8]),
    ("equiv_trivial_only", [2, 2, 1, 1]),
    // A formula over several lines, twice; and a case that another one contradicts.
    ("extract_and_equiv", [196, 196, 27, 30]),
    ("extract_and_equiv_multilingual", [8, 8, 0, 0]),
    ("extract_boxed_and_equiv", [1, 1, 1, 1]),
    ("final_number_exact", [1, 1, 0, 0]),
    ("gsm8k_last_number", [1, 1, 1, 1]),
    ("model_output_pair", [42, 42, 17, 17]),
    ("multiple_choice", [6, 6, 0, 0]),
    ("multiple_choice_multilingual", [1, 1, 0, 0]),
    // A response without reasoning tags earns nothing upstream.
    ("reasoning_extract_and_equiv", [1, 1, 1, 2]),
];

#[test]
fn suites_agree() {
    let Some(mut cases) = shared_lines("grading/cases.jsonl") else {
        return;
    };
    cases.extend(shared_lines("grading/model_output_pairs.jsonl").unwrap_or_default());
    let options = Options::default();
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    for case in &cases {
        let (Some(expected), Some(pred)) = (case["expected"].as_i64(), case["pred"].as_str())
        else {
            continue;
        };
        let kind = case["kind"].as_str().expect("a kind");
        if kind.starts_with("extract_last") {
            continue;
        }
        let gold = case["gold"].as_str().unwrap_or("");
        let grade = grade(gold, pred, &options);
        let is_agreed = (grade.verdict == Verdict::Correct) == (expected == 1);
        let count = counts.entry(kind.to_owned()).or_default();
        let at = if expected == 1 { 0 } else { 2 };
        count[at] += usize::from(is_agreed);
        count[at + 1] += 1;
        if !is_agreed {
            eprintln!("{} {kind} {expected} | {gold:?} | {grade:?}", case["id"]);
        }
    }
    for (kind, count) in &counts {
        eprintln!("{kind}: true {}/{}, false {}/{}", count[0], count[1], count[2], count[3]);
    }
    for (kind, observed) in OBSERVED {
        let count = counts[*kind];
        assert!(count[0] >= observed[0] && count[2] >= observed[2], "{kind}: {count:?}");
    }
}

/// What the suites of extractors and normalisers find, up to equivalence.
#[test]
fn extraction_suites_agree() {
    let Some(cases) = shared_lines("grading/cases.jsonl") else {
        return;
    };
    let kinds = [
        "extract_boxed",
        "extract_boxed_raw",
        "unwrap_boxed",
        "extract_gsm8k",
        "extract_last_int",
        "normalize_hendrycks",
        "normalize_minerva",
    ];
    let options = Options::default();
    let (mut n_cases, mut n_agreed) = (0, 0);
    for case in &cases {
        if !kinds.contains(&case["kind"].as_str().expect("a kind")) {
            continue;
        }
        let pred = case["pred"].as_str().expect("a text");
        let found = extract(pred);
        let is_agreed = match &case["expected"] {
            Value::Null => found.answer.is_none(),
            expected => {
                let expected =
                    expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
                let answer = found.answer.clone().unwrap_or_default();
                equivalent(&expected, &answer, &options) || equivalent(&expected, pred, &options)
            }
        };
        n_cases += 1;
        n_agreed += usize::from(is_agreed);
        if !is_agreed {
            eprintln!("{} {} {:?} {found:?}", case["id"], case["expected"], pred);
        }
    }
    eprintln!("extraction: {n_agreed}/{n_cases}");
    assert!(n_agreed >= 28, "{n_agreed}/{n_cases}");
}

/// Cases after wrong gradings that were reported in public: no wrong answer is accepted, and of
/// 177 cases this many are graded as mathematics says.
#[test]
fn field_cases_agree() {
    let Some(cases) = shared_lines("grading/field_cases.jsonl") else {
        return;
    };
    let options = Options::default();
    let (mut n_agreed, mut accepted) = (0, Vec::new());
    for case in &cases {
        let gold = case["gold"].as_str().expect("a gold answer");
        let pred = case["pred"].as_str().expect("a prediction");
        let is_right = case["expected"].as_i64() == Some(1);
        let grade = grade(gold, pred, &options);
        let is_accepted = grade.verdict == Verdict::Correct;
        n_agreed += usize::from(is_accepted == is_right);
        if is_accepted && !is_right {
            accepted.push(case["id"].to_string());
        }
        if is_accepted != is_right {
            eprintln!("{} {is_right} | {gold:?} | {grade:?}", case["id"]);
        }
    }
    eprintln!("field cases: {n_agreed}/{}", cases.len());
    assert!(accepted.is_empty(), "wrong answers accepted: {accepted:?}");
    assert!(n_agreed >= 177, "{n_agreed}/{}", cases.len());
}
