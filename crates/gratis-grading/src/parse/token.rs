//! From characters to tokens: LaTeX, plain text and Unicode in one alphabet.

use std::borrow::Cow;

use super::alphabet::{
    AND, CLOSE_SET, NEW_ROW, OPEN_SET, OR, greek_name, greek_or_name, is_cjk, is_ornament,
    is_style_command, is_text_command, is_two_argument, lowered, mark_of_command, plain_mark,
    raised,
};
use super::number::{Exponents, read_number};
use super::words::{MATH_WORDS, is_filler, number_word};
use crate::syntax::Number;
use crate::units::known_unit;

/// Longer answers than this are compared as text only.
const MAX_CHARS: usize = 6_000;
/// How deep `\text{\text{..}}` is read.
const MAX_TEXT_DEPTH: usize = 4;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// A number.
    Number(Number),
    /// A variable or another one-symbol name.
    Name(String),
    /// A LaTeX command that the grammar knows, or a function written as a word.
    Command(String),
    /// Words, or a unit.
    Text(String),
    /// One character of the common alphabet; see [`mark_of_command`] for those without a key.
    Mark(char),
    /// The start of an environment.
    Begin(String),
    /// The end of one.
    End,
}

/// A token, and whether space stood before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) is_spaced: bool,
}

/// Splits an answer into tokens; `None` when it is too long or cannot be mathematics.
pub(crate) fn tokenize(text: &str, exponents: Exponents) -> Option<Vec<Token>> {
    if text.len() > MAX_CHARS || text.contains('\0') {
        return None;
    }
    let text = repair(text);
    let mut lexer = Lexer {
        tokens: Vec::new(),
        depth: 0,
        n_environments: 0,
        has_dollars: text.replace("\\$", "").matches('$').count() % 2 == 1,
        is_spaced: false,
        exponents,
    };
    lexer.run(&text, 0)?;
    Some(lexer.tokens)
}

/// Undoes doubled backslashes (`\\frac` for `\frac`) where no matrix needs them.
fn repair(text: &str) -> Cow<'_, str> {
    if text.contains("\\\\") && !text.contains("\\begin") {
        text.replace("\\\\", "\\").into()
    } else {
        text.into()
    }
}

struct Lexer {
    tokens: Vec<Token>,
    /// Brackets open at this point.
    depth: usize,
    n_environments: usize,
    /// Whether an unpaired dollar sign is left: then each is money.
    has_dollars: bool,
    is_spaced: bool,
    exponents: Exponents,
}

