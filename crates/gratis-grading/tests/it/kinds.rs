//! Right and wrong answers kind by kind, after what users of graders report: whole solutions as
//! well as bare answers, each against one gold answer.

use gratis_grading::{Options, Verdict, grade};

#[track_caller]
fn check(gold: &str, solutions: &[&str], is_right: bool) {
    let wrong: Vec<_> = solutions
        .iter()
        .map(|solution| (solution, grade(gold, solution, &Options::default())))
        .filter(|(_, grade)| (grade.verdict == Verdict::Correct) != is_right)
        .collect();
    assert!(wrong.is_empty(), "{gold}: expected {is_right}: {wrong:#?}");
}

#[track_caller]
fn right(gold: &str, solutions: &[&str]) {
    check(gold, solutions, true);
}

#[track_caller]
fn wrong(gold: &str, solutions: &[&str]) {
    check(gold, solutions, false);
}

#[test]
fn numbers_beyond_double_precision() {
    wrong("2^{50000}", &["2^{50001}", "3^{50000}", "2^{-50000}"]);
    right("2^{50000}", &["4^{25000}", r"2\cdot 2^{49999}", r"\frac{1}{2^{-50000}}"]);
    wrong("e^{1000}", &["e^{1001}", r"\infty"]);
    right("e^{1000}", &["(e^{500})^2", r"e^{500}\cdot e^{500}"]);
    wrong("e^{-1000}", &["0"]);
    wrong("3^{-100000}", &["0", "3^{-100001}"]);
    right("3^{-100000}", &[r"\frac{1}{3^{100000}}"]);
    wrong(r"\infty", &["2^{5000}", "10^{400}", r"-\infty", "e^{e^{10}}", "1000!"]);
    right(r"\infty", &[r"+\infty", r"\boxed{\infty}"]);
    wrong(
        "0",
        &["10^{-400}", "e^{-40}", "10^{-15}", "2^{-100}", r"\frac{1}{10^{20}}", "e^{-1000}"],
    );
    wrong("9^{9^9}", &["9^{9^8}", "9^{81}"]);
    right("9^{9^9}", &[r"3^{2\cdot 9^9}"]);
    wrong("10^{400}", &["10^{401}"]);
    wrong("1000!", &["1001!"]);
    right("10^{400}", &["100^{200}"]);
    wrong(r"\sin(10^{-20})", &["0"]);
    wrong(r"\ln(2^{50000})", &[r"\ln(2^{50001})"]);
    wrong("2^{50000}-1", &["2^{50001}-1"]);
    wrong("(2^{1000}+1)/2^{1000}", &["1"]);
    wrong("1+10^{-20}", &["1"]);
    wrong(r"\sqrt{10^{40}+1}", &["10^{20}"]);
    wrong("x+y=50000000000000000", &["x+y=50000000000000001"]);
    wrong("(0,50000000000000000)", &["(0,50000000000000001)"]);
    wrong("e^{-2000}", &["e^{-3000}"]);
    wrong("x^{1000}", &["x^{1001}"]);
    wrong(r"\frac{1}{e^{800}}", &["0"]);
    wrong("(-1)^{50001}2^{50000}", &["2^{50000}"]);
    wrong("100^{-1000}", &["0", "100^{-1001}"]);
    right("0", &[r"\sqrt{2}+\sqrt{3}-\sqrt{5+2\sqrt{6}}", r"\sin\pi", r"\cos\frac{\pi}{2}"]);
}

#[test]
fn angles_in_degrees() {
    wrong(r"\tan 15^\circ", &[r"\tan 15"]);
    right(r"\tan 15^\circ", &[r"2-\sqrt3", r"\tan\frac{\pi}{12}"]);
    wrong(r"\sin 30", &[r"\frac12"]);
    right(
        r"\frac12",
        &[
            r"\sin 30^{\circ}",
            r"\sin(30^\circ)",
            r"\cos 60°",
            r"\sin 30 degrees",
            r"\sin{30^\circ}",
        ],
    );
    right(r"\cos 20^\circ\cos 40^\circ", &[r"\cos 40^\circ \cos 20^\circ"]);
    wrong(r"\cos 40", &[r"\cos 40^\circ"]);
    right(r"\sin^2 30^\circ", &[r"\frac14"]);
    right(r"4\sin 18^\circ", &[r"\sqrt5-1"]);
    right(r"60^\circ", &[r"\frac{\pi}{3}", "60", "60 degrees"]);
    wrong(r"60^\circ", &[r"\frac{\pi}{6}", "61"]);
    right(r"\frac{\sqrt3}{2}", &[r"\sin 60^{\circ}", r"\sin(\frac{\pi}{3})"]);
    wrong(r"\sin x^\circ", &[r"\sin x"]);
}

