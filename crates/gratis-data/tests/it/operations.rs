//! Operations on rollouts: what they keep, that they keep it again, and that they stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::common::{read, write};
use gratis_data::{
    Completion, DataOperation, OnInvalid, OperationReport, Rollout, Side, Summary, apply,
    apply_to_file, split_file,
};
use gratis_data::{Error, Silent};
use proptest::prelude::*;

fn operation(text: &str) -> DataOperation {
    toml::from_str(text).expect("valid settings")
}

fn in_memory(
    operations: &[DataOperation],
    rollouts: &[Rollout],
) -> Result<(Vec<Rollout>, Vec<OperationReport>), Error> {
    apply(operations, rollouts.to_vec(), &mut Silent)
}

fn run(text: &str, rollouts: &[Rollout]) -> (Vec<Rollout>, OperationReport) {
    let (kept, mut reports) = in_memory(&[operation(text)], rollouts).expect("applies");
    (kept, reports.remove(0))
}

/// A column with one entry per completion; here its number.
const NUMBER: &str = Completion::HOW;

/// The number of a completion in its problem.
fn number(completion: &Completion) -> usize {
    completion.extra[NUMBER].as_u64().expect("a number") as usize
}

/// Problem `idx` with one response for each label; each response is eight words of its own.
fn rollout(idx: usize, labels: &[bool]) -> Rollout {
    let response =
        |i: usize| (0..8).map(|word| format!("p{idx}r{i}w{word}")).collect::<Vec<_>>().join(" ");
    let completion = |(i, &label)| {
        let mut completion = Completion::graded(response(i), label);
        completion.extra.insert(NUMBER.to_owned(), i.into());
        completion
    };
    Rollout {
        id: Some(idx.to_string()),
        prompt: format!("Problem {idx}?"),
        completions: labels.iter().enumerate().map(completion).collect(),
        ..Rollout::default()
    }
}

fn ungraded(idx: usize, n: usize) -> Rollout {
    let mut rollout = rollout(idx, &vec![false; n]);
    rollout.completions.iter_mut().for_each(|completion| completion.label = None);
    rollout
}

fn many() -> Vec<Rollout> {
    let labels = |idx: usize| (0..8).map(|i| (idx * 7 + i * i) % 5 < idx % 4).collect::<Vec<_>>();
    (0..60).map(|idx| rollout(idx, &labels(idx))).collect()
}

fn ids(rollouts: &[Rollout]) -> BTreeSet<&str> {
    rollouts.iter().filter_map(|r| r.id.as_deref()).collect()
}

/// Each record is a part of the one it came from, whose columns still belong together.
fn assert_parts(kept: &[Rollout], whole: &[Rollout]) {
    let whole: BTreeMap<_, _> = whole.iter().map(|r| (r.id.clone(), r)).collect();
    for part in kept {
        let source = whole[&part.id];
        for completion in &part.completions {
            assert_eq!(completion, &source.completions[number(completion)]);
        }
    }
}

#[test]
fn balancing_the_data_set_keeps_as_many_of_either_class() {
    let (kept, report) = run("name = \"balance_dataset\"\nseed = 3", &many());
    assert_eq!(report.after.n_correct, report.after.n_incorrect);
    assert_eq!(report.after.n_correct, report.before.n_correct.min(report.before.n_incorrect));
    assert_parts(&kept, &many());
    let dropped = report.remarks["responses dropped"];
    assert_eq!(report.before.n_responses, report.after.n_responses + dropped);
    assert_ne!(kept, run("name = \"balance_dataset\"\nseed = 4", &many()).0);
}

#[test]
fn balancing_instructions_keeps_as_many_of_either_class_of_each() {
    let (kept, report) = run("name = \"balance_instructions\"", &many());
    for part in &kept {
        let labels = part.labels("the test").expect("graded");
        assert_eq!(labels.iter().filter(|&&l| l).count() * 2, labels.len());
    }
    assert_parts(&kept, &many());
    assert_eq!(
        report.before.n_problems,
        report.after.n_problems + report.remarks["problems dropped"]
    );
}

#[test]
fn smaller_samples_are_part_of_larger_ones() {
    let shares = [0.25, 0.5, 0.75, 1.0];
    let samples = shares.map(|share| {
        run(&format!("name = \"subsample_instructions\"\nshare = {share}\nseed = 1"), &many()).0
    });
    assert_eq!(samples.each_ref().map(Vec::len), [15, 30, 45, 60]);
    for pair in samples.windows(2) {
        assert!(ids(&pair[0]).is_subset(&ids(&pair[1])));
    }
    let responses = [1, 2, 4, 8]
        .map(|n| run(&format!("name = \"subsample_responses\"\nn = {n}\nseed = 1"), &many()).0);
    for pair in responses.windows(2) {
        for (small, large) in pair[0].iter().zip(&pair[1]) {
            assert!(small.completions.iter().all(|c| large.completions.contains(c)));
        }
        assert_parts(&pair[0], &many());
    }
    assert!(responses[0].iter().all(|r| r.completions.len() == 1));
    assert_eq!(responses[3], many());
    let first = |r: &Rollout| r.completions[0] == many()[0].completions[0];
    assert!(!responses[0].iter().all(first), "the choice is not always the first response");
}

