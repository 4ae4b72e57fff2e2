//! The expression tree of an answer.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::ToPrimitive;

/// A number as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Number {
    /// Its exact value.
    pub(crate) value: BigRational,
    /// Digits after the decimal point; zero for an integer.
    pub(crate) n_places: u32,
    /// Digits from the first that is not zero.
    pub(crate) n_significant: u32,
    /// Whether it was written with a decimal point that ends (`0.33`, but not `0.\overline{3}`).
    pub(crate) is_decimal: bool,
}

impl Number {
    /// The integer `value`.
    pub(crate) fn integer(value: impl Into<BigInt>) -> Self {
        Self::exact(BigRational::from_integer(value.into()))
    }

    /// A value that was not written as a decimal.
    pub(crate) fn exact(value: BigRational) -> Self {
        Self { value, n_places: 0, n_significant: 0, is_decimal: false }
    }
}

/// The constants that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Constant {
    /// The ratio of a circle's circumference to its diameter.
    Pi,
    /// The base of the natural logarithm.
    E,
    /// The imaginary unit.
    I,
    /// Positive infinity.
    Infinity,
}

/// The functions an answer may apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    /// `sin`, and so on.
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    /// The natural logarithm; `\log` is read as natural too.
    Ln,
    /// The logarithm of the second argument to the base of the first.
    LogBase,
    /// Absolute value.
    Abs,
    Floor,
    Ceil,
    Factorial,
    /// `\binom{n}{k}`.
    Binomial,
    Gcd,
    Lcm,
    Max,
    Min,
    /// A function known only by its name: `f(x)`.
    Named(String),
}

/// The operations that bind a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Binder {
    /// `\sum_{k=1}^{n}`
    Sum,
    /// `\prod_{k=1}^{n}`
    Product,
    /// `\int_a^b`
    Integral,
    /// `\lim_{x \to a}`: the bound is the point; it has no value here.
    Limit,
}

/// How two sides of a relation compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    /// `=`
    Equal,
    /// `\approx`
    Approx,
    /// `\ne`
    NotEqual,
    /// `<`
    Less,
    /// `\le`
    LessEqual,
    /// `>`
    Greater,
    /// `\ge`
    GreaterEqual,
    /// `\in`
    In,
}

/// The brackets around a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Bracket {
    /// `(` or `)`, an open end.
    Round,
    /// `[` or `]`, a closed end.
    Square,
    /// `\langle` or `\rangle`.
    Angle,
}

/// What separates the items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Separator {
    /// A comma or a semicolon.
    Comma,
    /// The word `and`.
    And,
    /// The word `or`.
    Or,
}

/// The operations on sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SetOperation {
    /// `\cup`
    Union,
    /// `\cap`
    Intersection,
    /// `\setminus`
    Difference,
}

/// An answer, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// `42`, `0.5`
    Number(Number),
    /// `x`, `x_{1}`, `AB`
    Symbol(String),
    /// `\pi`
    Constant(Constant),
    /// `a + b - c`; a subtracted term is a [`Expr::Negative`].
    Sum(Vec<Expr>),
    /// `a b c`
    Product(Vec<Expr>),
    /// `a / b`
    Quotient(Box<Expr>, Box<Expr>),
    /// `a^b`; a root is a power of a fraction.
    Power(Box<Expr>, Box<Expr>),
    /// `-a`
    Negative(Box<Expr>),
    /// `\pm a`, or `\mp a` when flipped: both signs at once.
    PlusMinus {
        /// The value that takes both signs.
        value: Box<Expr>,
        /// Whether the lower sign is the plus.
        is_flipped: bool,
    },
    /// `\sin x`
    Apply(Function, Vec<Expr>),
    /// `\sum_{k=1}^{n} k`, `\int_0^1 x \, dx`
    Bound {
        /// What is done over the range.
        binder: Binder,
        /// The variable it binds.
        index: String,
        /// The body, then the lower and the upper bound, or the point of a limit; the body alone
        /// when there are none.
        parts: Vec<Expr>,
    },
    /// `\begin{cases} .. \end{cases}`: each value with its condition.
    Cases(Vec<(Expr, Expr)>),
    /// `10\%`
    Percent(Box<Expr>),
    /// `10 \text{ cm}`
    Quantity {
        /// The value without its unit.
        value: Box<Expr>,
        /// The unit, in its canonical name.
        unit: String,
    },
    /// `12_8`: digits and the base they are written in.
    Based {
        /// The digits as a decimal number.
        digits: BigInt,
        /// The base.
        base: u32,
    },
    /// `a : b : c`
    Ratio(Vec<Expr>),
    /// Items without brackets, or in plain braces.
    List {
        /// The items in order.
        items: Vec<Expr>,
        /// The strongest word between them.
        separator: Separator,
    },
    /// Items in brackets; two of them may be an interval.
    Tuple {
        /// The items in order.
        items: Vec<Expr>,
        /// The opening bracket.
        open: Bracket,
        /// The closing bracket.
        close: Bracket,
    },
    /// `\{a, b\}`; empty for `\emptyset`.
    Set(Vec<Expr>),
    /// `A \cup B`
    SetOperation(SetOperation, Vec<Expr>),
    /// Rows of entries.
    Matrix(Vec<Vec<Expr>>),
    /// `a < b \le c`: one more term than relations.
    Relation {
        /// The sides in order.
        terms: Vec<Expr>,
        /// What stands between them.
        relations: Vec<Relation>,
    },
    /// Words.
    Text(String),
}