#[test]
fn times_of_day() {
    wrong(r"\text{4 p.m.}", &[r"\text{4 a.m.}"]);
    wrong(r"4:30 \text{ p.m.}", &[r"4:30 \text{ a.m.}", r"3:30 \text{ p.m.}"]);
    right(r"4:30 \text{ p.m.}", &["4:30 p.m.", "4:30 PM", r"4:30\text{ pm}", "16:30"]);
    wrong(r"10\text{ a.m.}", &[r"10\text{ p.m.}", "10 PM"]);
    right("10 a.m.", &[r"10\text{ am}", "10:00 a.m."]);
    right(r"\text{10:15 a.m.}", &[r"10:15\text{ a.m.}"]);
    wrong(r"\text{10:15 a.m.}", &[r"\text{10:15 p.m.}", "10:15 p.m."]);
    wrong("7:00 p.m.", &["7:00 a.m.", "8:00 p.m."]);
}

#[test]
fn units_convert_or_differ() {
    wrong(r"5\text{ m}^2", &[r"5\text{ m}^3", r"5 \text{ m}"]);
    wrong(r"10\text{ square feet}", &[r"10\text{ cubic feet}"]);
    right(r"10\text{ square feet}", &[r"10\text{ ft}^2", "10", r"10 \text{ sq ft}", "10 ft^2"]);
    wrong("12 square units", &["12 cubic units"]);
    wrong("5 cm^2", &["5 cm^3"]);
    wrong(r"36\pi \text{ cm}^3", &[r"36\pi \text{ cm}^2"]);
    right(r"36\pi", &[r"36\pi \text{ cm}^3", r"36\pi\text{ cubic cm}"]);
    right("2.4 cm", &["24 mm", "0.024 m", "2.4"]);
    wrong("2.4 cm", &["2.4 mm", "240 mm"]);
    right(r"1 \text{ km}", &[r"1000 \text{ m}", "1000 meters"]);
    right("3 feet", &["1 yard", "36 inches"]);
    right(r"90 \text{ km/h}", &[r"25 \text{ m/s}", "90 km/h", "90 kilometers per hour"]);
    wrong("90 km/h", &["90 m/s", "90 mph"]);
    right("1 m^2", &["10000 cm^2"]);
    right(r"500 \text{ ml}", &[r"0.5 \text{ liters}"]);
    right("50 cents", &["$0.50", r"\$0.5"]);
    wrong("$5", &["5 cents", r"\$50"]);
    right("18 months", &["1.5 years"]);
    right("2 weeks", &["14 days"]);
    wrong("2 weeks", &["2 days"]);
}

#[test]
fn letters_that_are_ruled_out() {
    wrong(
        "C",
        &[
            "I ruled out C.",
            "C is wrong, so it must be B",
            "It cannot be C or D, so A",
            "Not C. The answer is B",
            "I would eliminate C, so B",
        ],
    );
    right(
        "B",
        &[
            "C is wrong, so it must be B",
            "It cannot be C or D, so B",
            "A and C are wrong, so the answer is (B).",
            "Option A is incorrect. Option B is correct.",
            "Answer: B) 14",
            "The correct option is **B**.",
            r"\boxed{B}",
            r"\boxed{\text{(B)}}",
            "<answer>(B)</answer>",
            "not A but B",
        ],
    );
    wrong(
        "B",
        &[
            "The answer is A. B is wrong.",
            "Answer: A, since B is incorrect",
            "Neither B nor C, so A.",
            "Not A, B, or C, so D",
        ],
    );
    wrong(
        "A",
        &["A is not right; the answer is D", "It is not A.", "A bird sings. The answer is B."],
    );
    right(
        "D",
        &[
            "\\boxed{7}\n\nAnswer: D",
            r"\boxed{x=5}. So the answer is (D).",
            "Therefore, the answer is D.\n\\boxed{5}",
        ],
    );
    wrong("D", &["\\boxed{7}\n\nAnswer: C"]);
}

