//! One test for each class of answers: what is equal and what is not.

use gratis_grading::{Extraction, Options, Verdict, equivalent, extract, grade};

fn check(pairs: &[(&str, &str)], is_equal: bool, options: &Options) {
    let wrong: Vec<_> = pairs
        .iter()
        .filter(|(a, b)| {
            equivalent(a, b, options) != is_equal || equivalent(b, a, options) != is_equal
        })
        .collect();
    assert!(wrong.is_empty(), "expected {is_equal}: {wrong:#?}");
}

#[track_caller]
fn equal(pairs: &[(&str, &str)]) {
    check(pairs, true, &Options::default());
}

#[track_caller]
fn different(pairs: &[(&str, &str)]) {
    check(pairs, false, &Options::default());
}

#[test]
fn numbers() {
    equal(&[
        ("5.0", "5"),
        (".1", "0.1"),
        ("1,234", "1234"),
        ("12,345,678", "12345678"),
        ("-8,192", "-8192"),
        ("1 000 000", "1000000"),
        (r"11,\! 111,\! 111,\! 100", "11111111100"),
        (r"14{,}916", "14916"),
        ("1.000.000", "1000000"),
        ("1.000,99", "1000.99"),
        ("1,22", "1.22"),
        ("2,74", "2.74"),
        (r"0.\overline{73}", r"\frac{73}{99}"),
        (r"0.8\overline{4}", r"\frac{38}{45}"),
        ("1.5e3", "1500"),
        (r"6.02 \times 10^{23}", "6.02e23"),
        (r"5 \cdot 10^{-4}", "0.0005"),
        (r"\binom{10}{3}", "120"),
        ("5!", "120"),
        ("forty-two", "42"),
        ("−3", "-3"),
        ("12_8", "12_{8}"),
        (r"12_{\text{eight}}", "12_8"),
    ]);
    different(&[
        ("5.001", "5"),
        ("100000000000", "99999999999"),
        ("100000000001000000000", "100000000000000000000"),
        ("-3", "3"),
        ("12_8", "12_7"),
        ("10", "12_8"),
        ("1,234", "1.234"),
        ("0,4", r"\frac{2}{5}"),
        ("10{,}000", "9998.571428571429"),
        ("6290000", "6287000"),
    ]);
}

#[test]
fn fractions_and_mixed_numbers() {
    equal(&[
        (r"\frac12", "0.5"),
        (r"\tfrac83", r"\frac{8}{3}"),
        (r"1\frac12", "1.5"),
        (r"1\frac{1}{2}", "3/2"),
        ("1 1/2", "3/2"),
        ("8/46", r"\frac{4}{23}"),
        ("2/(-3)", "-2/3"),
        (r"-\frac{10}{9}", "-10/9"),
        (r"\frac94\pi", r"\frac{9}{4}\pi"),
        (r"\frac{1}{\frac{1}{2}}", "2"),
        ("½", "0.5"),
        (r"\dfrac{1}{2} +\frac{1}{72}", r"\tfrac{1}{2} +\! \frac1{72}"),
    ]);
    different(&[(r"1\frac12", r"\frac{1}{2}"), (r"9999\frac{6}{7}", "10000")]);
}

#[test]
fn decimals_round_only_what_has_no_finite_decimal() {
    equal(&[
        (r"\frac{1}{3}", "0.33"),
        (r"\frac{1}{12}", "0.0833333333333333"),
        (r"\frac{100}{3}", "33.3"),
        (r"40\pi", "125.663"),
        (r"\sqrt{2}", "1.414"),
        (r"x + 1.414i", r"x + \sqrt{2}i"),
        ("0.29", "0.290243531202435"),
    ]);
    different(&[
        (r"\frac{1}{8}", "0.13"),
        (r"\frac{1}{3}", "0.3"),
        (r"\frac{1}{3}", "0.34"),
        (r"\sqrt{2}", "1.42"),
        ("2", r"\frac{1+\sqrt{5}}{2}"),
        ("4", r"\frac{34}{16}+\frac{\sqrt{1358}}{16}"),
        ("1", "0.999999"),
    ]);
}

