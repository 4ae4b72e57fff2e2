//! The lower half of the grammar: products, powers, functions, numbers and names.

use num_traits::{Signed, ToPrimitive};

use super::alphabet::{MID, OPEN_SET, is_two_argument};
use super::structure::{Parser, list, negate};
use super::token::Kind;
use super::words::number_word;
use crate::syntax::{Bracket, Constant, Expr, Function, Number, Relation, Separator};
use crate::units::canonical_unit;

/// Names that are functions when a bracket follows at once.
const FUNCTION_NAMES: [&str; 6] = ["f", "g", "h", "F", "G", "P"];

impl Parser {
    /// `2 a b / c`, with its unit.
    pub(super) fn term(&mut self) -> Option<Expr> {
        let mut numerator = vec![self.factor()?];
        let mut denominator = Vec::new();
        loop {
            if self.eat('*') {
                let factor = self.factor()?;
                numerator.push(factor);
            } else if self.is_at('/') {
                self.skip();
                let factor = self.factor()?;
                denominator.push(factor);
            } else if let Some(Kind::Text(_)) = self.peek() {
                if matches!(numerator.as_slice(), [Expr::Text(_)]) && denominator.is_empty() {
                    break;
                }
                let unit = self.unit()?;
                let value = Box::new(fraction(numerator, denominator));
                return self.compound(Expr::Quantity { value, unit });
            } else if let Some(modulus) = self.modulus() {
                let value = Box::new(fraction(numerator, denominator));
                return Some(Expr::Quantity { value, unit: format!("mod {modulus}") });
            } else if self.starts_factor() {
                self.adjacent(&mut numerator, denominator.is_empty())?;
            } else {
                break;
            }
        }
        Some(fraction(numerator, denominator))
    }

    /// `1 hour 20 minutes`: quantities side by side, as a list of them.
    fn compound(&mut self, first: Expr) -> Option<Expr> {
        let mut items = vec![first];
        while items.len() < 4 && matches!(self.peek(), Some(Kind::Number(_))) {
            let next = self.nested(Self::term)?;
            match next {
                Expr::Quantity { .. } => items.push(next),
                Expr::List { items: more, .. } => items.extend(more),
                _ => return None,
            }
        }
        Some(list(items, Separator::And))
    }

    /// `\pmod{7}`, `\bmod 7`, `(mod 7)`: the modulus.
    fn modulus(&mut self) -> Option<String> {
        let before = self.position();
        let is_mod = |kind: Option<&Kind>| matches!(kind, Some(Kind::Command(name)) if matches!(name.as_str(), "pmod" | "bmod" | "mod" | "pod"));
        let has_bracket = self.is_at('(') && is_mod(self.peek_at(1));
        if !has_bracket && !is_mod(self.peek()) {
            return None;
        }
        if has_bracket {
            self.skip();
        }
        self.skip();
        let modulus = self.subscript();
        if has_bracket && modulus.is_some() && !self.eat(')') {
            self.rewind(before);
            return None;
        }
        modulus
    }

    /// A factor that follows without a sign: a product, or the fraction of a mixed number.
    fn adjacent(&mut self, numerator: &mut Vec<Expr>, is_whole: bool) -> Option<()> {
        let before = self.position();
        let whole = match numerator.last() {
            Some(Expr::Number(number)) => Some(number.clone()),
            _ => None,
        };
        let may_be_mixed = is_whole && numerator.len() == 1;
        let is_natural = |number: &Number| {
            number.value.is_integer() && !number.is_decimal && !number.value.is_negative()
        };
        if let (Some(whole), Some(Kind::Number(_))) = (&whole, self.peek()) {
            // `1 1/2` is a mixed number; `1 2` is nothing.
            if !may_be_mixed || !is_natural(whole) {
                return None;
            }
            let part = self.plain_fraction()?;
            *numerator = vec![Expr::Sum(vec![Expr::Number(whole.clone()), part])];
            return Some(());
        }
        let factor = self.factor()?;
        match whole {
            Some(whole)
                if may_be_mixed
                    && is_natural(&whole)
                    && is_proper_fraction(&factor)
                    && self.was_fraction(before) =>
            {
                *numerator = vec![Expr::Sum(vec![Expr::Number(whole), factor])];
            }
            _ => numerator.push(factor),
        }
        Some(())
    }

