//! The upper half of the grammar: lists, relations, unions, sums.

use super::alphabet::{AND, CLOSE_SET, MID, OR};
use super::number::Exponents;
use super::token::{Kind, Token, tokenize};
use crate::syntax::{Bracket, Constant, Expr, Function, Relation, Separator, SetOperation};

/// Expressions nested deeper than this are compared as text only.
const MAX_DEPTH: usize = 40;

/// Reads an answer; `None` when it is not mathematics that is known here.
pub(crate) fn parse(text: &str) -> Option<Expr> {
    parse_as(text, Exponents::Scientific)
}

/// Reads an answer in which `3e-2` is `3e - 2`; `None` when it holds nothing of that form.
pub(crate) fn parse_euler(text: &str) -> Option<Expr> {
    let bytes = text.as_bytes();
    let is_ambiguous = bytes.windows(3).any(|window| {
        window[0].is_ascii_digit() && window[1] == b'e' && matches!(window[2], b'+' | b'-')
    });
    if is_ambiguous { parse_as(text, Exponents::Euler) } else { None }
}

fn parse_as(text: &str, exponents: Exponents) -> Option<Expr> {
    let tokens = tokenize(text, exponents)?;
    let mut parser = Parser::new(tokens, 0);
    // `= 5`, `\approx 5` and `\to 5` leave out what the value is of.
    while let Some(Kind::Mark('=' | '≈' | '→')) = parser.peek() {
        parser.skip();
    }
    let answer = parser.sequence()?;
    let answer = parser.chosen(answer)?;
    parser.is_done().then(|| imaginary(answer))
}

/// `2 + 3I` is complex; `I` by itself is a name.
fn imaginary(expr: Expr) -> Expr {
    let is_unit = |part: &Expr| matches!(part, Expr::Symbol(name) if name == "I");
    if is_unit(&expr) || !expr.any(&is_unit) {
        return expr;
    }
    with_imaginary(&expr)
}

fn with_imaginary(expr: &Expr) -> Expr {
    match expr {
        Expr::Symbol(name) if name == "I" => Expr::Constant(Constant::I),
        other => other.map_children(&with_imaginary),
    }
}

/// A reader of tokens, by recursive descent with bounded depth.
pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Absolute-value bars open in the innermost bracket.
    pub(super) n_bars: usize,
    /// Whether a bar separates the condition of a set.
    pub(super) in_set: bool,
}

impl Parser {
    fn new(tokens: Vec<Token>, depth: usize) -> Self {
        Self { tokens, at: 0, depth, n_bars: 0, in_set: false }
    }

