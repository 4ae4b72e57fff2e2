//! Equations, inequalities and assignments.

use num_traits::ToPrimitive;

use super::Comparer;
use crate::exact::{Context, Multiple, normal};
use crate::numeric::{Assignment, evaluate};
use crate::syntax::{Expr, Function, Relation};

/// Points at which the sides of two relations are compared.
const N_POINTS: u64 = 7;
/// Agreement of the ratio of two equations.
const TOLERANCE: f64 = 1e-8;

/// The name and the value of an assignment: `x = 5`, `2 = y`, `f(x) = 3x`, `x \in [0, 1]`,
/// and of a chain `z = 1 + 1 = 2`, whose value is its last.
pub(super) fn assigned(expr: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::Relation { terms, relations } = expr else {
        return None;
    };
    let (first, last) = (terms.first()?, terms.last()?);
    if relations.as_slice() == [Relation::In] {
        return is_name(first).then_some((first, last));
    }
    if !relations.iter().all(|relation| matches!(relation, Relation::Equal | Relation::Approx)) {
        return None;
    }
    // What an approximation approximates is the value: `x = \sqrt 2 \approx 1.41`.
    let n_exact = 1 + relations.iter().take_while(|relation| **relation == Relation::Equal).count();
    let exact = &terms[..n_exact];
    let value = match exact {
        [] | [_] => last,
        several => several.last()?,
    };
    if is_name(first) && !std::ptr::eq(first, value) {
        return Some((first, value));
    }
    if terms.len() == 2 && is_name(last) && !is_name(first) {
        return Some((last, first));
    }
    // `35 + 70 = 105` has no name and says its last value.
    let has_symbol = |part: &Expr| {
        matches!(part, Expr::Symbol(_) | Expr::Text(_) | Expr::Apply(Function::Named(_), _))
    };
    if !expr.any(&has_symbol) {
        let value =
            if relations.last() == Some(&Relation::Approx) && n_exact == 1 { first } else { value };
        return Some((value, value));
    }
    None
}

/// The values of `y = 4, x = 3` in the order of their names, when these are neighbours in the
/// alphabet: then they stand for coordinates.
pub(super) fn in_order_of_names(items: &[Expr]) -> Option<Vec<Expr>> {
    let mut named: Vec<(u8, Expr)> = Vec::with_capacity(items.len());
    for item in items {
        let (Expr::Symbol(name), value) = assigned(item)? else {
            return None;
        };
        let &[letter] = name.as_bytes() else {
            return None;
        };
        named.push((letter, value.clone()));
    }
    named.sort_by_key(|(letter, _)| *letter);
    let are_neighbours = named.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
    are_neighbours.then(|| named.into_iter().map(|(_, value)| value).collect())
}

/// The value of a combination that was asked for by name: 113 of `m + n = 113`.
///
/// The left side is a polynomial in at least two variables without a term of its own that is a
/// number, and the right side a number that is not zero: `x^2 + y^2 = 25` gives 25, but
/// `a^2 + b = 0` states a relation, and so do `2x + 3 = 7` and the line `y - 2x = 3`. A chain gives its last value:
/// `p + q = 113 + 58 = 171`.
pub(super) fn combined(expr: &Expr) -> Option<&Expr> {
    let Expr::Relation { terms, relations } = expr else {
        return None;
    };
    if relations.iter().any(|relation| *relation != Relation::Equal) {
        return None;
    }
    let (first, values) = terms.split_first()?;
    let value = values.last()?;
    let is_letter = |part: &Expr| matches!(part, Expr::Symbol(_));
    let is_plain = !first.any(&|part| {
        !matches!(
            part,
            Expr::Symbol(_)
                | Expr::Number(_)
                | Expr::Sum(_)
                | Expr::Product(_)
                | Expr::Negative(_)
                | Expr::Power(..)
        )
    });
    let has_number_term = match first {
        Expr::Sum(parts) => parts.iter().any(|part| !part.any(&is_letter)),
        _ => false,
    };
    let mut names = Vec::new();
    collect_names(first, &mut names);
    names.sort_unstable();
    names.dedup();
    let is_number = |part: &Expr| !part.any(&is_letter) && !matches!(part, Expr::Text(_));
    let is_zero = value.is_integer(0);
    // `y - 2x = 3` is a line.
    let is_line = names.iter().all(|name| matches!(*name, "x" | "y" | "z"))
        && first.any(&|part| matches!(part, Expr::Number(_)))
        && !first.any(&|part| matches!(part, Expr::Power(..)));
    (is_plain
        && !has_number_term
        && names.len() >= 2
        && values.iter().all(is_number)
        && !is_zero
        && !is_line)
        .then_some(value)
}

fn collect_names<'a>(expr: &'a Expr, names: &mut Vec<&'a str>) {
    if let Expr::Symbol(name) = expr {
        names.push(name);
    }
    for child in expr.children() {
        collect_names(child, names);
    }
}

/// Whether an expression only names something.
fn is_name(expr: &Expr) -> bool {
    match expr {
        Expr::Symbol(_) | Expr::Text(_) | Expr::Apply(Function::Named(_), _) => true,
        Expr::Tuple { items, .. } | Expr::Ratio(items) | Expr::List { items, .. } => {
            items.iter().all(is_name)
        }
        Expr::Apply(Function::Abs, items) => {
            matches!(items.as_slice(), [Expr::Symbol(name)] if name.chars().count() > 1)
        }
        // `AB` in lower case, `\angle A`, `dy/dx`
        Expr::Quotient(a, b) => is_differential(a) && is_differential(b),
        Expr::Quantity { value, .. } => is_name(value),
        _ => false,
    }
}