#[test]
fn repetitions_are_dropped_within_their_label() {
    let words = |range: std::ops::Range<usize>| {
        range.map(|w| format!("w{w}")).collect::<Vec<_>>().join(" ")
    };
    let mut rollout = rollout(0, &[true, true, true, false, true]);
    // 20 words; the same; its first half and new ones; a departure at the last word.
    let texts = [
        words(0..20),
        words(0..20),
        format!("{} {}", words(0..10), words(100..110)),
        format!("{} {}", words(0..19), "no"),
        format!("{} {}", words(0..19), "yes"),
    ];
    for (completion, text) in rollout.completions.iter_mut().zip(texts) {
        completion.text = text;
    }
    let dedup = |settings: &str| {
        let kept =
            run(&format!("name = \"deduplicate\"\n{settings}"), std::slice::from_ref(&rollout)).0;
        kept[0].completions.iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(dedup(""), [0, 2, 3]);
    assert_eq!(dedup("threshold = 1.0"), [0, 2, 3, 4]);
    assert_eq!(dedup("threshold = 0.2"), [0, 3]);

    for sample in [2, 5, 1_000_000] {
        // A sample sees the copy whatever it looks at; what departs, in its n-grams only.
        let kept = dedup(&format!("sample = {sample}"));
        assert!(kept.contains(&0) && !kept.contains(&1) && kept.contains(&3), "{kept:?}");
    }

    let twice = vec![rollout.clone(), Rollout { id: Some("1".into()), ..rollout.clone() }];
    assert_eq!(run("name = \"deduplicate\"", &twice).0.len(), 2);
    assert_eq!(run("name = \"deduplicate\"\nscope = \"dataset\"", &twice).0.len(), 1);
}

#[test]
fn pairs_are_of_one_prompt_and_the_correct_response_comes_first() {
    let (kept, report) = run("name = \"make_pairs\"\nseed = 0", &many());
    let is_pair = |pair: &Rollout| pair.labels("the test").expect("graded") == [true, false];
    assert!(kept.iter().all(is_pair));
    assert_parts(&kept, &many());
    let n_pairs: Vec<usize> = many()
        .iter()
        .map(|rollout| {
            let labels = rollout.labels("the test").expect("graded");
            let n_correct = labels.iter().filter(|is_correct| **is_correct).count();
            n_correct * (labels.len() - n_correct)
        })
        .collect();
    assert_eq!(kept.len(), n_pairs.iter().sum::<usize>());
    let n_empty = n_pairs.iter().filter(|n| **n == 0).count() as u64;
    assert_eq!(report.remarks["problems of one class dropped"], n_empty);
}

#[test]
fn a_split_never_leaks() {
    let doubled: Vec<Rollout> = many().into_iter().flat_map(|r| [r.clone(), r]).collect();
    let side = |side: &str| {
        let text = format!("name = \"keep_side\"\nside = \"{side}\"\nshare = 0.5");
        run(&text, &doubled).0
    };
    let (first, second) = (side("first"), side("second"));
    assert_eq!(first.len() + second.len(), doubled.len());
    assert!(ids(&first).is_disjoint(&ids(&second)));
    assert!(first.len() > 20 && second.len() > 20);
}

#[test]
fn other_files_are_mixed_in_and_replace_responses() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("other.jsonl");
    let mut others: Vec<Rollout> = many();
    others.truncate(40);
    for other in &mut others {
        for completion in &mut other.completions {
            completion.text.insert_str(0, "other ");
            completion.extra.clear();
        }
    }
    write(&path, &others);
    let settings = |name: &str, more: &str| format!("name = \"{name}\"\npath = {path:?}\n{more}");

    let (mixed, report) = run(&settings("mix", ""), &many());
    assert_eq!((&mixed[..60], &mixed[60..]), (&many()[..], &others[..]));
    assert_eq!(report.remarks["problems mixed in"], 40);
    let (mixed, _) = run(&settings("mix", "take = \"one_pair\""), &many());
    assert!(mixed.len() < 100);
    assert!(mixed[60..].iter().all(|r| r.labels("the test").expect("graded") == [true, false]));

    let (replaced, report) = run(&settings("replace_responses", "n = 4"), &many());
    for (idx, (after, before)) in replaced.iter().zip(&many()).enumerate() {
        let n_other = after.texts().filter(|text| text.starts_with("other ")).count();
        assert_eq!(n_other, if idx < 40 { 4 } else { 0 });
        assert_eq!(after.completions.len(), before.completions.len());
        let label_of = |completion: &str| {
            let number = before.texts().position(|text| completion.ends_with(text));
            before.labels("the test").expect("graded")[number.expect("known")]
        };
        let labels: Vec<bool> = after.texts().map(label_of).collect();
        assert_eq!(after.labels("the test").expect("graded"), labels);
    }
    assert_eq!(report.remarks["responses replaced"], 160);
    // With files, what is drawn of the other one stands on the disk.
    let (from, to) = (folder.path().join("in.jsonl"), folder.path().join("out.jsonl"));
    write(&from, &many());
    let replace = [operation(&settings("replace_responses", "n = 4"))];
    apply_to_file(&replace, &from, OnInvalid::Stop, &to, &mut Silent).expect("applies");
    assert_eq!(read(&to), replaced);
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 3, "no temporary file left");
    assert_eq!(report.remarks["problems without enough responses to exchange"], 20);
}