#[test]
fn decimal_commas() {
    wrong("1,2", &["1.2"]);
    wrong("1.2", &["1,2"]);
    right("1,2", &["2,1"]);
    right("1,22", &["1.22"]);
    wrong("3,5", &["3.5"]);
}

#[test]
fn answer_tags_and_reasoning() {
    right(
        "588",
        &[
            "<answer>588</answer>",
            "<think>x 12</think>\n588",
            "<think>12</think><answer>\n588\n</answer>",
            "<answer>The result is 588.</answer>",
            r"<think>\boxed{3}</think> 588",
            "So <answer>588",
            "<answer>$588$</answer> trailing 7",
        ],
    );
    wrong(
        "588",
        &["<think>588</think> 12", "<answer>12</answer> I rejected 588.", "<answer>58</answer>"],
    );
}

#[test]
fn numbers_with_words_after() {
    right(
        "84",
        &[
            "The answer is 84 in total.",
            "The answer is 84!",
            "The answer is **84**, namely 12 times 7.",
            "84 in total",
            r"\boxed{84 \text{ in total}}",
            "Answer: 84 marbles altogether",
            "The answer is 84 marbles in total, including the red ones.",
            "**84**",
            "The answer is: 84 (eighty-four)",
            "answer is $84",
            "84 people",
            "There are 84 people.",
            r"\boxed{84\text{ people}}",
            "The answer is **84**.",
        ],
    );
    wrong(
        "84",
        &[
            "The answer is 48 in total.",
            "84 or more",
            "The answer is 84 less than x",
            "84 million",
            "84 or 85",
            r"\boxed{84!}",
            "The answer is 84 times 2",
            "-84 in total",
            "840 in total",
        ],
    );
    right(
        "10",
        &[
            "The answer is 10 miles per hour.",
            "10 mph",
            "10 miles/hour",
            "10 miles per hour",
            "$10 per hour",
            "The answer is $10 per month",
            "10 per day",
        ],
    );
    right(
        "6",
        &[
            "The answer is 6th place.",
            "6th",
            "6th place",
            "The answer is 6th.",
            "6^{th}",
            r"6^{\text{th}}",
        ],
    );
    right("29", &["The answer is 29 years old.", "29 years old", "She is 29 years old."]);
    right("5/6", &["The answer is 5/6 of the cake."]);
    right("72", &["The answer is 72 Mb per hour."]);
    right("3", &["2 + 1 = 3 apples", "The answer is 2 + 1 = 3 apples."]);
    wrong("2", &["The answer is 2 + 1 = 3 apples."]);
}

#[test]
fn questions_after_the_phrase() {
    right(
        "26",
        &[
            "Final Answer: What was the price?\nx = 26. The price was $26.",
            "Final Answer: How much is it? It is $26.",
            "Answer: 5\nFinal Answer: How much?\nThe total is 26.",
        ],
    );
    wrong("5", &["Answer: 5\nFinal Answer: How much?\nThe total is 26."]);
    right("7", &["Final Answer: Mr. Jackson needs 7 packs.", "Final answer: Dr. Who has 7 hats."]);
}

#[test]
fn named_combinations() {
    right(
        "113",
        &[
            r"\boxed{m+n=113}",
            "m+n = 113",
            "p+q=100+13=113",
            r"\boxed{a+b+c=113}",
            "The answer is $m+n=113$.",
            r"m + n = \boxed{113}",
        ],
    );
    right("25", &["x^2+y^2=25", r"\boxed{x^2+y^2=25}", "xy=25"]);
    wrong("0", &["a^2+b=0", "a+b=0", "x+y=0"]);
    wrong("7", &["2x+3=7", "x^2=7", "m+n=8", "7=11a+c"]);
    wrong("3", &["y - 2x = 3", "2x+3y=3"]);
    right("113", &["10m+n=113", "100a + 10b + c = 113"]);
    wrong("x^2+y^2=25", &["25"]);
    wrong("x+2y=5", &["5"]);
    right("x+2y=5", &["2x+4y=10"]);
}

