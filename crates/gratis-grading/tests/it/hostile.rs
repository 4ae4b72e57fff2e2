//! Any string whatever is graded in bounded time: what the fuzz targets look for, on every run.

use std::time::{Duration, Instant};

use gratis_grading::{Options, Verdict, canonical, classes, equivalent, extract, grade};
use proptest::prelude::*;

/// What eight passes over a megabyte may take, unoptimised, on a busy machine; 6.4 s were
/// observed for three megabytes.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn hostile_answers_are_graded_in_bounded_time() {
    let megabytes = 1_000_000;
    let hostile = [
        "{".repeat(10_000),
        format!("{}{}", "{".repeat(10_000), "}".repeat(10_000)),
        "(".repeat(10_000),
        format!("\\boxed{{{}1{}}}", "(".repeat(2_000), ")".repeat(2_000)),
        "\\frac{".repeat(3_000),
        "\\sqrt".repeat(1_000),
        "-".repeat(5_000) + "1",
        "1/".repeat(2_500) + "1",
        "2^".repeat(2_500) + "2",
        "5".to_owned() + &"!".repeat(5_000),
        "x_".repeat(2_000),
        "|".repeat(4_001),
        "10^{10^{10}}".to_owned(),
        "9^{9^{9^{9}}}".to_owned(),
        "1e999999999".to_owned(),
        "(x+y+z+1)^{999}".to_owned(),
        "(a+b)^{40}(c+d)^{40}(e+f)^{40}".to_owned(),
        "99999!".to_owned(),
        "\\binom{99999999}{5000000}".to_owned(),
        "9".repeat(5_900),
        "1,".repeat(2_900),
        "A\\cup B\\cap ".repeat(400) + "C",
        "\0\0\0".to_owned(),
        "\u{202e}\u{0}\\boxed{\u{0}5}".to_owned(),
        "\\begin{pmatrix}".repeat(300),
        "x".repeat(megabytes),
        "the answer is ".repeat(megabytes / 14),
        "\\boxed{".repeat(megabytes / 7),
        "box".repeat(megabytes / 3),
        "$".repeat(megabytes),
        "\\(".repeat(megabytes / 2),
        "1 or ".repeat(megabytes / 5),
        "A: \n".repeat(megabytes / 4),
        "\\sqrt{123456789123456789123456789123456789123456789}".to_owned(),
        "P(1,".repeat(1_400),
        "C_2^{".repeat(1_100),
        "\\int ".repeat(1_100),
        format!("{}x{}", "\\int_0^1".repeat(12), " dx".repeat(12)),
        format!("{}1", "\\sum_{k=1}^{99}".repeat(30)),
        "\\sum_{k=1}^{n}".repeat(400) + "k",
        "\\sum_{k=1}^{999999999999} k^{40}".to_owned(),
        "\\begin{cases}".repeat(400),
        "\\begin{aligned}&".repeat(300) + &"\\end{aligned}".repeat(300),
        format!("\\begin{{vmatrix}}{}\\end{{vmatrix}}", "1&".repeat(700)),
        "1 hour ".repeat(800),
        "x^{".repeat(1_900),
        "²".repeat(2_900),
        "2^{3^{4^{5^{6^{7}}}}}".to_owned(),
        "(e^{1000000})^{1000}".to_owned(),
        "Question: ".repeat(megabytes / 10),
        "<answer>".repeat(megabytes / 8),
        "not A or ".repeat(megabytes / 9),
        "Final Answer: How? ".repeat(megabytes / 19),
        "the answer is Mr. ".repeat(megabytes / 18),
    ];
    let options = Options::default();
    for text in &hostile {
        let head: String = text.chars().take(30).collect();
        let start = Instant::now();
        let against_number = grade("7", text, &options);
        assert_ne!(against_number.verdict, Verdict::Correct, "{head}");
        let _ = grade(text, "5", &options);
        let _ = grade(text, text, &options);
        let _ = equivalent(text, "x^2 + 1", &options);
        let _ = canonical(text);
        let _ = classes(&[text.as_str(), "7"]);
        let taken = start.elapsed();
        assert!(taken < LIMIT, "{head}: {taken:?}");
    }
}

/// A million braces deep: time quadratic in the depth would take days.
#[test]
fn nested_boxes_take_linear_time() {
    let n_deep = 250_000;
    for command in ["\\boxed{", "\\fbox{"] {
        let nested = format!("{}5{}", command.repeat(n_deep), "}".repeat(n_deep));
        let options = Options::default();
        assert_eq!(grade("5", &nested, &options).verdict, Verdict::Correct);
        assert_eq!(grade(&nested, "5", &options).verdict, Verdict::Correct);
        assert!(!equivalent("6", &nested, &options));
        assert_eq!(canonical(&nested), "5");
    }
    let many =
        (0..200_000).fold(String::new(), |text, idx| text + "\\boxed{" + &idx.to_string() + "}");
    assert_eq!(grade("5", &many, &Options::default()).verdict, Verdict::Incorrect);
}