    /// Whether what was read from `position` began as a `\frac` and not in brackets.
    fn was_fraction(&mut self, position: usize) -> bool {
        let here = self.position();
        self.rewind(position);
        let is_fraction = matches!(self.peek(), Some(Kind::Command(name)) if is_two_argument(name));
        self.rewind(here);
        is_fraction
    }

    /// `1/2` of a mixed number.
    fn plain_fraction(&mut self) -> Option<Expr> {
        if !self.is_spaced() {
            return None;
        }
        let (Kind::Number(a), true, Kind::Number(b)) = (self.next()?, self.eat('/'), self.next()?)
        else {
            return None;
        };
        let part = Expr::Quotient(Box::new(Expr::Number(a)), Box::new(Expr::Number(b)));
        is_proper_fraction(&part).then_some(part)
    }

    /// Whether a factor may follow without a sign between.
    fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Kind::Command(name)) => name != "choose",
            Some(Kind::Number(_) | Kind::Name(_) | Kind::Begin(_)) => true,
            Some(Kind::Mark('|')) => self.n_bars == 0 && !self.in_set,
            Some(Kind::Mark(mark)) => matches!(mark, '(' | '{' | '⌊' | '⌈' | '∞'),
            _ => false,
        }
    }

    /// A power with its signs: `-x^2`.
    pub(super) fn factor(&mut self) -> Option<Expr> {
        let mut is_negative = false;
        while let Some(Kind::Mark(sign @ ('-' | '+'))) = self.peek() {
            is_negative ^= *sign == '-';
            self.skip();
        }
        let power = self.nested(Self::power)?;
        Some(if is_negative { negate(power) } else { power })
    }

    /// `a^b`, `a!`, `a\%`
    fn power(&mut self) -> Option<Expr> {
        let mut base = self.primary()?;
        let mut n_nested = 0;
        loop {
            n_nested += 1;
            if n_nested > 20 {
                return None;
            }
            if self.is_at('^') {
                self.skip();
                if let Some(Kind::Text(above)) = self.peek_through_brace() {
                    let is_braced = self.eat('{');
                    self.skip();
                    if is_braced {
                        self.expect('}')?;
                    }
                    // `6^{\text{th}}` is 6.
                    if matches!(above.as_str(), "st" | "nd" | "rd" | "th") {
                        continue;
                    }
                    if above != "°" {
                        return None;
                    }
                    base = Expr::Quantity { value: Box::new(base), unit: "deg".to_owned() };
                    continue;
                }
                if self.eat('\'') {
                    base = primed(base)?;
                    continue;
                }
                let exponent = self.exponent()?;
                base = Expr::Power(Box::new(base), Box::new(exponent));
            } else if self.eat('!') {
                base = Expr::Apply(Function::Factorial, vec![base]);
            } else if self.eat('%') {
                base = Expr::Percent(Box::new(base));
            } else if self.is_at('\'') {
                self.skip();
                base = primed(base)?;
            } else {
                return Some(base);
            }
        }
    }

    fn peek_through_brace(&self) -> Option<Kind> {
        let ahead = usize::from(self.is_at('{'));
        self.peek_at(ahead).cloned()
    }

    /// What stands above: a group, or one signed power.
    pub(super) fn exponent(&mut self) -> Option<Expr> {
        if self.eat('{') {
            return self.braces();
        }
        self.factor()
    }

    /// One operand.
    pub(super) fn primary(&mut self) -> Option<Expr> {
        match self.next()? {
            Kind::Number(number) => {
                if self.is_at('_') && !number.is_decimal {
                    self.skip();
                    let base = self.subscript()?;
                    let base = base
                        .parse()
                        .ok()
                        .or_else(|| number_word(&base).and_then(|n| u32::try_from(n).ok()))?;
                    return (2..=36)
                        .contains(&base)
                        .then(|| Expr::Based { digits: number.value.to_integer(), base });
                }
                Some(Expr::Number(number))
            }
            Kind::Name(name) => self.name(name),
            Kind::Command(name) => self.call(&name),
            Kind::Text(text) => self.text(text),
            Kind::Begin(environment) => self.environment(&environment),
            Kind::Mark('(') => self.brackets('('),
            Kind::Mark('[') => self.brackets('['),
            Kind::Mark(']') => self.brackets(']'),
            Kind::Mark('⟨') => self.brackets('⟨'),
            Kind::Mark(OPEN_SET) => self.set(),
            Kind::Mark('{') => self.braces(),
            Kind::Mark('∅') => Some(Expr::Set(Vec::new())),
            Kind::Mark('∞') => Some(Expr::Constant(Constant::Infinity)),
            Kind::Mark('|') => {
                self.n_bars += 1;
                let content = self.nested(Self::sum)?;
                self.n_bars -= 1;
                self.expect('|')?;
                Some(Expr::Apply(Function::Abs, vec![content]))
            }
            Kind::Mark('⌊') => self.closed_call(Function::Floor, '⌋'),
            Kind::Mark('⌈') => self.closed_call(Function::Ceil, '⌉'),
            Kind::Mark(_) | Kind::End => None,
        }
    }

    fn closed_call(&mut self, function: Function, close: char) -> Option<Expr> {
        let content = self.bracketed(Self::sum)?;
        self.expect(close)?;
        Some(Expr::Apply(function, vec![content]))
    }

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

    /// Words, or a currency before its amount.
    fn text(&mut self, text: String) -> Option<Expr> {
        if matches!(text.as_str(), "$" | "€" | "£" | "¥" | "₹" | "US$") {
            let value = self.nested(Self::term)?;
            let value = match value {
                // `$5 million` and `$5 dollars` keep the sign's unit.
                Expr::Quantity { value, .. } => *value,
                other => other,
            };
            return Some(Expr::Quantity { value: Box::new(value), unit: canonical_unit(&text) });
        }
        if text == "°" {
            return None;
        }
        let mut words = text;
        while let Some(Kind::Text(more)) = self.peek() {
            words.push(' ');
            words.push_str(more);
            self.skip();
        }
        Some(Expr::Text(words))
    }

    /// The unit that follows a value: `cm^2`, `miles per hour`, `\text{m}/\text{s}`.
    fn unit(&mut self) -> Option<String> {
        let mut unit = String::new();
        loop {
            match self.peek() {
                Some(Kind::Text(text)) => {
                    if !unit.is_empty() && !unit.ends_with(['/', '*']) {
                        unit.push(' ');
                    }
                    unit.push_str(text);
                    self.skip();
                }
                Some(Kind::Mark('^')) if !unit.is_empty() => {
                    self.skip();
                    unit.push('^');
                    unit.push_str(&self.subscript()?);
                }
                Some(Kind::Mark('/')) if !unit.is_empty() => {
                    unit.push('/');
                    self.skip();
                    if let Some(Kind::Name(name)) = self.peek() {
                        unit.push_str(name);
                        self.skip();
                    }
                }
                _ => break,
            }
        }
        Some(canonical_unit(&unit))
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

/// The quotient of two products.
pub(super) fn fraction(numerator: Vec<Expr>, denominator: Vec<Expr>) -> Expr {
    let product = |mut factors: Vec<Expr>| {
        if factors.len() == 1 { factors.remove(0) } else { Expr::Product(factors) }
    };
    if denominator.is_empty() {
        return product(numerator);
    }
    Expr::Quotient(Box::new(product(numerator)), Box::new(product(denominator)))
}

/// Whether `expr` is a fraction of two positive integers below one.
fn is_proper_fraction(expr: &Expr) -> bool {
    let Expr::Quotient(a, b) = expr else {
        return false;
    };
    let (Expr::Number(a), Expr::Number(b)) = (&**a, &**b) else {
        return false;
    };
    a.value.is_integer() && b.value.is_integer() && a.value.is_positive() && a.value < b.value
}

fn primed(base: Expr) -> Option<Expr> {
    match base {
        Expr::Symbol(name) => Some(Expr::Symbol(format!("{name}'"))),
        _ => None,
    }
}
