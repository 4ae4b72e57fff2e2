//! Operations that bind a variable: sums, products and integrals with their ranges.

use super::structure::{Parser, negate};
use super::token::{Kind, Token};
use crate::syntax::{Binder, Constant, Expr, Relation};

impl Parser {
    /// `\sum_{k=1}^{n} a_k` after its command.
    pub(super) fn bound_sum(&mut self, binder: Binder) -> Option<Expr> {
        let mut range = None;
        let mut upper = None;
        for _ in 0..2 {
            if self.eat('_') {
                range = Some(if self.eat('{') { self.braces()? } else { return None });
            } else if self.eat('^') {
                upper = Some(self.limit()?);
            }
        }
        let (Some(Expr::Relation { terms, relations }), Some(upper)) = (range, upper) else {
            return None;
        };
        let ([index, lower], [Relation::Equal]) = (terms.as_slice(), relations.as_slice()) else {
            return None;
        };
        let body = self.nested(Self::term)?;
        let (index, body) = match index {
            Expr::Symbol(index) => (index.clone(), body),
            // Under a sum `i` counts.
            Expr::Constant(Constant::I) => ("i".to_owned(), with_counter(&body)),
            _ => return None,
        };
        Some(Expr::Bound { binder, index: index.clone(), parts: vec![body, lower.clone(), upper] })
    }

    /// A bound: a group or one operand, which a power sign does not continue.
    fn limit(&mut self) -> Option<Expr> {
        if self.eat('{') {
            return self.braces();
        }
        let is_negative = self.eat('-');
        let limit = self.nested(Self::primary)?;
        Some(if is_negative { negate(limit) } else { limit })
    }

    /// `\lim_{x \to 0} f(x)` after its command.
    pub(super) fn limit_of(&mut self) -> Option<Expr> {
        self.expect('_')?;
        self.expect('{')?;
        let Kind::Name(index) = self.next()? else {
            return None;
        };
        self.expect('→')?;
        let at = self.nested(Self::sum)?;
        self.expect('}')?;
        let body = self.nested(Self::term)?;
        Some(Expr::Bound { binder: Binder::Limit, index, parts: vec![body, at] })
    }

    /// `\int_a^b f(x) \, dx` after its command.
    pub(super) fn integral(&mut self) -> Option<Expr> {
        let mut lower = None;
        let mut upper = None;
        for _ in 0..2 {
            if self.eat('_') {
                lower = Some(self.limit()?);
            } else if self.eat('^') {
                upper = Some(self.limit()?);
            }
        }
        let (length, index) = differential(self.rest())?;
        let body = self.rest().get(..length)?.to_vec();
        let body = if body.is_empty() { Expr::integer(1) } else { self.inner(body)? };
        for _ in 0..length + 2 {
            self.skip();
        }
        let parts = match (lower, upper) {
            (Some(lower), Some(upper)) => vec![body, lower, upper],
            (None, None) => vec![body],
            _ => return None,
        };
        Some(Expr::Bound { binder: Binder::Integral, index, parts })
    }
}

/// The same with the imaginary unit as the variable `i`.
fn with_counter(expr: &Expr) -> Expr {
    match expr {
        Expr::Constant(Constant::I) => Expr::Symbol("i".to_owned()),
        other => other.map_children(&with_counter),
    }
}

/// The number of tokens before the `dx` that ends an integral, and the variable.
fn differential(tokens: &[Token]) -> Option<(usize, String)> {
    let mut depth = 0_usize;
    let mut n_inner = 0_usize;
    for (idx, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Mark('(' | '[' | '{') | Kind::Begin(_) => depth += 1,
            Kind::Mark(')' | ']' | '}') | Kind::End => depth = depth.checked_sub(1)?,
            Kind::Command(name) if name == "int" && depth == 0 => n_inner += 1,
            Kind::Name(name) if name == "d" && depth == 0 => {
                if let Some(Kind::Name(index)) = tokens.get(idx + 1).map(|token| &token.kind) {
                    if n_inner == 0 {
                        return Some((idx, index.clone()));
                    }
                    n_inner -= 1;
                }
            }
            _ => {}
        }
    }
    None
}