/// Strings made of what answers are made of.
fn mathematics() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\\frac",
        "\\sqrt",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        "1",
        "2",
        "37",
        "0.5",
        ",",
        ";",
        "x",
        "y",
        "e",
        "i",
        "\\pi",
        "+",
        "-",
        "*",
        "/",
        "^",
        "_",
        "=",
        "<",
        "\\le",
        "\\in",
        "\\cup",
        "\\pm",
        "%",
        "\\%",
        "!",
        "|",
        "$",
        "\\text{cm}",
        "\\text{ and }",
        " ",
        "\\boxed{",
        "the answer is ",
        "not ",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "\\infty",
        "\\sin",
        "\\log_",
        "12_8",
        "####",
        "\n",
        "or ",
        ":",
        "'",
        "°",
        "½",
        "\\sum_{k=1}^{",
        "\\sum_{i=0}^3 i",
        "\\int_0^1 ",
        " dx",
        "k",
        "C_{10}^3",
        "\\choose",
        "\\begin{cases}",
        "\\end{cases}",
        "\\pmod 7",
        " hour ",
        "20 minutes",
        "P(",
        "m^2",
        "a.m.",
        "10:15",
        "2^{50000}",
        "f(x)",
        "²",
        "５",
        "3e-2",
        "é",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_graded(gold in ".{0,60}", solution in "(?s).{0,200}") {
        let grade = grade(&gold, &solution, &Options::default());
        prop_assert_eq!(grade.extracted.is_some(), matches!(grade.verdict, Verdict::Correct | Verdict::Incorrect));
    }

    #[test]
    fn any_mathematics_is_graded(gold in mathematics(), solution in mathematics()) {
        let _ = grade(&gold, &solution, &Options::default());
        let _ = extract(&solution);
        let _ = canonical(&solution);
    }

    #[test]
    fn equivalence_is_symmetric(a in mathematics(), b in mathematics()) {
        // A gold answer may be a whole solution, so both sides are reduced to answers first.
        if let (Some(a), Some(b)) = (extract(&a).answer, extract(&b).answer) {
            let plain = |text: &str| !text.contains("box") && !text.contains("answer") && !text.contains('#');
            if plain(&a) && plain(&b) {
                let options = Options::default();
                prop_assert_eq!(equivalent(&a, &b, &options), equivalent(&b, &a, &options), "{} | {}", a, b);
            }
        }
    }

    #[test]
    fn equal_keys_are_equivalent(a in mathematics(), b in mathematics()) {
        let plain = |text: &str| !text.contains("box") && !text.contains("answer") && !text.contains('#');
        if plain(&a) && plain(&b) && canonical(&a) == canonical(&b) && !canonical(&a).is_empty() {
            prop_assert!(equivalent(&a, &b, &Options::default()), "{} | {}", a, b);
        }
    }

    #[test]
    fn integers_are_exact(a in any::<i128>(), b in any::<i128>()) {
        let options = Options::default();
        prop_assert_eq!(equivalent(&a.to_string(), &b.to_string(), &options), a == b);
        let boxed = format!("\\boxed{{{a}}}");
        prop_assert!(equivalent(&a.to_string(), &boxed, &options));
    }

    #[test]
    fn fractions_are_exact(a in -999_i64..999, b in 1_i64..999, c in -999_i64..999, d in 1_i64..999) {
        let written = |a: i64, b: i64| format!("\\frac{{{a}}}{{{b}}}");
        let is_equal = equivalent(&written(a, b), &written(c, d), &Options::default());
        prop_assert_eq!(is_equal, a * d == c * b);
    }

    #[test]
    fn polynomials_do_not_care_how_they_are_written(roots in prop::collection::vec(-9_i64..9, 1..4), x in prop::sample::select(vec!["x", "t", "n"])) {
        let factors = roots.iter().fold(String::new(), |product, root| format!("{product}({x} - ({root}))"));
        let mut coefficients = vec![1_i64];
        for root in &roots {
            let mut next = vec![0; coefficients.len() + 1];
            for (idx, coefficient) in coefficients.iter().enumerate() {
                next[idx + 1] += coefficient;
                next[idx] -= root * coefficient;
            }
            coefficients = next;
        }
        let terms: Vec<String> = coefficients.iter().enumerate().rev().map(|(power, c)| format!("({c}){x}^{{{power}}}")).collect();
        let expanded = terms.join("+");
        prop_assert!(equivalent(&factors, &expanded, &Options::default()), "{} | {}", factors, expanded);
        let moved = format!("{expanded} + 1");
        prop_assert!(!equivalent(&factors, &moved, &Options::default()));
    }
}
