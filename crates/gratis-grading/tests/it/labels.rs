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
