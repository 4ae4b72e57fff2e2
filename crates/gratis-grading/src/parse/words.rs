//! Words inside answers: units, number words, function names, and plain text.

/// Units by canonical name, each with the ways it is written (lower case, singular).
const UNITS: &[(&str, &[&str])] = &[
    ("deg", &["degree", "deg", "°"]),
    ("celsius", &["celsius", "degree celsius", "°c"]),
    ("fahrenheit", &["fahrenheit", "degree fahrenheit", "°f"]),
    ("rad", &["radian", "rad"]),
    ("$", &["$", "dollar", "usd", "us dollar", "us$", "buck", "美元"]),
    ("cent", &["cent", "¢"]),
    ("€", &["€", "euro", "eur"]),
    ("£", &["£", "pound sterling", "gbp"]),
    ("yuan", &["yuan", "rmb", "元", "¥"]),
    ("rupee", &["rupee", "₹", "rs"]),
    ("mm", &["mm", "millimeter", "millimetre"]),
    ("cm", &["cm", "centimeter", "centimetre", "厘米"]),
    ("dm", &["dm", "decimeter", "decimetre"]),
    ("m", &["meter", "metre", "米"]),
    ("km", &["km", "kilometer", "kilometre", "公里", "千米"]),
    ("inch", &["inch", "inche", "in."]),
    ("foot", &["foot", "feet", "ft"]),
    ("yard", &["yard", "yd"]),
    ("mile", &["mile"]),
    ("mg", &["mg", "milligram"]),
    ("g", &["gram", "克"]),
    ("kg", &["kg", "kilogram", "千克", "公斤"]),
    ("lb", &["pound", "lb"]),
    ("oz", &["ounce", "oz"]),
    ("ton", &["ton", "tonne"]),
    ("ml", &["ml", "milliliter", "millilitre"]),
    ("l", &["liter", "litre"]),
    ("gal", &["gallon"]),
    ("cup", &["cup"]),
    ("ms", &["millisecond"]),
    ("s", &["second", "sec", "秒"]),
    ("min", &["minute", "min", "分钟"]),
    ("h", &["hour", "hr", "小时"]),
    ("day", &["day", "天"]),
    ("week", &["week"]),
    ("month", &["month"]),
    ("year", &["year", "年"]),
    ("mph", &["mph", "mile per hour", "mile/hour", "mile/h"]),
    ("km/h", &["kph", "kmh", "km/h", "km/hr", "kilometer per hour"]),
    ("hz", &["hz", "hertz"]),
    ("n", &["newton"]),
    ("j", &["joule"]),
    ("w", &["watt"]),
    ("v", &["volt"]),
    ("mol", &["mol", "mole"]),
    ("unit", &["unit", "units", "square unit", "sq unit", "cubic unit", "cu unit"]),
];

/// Short units that are words only after a number: `in`, `m`, `g` are letters elsewhere.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("m", "m"),
    ("g", "g"),
    ("s", "s"),
    ("h", "h"),
    ("l", "l"),
    ("in", "inch"),
    ("mi", "mile"),
    ("n", "n"),
    ("j", "j"),
    ("w", "w"),
    ("v", "v"),
    ("c", "celsius"),
    ("f", "fahrenheit"),
];

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

/// The canonical name of a unit written in full, with plurals and powers folded; `None`
/// when the text is no unit that is known here.
pub(crate) fn known_unit(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_end_matches('.').to_lowercase();
    let singular = |word: &str| -> String {
        match word {
            "feet" => "foot".to_owned(),
            _ if word.len() > 3 && word.ends_with('s') => word[..word.len() - 1].to_owned(),
            _ => word.to_owned(),
        }
    };
    let folded: Vec<String> = text.split_whitespace().map(singular).collect();
    let folded = folded.join(" ");
    UNITS
        .iter()
        .find(|(_, names)| names.contains(&text.as_str()) || names.contains(&folded.as_str()))
        .map(|(name, _)| *name)
}

/// The canonical form of what follows a number: a unit, or the words as they are.
pub(crate) fn canonical_unit(text: &str) -> String {
    let text = text.trim().to_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (power, words) = match words.as_slice() {
        ["square" | "sq" | "sq.", rest @ ..] => ("^2", rest),
        ["cubic" | "cu" | "cu.", rest @ ..] => ("^3", rest),
        rest => ("", rest),
    };
    let name = words.join(" ");
    let name = known_unit(&name).or_else(|| abbreviation(&name)).map_or(name, str::to_owned);
    format!("{name}{power}")
}

/// The unit a short name stands for in text mode.
pub(crate) fn abbreviation(text: &str) -> Option<&'static str> {
    ABBREVIATIONS.iter().find(|(short, _)| *short == text).map(|(_, name)| *name)
}

/// Whether two units are known to differ; unknown words settle nothing.
pub(crate) fn units_conflict(a: &str, b: &str) -> bool {
    let split = |unit: &str| -> Option<(String, String)> {
        let (name, power) = unit.split_once('^').unwrap_or((unit, ""));
        let is_known = UNITS.iter().any(|(known, _)| *known == name);
        (is_known && name != "unit").then(|| (name.to_owned(), power.to_owned()))
    };
    match (split(a), split(b)) {
        // `cm` for an area is sloppy and not a different answer.
        (Some((a, _)), Some((b, _))) => a != b,
        _ => false,
    }
}

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
    let text = text.trim().to_lowercase();
    if text.len() > 60 {
        return None;
    }
    let mut total = 0;
    let mut seen = 0;
    for word in text.split(|c: char| c.is_whitespace() || c == '-') {
        let value = if let Some(ones) = ONES.iter().position(|known| *known == word) {
            ones as i64
        } else if let Some(tens) = TENS.iter().position(|known| *known == word) {
            20 + 10 * tens as i64
        } else if word == "hundred" && (1..10).contains(&total) {
            99 * total
        } else if word == "thousand" && (1..1000).contains(&total) {
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
            _ => bare.extend(c.to_lowercase()),
        }
    }
    let words: Vec<&str> =
        bare.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).collect();
    let joined = words.join(" ");
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

/// Whether a word says nothing in front of a number.
pub(crate) fn is_filler(word: &str) -> bool {
    FILLERS.contains(&word.to_lowercase().as_str())
}