impl Expr {
    /// The integer `value`.
    pub(crate) fn integer(value: i64) -> Self {
        Self::Number(Number::integer(value))
    }

    /// The fraction `numerator / denominator` of two small integers.
    pub(crate) fn fraction(numerator: i64, denominator: i64) -> Self {
        Self::Number(Number::exact(BigRational::new(numerator.into(), denominator.into())))
    }

    /// The expressions directly below this one.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Self::Number(_)
            | Self::Symbol(_)
            | Self::Constant(_)
            | Self::Based { .. }
            | Self::Text(_) => Vec::new(),
            Self::Sum(items)
            | Self::Product(items)
            | Self::Apply(_, items)
            | Self::Ratio(items)
            | Self::List { items, .. }
            | Self::Tuple { items, .. }
            | Self::Set(items)
            | Self::SetOperation(_, items)
            | Self::Bound { parts: items, .. }
            | Self::Relation { terms: items, .. } => items.iter().collect(),
            Self::Cases(rows) => rows.iter().flat_map(|(a, b)| [a, b]).collect(),
            Self::Quotient(a, b) | Self::Power(a, b) => vec![a, b],
            Self::Negative(a) | Self::Percent(a) => vec![a],
            Self::PlusMinus { value, .. } | Self::Quantity { value, .. } => vec![value],
            Self::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Whether `test` holds of this expression or of one below it.
    pub(crate) fn any(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        test(self) || self.has_child(&|child| child.any(test))
    }

    /// Whether `test` holds of an expression directly below this one.
    fn has_child(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        match self {
            Self::Number(_)
            | Self::Symbol(_)
            | Self::Constant(_)
            | Self::Based { .. }
            | Self::Text(_) => false,
            Self::Negative(a) | Self::Percent(a) => test(a),
            Self::PlusMinus { value, .. } | Self::Quantity { value, .. } => test(value),
            Self::Quotient(a, b) | Self::Power(a, b) => test(a) || test(b),
            Self::Sum(items) | Self::Product(items) => items.iter().any(test),
            other => other.children().into_iter().any(test),
        }
    }

    /// Whether it is arithmetic of numbers alone: `-5`, `2 / 3`, `4 * 3^2`.
    pub(crate) fn is_arithmetic(&self) -> bool {
        match self {
            Self::Number(_) => true,
            Self::Negative(a) => a.is_arithmetic(),
            Self::Quotient(a, b) | Self::Power(a, b) => a.is_arithmetic() && b.is_arithmetic(),
            Self::Sum(items) | Self::Product(items) => items.iter().all(Self::is_arithmetic),
            _ => false,
        }
    }