#[test]
fn boxes_and_what_stands_in_them() {
    right(
        "6",
        &[
            r"\boxed{2+4}=\boxed{6}",
            r"We get \boxed{5} first. After correcting the sign it is \boxed{6}.",
            r"\boxed{48 cm} and then, after a long computation of everything, \boxed{6}",
            "\\boxed{4\\,} is wrong.\n\nFinal answer: \\boxed{6}",
        ],
    );
    wrong("6", &[r"\boxed{6} or \boxed{7}", r"\boxed{6}, \boxed{7}"]);
    right(
        "14",
        &[
            r"\boxed{(B) 14}",
            r"\boxed{\text{(B) }14}",
            r"\boxed{\textbf{(B)}\ 14}",
            "(B) 14",
            r"\boxed{B. 14}",
            r"\boxed{\mathrm{(B)}~14}",
            r"\boxed{\textbf{(B) }14}",
        ],
    );
    wrong("14", &[r"\boxed{(B) 15}", r"\boxed{(C)}", r"\boxed{\textbf{(B)}\ 41}"]);
    right(
        "4",
        &[
            r"\boxed{4\,}",
            r"\boxed{4\;}",
            r"\boxed{\,4}",
            r"\boxed{4\ }",
            r"\boxed{\textcolor{red}{4}}",
            r"\boxed{\color{blue}{4}}",
            r"\boxed{\color{blue} 4}",
            r"\textcolor{blue}{\boxed{4}}",
            r"\boxed{\approx 4}",
            r"\approx 4",
            r"x \approx 4",
            r"\boxed{4 \pmod 7}",
            r"\boxed{4 \pmod{7}}",
            r"4 \mod 7",
            r"x \equiv 4 \pmod{7}",
            "4 (mod 7)",
            r"\boxed{\mathbf{4}}",
            r"\boxed{\displaystyle 4}",
            r"\boxed{\bf 4}",
            r"\boxed{{4}}",
            r"\boxed{\boxed{4}}",
        ],
    );
    wrong("4", &[r"\boxed{5\,}", r"\boxed{\textcolor{red}{5}}", r"5 \pmod 7"]);
    right(r"4 \pmod 7", &[r"11 \pmod 7", "4", r"x\equiv 4\pmod 7", r"x \equiv 11 \pmod{7}"]);
    wrong(r"4 \pmod 7", &[r"4 \pmod 8", r"5 \pmod 7"]);
    right(
        "x=1,y=2",
        &[
            r"\begin{cases}x=1\\y=2\end{cases}",
            r"\left\{\begin{array}{l}x=1\\y=2\end{array}\right.",
        ],
    );
    right("(1,2)", &[r"\begin{cases}x=1\\y=2\end{cases}"]);
    right(
        r"\begin{cases} x & x>0 \\ -x & x\le 0\end{cases}",
        &[
            r"\begin{cases} x, & \text{if } x>0 \\ -x, & \text{if } x \leq 0\end{cases}",
            r"\begin{cases} -x & x\le 0 \\ x & x>0\end{cases}",
            r"\begin{cases} x & x>0 \\ -x & \text{otherwise}\end{cases}",
            r"f(x)=\begin{cases} x & \text{if }x>0 \\ -x & \text{if }x\le 0\end{cases}",
        ],
    );
    wrong(
        r"\begin{cases} x & x>0 \\ -x & x\le 0\end{cases}",
        &[
            r"\begin{cases} x & x>0 \\ x & x\le 0\end{cases}",
            r"\begin{cases} x & x>1 \\ -x & x\le 1\end{cases}",
        ],
    );
    right(
        "6",
        &[
            r"\begin{aligned} x &= 2+4 \\ &= 6\end{aligned}",
            r"\begin{align*} x &= 6\end{align*}",
            r"\begin{aligned}6\end{aligned}",
        ],
    );
    right(r"3-\frac{2}{e}", &[r"\frac{3e-2}{e}"]);
    right("3e-2", &["-2+3e"]);
    wrong("3e", &["3e-2"]);
    wrong("3e-2", &["3e"]);
    right("0.03", &["3e-2"]);
    right("3.2e-4", &["0.00032"]);
    right(r"\frac{2e+1}{e}", &["2+e^{-1}"]);
    right("2e+3", &["3+2e"]);
}