impl Lexer {
    fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, is_spaced: self.is_spaced });
        self.is_spaced = false;
    }

    fn mark(&mut self, mark: char) {
        match mark {
            '(' | '[' | OPEN_SET | '⟨' | '{' => self.depth += 1,
            ')' | ']' | CLOSE_SET | '⟩' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.push(Kind::Mark(mark));
    }

    fn run(&mut self, text: &str, text_depth: usize) -> Option<()> {
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            if c.is_whitespace() {
                self.is_spaced = true;
                at += c.len_utf8();
            } else if c.is_ascii_digit() || (c == '.' && starts_decimal(rest)) {
                let (number, length) = read_number(rest, self.depth > 0, self.exponents)?;
                self.push(Kind::Number(number));
                at += length;
            } else if c == '\\' {
                at += self.command(rest, text_depth)?;
            } else if c.is_alphabetic() {
                at += self.word(rest);
            } else {
                at += self.symbol(rest, c)?;
            }
        }
        Some(())
    }

    /// One character that is neither letter, digit nor backslash.
    fn symbol(&mut self, rest: &str, c: char) -> Option<usize> {
        for (written, mark) in
            [("<=", '≤'), (">=", '≥'), ("!=", '≠'), ("==", '='), ("**", '^'), ("+/-", '±')]
        {
            if rest.starts_with(written) {
                self.mark(mark);
                return Some(written.len());
            }
        }
        if rest.starts_with("...") {
            self.push(Kind::Text("...".to_owned()));
            return Some(3);
        }
        match c {
            '$' | '€' | '£' | '¥' | '₹' | '¢' => {
                if c != '$' || self.has_dollars {
                    self.push(Kind::Text(c.to_string()));
                }
            }
            // A point here is a full stop that ends the answer.
            '~' | '\u{200b}' | '#' | '.' => self.is_spaced = true,
            '"' | '\u{201c}' | '\u{201d}' | '`' | '?' => {}
            _ if raised(c).is_some() => return self.script('^', rest, raised),
            _ if lowered(c).is_some() => return self.script('_', rest, lowered),
            '√' => self.push(Kind::Command("sqrt".to_owned())),
            '°' => self.push(Kind::Text("°".to_owned())),
            '½' | '¼' | '¾' | '⅓' | '⅔' => {
                let (numerator, denominator) = match c {
                    '½' => (1, 2),
                    '¼' => (1, 4),
                    '¾' => (3, 4),
                    '⅓' => (1, 3),
                    _ => (2, 3),
                };
                self.push(Kind::Command("frac".to_owned()));
                self.push(Kind::Number(Number::integer(numerator)));
                self.push(Kind::Number(Number::integer(denominator)));
            }
            _ if is_ornament(c) => self.is_spaced = true,
            _ => self.mark(plain_mark(c)?),
        }
        Some(c.len_utf8())
    }

    /// A run of raised or lowered characters: `x¹⁰`, `a₁`.
    fn script(&mut self, mark: char, rest: &str, plain: fn(char) -> Option<char>) -> Option<usize> {
        let mut content = String::new();
        let mut length = 0;
        for c in rest.chars() {
            let Some(written) = plain(c) else {
                break;
            };
            content.push(written);
            length += c.len_utf8();
        }
        self.mark(mark);
        self.mark('{');
        self.run(&content, MAX_TEXT_DEPTH)?;
        self.mark('}');
        Some(length)
    }

    /// A run of letters: a function, a unit, a connector, variables, or words.
    fn word(&mut self, rest: &str) -> usize {
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let run = &rest[..end];
        let lower = run.to_lowercase();
        let after_value = self.follows_value();
        if self.follows_number() {
            let is_ordinal = !self.is_spaced && matches!(lower.as_str(), "st" | "nd" | "rd" | "th");
            if is_ordinal {
                return end;
            }
            if let Some(scale) = scale_word(&lower) {
                self.mark('*');
                self.push(Kind::Number(Number::integer(scale)));
                return end;
            }
            if let Some((meridiem, length)) = meridiem(rest) {
                self.push(Kind::Text(meridiem.to_owned()));
                return length;
            }
        }
        match lower.as_str() {
            "per" if after_value => self.push(Kind::Text(lower)),
            "mod" if after_value || self.follows_bracket() => {
                self.push(Kind::Command("bmod".to_owned()));
            }
            "and" => self.mark(AND),
            "or" => self.mark(OR),
            "percent" | "pct" | "per cent" | "percentage" => self.mark('%'),
            "in" if !after_value => self.mark('∈'),
            "undefined" | "none" => self.push(Kind::Text(lower)),
            "union" | "cup" => self.mark('∪'),
            "infinity" | "infty" | "inf" | "oo" | "∞" => self.mark('∞'),
            _ if is_filler(run) && run.len() > 1 => self.is_spaced = true,
            _ if after_value && run.chars().all(is_cjk) => self.push(Kind::Text(run.to_owned())),
            _ if run.chars().count() == 1 => self.push(Kind::Name(greek_name(run))),
            _ if MATH_WORDS.contains(&lower.as_str()) => self.push(Kind::Command(lower)),
            _ if after_value && known_unit(run).is_some() => {
                self.push(Kind::Text(run.to_owned()));
            }
            _ if number_word(run).is_some() => {
                let value = number_word(run).unwrap_or_default();
                self.push(Kind::Number(Number::integer(value)));
            }
            _ => self.letters(run),
        }
        end
    }

    /// Letters without a space between them.
    fn letters(&mut self, run: &str) {
        let is_upper = run.chars().all(char::is_uppercase);
        let n_letters = run.chars().count();
        if is_upper && n_letters <= 6 {
            // A segment, an angle, an initialism: one name.
            return self.push(Kind::Name(run.to_owned()));
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut has_function = false;
        while at < run.len() {
            let rest = &run[at..];
            if let Some(known) = MATH_WORDS.iter().find(|word| rest.starts_with(**word)) {
                pieces.push(Kind::Command((*known).to_owned()));
                has_function = true;
                at += known.len();
            } else {
                let letter = rest.chars().next().unwrap_or(' ');
                pieces.push(Kind::Name(letter.to_string()));
                at += letter.len_utf8();
            }
        }
        if n_letters <= 3 || (has_function && n_letters <= 6) {
            for piece in pieces {
                self.push(piece);
            }
        } else {
            self.push(Kind::Text(run.to_owned()));
        }
    }

    /// Whether a value that may carry a unit has just ended.
    fn follows_value(&self) -> bool {
        matches!(
            self.tokens.last().map(|token| &token.kind),
            Some(Kind::Number(_) | Kind::Name(_) | Kind::Mark(')' | '}' | '%') | Kind::Text(_))
        )
    }

    /// Whether a number has just ended.
    fn follows_number(&self) -> bool {
        matches!(self.tokens.last().map(|token| &token.kind), Some(Kind::Number(_)))
    }

    /// Whether a bracket has just been opened: `(mod 7)`.
    fn follows_bracket(&self) -> bool {
        matches!(self.tokens.last().map(|token| &token.kind), Some(Kind::Mark('(')))
    }

    /// A backslash and what it commands; gives the bytes read.
    fn command(&mut self, rest: &str, text_depth: usize) -> Option<usize> {
        let body = &rest[1..];
        let name_len = body.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(body.len());
        if name_len == 0 {
            return self.escape(body);
        }
        let name = &body[..name_len];
        let end = 1 + name_len;
        let tail = &rest[end..];
        match name {
            _ if is_text_command(name) => {
                let (content, length) = argument(tail)?;
                if text_depth < MAX_TEXT_DEPTH {
                    self.text(content, name, text_depth)?;
                }
                return Some(end + length);
            }
            _ if is_style_command(name) => {}
            "begin" | "end" => {
                let (environment, length) = argument(tail)?;
                if name == "begin" {
                    self.n_environments += 1;
                    self.depth += 1;
                    self.push(Kind::Begin(environment.to_owned()));
                } else {
                    self.depth = self.depth.saturating_sub(1);
                    self.push(Kind::End);
                }
                return Some(end + length);
            }
            "hspace" | "vspace" | "phantom" | "hphantom" | "label" | "tag" | "textcolor"
            | "color" | "colorbox" => {
                let (_, length) = argument(tail)?;
                return Some(end + length);
            }
            "left" | "right" | "bigl" | "bigr" | "Bigl" | "Bigr" | "big" | "Big" | "middle"
            | "bigg" | "Bigg" => {
                // `\left.` has no bracket.
                let gap = tail.len() - tail.trim_start().len();
                if tail[gap..].starts_with('.') {
                    return Some(end + gap + 1);
                }
            }
            _ => match mark_of_command(name) {
                Some('°') => self.push(Kind::Text("°".to_owned())),
                Some(mark) => self.mark(mark),
                None => match greek_or_name(name) {
                    Some(symbol) => self.push(Kind::Name(symbol)),
                    None => {
                        // `\quadx` and `\piR`: a command run into a letter.
                        match KNOWN_PREFIXES.iter().find(|known| name.starts_with(**known)) {
                            Some(known) if *known == "quad" || *known == "qquad" => {
                                self.is_spaced = true;
                                return Some(1 + known.len());
                            }
                            _ => {
                                self.push(Kind::Command(name.to_owned()));
                                if is_two_argument(name) {
                                    return Some(end + self.digit_arguments(tail));
                                }
                            }
                        }
                    }
                },
            },
        }
        Some(end)
    }

    /// The arguments of `\\frac12`: one digit each. Gives the bytes read.
    fn digit_arguments(&mut self, tail: &str) -> usize {
        let mut at = 0;
        for _ in 0..2 {
            let gap = tail[at..].len() - tail[at..].trim_start().len();
            let Some(digit) = tail[at + gap..].chars().next().and_then(|c| c.to_digit(10)) else {
                break;
            };
            self.push(Kind::Number(Number::integer(digit)));
            at += gap + 1;
        }
        at
    }

    /// A backslash before something that is no letter.
    fn escape(&mut self, body: &str) -> Option<usize> {
        let c = body.chars().next()?;
        match c {
            '{' => self.mark(OPEN_SET),
            '}' => self.mark(CLOSE_SET),
            '$' => self.push(Kind::Text("$".to_owned())),
            '%' => self.mark('%'),
            '|' => self.mark('|'),
            '\\' if self.n_environments > 0 => self.mark(NEW_ROW),
            '&' => self.mark(AND),
            _ => self.is_spaced = true,
        }
        Some(1 + c.len_utf8())
    }

    /// What stands in `\text{}`: connectors, units, names, or mathematics after all.
    fn text(&mut self, content: &str, command: &str, text_depth: usize) -> Option<()> {
        let content = content.trim();
        let lower = content.to_lowercase();
        let words = lower.trim_matches(|c: char| c.is_whitespace() || ",.;".contains(c));
        match words {
            "" if lower.contains([',', ';']) => self.mark(','),
            "" => self.is_spaced = true,
            "and" | "&" | "和" | "et" | "und" | "y" if command != "mathrm" => self.mark(AND),
            "or" | "或" => self.mark(OR),
            "percent" | "%" => self.mark('%'),
            "degree" | "degrees" => self.push(Kind::Text("°".to_owned())),
            _ if words.chars().count() == 1
                || words.starts_with(|c: char| c.is_ascii_digit() || c == '\\' || c == '(') =>
            {
                let before = self.tokens.len();
                if self.follows_value()
                    && words.chars().all(char::is_alphabetic)
                    && command != "mathbf"
                {
                    // `5 \text{ m}` is a unit, `5\mathrm{e}` a constant.
                    if words != "e" && words != "i" && words != "d" {
                        self.push(Kind::Text(words.to_owned()));
                        return Some(());
                    }
                }
                self.run(content, text_depth + 1)?;
                if self.tokens.len() == before {
                    self.is_spaced = true;
                }
            }
            _ if MATH_WORDS.contains(&words) => self.push(Kind::Command(words.to_owned())),
            _ if self.follows_number()
                && meridiem(content).is_some_and(|found| found.1 == content.len()) =>
            {
                self.push(Kind::Text(meridiem(content).map_or("", |found| found.0).to_owned()));
            }
            _ if self.follows_number() && scale_word(words).is_some() => {
                self.mark('*');
                self.push(Kind::Number(Number::integer(scale_word(words).unwrap_or(1))));
            }
            // `5 \text{ hours and } 20 \text{ minutes}`
            _ if self.follows_value() && words.ends_with(" and") => {
                self.push(Kind::Text(words[..words.len() - 4].trim().to_owned()));
                self.mark(AND);
            }
            _ if command == "mathbf" || command == "boldsymbol" => {
                self.run(content, text_depth + 1)?;
            }
            _ => self.push(Kind::Text(content.to_owned())),
        }
        Some(())
    }
}