    /// The same expression with every child replaced by what `map` makes of it.
    pub(crate) fn map_children(&self, map: &dyn Fn(&Expr) -> Expr) -> Expr {
        let all = |items: &[Expr]| items.iter().map(map).collect();
        let boxed = |item: &Expr| Box::new(map(item));
        match self {
            Self::Number(_)
            | Self::Symbol(_)
            | Self::Constant(_)
            | Self::Based { .. }
            | Self::Text(_) => self.clone(),
            Self::Sum(items) => Self::Sum(all(items)),
            Self::Product(items) => Self::Product(all(items)),
            Self::Quotient(a, b) => Self::Quotient(boxed(a), boxed(b)),
            Self::Power(a, b) => Self::Power(boxed(a), boxed(b)),
            Self::Negative(a) => Self::Negative(boxed(a)),
            Self::PlusMinus { value, is_flipped } => {
                Self::PlusMinus { value: boxed(value), is_flipped: *is_flipped }
            }
            Self::Apply(function, items) => Self::Apply(function.clone(), all(items)),
            Self::Percent(a) => Self::Percent(boxed(a)),
            Self::Bound { binder, index, parts } => {
                Self::Bound { binder: *binder, index: index.clone(), parts: all(parts) }
            }
            Self::Cases(rows) => Self::Cases(rows.iter().map(|(a, b)| (map(a), map(b))).collect()),
            Self::Quantity { value, unit } => {
                Self::Quantity { value: boxed(value), unit: unit.clone() }
            }
            Self::Ratio(items) => Self::Ratio(all(items)),
            Self::List { items, separator } => {
                Self::List { items: all(items), separator: *separator }
            }
            Self::Tuple { items, open, close } => {
                Self::Tuple { items: all(items), open: *open, close: *close }
            }
            Self::Set(items) => Self::Set(all(items)),
            Self::SetOperation(operation, items) => Self::SetOperation(*operation, all(items)),
            Self::Matrix(rows) => Self::Matrix(rows.iter().map(|row| all(row)).collect()),
            Self::Relation { terms, relations } => {
                Self::Relation { terms: all(terms), relations: relations.clone() }
            }
        }
    }

    /// Whether it is no scalar.
    pub(crate) fn is_structural(&self) -> bool {
        matches!(
            self,
            Self::List { .. }
                | Self::Tuple { .. }
                | Self::Set(_)
                | Self::SetOperation(..)
                | Self::Matrix(_)
                | Self::Relation { .. }
                | Self::Ratio(_)
                | Self::Cases(_)
                | Self::Text(_)
        )
    }

    /// Whether `self` is the integer `value` as written.
    pub(crate) fn is_integer(&self, value: i32) -> bool {
        matches!(self, Self::Number(number) if number.value.is_integer() && number.value.to_i32() == Some(value))
    }

    /// Whether replacing the variable `name` would miss a subscript that holds it or change what
    /// an inner operation binds.
    pub(crate) fn hides(&self, name: &str) -> bool {
        self.any(&|part| match part {
            Self::Symbol(symbol) => has_subscript(symbol, name),
            Self::Bound { index, .. } => index == name,
            _ => false,
        })
    }

    /// The same expression with the variable `name` replaced by `value`; see [`Self::hides`].
    pub(crate) fn substituted(&self, name: &str, value: &Expr) -> Self {
        self.replaced(name, value, name)
    }

    /// The same expression with the variable `name` renamed, in subscripts too.
    pub(crate) fn renamed(&self, name: &str, new: &str) -> Self {
        self.replaced(name, &Self::Symbol(new.to_owned()), new)
    }

    fn replaced(&self, name: &str, value: &Expr, subscript: &str) -> Self {
        match self {
            Self::Symbol(symbol) if symbol == name => value.clone(),
            Self::Symbol(symbol) if has_subscript(symbol, name) => {
                let (head, tail) = symbol.split_once('_').unwrap_or((symbol, ""));
                Self::Symbol(format!("{head}_{}", tail.replace(name, subscript)))
            }
            other => other.map_children(&|child| child.replaced(name, value, subscript)),
        }
    }
}

/// Whether the subscript of `symbol` holds the variable `name`: `a_{n-k}` holds `k`.
fn has_subscript(symbol: &str, name: &str) -> bool {
    symbol.split_once('_').is_some_and(|(_, subscript)| subscript.contains(name))
}
