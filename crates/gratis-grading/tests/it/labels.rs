//! Agreement with labels that others gave to whole solutions.

use gratis_grading::{Options, Verdict, grade};

use crate::suites::shared_lines;

/// OpenAI's labels of four models' solutions of the GSM8K test problems.
#[test]
fn gsm8k_labels_agree() {
    let Some(problems) = shared_lines("gsm8k/example_model_solutions.jsonl") else {
        return;
    };
    let options = Options::default();
    let (mut n_labels, mut n_agreed) = (0, 0);
    for problem in &problems {
        let gold = problem["ground_truth"].as_str().expect("a solution");
        for model in ["6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"] {
            let solution = problem[model]["solution"].as_str().expect("a solution");
            let is_correct = problem[model]["is_correct"].as_bool().expect("a label");
            let grade = grade(gold, solution, &options);
            n_labels += 1;
            if (grade.verdict == Verdict::Correct) == is_correct {
                n_agreed += 1;
            } else {
                let tail = |text: &str| text.lines().last().unwrap_or("").to_owned();
                eprintln!("{is_correct} {:?} {:?} {grade:?}", tail(gold), tail(solution));
            }
        }
    }
    eprintln!("gsm8k labels: {n_agreed}/{n_labels}");
    assert_eq!((n_agreed, n_labels), (5276, 5276));
}

/// The labels Qwen2.5-Math's evaluation gave to eight samples of 100 MATH problems.
#[test]
fn math_samples_agree() {
    let Some(problems) = shared_lines("qwen_bon8_rm_scores/math_cot_100.jsonl") else {
        return;
    };
    let options = Options::default();
    let mut counts = [0_usize; 4];
    for problem in &problems {
        let gold = problem["gt"].as_str().expect("a gold answer");
        let samples = problem["code"].as_array().expect("samples");
        let labels = problem["score"].as_array().expect("labels");
        for (sample, label) in samples.iter().zip(labels) {
            let solution = sample.as_str().expect("a solution");
            let is_correct = label.as_bool().expect("a label");
            let grade = grade(gold, solution, &options);
            let is_agreed = (grade.verdict == Verdict::Correct) == is_correct;
            counts[if is_correct { 0 } else { 2 }] += usize::from(is_agreed);
            counts[if is_correct { 1 } else { 3 }] += 1;
            if !is_agreed {
                eprintln!("{is_correct} {gold:?} {grade:?}");
            }
        }
    }
    assert_eq!((counts[0], counts[1], counts[3]), (728, 728, 72));
    // Upstream takes `10000` for different from `10{,}000`.
    assert!(counts[2] >= 71);
    eprintln!("math samples: true {}/{}, false {}/{}", counts[0], counts[1], counts[2], counts[3]);
}

/// Sixteen candidates per GSM8K problem, labelled upstream by the number that a script extracted.
///
/// Every disagreement is explained by that script: it found no answer (`[invalid]`), took a whole
/// sentence for one, or did not read `118 000` as a number. In all but two the text ends with the
/// gold value; the two are samples cut off in a loop whose last number happens to be the gold one.
#[test]
fn bon_gsm8k_labels_are_explained() {
    let Some(problems) = shared_lines("bon_gsm8k/gsm8k_bon16.jsonl") else {
        return;
    };
    let options = Options::default();
    let (mut n_candidates, mut refused) = (0, Vec::new());
    let (mut n_invalid, mut n_sentence, mut n_spaced, mut unexplained) = (0, 0, 0, Vec::new());
    for problem in &problems {
        let gold = problem["gold"].as_str().expect("a gold answer");
        for candidate in problem["candidates"].as_array().expect("candidates") {
            let text = candidate["text"].as_str().expect("a text");
            let is_labelled = candidate["is_correct"].as_bool().expect("a label");
            let grade = grade(gold, text, &options);
            n_candidates += 1;
            match (grade.verdict == Verdict::Correct, is_labelled) {
                (false, true) => refused.push((gold.to_owned(), grade)),
                (true, false) => {
                    let extracted = candidate["pred"].as_str().unwrap_or("[invalid]");
                    let digits = extracted.replace([' ', '$'], "");
                    match extracted {
                        "[invalid]" => n_invalid += 1,
                        _ if extracted.split_whitespace().count() > 3 => n_sentence += 1,
                        _ if digits == gold => n_spaced += 1,
                        _ => unexplained.push((gold.to_owned(), extracted.to_owned(), grade)),
                    }
                }
                _ => {}
            }
        }
    }
    eprintln!(
        "bon_gsm8k: {n_candidates} candidates, {} refused against their label; accepted against it: \
         {n_invalid} without an extracted answer, {n_sentence} sentences, {n_spaced} spaced numbers",
        refused.len()
    );
    assert_eq!(n_candidates, 10_560);
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!((n_invalid, n_sentence, n_spaced), (80, 3, 4));
}
