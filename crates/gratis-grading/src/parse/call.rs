//! Commands and functions with their arguments: `\frac`, `\sqrt`, `\log_2`, `\sin^2 x`.

use num_traits::{Signed, ToPrimitive};

use super::alphabet::is_two_argument;
use super::environment::determinant;
use super::operand::fraction;
use super::structure::Parser;
use super::token::Kind;
use crate::syntax::{Binder, Constant, Expr, Function};

impl Parser {
    /// A command with its arguments.
    pub(super) fn call(&mut self, name: &str) -> Option<Expr> {
        match name {
            _ if is_two_argument(name) => {
                let a = self.command_argument()?;
                let b = self.command_argument()?;
                Some(if name.ends_with("frac") {
                    Expr::Quotient(Box::new(a), Box::new(b))
                } else {
                    Expr::Apply(Function::Binomial, vec![a, b])
                })
            }
            "sqrt" => {
                let degree = if self.eat('[') {
                    let degree = self.bracketed(Self::sum)?;
                    self.expect(']')?;
                    degree
                } else {
                    Expr::integer(2)
                };
                let radicand = self.command_argument()?;
                Some(root(radicand, degree))
            }
            "cbrt" => Some(root(self.command_argument()?, Expr::integer(3))),
            "sum" => self.bound_sum(Binder::Sum),
            "prod" => self.bound_sum(Binder::Product),
            "int" => self.integral(),
            "lim" => self.limit_of(),
            "det" => match self.function_argument()? {
                Expr::Matrix(rows) => determinant(&rows),
                _ => None,
            },
            "pi" => Some(Expr::Constant(Constant::Pi)),
            "ldots" | "dots" | "cdots" => Some(Expr::Text("...".to_owned())),
            "exp" => {
                let exponent = self.function_argument()?;
                Some(Expr::Power(Box::new(Expr::Constant(Constant::E)), Box::new(exponent)))
            }
            "theta" | "alpha" | "beta" | "gamma" | "lambda" => self.name(name.to_owned()),
            "log" | "lg" => {
                let base = if self.eat('_') {
                    Some(if self.eat('{') { self.braces()? } else { self.nested(Self::primary)? })
                } else {
                    (name == "lg").then(|| Expr::integer(10))
                };
                let power = self.function_power()?;
                let argument = self.function_argument()?;
                let logarithm = match base {
                    Some(base) => Expr::Apply(Function::LogBase, vec![base, argument]),
                    None => Expr::Apply(Function::Ln, vec![argument]),
                };
                Some(raised(logarithm, power))
            }
            _ => {
                let function = function_of(name)?;
                let power = self.function_power()?;
                let argument = self.function_argument()?;
                let (function, power) = match inverse(&function) {
                    Some(inverse) if power.is_integer(-1) => (inverse, Expr::integer(1)),
                    _ => (function, power),
                };
                let arguments = match argument {
                    Expr::Tuple { items, .. } => items,
                    single if is_trigonometric(&function) => vec![in_radians(&single)],
                    single => vec![single],
                };
                Some(raised(Expr::Apply(function, arguments), power))
            }
        }
    }

    /// The argument of `\frac` or `\sqrt`: a group or one operand.
    fn command_argument(&mut self) -> Option<Expr> {
        if self.eat('{') {
            return self.braces();
        }
        self.nested(Self::primary)
    }

    /// The `^2` of `\sin^2 x`; one when there is none.
    fn function_power(&mut self) -> Option<Expr> {
        if !self.eat('^') {
            return Some(Expr::integer(1));
        }
        self.exponent()
    }

    /// What a function applies to: a bracket, or the product that follows.
    fn function_argument(&mut self) -> Option<Expr> {
        if self.eat('(') {
            return self.brackets('(');
        }
        if self.eat('{') {
            return self.braces();
        }
        let mut factors = vec![self.factor()?];
        loop {
            if self.eat_degree()
                && let Some(value) = factors.pop()
            {
                factors.push(Expr::Quantity { value: Box::new(value), unit: "deg".to_owned() });
                break;
            }
            let is_part = match self.peek() {
                Some(Kind::Name(_)) => true,
                Some(Kind::Command(name)) => {
                    is_two_argument(name) || matches!(name.as_str(), "pi" | "sqrt" | "theta")
                }
                _ => false,
            };
            if !is_part {
                break;
            }
            factors.push(self.factor()?);
        }
        if self.is_at('/') && matches!(self.peek_at(1), Some(Kind::Number(_))) && factors.len() == 1
        {
            self.skip();
            let divisor = self.factor()?;
            return Some(fraction(factors, vec![divisor]));
        }
        Some(fraction(factors, Vec::new()))
    }
}

impl Parser {
    /// `°` or the word after an angle.
    fn eat_degree(&mut self) -> bool {
        let is_degree = matches!(self.peek(), Some(Kind::Text(text))
            if matches!(text.as_str(), "°" | "degree" | "degrees" | "deg"));
        if is_degree {
            self.skip();
        }
        is_degree
    }
}

fn root(radicand: Expr, degree: Expr) -> Expr {
    let exponent = match &degree {
        Expr::Number(n) if n.value.is_positive() && n.value.is_integer() => {
            match n.value.to_i64() {
                Some(n) => Expr::fraction(1, n),
                None => Expr::Quotient(Box::new(Expr::integer(1)), Box::new(degree)),
            }
        }
        _ => Expr::Quotient(Box::new(Expr::integer(1)), Box::new(degree)),
    };
    Expr::Power(Box::new(radicand), Box::new(exponent))
}

fn raised(base: Expr, power: Expr) -> Expr {
    if power.is_integer(1) {
        return base;
    }
    Expr::Power(Box::new(base), Box::new(power))
}

fn function_of(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" | "ctg" => Function::Cot,
        "sec" => Function::Sec,
        "csc" | "cosec" => Function::Csc,
        "arcsin" | "asin" => Function::Asin,
        "arccos" | "acos" => Function::Acos,
        "arctan" | "atan" => Function::Atan,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "ln" => Function::Ln,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" => Function::Ceil,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "max" => Function::Max,
        "min" => Function::Min,
        _ => return None,
    })
}

/// Whether a function takes an angle.
fn is_trigonometric(function: &Function) -> bool {
    matches!(
        function,
        Function::Sin
            | Function::Cos
            | Function::Tan
            | Function::Cot
            | Function::Sec
            | Function::Csc
    )
}

/// An angle with its degrees turned into radians: `\tan 15^\circ` is not `\tan 15`.
fn in_radians(angle: &Expr) -> Expr {
    match angle {
        Expr::Quantity { value, unit } if unit == "deg" => {
            let half_turn = Expr::Quotient(
                Box::new(Expr::Constant(Constant::Pi)),
                Box::new(Expr::integer(180)),
            );
            Expr::Product(vec![(**value).clone(), half_turn])
        }
        other => other.map_children(&in_radians),
    }
}

/// The inverse that `^{-1}` means.
fn inverse(function: &Function) -> Option<Function> {
    Some(match function {
        Function::Sin => Function::Asin,
        Function::Cos => Function::Acos,
        Function::Tan => Function::Atan,
        _ => return None,
    })
}
