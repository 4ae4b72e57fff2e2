//! Words inside answers: number words, function names, and plain text.

/// The functions and constants that are written as words, longest first where one starts
/// with another.
pub(crate) const MATH_WORDS: &[&str] = &[
    "arcsin", "arccos", "arctan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "sin", "cos",
    "tan", "sec", "csc", "cosec", "cot", "sqrt", "cbrt", "log", "ln", "lg", "exp", "pi",
    "infinity", "infty", "inf", "oo", "abs", "gcd", "lcm", "max", "min", "floor", "ceil", "theta",
    "alpha", "beta", "gamma", "lambda", "binom", "frac", "dfrac",
];

/// Words that change nothing: `about 5`, `exactly 5`.
const FILLERS: &[&str] = &[
    "a",
    "an",
    "the",
    "about",
    "approximately",
    "approx",
    "roughly",
    "exactly",
    "only",
    "is",
    "are",
    "total",
];

/// The value of a number written in words, up to a thousand: `forty-two`.
pub(crate) fn number_word(text: &str) -> Option<i64> {
    const ONES: [&str; 20] = [
        "zero",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "thirteen",
        "fourteen",
        "fifteen",
        "sixteen",
        "seventeen",
        "eighteen",
        "nineteen",
    ];
    const TENS: [&str; 8] =
        ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];
    let text = text.trim();
    if text.len() > 60 {
        return None;
    }
    let mut total = 0;
    let mut seen = 0;
    for word in text.split(|c: char| c.is_whitespace() || c == '-') {
        let is_word = |known: &&str| known.eq_ignore_ascii_case(word);
        let value = if let Some(ones) = ONES.iter().position(is_word) {
            ones as i64
        } else if let Some(tens) = TENS.iter().position(is_word) {
            20 + 10 * tens as i64
        } else if is_word(&"hundred") && (1..10).contains(&total) {
            99 * total
        } else if is_word(&"thousand") && (1..1000).contains(&total) {
            999 * total
        } else {
            return None;
        };
        if seen > 0 && value < 20 && total % 10 != 0 {
            return None;
        }
        total += value;
        seen += 1;
    }
    (seen > 0).then_some(total)
}

/// Words without case, articles, punctuation and LaTeX dressing, for comparison as text.
pub(crate) fn plain_words(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let mut command = String::new();
                while let Some(letter) = chars.next_if(char::is_ascii_alphabetic) {
                    command.push(letter);
                }
                bare.push(' ');
                let is_dressing = command.starts_with("text")
                    || matches!(
                        command.as_str(),
                        "" | "mathrm"
                            | "mathbf"
                            | "mbox"
                            | "left"
                            | "right"
                            | "quad"
                            | "rm"
                            | "bf"
                            | "emph"
                            | "operatorname"
                            | "boldsymbol"
                    );
                if is_dressing {
                    if command.is_empty() {
                        chars.next();
                    }
                } else {
                    bare.push_str(&command);
                }
            }
            '{' | '}' | '$' | '.' | ',' | '*' | '"' | '\u{201c}' | '\u{201d}' | '~' | '(' | ')' => {
                bare.push(' ');
            }
            _ if c.is_ascii() => bare.push(c.to_ascii_lowercase()),
            _ => bare.extend(c.to_lowercase()),
        }
    }
    let mut joined = String::with_capacity(bare.len());
    for word in bare.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")) {
        joined.push_str(if joined.is_empty() { "" } else { " " });
        joined.push_str(word);
    }
    synonym(&joined).map_or(joined, str::to_owned)
}

/// The one name for the answers that say there is nothing to answer.
fn synonym(text: &str) -> Option<&'static str> {
    match text {
        "no solution" | "no solutions" | "no real solution" | "no real solutions" | "none"
        | "no such" | "empty set" | "emptyset" | "varnothing" | "∅" | "does not exist" | "dne"
        | "无解" => Some("no solution"),
        "true" | "yes" => Some("yes"),
        "false" | "no" => Some("no"),
        _ => None,
    }
}

/// Whether plain words are one of the answers that [`plain_words`] gives one name.
pub(crate) fn is_verdict(words: &str) -> bool {
    matches!(words, "no solution" | "yes" | "no")
}

/// Whether a word says nothing in front of a number.
pub(crate) fn is_filler(word: &str) -> bool {
    FILLERS.iter().any(|filler| filler.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn words_are_known_in_any_case(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "Seven", "TWENTY", "forty", "Hundred", "thousanD", "nineteen", "The", "aBOUT", "total", "\u{212a}", "İ",
                    "ſix", "eggs",
                ]),
                1..4,
            ),
            between in prop::sample::select(vec![" ", "-", "", "\u{a0}"]),
        ) {
            let text = words.join(between);
            prop_assert_eq!(number_word(&text), number_word(&text.to_lowercase()), "{:?}", text);
            for word in words {
                let is_known = FILLERS.contains(&word.to_lowercase().as_str());
                prop_assert_eq!(is_filler(word), is_known, "{:?}", word);
            }
        }
    }
}
