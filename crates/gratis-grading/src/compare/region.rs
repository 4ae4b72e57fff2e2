//! Sets of real numbers, however they are written: `x < 2`, `(-\infty, 2)`, `R \setminus ..`.
//!
//! Two of them are the same when they agree at every end point that either names, between
//! those, beyond them, and on a grid for the end points that neither names.

use std::borrow::Cow;

use super::Comparer;
use crate::numeric::{Assignment, evaluate, real};
use crate::syntax::{Bracket, Expr, Function, Relation, Separator, SetOperation};

/// How close two end points are that are one, relative to them.
const TOLERANCE: f64 = 1e-12;
/// What rounding leaves of an end point that is zero.
const ZERO_TOLERANCE: f64 = 1e-15;
/// Points of the grid, and its reach on either side of zero.
const N_GRID: i32 = 160;
const GRID_REACH: f64 = 23.17;
/// More end points than this are not compared.
const MAX_ENDS: usize = 64;

impl Comparer<'_> {
    /// Whether both are sets of reals, and the same one.
    pub(super) fn same_region(&self, gold: &Expr, pred: &Expr) -> bool {
        let (gold, pred) = (with_named_values(gold), with_named_values(pred));
        let (gold, pred) = (gold.as_ref(), pred.as_ref());
        let name = match (variable(gold), variable(pred)) {
            (Err(()), _) | (_, Err(())) => return false,
            (Ok(Some(a)), Ok(Some(b))) if a != b && !are_both_values(a, b) => return false,
            (Ok(a), Ok(b)) => (a.or(b).unwrap_or("x"), b.or(a).unwrap_or("x")),
        };
        let (gold_name, pred_name) = name;
        // Two intervals are their brackets and ends, which have been compared.
        let are_intervals = matches!((gold, pred), (Expr::Tuple { .. }, Expr::Tuple { .. }));
        if are_intervals || !is_region(gold) || !is_region(pred) {
            return false;
        }
        let mut ends = Vec::new();
        self.ends(gold, &mut ends);
        self.ends(pred, &mut ends);
        if ends.len() > MAX_ENDS {
            return false;
        }
        ends.extend(ends.clone().into_iter().map(|end| -end));
        ends.sort_by(f64::total_cmp);
        ends.dedup_by(|a, b| is_one_end(*a, *b));
        let mut points = ends.clone();
        points.extend(ends.windows(2).map(|pair| f64::midpoint(pair[0], pair[1])));
        points.extend(ends.first().map(|end| end - 1.0));
        points.extend(ends.last().map(|end| end + 1.0));
        points.extend(
            (-N_GRID..=N_GRID).map(|idx| GRID_REACH * f64::from(idx) / f64::from(N_GRID) + 0.0137),
        );
        let mut n_inside = 0;
        for point in points {
            let inside =
                (self.contains(gold, gold_name, point), self.contains(pred, pred_name, point));
            match inside {
                (Some(a), Some(b)) if a == b => n_inside += usize::from(a),
                _ => return false,
            }
        }
        // Two empty sets agree only if both say so.
        n_inside > 0
    }

    /// The end points an expression names.
    fn ends(&self, expr: &Expr, ends: &mut Vec<f64>) {
        if let Some(value) = real(expr, self.budget) {
            if value.is_finite() {
                ends.push(value);
            }
            return;
        }
        if matches!(
            expr,
            Expr::Relation { .. }
                | Expr::SetOperation(..)
                | Expr::Tuple { .. }
                | Expr::Set(_)
                | Expr::List { .. }
        ) {
            for child in expr.children() {
                self.ends(child, ends);
            }
        }
    }

    /// Whether the number `x`, as the variable `name`, lies in the set.
    fn contains(&self, set: &Expr, name: &str, x: f64) -> Option<bool> {
        let number = |expr: &Expr| real(expr, self.budget);
        match set {
            Expr::Tuple { items, open, close } => {
                let [low, high] = items.as_slice() else {
                    return None;
                };
                let (low, high) = (number(low)?, number(high)?);
                let above = holds(
                    low,
                    if *open == Bracket::Square { Relation::LessEqual } else { Relation::Less },
                    x,
                );
                let below = holds(
                    x,
                    if *close == Bracket::Square { Relation::LessEqual } else { Relation::Less },
                    high,
                );
                Some(above && below)
            }
            Expr::Set(items) => {
                let mut is_member = false;
                for item in items {
                    is_member |= holds(number(item)?, Relation::Equal, x);
                }
                Some(is_member)
            }
            Expr::Symbol(reals) if reals == "R" => Some(true),
            Expr::SetOperation(operation, parts) => {
                let mut inside = self.contains(parts.first()?, name, x)?;
                for part in &parts[1..] {
                    let also = self.contains(part, name, x)?;
                    inside = match operation {
                        SetOperation::Union => inside || also,
                        SetOperation::Intersection => inside && also,
                        SetOperation::Difference => inside && !also,
                    };
                }
                Some(inside)
            }
            Expr::List { items, separator } => {
                let mut n_inside = 0;
                for item in items {
                    n_inside += usize::from(self.contains(item, name, x)?);
                }
                Some(match separator {
                    Separator::And => n_inside == items.len(),
                    Separator::Or | Separator::Comma => n_inside > 0,
                })
            }
            Expr::Relation { terms, relations } => {
                for (relation, sides) in relations.iter().zip(terms.windows(2)) {
                    let inside = if *relation == Relation::In {
                        matches!(&sides[0], Expr::Symbol(_)) && self.contains(&sides[1], name, x)?
                    } else {
                        let point = Assignment::fixing(name, x);
                        let left = evaluate(&sides[0], &point, self.budget)?.number;
                        let right = evaluate(&sides[1], &point, self.budget)?.number;
                        left.is_real() && right.is_real() && holds(left.re, *relation, right.re)
                    };
                    if !inside {
                        return Some(false);
                    }
                }
                Some(true)
            }
            _ => None,
        }
    }
}