#[test]
fn files_and_memory_give_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    write(&path("in.parquet"), &many());
    let operations = [
        operation("name = \"subsample_instructions\"\nshare = 0.5\nseed = 2"),
        operation("name = \"balance_dataset\"\nseed = 2"),
        operation("name = \"subsample_responses\"\nn = 2\nseed = 2"),
    ];
    let (in_memory, reports) = in_memory(&operations, &many()).expect("applies");
    for name in ["out.jsonl", "out.jsonl.zst", "out.parquet"] {
        let report = apply_to_file(
            &operations,
            &path("in.parquet"),
            OnInvalid::Stop,
            &path(name),
            &mut Silent,
        )
        .expect("applies");
        assert_eq!(read(&path(name)), in_memory, "{name}");
        assert_eq!(report.operations, reports);
        assert_eq!(report.n_skipped, 0);
    }
    let (from, to) = (path("out.jsonl"), path("copy.parquet"));
    apply_to_file(&[], &from, OnInvalid::Stop, &to, &mut Silent).expect("converts");
    assert_eq!(read(&path("copy.parquet")), in_memory);
    assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 5, "no temporary file left");
}

#[test]
fn skipped_lines_are_counted_once_though_the_file_is_read_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.jsonl");
    write(&path, &many());
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, format!("{{}}\n{text}[]\n")).expect("written");
    let operations = [operation("name = \"balance_dataset\"")];
    let out = folder.path().join("out.jsonl");
    let run = |on_invalid| apply_to_file(&operations, &path, on_invalid, &out, &mut Silent);
    assert_eq!(run(OnInvalid::Skip).expect("applies").n_skipped, 2);
    assert!(run(OnInvalid::Stop).is_err());
}

#[test]
fn bad_input_says_what_is_missing() {
    let error =
        |text: &str, rollouts: &[Rollout]| in_memory(&[operation(text)], rollouts).expect_err(text);
    let ungraded = [ungraded(4, 2)];
    let one_class = [rollout(0, &[true, true]), rollout(1, &[true])];
    let unpaired = [rollout(0, &[true, true]), rollout(1, &[false])];
    for text in
        ["name = \"balance_dataset\"", "name = \"balance_instructions\"", "name = \"make_pairs\""]
    {
        let message = error(text, &ungraded).to_string();
        assert!(message.contains("requires `correctness`, but problem `4` has none"), "{message}");
        let error = error(text, &one_class);
        let is_told = matches!(
            error,
            Error::OneClass { n_correct: 3, n_incorrect: 0, .. }
                | Error::NoPairs { n_correct: 3, n_incorrect: 0, .. }
        );
        assert!(is_told && error.hint().is_some(), "{error}");
    }
    let pairs = error("name = \"make_pairs\"\nseed = 0", &unpaired).to_string();
    assert!(pairs.contains("2 correct and 1 incorrect"), "{pairs}");
    for (text, field) in [
        ("name = \"subsample_instructions\"\nshare = 0.0", "share"),
        ("name = \"subsample_responses\"\nn = 0", "n"),
        ("name = \"keep_side\"\nside = \"first\"\nshare = 1.0", "share"),
        ("name = \"deduplicate\"\nthreshold = 2.0", "threshold"),
    ] {
        let message = error(text, &many()).to_string();
        assert!(message.contains(&format!("`{field}` should be")), "{message}");
    }
    for name in ["balance_dataset", "make_pairs"] {
        let unknown = toml::from_str::<DataOperation>(&format!("name = {name:?}\nsede = 1"));
        assert!(unknown.is_err(), "unknown settings are errors");
    }
}