#[test]
fn compound_quantities() {
    right(
        "80 minutes",
        &[
            "1 hour 20 minutes",
            r"1 \text{ hour } 20 \text{ minutes}",
            "1 hour and 20 minutes",
            r"\frac43 hours",
            "80 min",
            "1 h 20 min",
            "80",
        ],
    );
    wrong("80 minutes", &["1 hour 30 minutes", "1 hour", "2 hours 20 minutes"]);
    right("32.50", &["32 dollars and 50 cents", r"\$32.50", "$32.50"]);
    wrong(r"\$32.50", &["32 dollars and 5 cents", "32 dollars"]);
    right("5 feet 3 inches", &["63 inches", r"5\text{ ft }3\text{ in}"]);
    right("2 hours", &["120 minutes", "2", "7200 seconds"]);
    wrong("2 hours", &["2 minutes", "130 minutes"]);
    right("1 hour 20 minutes", &["80 minutes", "1 hr 20 min"]);
    right("90 minutes", &["1.5 hours", r"1\frac12 hours"]);
    right(r"2 \text{ days}", &[r"48\text{ hours}"]);
}

#[test]
fn sums_products_and_integrals() {
    right(
        r"\sum_{k=1}^{n} k",
        &[
            r"\sum_{j=1}^n j",
            r"\sum_{i=1}^{n}{i}",
            r"\frac{n(n+1)}{2}",
            r"\sum\limits_{k=1}^{n} k",
            "n(n+1)/2",
        ],
    );
    wrong(
        r"\sum_{k=1}^{n} k",
        &[r"\sum_{k=1}^{n} k^2", r"\sum_{k=0}^{n-1} k", r"\sum_{k=1}^{n-1} k", "n^2/2"],
    );
    right("55", &[r"\sum_{k=1}^{10} k", r"\sum_{k=1}^{10}{k}"]);
    wrong("55", &[r"\sum_{k=1}^{9} k"]);
    right(
        r"\int_0^1 x^2 dx",
        &[r"\frac13", r"\int_{0}^{1} t^2 \, dt", r"\int_0^1 {x^2} \mathrm{d}x"],
    );
    wrong(r"\int_0^1 x^2 dx", &[r"\frac12", r"\int_0^2 x^2 dx", r"\int_0^1 x^3 dx"]);
    right(r"\int_0^{\pi} \sin x \, dx", &["2"]);
    right(r"\prod_{k=1}^{5} k", &["120", "5!"]);
    right(r"\sum_{k=0}^{\infty} \frac{1}{2^k}", &["2"]);
    right(r"\sum_{i=1}^{\infty} \frac{1}{i^2}", &[r"\sum_{n=1}^{\infty} \frac{1}{n^{2}}"]);
    wrong(
        r"\sum_{i=1}^{\infty} \frac{1}{i^2}",
        &[r"\sum_{n=1}^{\infty} \frac{1}{n^{3}}", r"\sum_{n=0}^{\infty} \frac{1}{n^{2}}"],
    );
    right(r"\sum_{k=0}^{n} \binom{n}{k}", &["2^n"]);
    right(r"\sum_{k=1}^{n} k^2", &[r"\frac{n(n+1)(2n+1)}{6}"]);
    right(r"\int x^2 dx", &[r"\int t^{2}\,dt"]);
    right(r"a_n=\sum_{k=1}^{n} b_k", &[r"a_n=\sum_{i=1}^{n} b_i"]);
    right(r"\int_a^b f(x) dx", &[r"\int_a^b f(t) dt"]);
    wrong(r"\int_a^b f(x) dx", &[r"\int_a^b g(x) dx"]);
}

