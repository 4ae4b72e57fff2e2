//! The lower half of the grammar: products, powers, functions, numbers and names.

use num_traits::Signed;

use super::alphabet::{OPEN_SET, is_two_argument};
use super::structure::{Parser, list, negate};
use super::token::Kind;
use super::words::number_word;
use crate::syntax::{Constant, Expr, Function, Number, Separator};
use crate::units::canonical_unit;

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
                if matches!(base, Expr::Number(_)) && self.eat_ordinal() {
                    continue;
                }
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

    /// The `{th}` of `6^{th}`.
    fn eat_ordinal(&mut self) -> bool {
        let letter = |ahead: usize, letter: &str| matches!(self.peek_at(ahead), Some(Kind::Name(name)) if name == letter);
        let is_ordinal = self.is_at('{')
            && self.peek_at(3) == Some(&Kind::Mark('}'))
            && ["st", "nd", "rd", "th"]
                .iter()
                .any(|ending| letter(1, &ending[..1]) && letter(2, &ending[1..]));
        if is_ordinal {
            for _ in 0..4 {
                self.skip();
            }
        }
        is_ordinal
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
