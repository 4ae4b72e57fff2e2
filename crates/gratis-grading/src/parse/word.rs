//! Runs of letters and `\text{}`: functions, units, connectors, variables, or words.

use super::alphabet::{AND, OR, greek_name, is_cjk};
use super::token::{Kind, Lexer};
use super::words::{MATH_WORDS, is_filler, number_word};
use crate::syntax::Number;
use crate::units::known_unit;

impl Lexer {
    /// A run of letters: a function, a unit, a connector, variables, or words.
    pub(super) fn word(&mut self, rest: &str) -> usize {
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
            "min" if self.follows_number() && !rest[end..].trim_start().starts_with('(') => {
                self.push(Kind::Text(lower));
            }
            // `3.2 x 10^{-4}`
            "x" if self.follows_number()
                && self.is_spaced
                && rest[end..].starts_with(' ')
                && rest[end..].trim_start().starts_with(|c: char| c.is_ascii_digit()) =>
            {
                self.mark('*');
            }
            // `1 h 20 min`
            "h" if self.follows_number()
                && rest[end..].trim_start().starts_with(|c: char| c.is_ascii_digit()) =>
            {
                self.push(Kind::Text(lower));
            }
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
    pub(super) fn letters(&mut self, run: &str) {
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
    pub(super) fn follows_value(&self) -> bool {
        matches!(
            self.tokens.last().map(|token| &token.kind),
            Some(Kind::Number(_) | Kind::Name(_) | Kind::Mark(')' | '}' | '%') | Kind::Text(_))
        )
    }

    /// Whether a number has just ended.
    pub(super) fn follows_number(&self) -> bool {
        matches!(self.tokens.last().map(|token| &token.kind), Some(Kind::Number(_)))
    }

    /// Whether a bracket has just been opened: `(mod 7)`.
    pub(super) fn follows_bracket(&self) -> bool {
        matches!(self.tokens.last().map(|token| &token.kind), Some(Kind::Mark('(')))
    }

    /// The content of `\text{}`: connectors, units, names, or mathematics after all.
    pub(super) fn text(&mut self, content: &str, command: &str, text_depth: usize) -> Option<()> {
        let content = content.trim();
        let lower = content.to_lowercase();
        let words = lower.trim_matches(|c: char| c.is_whitespace() || ",.;".contains(c));
        match words {
            "" if lower.contains([',', ';']) => self.mark(','),
            "" => self.is_spaced = true,
            "and" | "&" | "和" | "et" | "und" | "y" if command != "mathrm" => self.mark(AND),
            "or" | "或" => self.mark(OR),
            "percent" | "%" => self.mark('%'),
            "infinity" => self.mark('∞'),
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