#[test]
fn chinese_and_unicode() {
    right(
        "588",
        &[
            "５８８",
            "答案是５８８。",
            "答案：588元",
            r"\boxed{588元}",
            r"\boxed{588个}",
            "588 个",
            "所以答案为588。",
            "答：588元",
        ],
    );
    wrong("588", &["５８９", "答案是５８９"]);
    right("(1,2)", &["（1，2）", "（１，２）", r"\boxed{（1，2）}"]);
    right("12", &["12元/个", "12 元/千克", r"\boxed{12厘米}"]);
    right("x^{10}", &["x¹⁰", "x^10"]);
    wrong("x^{10}", &["x¹¹"]);
    right("2^{-1}", &["2⁻¹", "0.5"]);
    right("a_1+a_2", &["a₁+a₂"]);
    right("30%", &["30％", "30%"]);
    right("10000", &["1万", "1万元"]);
    wrong("1", &["1万"]);
}

#[test]
fn choices_and_arrangements() {
    right(
        "120",
        &[
            "C_{10}^3",
            "C_{10}^{3}",
            r"{10 \choose 3}",
            r"\binom{10}{3}",
            r"\dbinom{10}{3}",
            "C(10,3)",
            "C_{10}^{7}",
            r"\mathrm{C}_{10}^{3}",
        ],
    );
    wrong("120", &["C_{10}^{4}", r"{10 \choose 4}"]);
    right("60", &["A_5^3", "P_5^3"]);
    right(r"\binom{n}{2}", &[r"\frac{n(n-1)}{2}", r"{n \choose 2}"]);
    right(r"{n+1 \choose 2}", &[r"\binom{n+1}{2}"]);
}

