//! Names: variables with their subscripts, functions, points with a letter, `C_n^k`.

use num_traits::ToPrimitive;

use super::alphabet::MID;
use super::structure::Parser;
use super::token::Kind;
use crate::syntax::{Bracket, Constant, Expr, Function, Relation};

/// Names that are functions when a bracket follows at once.
const FUNCTION_NAMES: [&str; 6] = ["f", "g", "h", "F", "G", "P"];

impl Parser {
    /// A name with its subscript and, for a function, its arguments.
    pub(super) fn name(&mut self, mut name: String) -> Option<Expr> {
        match name.as_str() {
            "e" if !self.is_at('_') => return Some(Expr::Constant(Constant::E)),
            "i" if !self.is_at('_') => return Some(Expr::Constant(Constant::I)),
            "pi" => return Some(Expr::Constant(Constant::Pi)),
            "angle" | "triangle" => {
                // `\angle ABC` is one name.
                while let Some(Kind::Name(next)) = self.peek() {
                    name.push_str(next);
                    self.skip();
                }
            }
            _ => {}
        }
        if self.eat('_') {
            name.push('_');
            name.push_str(&self.subscript()?);
            if let Some(count) = self.selections(&name) {
                return Some(count);
            }
        }
        let mut n_primes = 0;
        while self.is_at('\'') && FUNCTION_NAMES.contains(&name.as_str()) && n_primes < 4 {
            self.skip();
            n_primes += 1;
        }
        let plain = name.split('_').next().unwrap_or("");
        if FUNCTION_NAMES.contains(&plain) && self.is_inverse() {
            for _ in 0..5 {
                self.skip();
            }
            name.push_str("^-1");
        }
        name.extend(std::iter::repeat_n('\'', n_primes));
        let plain = name.split(['_', '\'', '^']).next().unwrap_or("");
        let is_letter = name.len() == 1 && name.starts_with(|c: char| c.is_ascii_uppercase());
        if is_letter && self.is_at('(') && self.opens_tuple() {
            return self.lettered(name);
        }
        if FUNCTION_NAMES.contains(&plain) && self.is_at('(') && !self.is_spaced() {
            self.skip();
            let arguments = match self.brackets('(')? {
                Expr::Tuple { items, .. } => items,
                single => vec![single],
            };
            return Some(Expr::Apply(Function::Named(name), arguments));
        }
        Some(Expr::Symbol(name))
    }

    /// `C_{10}^{3}` counts choices and `A_5^2`, `P_5^2` count arrangements.
    fn selections(&mut self, name: &str) -> Option<Expr> {
        let (letter, n) = name.split_once('_')?;
        let n: i64 = n.parse().ok().filter(|n| (1..=3_000).contains(n))?;
        if !matches!(letter, "C" | "A" | "P") || !self.is_at('^') {
            return None;
        }
        let is_braced = self.peek_at(1) == Some(&Kind::Mark('{'));
        let Some(Kind::Number(k)) = self.peek_at(1 + usize::from(is_braced)) else {
            return None;
        };
        let k = k.value.to_integer().to_i64().filter(|_| k.value.is_integer())?;
        let is_closed = !is_braced || self.peek_at(3) == Some(&Kind::Mark('}'));
        if !is_closed || !(0..=n).contains(&k) {
            return None;
        }
        for _ in 0..if is_braced { 4 } else { 2 } {
            self.skip();
        }
        let count = Expr::Apply(Function::Binomial, vec![Expr::integer(n), Expr::integer(k)]);
        if letter == "C" {
            return Some(count);
        }
        let orders = Expr::Apply(Function::Factorial, vec![Expr::integer(k)]);
        Some(Expr::Product(vec![count, orders]))
    }

    /// Whether the bracket that opens here holds a comma of its own.
    fn opens_tuple(&self) -> bool {
        let mut depth = 0_usize;
        for token in self.rest() {
            match token.kind {
                Kind::Mark('(' | '[' | '{') => depth += 1,
                Kind::Mark(')' | ']' | '}') if depth <= 1 => return false,
                Kind::Mark(')' | ']' | '}') => depth -= 1,
                Kind::Mark(',') if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    /// `P(1, 2)`, a point with its letter, is the relation `P = (1, 2)`.
    fn lettered(&mut self, name: String) -> Option<Expr> {
        self.skip();
        let content = self.brackets('(')?;
        match content {
            Expr::Tuple { close: Bracket::Round, .. } if !self.is_at('=') => Some(Expr::Relation {
                terms: vec![Expr::Symbol(name), content],
                relations: vec![Relation::Equal],
            }),
            Expr::Tuple { items, .. } => Some(Expr::Apply(Function::Named(name), items)),
            other => Some(Expr::Product(vec![Expr::Symbol(name), other])),
        }
    }

    /// Whether `^{-1}(` comes next.
    fn is_inverse(&self) -> bool {
        let marks = ['^', '{', '-'];
        marks.iter().enumerate().all(|(idx, mark)| self.peek_at(idx) == Some(&Kind::Mark(*mark)))
            && matches!(self.peek_at(3), Some(Kind::Number(n)) if n.value.to_i32() == Some(1))
            && self.peek_at(4) == Some(&Kind::Mark('}'))
            && self.peek_at(5) == Some(&Kind::Mark('('))
    }

    /// A subscript as a string: it is part of a name.
    pub(super) fn subscript(&mut self) -> Option<String> {
        let mut text = String::new();
        if !self.eat('{') {
            push_token(&mut text, &self.next()?);
            return Some(text);
        }
        let mut depth = 1;
        while depth > 0 {
            let kind = self.next()?;
            match kind {
                Kind::Mark('{') => depth += 1,
                Kind::Mark('}') => depth -= 1,
                _ => push_token(&mut text, &kind),
            }
        }
        Some(text)
    }
}

fn push_token(text: &mut String, kind: &Kind) {
    match kind {
        Kind::Number(number) => text.push_str(&number.value.to_string()),
        Kind::Name(name) | Kind::Command(name) | Kind::Text(name) => text.push_str(name.trim()),
        Kind::Mark(mark) if *mark != MID => text.push(*mark),
        _ => {}
    }
}