/// Commands that are read up to where a letter was run into them.
const KNOWN_PREFIXES: &[&str] = &["qquad", "quad"];

/// Whether a point begins a decimal: digits or a repetend follow.
fn starts_decimal(rest: &str) -> bool {
    rest[1..].starts_with(|c: char| c.is_ascii_digit()) || rest[1..].starts_with("\\overline{")
}

/// The argument of a command: `{...}` or one character; with the bytes it covers.
pub(super) fn argument(tail: &str) -> Option<(&str, usize)> {
    let gap = tail.len() - tail.trim_start().len();
    let body = &tail[gap..];
    if body.starts_with('{') {
        let close = crate::markup::closing_brace(body)?;
        return Some((&body[1..close], gap + close + 1));
    }
    let length = body.chars().next()?.len_utf8();
    Some((&body[..length], gap + length))
}

/// What a word after a number multiplies it by: `2.5 million`.
fn scale_word(word: &str) -> Option<i64> {
    Some(match word {
        "hundred" => 100,
        "thousand" => 1_000,
        "万" | "万元" => 10_000,
        "million" => 1_000_000,
        "亿" | "亿元" => 100_000_000,
        "billion" => 1_000_000_000,
        "trillion" => 1_000_000_000_000,
        _ => return None,
    })
}

/// `a.m.` or `p.m.` at the start of a text, with the bytes it covers.
fn meridiem(text: &str) -> Option<(&'static str, usize)> {
    let head: String = text.chars().take(4).filter(char::is_ascii).collect();
    let head = head.to_ascii_lowercase();
    for (name, forms) in [("a.m.", ["a.m.", "a.m", "am"]), ("p.m.", ["p.m.", "p.m", "pm"])] {
        for form in forms {
            let is_whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric());
            if head.starts_with(form) && text.get(form.len()..).is_some_and(is_whole) {
                return Some((name, form.len()));
            }
        }
    }
    None
}
