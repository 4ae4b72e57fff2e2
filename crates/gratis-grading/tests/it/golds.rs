//! The gold answers of MATH: equal to their rewritings and not to each other.

use gratis_grading::{Options, classes, equivalent, extract};

use crate::suites::shared_lines;

fn golds() -> Option<Vec<String>> {
    let problems = shared_lines("math/math_test_5000.jsonl")?;
    let golds = problems.iter().filter_map(|problem| {
        let solution = problem["solution"].as_str().expect("a solution");
        extract(solution).answer
    });
    Some(golds.collect())
}

#[test]
fn golds_equal_their_rewritings() {
    let Some(golds) = golds() else {
        return;
    };
    let options = Options::default();
    let strict = Options::strict();
    let mut n_failed = 0;
    for gold in &golds {
        assert!(equivalent(gold, gold, &options), "{gold}");
        assert!(equivalent(gold, gold, &strict), "strict: {gold}");
        let rewritings = [
            format!("${gold}$"),
            format!("\\({gold}\\)"),
            format!(" {gold} ."),
            format!("\\boxed{{{gold}}}"),
            gold.replace("\\frac", "\\dfrac"),
            gold.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac"),
            gold.replace('(', "\\left(").replace(')', "\\right)"),
            gold.replace("\\left", "").replace("\\right", ""),
            gold.replace('+', " + ").replace(',', ", ").replace("\\!, ", "\\!"),
            format!("\\displaystyle {gold}"),
        ];
        for rewriting in &rewritings {
            if !equivalent(gold, rewriting, &options) {
                n_failed += 1;
                eprintln!("{gold} | {rewriting}");
            }
        }
    }
    assert_eq!(n_failed, 0);
    eprintln!("{} golds, {n_failed} rewritings not recognised", golds.len());
}

#[test]
fn golds_of_different_problems_differ() {
    let Some(golds) = golds() else {
        return;
    };
    let options = Options::default();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % golds.len() as u64) as usize
    };
    let mut n_equal = 0;
    for _ in 0..100_000 {
        let (a, b) = (&golds[next()], &golds[next()]);
        let is_equal = equivalent(a, b, &options);
        assert_eq!(is_equal, equivalent(b, a, &options), "{a} | {b}");
        n_equal += usize::from(is_equal);
        let squeeze = |text: &str| {
            text.replace([' ', '$', '!', '\\', ','], "")
                .replace("dfrac", "frac")
                .replace("left", "")
                .replace("right", "")
        };
        if is_equal && squeeze(a) != squeeze(b) {
            eprintln!("{a} | {b}");
        }
    }
    assert!(n_equal < 1_000);
    eprintln!("{n_equal} of 100000 pairs equal");
}

#[test]
fn classes_group_equal_answers() {
    assert_eq!(classes(&["0.5", "1/2", "2", "\\frac{2}{4}", "2.0", "x"]), [0, 0, 1, 0, 1, 2]);
}