fn is_differential(expr: &Expr) -> bool {
    matches!(expr, Expr::Product(factors) if matches!(factors.as_slice(), [Expr::Symbol(d), Expr::Symbol(_)] if d == "d"))
}

/// Whether two names may name one thing: only two plain variables surely do not.
pub(super) fn names_agree(a: &Expr, b: &Expr) -> bool {
    match (a, b) {
        (Expr::Symbol(a), Expr::Symbol(b)) => {
            a == b || a.chars().count() > 2 || b.chars().count() > 2
        }
        (Expr::Tuple { items: a, .. }, Expr::Tuple { items: b, .. }) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| names_agree(a, b))
        }
        _ => true,
    }
}

/// One comparison of a chain, arranged so that the smaller side comes first.
struct Atom<'a> {
    left: &'a Expr,
    right: &'a Expr,
    relation: Relation,
}

fn atoms(expr: &Expr) -> Vec<Atom<'_>> {
    let Expr::Relation { terms, relations } = expr else {
        return Vec::new();
    };
    relations
        .iter()
        .zip(terms.windows(2))
        .map(|(relation, sides)| {
            let (left, right) = (&sides[0], &sides[1]);
            match relation {
                Relation::Greater => Atom { left: right, right: left, relation: Relation::Less },
                Relation::GreaterEqual => {
                    Atom { left: right, right: left, relation: Relation::LessEqual }
                }
                Relation::Approx => Atom { left, right, relation: Relation::Equal },
                same => Atom { left, right, relation: *same },
            }
        })
        .collect()
}

impl Comparer<'_> {
    /// Whether two relations hold together: the same comparisons, each up to a factor.
    pub(super) fn same_relations(&self, gold: &Expr, pred: &Expr) -> bool {
        let (gold, pred) = (atoms(gold), atoms(pred));
        if gold.len() != pred.len() || gold.len() > 20 {
            return false;
        }
        let mut left: Vec<&Atom<'_>> = pred.iter().collect();
        gold.iter().all(|a| {
            let found = left.iter().position(|b| self.same_atom(a, b));
            found.map(|idx| left.swap_remove(idx)).is_some()
        })
    }

    fn same_atom(&self, a: &Atom<'_>, b: &Atom<'_>) -> bool {
        if a.relation != b.relation {
            return false;
        }
        if self.same(a.left, b.left) && self.same(a.right, b.right) {
            return true;
        }
        match a.relation {
            Relation::Equal | Relation::NotEqual => self.ratio_of(a, b).is_some(),
            Relation::Less | Relation::LessEqual => {
                self.ratio_of(a, b).is_some_and(|ratio| ratio > 0.0)
            }
            _ => false,
        }
    }

    /// The constant ratio of `left - right` of two comparisons, if it is constant.
    fn ratio_of(&self, a: &Atom<'_>, b: &Atom<'_>) -> Option<f64> {
        match self.exact_ratio_of(a, b) {
            Some(Multiple::By(ratio)) => return ratio.to_f64(),
            Some(Multiple::No) => return None,
            None => {}
        }
        let mut constant: Option<f64> = None;
        let mut n_agreeing = 0;
        let mut n_values = 0;
        let mut first_value = None;
        for seed in 0..N_POINTS {
            let point = Assignment::of(seed);
            let difference = |atom: &Atom<'_>| {
                let left = evaluate(atom.left, &point, self.budget)?;
                Some(left - evaluate(atom.right, &point, self.budget)?)
            };
            let (x, y) = (difference(a)?, difference(b)?);
            if !x.is_finite() || !y.is_finite() || x.abs() < 1e-9 || y.abs() < 1e-9 {
                continue;
            }
            let (x, ratio) = (x.number, x.number / y.number);
            if !ratio.is_real() {
                return None;
            }
            match constant {
                None => constant = Some(ratio.re),
                Some(constant) if (constant - ratio.re).abs() > TOLERANCE * constant.abs() => {
                    return None;
                }
                Some(_) => {}
            }
            // A difference that never changes is no equation in anything.
            let reference = *first_value.get_or_insert(x.re);
            n_values += usize::from((reference - x.re).abs() > TOLERANCE * reference.abs());
            n_agreeing += 1;
        }
        constant.filter(|_| n_agreeing >= 3 && n_values > 0)
    }

    /// The same by exact arithmetic; `None` where the normal forms do not decide.
    fn exact_ratio_of(&self, a: &Atom<'_>, b: &Atom<'_>) -> Option<Multiple> {
        let mut context = Context::new(self.budget);
        let difference = |atom: &Atom<'_>| {
            Expr::Sum(vec![atom.left.clone(), Expr::Negative(Box::new(atom.right.clone()))])
        };
        let x = normal(&difference(a), &mut context)?;
        let y = normal(&difference(b), &mut context)?;
        if !x.is_conclusive || !y.is_conclusive {
            return None;
        }
        // A difference that never changes is no equation in anything.
        if x.as_rational().is_some() || y.as_rational().is_some() {
            return Some(Multiple::No);
        }
        context.ratio(&x, &y)
    }
}