#[test]
fn percent_money_units_and_degrees() {
    equal(&[
        (r"28\%", "28 percent"),
        (r"28\%", "0.28"),
        ("10", "10%"),
        ("0.335", r"33.5\%"),
        ("0.005", r"\frac{1}{2}\text{ percent}"),
        (r"\$15,\!000", "15000"),
        ("$18.90", "18.9"),
        ("72", "72 degrees"),
        (r"90^\circ", "90"),
        (r"90^{\circ}", "90°"),
        ("10", r"10\text{ cm}^2"),
        (r"10 \text{ centimeters}", "10 cm"),
        (r"\frac{1}{3} \textbf{meters}", "1/3"),
        (r"0.06 \text{ yuan}", "0.06"),
        ("19 points", "19"),
        (r"5 \text{ miles per hour}", "5 mph"),
    ]);
    different(&[
        ("10 cm", "10 kg"),
        (r"5\text{ m}", r"5\text{ cm}"),
        ("10", "10m"),
        ("28", "0.28"),
        ("$5", "5 cents"),
    ]);
}

#[test]
fn surds_powers_and_functions() {
    equal(&[
        (r"10\sqrt3 + \sqrt{4}", r"10\sqrt{3} + \sqrt4"),
        (r"\frac{1}{\sqrt{2}}", r"\frac{\sqrt{2}}{2}"),
        (r"\frac{5\sqrt{42}}{27}", r"\frac{10\sqrt{10.5}}{27}"),
        (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"),
        (r"\sqrt[3]{8}", "2"),
        (r"\sqrt[3]{-8}", "-2"),
        ("2^6 3^5 5^4", "2^6 * 3^5 * 5^4"),
        ("i(2-i)", "1+2i"),
        (r"e^{i\pi}", "-1"),
        (r"\tan^2(y)+1", r"\sec^2(y)"),
        (r"\sin^2t", r"\sin^2 t"),
        (r"\sin\frac{\pi}{6}", "1/2"),
        (r"\log_2 8", "3"),
        (r"\ln e^2", "2"),
        (r"1 - \frac{1}{\mathrm{e}}", "1 - e^{-1}"),
        (r"\arctan 1", r"\frac{\pi}{4}"),
        (r"\sin^{-1}(1)", r"\pi/2"),
        ("|-3|", "3"),
        (r"\lfloor 3.7 \rfloor", "3"),
        ("sqrt(2)/2", r"\frac{\sqrt2}{2}"),
        ("√2", r"\sqrt{2}"),
        ("2pi", r"2\pi"),
    ]);
    different(&[
        (r"\sin^2t", r"\tan^2 t"),
        (r"\frac{3+2\sqrt{3}}{3}", r"\frac{2\sqrt{3}+4}{3}"),
        (r"\sqrt{x^2}", "x"),
        ("|x|", "x"),
        (r"\sqrt{2}", r"\sqrt{3}"),
    ]);
}

#[test]
fn polynomials_and_rational_expressions() {
    equal(&[
        ("x^2 + 2*x - (-1)", "x^2+2x+1"),
        (r"(x-2)(x+2)", r"\left(x-2\right)\left(x+2\right)"),
        ("(x-2)(x+2)", "x^2-4"),
        (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        ("n(n+1)/2", r"\frac{n^2+n}{2}"),
        ("4a-2", "-2+4a"),
        ("0.5x", r"\frac{x}{2}"),
        ("2.5x + 1.5", r"\frac{5x+3}{2}"),
        ("-2x", "-x-x"),
        ("0", "x^2 - x^2"),
        (r"\frac{1}{3\sqrt[3]{x}^2}", r"\frac{1}{3x^{2/3}}"),
        (
            r"-\frac{8x^2}{9(x^2-2)^{5/3}}+\frac{2}{3(x^2-2)^{2/3}}",
            r"-\frac{2(x^2+6)}{9(x^2-2)\sqrt[3]{x^2-2}^2}",
        ),
    ]);
    different(&[
        ("x+2n+1", "x+1"),
        ("(a+5)(b+2)", "(+5)(b+2)"),
        ("y^2+2y+1", "x^2+2x+1"),
        ("x^2 + 12345678901x", "x^2 + 12345678902x"),
        ("n^2/2", "n(n+1)/2"),
    ]);
}

#[test]
fn lists_tuples_sets_and_intervals() {
    equal(&[
        ("-5,-2,7", r"7, -2, \text{ and } -5"),
        (r"\{3, 2, 1\}", r"\{1,2,3\}"),
        ("(1,3)", "{1,3}"),
        ("{x - 1, x}", "{x, x - 1}"),
        ("0.1, 4", ".1, 4.0"),
        (r"\left(3,\frac{\pi}{2}\right)", r"( 3, \frac{\pi}{2} )"),
        ("(0;0;0),(0;-2;0)", "(0,-2,0), (0,0,0)"),
        (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}"),
        (r"\pm 2021", "{-2021, 2021}"),
        ("(0.6,2.6667]", r"(\frac{3}{5},\frac{8}{3}]"),
        (r"[0,1) \cup (2,3]", r"(2,3] \cup [0,1)"),
        (r"\emptyset", r"\{\}"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1, 2)"),
        (r"\begin{bmatrix}0 & 1\end{bmatrix}", r"\begin{pmatrix}0&1\\\end{pmatrix}"),
        (r"\frac12\begin{pmatrix}2\\4\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
        (r"\langle 1, 2\rangle", "(1,2)"),
        ("7:32", "14:64"),
        ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
        ("(x,y) = (5, 8) \\text{ and } (8, 5)", "(5,8),(8,5)"),
    ]);
    different(&[
        ("(0,9)", "[0,9)"),
        ("(1, 3, 2)", "[1, 2, 3]"),
        ("(1,2)", "(2,1)"),
        ("1, 2", "1, 2, 3"),
        (r"\{1,2\}", r"\{1,3\}"),
        ("1", "-[0,1)"),
        ("4:30 p.m.", "4:30"),
        ("1, 1, 2", "1, 2, 2"),
    ]);
}

#[test]
fn relations() {
    equal(&[
        ("x >= 5", r"5 \leq x"),
        ("2>x", "x<2"),
        ("x=2", "2"),
        ("2=x", "x=2"),
        ("z = 1 + 1 = 2", "z = 3+3 = 2"),
        ("2x+4y-3=0", r"y=-\frac{1}{2}x+\frac{3}{4}"),
        ("x^2/4 + y^2/3 = 1", "x^2/16 + y^2/12 = 1/4"),
        ("34x+45y-20z+100=0", "-34x-45y+20z-100=0"),
        (r"x \in [-2,7]", r"-2 \le x \le 7"),
        (r"x < -2 \text{ or } x > 3", r"(-\infty,-2) \cup (3, \infty)"),
        (r"1\leq|z|\leq \frac{3}{2}", r"z \in [-\frac{3}{2}, -1] \cup [1, \frac{3}{2}]"),
        (r"x \neq 3", r"(-\infty,3)\cup(3,\infty)"),
        (r"\mathbb{R} \setminus \{3\}", r"(-\infty,3)\cup(3,\infty)"),
        (r"\{x : x > 2\}", r"(2, \infty)"),
        ("f(x)=1", "1"),
        ("AB=4,CD=5", "4, 5"),
        ("S_{MBCN}:S=7:32", "7:32"),
        (r"x = \sqrt{2} \approx 1.41", r"\sqrt{2}"),
    ]);
    different(&[
        (r"x \geq 5", r"x \leq 5"),
        ("x < 5", r"x \leq 5"),
        ("7 = 11a+c", "11a+c"),
        ("a^2 + b = 0", "0"),
        (r"\cos(x)=\frac{42}{59}", r"\sin(x)=\frac{42}{59}"),
        ("x = 2", "y = 2"),
        ("x > 2", "x > 3"),
    ]);
}

#[test]
fn words_and_letters() {
    equal(&[
        (r"\text{Even}", "even"),
        (r"\text{(C)}", "C"),
        ("(D) Alina", "D"),
        (r"\textbf{A}", "A"),
        (r"\text{no solution}", r"\text{No solutions}"),
        ("an answer", "answer"),
        ("f'", "f'"),
        ("12:00", "12:00"),
    ]);
    different(&[
        (r"\text{oddd}", "odd"),
        (r"\mathrm{E}*2", "E"),
        ("d", r"\text{E}"),
        ("London", "Paris"),
        ("listen", "silent"),
    ]);
}

#[test]
fn the_strict_profile_accepts_less() {
    let strict = Options::strict();
    check(
        &[("0.5", r"\frac{1}{2}"), (r"10\%", "0.1"), ("x=2", "2=x"), (r"\{1,2\}", r"\{2,1\}")],
        true,
        &strict,
    );
    check(
        &[
            (r"\frac13", "0.33"),
            (r"10\%", "10"),
            ("10", "10 cm"),
            ("1,2", "2,1"),
            ("x=2", "2"),
            ("(2,3)", "{2,3}"),
        ],
        false,
        &strict,
    );
    assert!(!equivalent("1/2", "2/4", &strict));
    // Conventions that the default alone has: units that convert or are left out, labels, names.
    check(
        &[
            (r"2.4\text{ cm}", r"24\text{ mm}"),
            ("84", "84 in total"),
            ("80 minutes", "1 hour 20 minutes"),
            (r"60^\circ", r"\frac{\pi}{3}"),
            (r"17 \pmod{1000}", "17"),
            ("(B) 14", "14"),
            ("(1,2)", "P(1,2)"),
        ],
        false,
        &strict,
    );
    check(
        &[
            ("2^{50000}", "4^{25000}"),
            (r"\tan 15^\circ", r"2-\sqrt{3}"),
            (r"\sum_{k=1}^{10} k", "55"),
            (r"3-\frac{2}{e}", r"\frac{3e-2}{e}"),
            ("4:30 p.m.", "16:30"),
        ],
        true,
        &strict,
    );
    assert_ne!(grade("113", "m+n=113", &strict).verdict, Verdict::Correct);
}

#[test]
fn answers_are_found() {
    let cases = [
        ("The answer is \\boxed{42}", Some("42"), Extraction::Boxed),
        ("so he has 5 left.\n#### 5", Some("5"), Extraction::Phrase),
        ("####: 55", Some("55"), Extraction::Phrase),
        ("First this.\nA: 18", Some("18"), Extraction::Phrase),
        (
            "Final Answer: The volume of $ABC$ is 120. I hope it is correct.",
            Some("120"),
            Extraction::Phrase,
        ),
        ("La respuesta es 12.", Some("12"), Extraction::Phrase),
        ("所以答案是 36。", Some("36"), Extraction::Phrase),
        ("Ответ: 7", Some("7"), Extraction::Phrase),
        ("64 + 60 = 124, then 124 + 7 = 131. The answer is 131.", Some("131"), Extraction::Phrase),
        ("Therefore $x \\geq 5$ is the solution.", Some("x \\geq 5"), Extraction::LastNumber),
        ("The roots are 1, 2 and 3", Some("1, 2, 3"), Extraction::LastNumber),
        ("not it's not 10 it's 1,000.99m²", Some("1,000.99"), Extraction::LastNumber),
        ("\\frac{1}{2}", Some("\\frac{1}{2}"), Extraction::Whole),
        ("42<|im_end|>", Some("42"), Extraction::Whole),
        ("<think>\\boxed{99}</think>Final: \\boxed{42}", Some("42"), Extraction::Boxed),
        ("start \\boxed{never closes", None, Extraction::Malformed),
        ("plain text, no box", None, Extraction::NotFound),
        ("", None, Extraction::NotFound),
    ];
    for (text, answer, how) in cases {
        let found = extract(text);
        assert_eq!((found.answer.as_deref(), found.how), (answer, how), "{text}");
    }
}

#[test]
fn never_correct_by_accident() {
    let options = Options::default();
    let cases = [
        ("5", ""),
        ("5", "   \n"),
        ("", ""),
        ("", "\\boxed{42}"),
        ("5", "The answer is not 5."),
        ("5", "The answer isn't 5."),
        ("5", "I cannot solve problem 5."),
        ("5", "I'm sorry, but I don't know the answer to question 5"),
        ("5", "\\boxed{4}\\boxed{5}"),
        ("5", "\\boxed{4} or \\boxed{5}"),
        ("5", "\\boxed{5} \\text{ or } \\boxed{6}"),
        ("5", "The answer is 5 or 6."),
        ("5", "It is between 3 and 5"),
        ("0", "(1).__class__.__mro__[1].__subclasses__() or 0"),
        ("0", "(lambda: open('marker', 'w'))() or 0"),
        ("42", "<think> My answer is \\boxed{42} </think> Some other text."),
        ("42", "\\boxed{}"),
        ("5", "\\boxed{5"),
        ("-3", "Therefore the answer is 3"),
    ];
    for (gold, solution) in cases {
        let grade = grade(gold, solution, &options);
        assert_ne!(grade.verdict, Verdict::Correct, "{gold:?} {solution:?} {grade:?}");
    }
}

#[test]
fn choice_letters() {
    let options = Options::default();
    for (gold, solution) in [
        ("C", "thinking about it I think the correct answer is C"),
        (
            "B",
            "Let's think step by step. It's not A because it doesn't make sense, therefore I think it's B",
        ),
        ("D", "The answer is for sure D, it can't be A or B"),
        ("D", "The answer: D, it doesn't make sense for it to be A or B"),
        ("C", "réponse est C non A"),
        ("B", "答案是 B。"),
        ("A", "**Answer:** (A)"),
        ("(C) Cecile", "C"),
        ("Alina and the answer is\n(C) Cecile", "C"),
    ] {
        let grade = grade(gold, solution, &options);
        assert_eq!(grade.verdict, Verdict::Correct, "{gold:?} {solution:?} {grade:?}");
    }
}