    /// Reads `tokens`, taken from this text, as an expression of their own, one level deeper.
    pub(super) fn inner(&self, tokens: Vec<Token>) -> Option<Expr> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut parser = Self::new(tokens, self.depth + 1);
        let content = parser.sequence()?;
        parser.is_done().then_some(content)
    }

    /// The tokens from here on.
    pub(super) fn rest(&self) -> &[Token] {
        self.tokens.get(self.at..).unwrap_or_default()
    }

    fn is_done(&self) -> bool {
        self.at == self.tokens.len()
    }

    pub(super) fn peek(&self) -> Option<&Kind> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&Kind> {
        self.tokens.get(self.at + ahead).map(|token| &token.kind)
    }

    pub(super) fn is_spaced(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is_spaced)
    }

    pub(super) fn next(&mut self) -> Option<Kind> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token.kind.clone())
    }

    pub(super) fn skip(&mut self) {
        self.at += 1;
    }

    pub(super) fn is_at(&self, mark: char) -> bool {
        self.peek() == Some(&Kind::Mark(mark))
    }

    pub(super) fn eat(&mut self, mark: char) -> bool {
        let is_there = self.is_at(mark);
        self.at += usize::from(is_there);
        is_there
    }

    pub(super) fn expect(&mut self, mark: char) -> Option<()> {
        self.eat(mark).then_some(())
    }

    /// The position of the parser, for backtracking.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn rewind(&mut self, position: usize) {
        self.at = position;
    }

    /// Runs `read` one level deeper; `None` past the limit.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Runs `read` inside brackets, where bars count anew.
    pub(super) fn bracketed<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let (n_bars, in_set) = (self.n_bars, self.in_set);
        self.n_bars = 0;
        self.in_set = false;
        let result = self.nested(read);
        (self.n_bars, self.in_set) = (n_bars, in_set);
        result
    }

    /// `a, b; c, d`
    pub(super) fn sequence(&mut self) -> Option<Expr> {
        let first = self.nested(Self::comma_list)?;
        if !self.is_at(';') {
            return Some(first);
        }
        let mut items = vec![first];
        while self.eat(';') {
            self.eat(AND);
            if self.is_done() || self.at_close() {
                break;
            }
            items.push(self.nested(Self::comma_list)?);
        }
        Some(list(items, Separator::Comma))
    }

    /// Whether a closing bracket comes next.
    fn at_close(&self) -> bool {
        matches!(self.peek(), Some(Kind::Mark(')' | ']' | '}' | CLOSE_SET | '⟩') | Kind::End))
    }

    /// `a, b and c`
    fn comma_list(&mut self) -> Option<Expr> {
        let mut items = vec![self.relation()?];
        let mut separator = Separator::Comma;
        loop {
            let before = self.at;
            while let Some(Kind::Mark(mark @ (',' | AND | OR))) = self.peek() {
                match *mark {
                    AND if separator == Separator::Comma => separator = Separator::And,
                    OR => separator = Separator::Or,
                    _ => {}
                }
                self.skip();
            }
            if self.at == before || self.is_done() || self.at_close() || self.is_at(';') {
                break;
            }
            items.push(self.relation()?);
        }
        Some(list(items, separator))
    }

    /// `a < b \le c`
    pub(super) fn relation(&mut self) -> Option<Expr> {
        let mut terms = vec![self.ratio()?];
        let mut relations = Vec::new();
        while let Some(Kind::Mark(mark)) = self.peek() {
            let relation = match mark {
                '=' | '≡' => Relation::Equal,
                '≈' => Relation::Approx,
                '≠' => Relation::NotEqual,
                '<' => Relation::Less,
                '≤' => Relation::LessEqual,
                '>' => Relation::Greater,
                '≥' => Relation::GreaterEqual,
                '∈' => Relation::In,
                _ => break,
            };
            self.skip();
            relations.push(relation);
            terms.push(self.ratio()?);
        }
        if relations.is_empty() {
            return terms.pop();
        }
        Some(Expr::Relation { terms, relations })
    }

    /// `a : b`
    fn ratio(&mut self) -> Option<Expr> {
        let mut items = vec![self.sets()?];
        while !self.in_set && self.eat(':') {
            items.push(self.sets()?);
        }
        if items.len() == 1 {
            return items.pop();
        }
        Some(Expr::Ratio(items))
    }

    /// `A \cup B`
    fn sets(&mut self) -> Option<Expr> {
        let mut left = self.sum()?;
        let mut n_nested = 0;
        while let Some(Kind::Mark(mark)) = self.peek() {
            let operation = match mark {
                '∪' => SetOperation::Union,
                '∩' => SetOperation::Intersection,
                '∖' => SetOperation::Difference,
                _ => break,
            };
            self.skip();
            let right = self.sum()?;
            left = match left {
                Expr::SetOperation(same, mut items)
                    if same == operation && operation != SetOperation::Difference =>
                {
                    items.push(right);
                    Expr::SetOperation(same, items)
                }
                other => {
                    n_nested += 1;
                    if n_nested > MAX_DEPTH {
                        return None;
                    }
                    Expr::SetOperation(operation, vec![other, right])
                }
            };
        }
        Some(left)
    }

    /// `a + b - c`
    pub(super) fn sum(&mut self) -> Option<Expr> {
        let mut terms = Vec::new();
        loop {
            let mut is_negative = false;
            let mut plus_minus = None;
            let mut has_sign = false;
            while let Some(Kind::Mark(mark @ ('+' | '-' | '±' | '∓'))) = self.peek() {
                match *mark {
                    '-' => is_negative = !is_negative,
                    '±' => plus_minus = Some(false),
                    '∓' => plus_minus = Some(true),
                    _ => {}
                }
                has_sign = true;
                self.skip();
            }
            if !terms.is_empty() && !has_sign {
                break;
            }
            let mut term = self.nested(Self::term)?;
            if is_negative {
                term = negate(term);
            }
            if let Some(is_flipped) = plus_minus {
                term = Expr::PlusMinus { value: Box::new(term), is_flipped };
            }
            terms.push(term);
        }
        if terms.len() == 1 {
            return terms.pop();
        }
        Some(Expr::Sum(terms))
    }

    /// The content of brackets after the opening `mark`.
    pub(super) fn brackets(&mut self, open: char) -> Option<Expr> {
        let opened = match open {
            '[' => Bracket::Square,
            '⟨' => Bracket::Angle,
            _ => Bracket::Round,
        };
        let content = self.bracketed(Self::sequence)?;
        let closed = match self.next()? {
            Kind::Mark(']') if open != ']' => Bracket::Square,
            Kind::Mark('⟩') => Bracket::Angle,
            Kind::Mark(')') => Bracket::Round,
            // `[0, 1[` and `]0, 1[` are open at the right.
            Kind::Mark('[') if open == '[' || open == ']' => Bracket::Round,
            Kind::Mark(']') => Bracket::Square,
            _ => return None,
        };
        match content {
            Expr::List { items, .. } => Some(Expr::Tuple { items, open: opened, close: closed }),
            single if opened == Bracket::Round && closed == Bracket::Round => Some(single),
            single if opened == closed => Some(single),
            _ => None,
        }
    }

    /// `\{a, b\}` or `\{x : x > 2\}` after its opening brace.
    pub(super) fn set(&mut self) -> Option<Expr> {
        if self.eat(CLOSE_SET) {
            return Some(Expr::Set(Vec::new()));
        }
        let content = self.bracketed(|parser| {
            parser.in_set = true;
            let content = parser.sequence()?;
            if parser.eat(MID) || parser.eat('|') || parser.eat(':') {
                parser.in_set = false;
                let condition = parser.sequence()?;
                return Some((condition, true));
            }
            Some((content, false))
        })?;
        self.expect(CLOSE_SET)?;
        Some(match content {
            (condition, true) => condition,
            (Expr::List { items, .. }, false) => Expr::Set(items),
            (single, false) => Expr::Set(vec![single]),
        })
    }

    /// Plain braces: a group, or a list in braces.
    pub(super) fn braces(&mut self) -> Option<Expr> {
        let content = self.bracketed(|parser| {
            let content = parser.sequence()?;
            parser.chosen(content)
        })?;
        self.expect('}')?;
        Some(content)
    }

    /// `n \choose k` after its `n`; what was read as it is when no `\choose` follows.
    fn chosen(&mut self, upper: Expr) -> Option<Expr> {
        if self.peek() != Some(&Kind::Command("choose".to_owned())) {
            return Some(upper);
        }
        self.skip();
        let lower = self.nested(Self::sum)?;
        Some(Expr::Apply(Function::Binomial, vec![upper, lower]))
    }
}

/// A list, unless it has one item.
pub(super) fn list(mut items: Vec<Expr>, separator: Separator) -> Expr {
    if items.len() == 1 { items.remove(0) } else { Expr::List { items, separator } }
}

/// `-a`, with the sign of a number folded into it.
pub(super) fn negate(expr: Expr) -> Expr {
    match expr {
        Expr::Number(mut number) => {
            number.value = -number.value;
            Expr::Number(number)
        }
        Expr::Quantity { value, unit } => Expr::Quantity { value: Box::new(negate(*value)), unit },
        Expr::Percent(value) => Expr::Percent(Box::new(negate(*value))),
        other => Expr::Negative(Box::new(other)),
    }
}
