//! From characters to tokens: LaTeX, plain text and Unicode in one alphabet.

use std::borrow::Cow;

use super::alphabet::{
    AND, CLOSE_SET, NEW_ROW, OPEN_SET, greek_or_name, is_style_command, is_text_command,
    is_two_argument, lowered, mark_of_command, plain_mark, raised,
};
use super::number::{Exponents, read_number};
use crate::markup::{closing_brace, is_ornament};
use crate::syntax::Number;

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
    if !text.contains("\\begin") {
        return if text.contains("\\\\") { text.replace("\\\\", "\\").into() } else { text.into() };
    }
    with_cases(text).map_or(text.into(), Cow::from)
}

/// `\left\{ \begin{array}{l} .. \end{array} \right.`, a brace at the left alone, as cases.
fn with_cases(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("\\left\\{")?;
    let rest = rest.trim_start().strip_prefix("\\begin{array}")?.trim_start();
    let columns = closing_brace(rest)?;
    let (body, after) = rest[columns + 1..].split_once("\\end{array}")?;
    let after = after.trim_start().strip_prefix("\\right")?;
    let after = after.strip_prefix('.').unwrap_or(after);
    Some(format!("{before}\\begin{{cases}}{body}\\end{{cases}}{after}"))
}

pub(super) struct Lexer {
    pub(super) tokens: Vec<Token>,
    /// Brackets open at this point.
    depth: usize,
    n_environments: usize,
    /// Whether an unpaired dollar sign is left: then each is money.
    has_dollars: bool,
    pub(super) is_spaced: bool,
    exponents: Exponents,
}

impl Lexer {
    pub(super) fn push(&mut self, kind: Kind) {
        self.tokens.push(Token { kind, is_spaced: self.is_spaced });
        self.is_spaced = false;
    }

    pub(super) fn mark(&mut self, mark: char) {
        match mark {
            '(' | '[' | OPEN_SET | '⟨' | '{' => self.depth += 1,
            ')' | ']' | CLOSE_SET | '⟩' | '}' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.push(Kind::Mark(mark));
    }

    pub(super) fn run(&mut self, text: &str, text_depth: usize) -> Option<()> {
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
        for (written, mark) in [
            ("=>", '→'),
            ("<=", '≤'),
            (">=", '≥'),
            ("!=", '≠'),
            ("==", '='),
            ("**", '^'),
            ("+/-", '±'),
        ] {
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
            // `0.2727\ldots` goes on.
            "ldots" | "dots" | "cdots" if self.follows_number() => {
                self.push(Kind::Text("...".to_owned()));
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
        let close = closing_brace(body)?;
        return Some((&body[1..close], gap + close + 1));
    }
    let length = body.chars().next()?.len_utf8();
    Some((&body[..length], gap + length))
}