/// The same with `f(x)` as a name of its own: `0 < f(x) < 1` is the interval of its values.
fn with_named_values(expr: &Expr) -> Cow<'_, Expr> {
    let is_value = |part: &Expr| {
        matches!(part, Expr::Apply(Function::Named(_), arguments)
            if arguments.iter().all(|argument| matches!(argument, Expr::Symbol(_))))
    };
    if expr.any(&is_value) { Cow::Owned(named_values(expr)) } else { Cow::Borrowed(expr) }
}

fn named_values(expr: &Expr) -> Expr {
    match expr {
        Expr::Apply(Function::Named(name), arguments)
            if arguments.iter().all(|argument| matches!(argument, Expr::Symbol(_))) =>
        {
            Expr::Symbol(format!("{name}()"))
        }
        other => other.map_children(&named_values),
    }
}

/// Whether one name is the value of a function and the other is `y`.
fn are_both_values(a: &str, b: &str) -> bool {
    (a == "y" && b.ends_with("()")) || (b == "y" && a.ends_with("()"))
}

/// Whether a comparison of two numbers holds, with end points that agree to rounding.
fn holds(left: f64, relation: Relation, right: f64) -> bool {
    if left.is_nan() || right.is_nan() {
        return false;
    }
    let are_equal = is_one_end(left, right);
    match relation {
        Relation::Equal | Relation::Approx => are_equal,
        Relation::NotEqual => !are_equal,
        Relation::Less => !are_equal && left < right,
        Relation::LessEqual => are_equal || left < right,
        Relation::Greater => !are_equal && left > right,
        Relation::GreaterEqual => are_equal || left > right,
        Relation::In => false,
    }
}

/// Whether two numbers agree to rounding.
fn is_one_end(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= ZERO_TOLERANCE.max(TOLERANCE * a.abs().min(b.abs()))
}

/// Whether an expression can be read as a set of reals and says so by its form.
fn is_region(expr: &Expr) -> bool {
    match expr {
        Expr::Relation { .. } | Expr::SetOperation(..) | Expr::Set(_) => true,
        Expr::Tuple { items, .. } => items.len() == 2,
        Expr::Symbol(name) => name == "R",
        Expr::List { items, .. } => {
            items.iter().all(|item| matches!(item, Expr::Relation { .. } | Expr::SetOperation(..)))
        }
        _ => false,
    }
}

/// The one variable of an expression, if any; an error when there are several.
fn variable(expr: &Expr) -> Result<Option<&str>, ()> {
    let mut found = match expr {
        Expr::Symbol(name) if name != "R" => return Ok(Some(name)),
        _ => None,
    };
    for child in expr.children() {
        match (found, variable(child)?) {
            (Some(a), Some(b)) if a != b => return Err(()),
            (None, other) => found = other,
            _ => {}
        }
    }
    Ok(found)
}