#[test]
fn operations_read_back_from_what_they_are_called() {
    for text in [
        "balance_dataset,seed=3",
        "balance_instructions,seed=0",
        "subsample_instructions,share=0.25,seed=1",
        "subsample_responses,n=4,seed=0",
        "deduplicate,n=8,threshold=0.5,scope=dataset,sample=4",
        "make_pairs,per_prompt=1,seed=2",
        "mix,path=a b.jsonl,take=one_pair,seed=0",
        "mix,path=\"a,b.jsonl\",take=one_pair,seed=0",
        "replace_responses,path=other.jsonl,n=4,seed=0",
        "keep_side,side=second,share=0.9,seed=0",
    ] {
        let operation: DataOperation = text.parse().expect(text);
        assert_eq!(operation.to_string(), text);
    }
    assert_eq!(
        "make_pairs".parse::<DataOperation>().expect("known").to_string(),
        "make_pairs,seed=0"
    );
    for (text, what) in [
        ("balance", "one of `balance_dataset`, `balance_instructions`"),
        ("balance_dataset,sede=1", "`balance_dataset` with the key `seed`, got `sede`"),
        ("subsample_responses", "`subsample_responses,n=...`"),
        (
            "subsample_responses,n=many",
            "`subsample_responses` with a whole number as `n`, got `many`",
        ),
    ] {
        let error = text.parse::<DataOperation>().expect_err(text).to_string();
        assert!(error.contains("`operation` should be") && error.contains(what), "{error}");
    }
}

#[test]
fn both_sides_of_a_split_come_from_one_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    write(&path("in.jsonl"), &many());
    let outputs = [path("first.parquet"), path("second.jsonl")];
    let outputs = outputs.each_ref().map(PathBuf::as_path);
    let split =
        |share| split_file(share, 3, &path("in.jsonl"), OnInvalid::Stop, outputs, &mut Silent);
    let reports = split(0.5).expect("splits");
    assert_eq!(reports[0].written.n_problems + reports[1].written.n_problems, 60);
    for ((side, output), report) in
        [Side::First, Side::Second].into_iter().zip(outputs).zip(reports)
    {
        let operation = DataOperation::KeepSide { side, share: 0.5, seed: 3 };
        let (kept, alone) = in_memory(&[operation], &many()).expect("applies");
        assert_eq!(read(output), kept, "{side:?}");
        assert_eq!(report.operations, alone);
        assert_eq!(report.written, alone[0].after);
    }
    assert!(split(1.0).is_err());
}

#[test]
fn a_summary_counts_by_hand() {
    let mut summary = Summary::default();
    let mut copied = rollout(0, &[true, false, false]);
    copied.completions[2] = copied.completions[1].clone();
    let rollouts = [
        copied,
        rollout(1, &[true, true]),
        rollout(2, &[false]),
        Rollout { dataset: "d".into(), ..ungraded(2, 4) },
    ];
    for rollout in &rollouts {
        summary.add(rollout);
    }
    assert_eq!((summary.counts.n_problems, summary.n_distinct_prompts), (4, 3));
    assert_eq!((summary.counts.n_correct, summary.counts.n_incorrect), (3, 3));
    assert_eq!((summary.n_mixed, summary.n_all_correct, summary.n_all_incorrect), (1, 1, 1));
    assert_eq!((summary.n_pairs, summary.n_copies), (2, 1));
    assert_eq!(summary.responses_per_problem, Some((1, 4)));
    assert_eq!(summary.datasets["d"], 1);
    assert_eq!(
        summary.counts.to_string(),
        "4 problems, 10 responses (3 correct, 3 incorrect, 4 without a label)"
    );
}

proptest! {
    // Each case is eight runs on 480 responses.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn choices_do_not_depend_on_the_order_of_the_file(seed in 0_u64..1000) {
        let backwards: Vec<Rollout> = many().into_iter().rev().collect();
        for text in [
            format!("name = \"subsample_instructions\"\nshare = 0.4\nseed = {seed}"),
            format!("name = \"subsample_responses\"\nn = 3\nseed = {seed}"),
            format!("name = \"balance_instructions\"\nseed = {seed}"),
            format!("name = \"keep_side\"\nside = \"second\"\nshare = 0.4\nseed = {seed}"),
        ] {
            let mut reversed = run(&text, &backwards).0;
            reversed.reverse();
            prop_assert_eq!(run(&text, &many()).0, reversed);
        }
    }
}