#[test]
fn matrix_arithmetic() {
    right(
        r"\begin{pmatrix}1\\2\end{pmatrix}+\begin{pmatrix}3\\4\end{pmatrix}",
        &[r"\begin{pmatrix}4\\6\end{pmatrix}"],
    );
    right(
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}",
        &[r"\begin{pmatrix}3\\7\end{pmatrix}"],
    );
    wrong(
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}\begin{pmatrix}1\\1\end{pmatrix}",
        &[r"\begin{pmatrix}7\\3\end{pmatrix}"],
    );
    right(
        r"\begin{pmatrix}1+3t\\2+4t\end{pmatrix}",
        &[r"\begin{pmatrix}1\\2\end{pmatrix}+t\begin{pmatrix}3\\4\end{pmatrix}"],
    );
    right(
        "-2",
        &[r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", r"\det\begin{pmatrix}1&2\\3&4\end{pmatrix}"],
    );
    right(r"2\begin{bmatrix}1&0\\0&1\end{bmatrix}", &[r"\begin{bmatrix}2&0\\0&2\end{bmatrix}"]);
    wrong(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", &[r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"]);
    right(r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^2", &[r"\begin{pmatrix}7&10\\15&22\end{pmatrix}"]);
    right(r"\begin{pmatrix}1&3\\2&4\end{pmatrix}", &[r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^T"]);
}

#[test]
fn intervals_of_values() {
    right("(0,1)", &["0<f(x)<1", "0<y<1", "0 < x < 1", r"y \in (0,1)"]);
    wrong("(0,1)", &[r"0\le f(x)<1", "0<f(x)<2"]);
    right("[0,1]", &[r"0 \le f(x) \le 1", r"f(x) \in [0,1]"]);
    right("0<x<1", &["(0,1)"]);
    wrong("x<2", &["y<2"]);
}

#[test]
fn answers_that_run_on() {
    right(
        "5",
        &[
            "#### 5\n\nQuestion: foo has 3.\nAnswer: #### 8",
            "The answer is 5.\n\nQ: next?\nA: 8",
            "\\boxed{5}\n\nProblem: find\n\\boxed{7}",
            "#### 5\nQuestion: x",
        ],
    );
    right("12", &["Question: how many?\nAnswer: 5\nQuestion: and in total?\nAnswer: 12"]);
}

#[test]
fn points_ratios_words_and_others() {
    right("(1,2)", &["P(1,2)", "A(1,2)", "A=(1,2)", r"\boxed{P = (1,2)}", "x=1,y=2", "y=2, x=1"]);
    wrong("(1,2)", &["P(2,1)", "y=1,x=2"]);
    wrong("5:1", &["5"]);
    right("5:2", &[r"\frac52", "10:4", "5/2"]);
    right(
        "f(x)=2x+c",
        &[
            "2x+c",
            r"f(x)=2x+c, \text{ where } c \text{ is a constant}",
            r"f(x)=2x+c \text{ for all } x",
        ],
    );
    right("2x", &[r"2x \text{ for any } x"]);
    right("Evelyn", &["The fastest is Evelyn.", "Evelyn", "**Evelyn**", "The answer is Evelyn."]);
    wrong("Evelyn", &["The fastest is Sarah.", "The fastest is not Evelyn."]);
    right("64500", &["His gain is $310,000 - $245,500 = $64,500 in profit over the 2 years."]);
    right("171", &["Answer: p+q = 113+58 = 171"]);
    right("34", &["The answer is 2040 minutes or 34 hours."]);
    wrong("34", &["The answer is 34 or 35 hours."]);
    right("0.5", &["0.5 or 1/2"]);
    wrong("10", &["It is 10 +", "the shoes are 10 + 9"]);
    right(r"\emptyset", &[r"\varnothing"]);
    right("5", &["5.", "$5$.", "= 5", "Answer: 5 ✅", r"\therefore x = 5"]);
    right("24", &["24 ✓", "✅ 24"]);
    right("2.5 million", &["2500000", "2,500,000"]);
    right("3 dozen", &["36", "3"]);
    right(r"\frac{\pi}{4}", &[r"\arctan 1", r"45^\circ"]);
}

#[test]
fn what_rounding_hides_is_not_compared() {
    let zero = r"\sqrt{2}+\sqrt{3}-\sqrt{5+2\sqrt{6}}";
    right("0", &[zero]);
    wrong(r"3^{-120}", &[zero]);
    wrong(zero, &[r"3^{-120}", r"2^{-100}"]);
    wrong(r"\ln(10^{12})", &[r"\ln(10^{12}+1)"]);
}

#[test]
fn units_that_may_be_left_out_still_differ() {
    wrong("30%", &[r"30^\circ"]);
    wrong(r"10\text{ p.m.}", &[r"10\text{ ft}", r"10 \pmod{11}"]);
    wrong("no", &["no solution"]);
    wrong(r"\begin{pmatrix}4\\3\end{pmatrix}", &["y=4, x=3"]);
    right(r"\begin{pmatrix}3\\4\end{pmatrix}", &["y=4, x=3"]);
    wrong("C", &[r"\mathrm{C}_{10}^{3}"]);
    wrong("4", &[r"\boxed{5} or maybe \boxed{4}"]);
}

#[test]
fn notation_does_not_matter() {
    right(r"\lim_{n\to 2} f(n)", &[r"\lim_{m \to 2} f(m)", r"\lim\limits_{n\to 2} f(n)"]);
    wrong(r"\lim_{n\to 2} f(n)", &[r"\lim_{n\to 3} f(n)", "f(2)", r"\lim_{n\to 2} g(n)"]);
    right(
        r"\begin{pmatrix}1\\2\end{pmatrix}",
        &[r"\vec{v}=\langle 1,2\rangle", r"\hat{i}+2\hat{j}", r"\mathbf{i}+2\mathbf{j}"],
    );
    wrong(r"\begin{pmatrix}1\\2\end{pmatrix}", &[r"2\mathbf{i}+\mathbf{j}"]);
    right(r"\frac{3}{11}", &[r"0.\overline{27}", "0.(27)", r"0.\dot{2}\dot{7}", r"0.272727\ldots"]);
    right("0.00032", &["3.2*10^-4", "3.2 x 10^{-4}", "3.2E-4"]);
    right(r"\infty", &[r"\text{infinity}", "infinity", "∞"]);
    right("5", &["*5*", "__5__", "=> 5", "### Answer\n5", "Answer: 5 ✅"]);
    right("C", &["Answer: [[C]]", "故选：C", "选C", "Final answer: C) 14", "\"C\""]);
}
