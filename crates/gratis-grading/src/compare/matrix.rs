//! Matrices and vectors: sums, products and multiples of them as one matrix of entries.

use num_traits::Zero;

use crate::budget::Budget;
use crate::exact::{Context, normal};
use crate::syntax::{Bracket, Constant, Expr};

/// The largest number of entries that is multiplied out.
const MAX_ENTRIES: usize = 100;

type Rows = Vec<Vec<Expr>>;

/// The matrix an expression of matrices comes to; the expression as it is when it has none or is
/// one already.
pub(super) fn multiplied_out(expr: &Expr) -> Expr {
    let is_arithmetic = matches!(
        expr,
        Expr::Sum(_) | Expr::Product(_) | Expr::Quotient(..) | Expr::Negative(_) | Expr::Power(..)
    );
    let has_matrix = |part: &Expr| matches!(part, Expr::Matrix(_)) || is_vector(part);
    if !is_arithmetic || !expr.any(&has_matrix) {
        return expr.clone();
    }
    match shape(expr) {
        Some(Shape::Matrix(rows)) => Expr::Matrix(rows),
        _ => expr.clone(),
    }
}

/// `(1, 2)` or `\langle 1, 2 \rangle`, but no interval with a closed end.
fn is_vector(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Tuple {
            open: Bracket::Round | Bracket::Angle,
            close: Bracket::Round | Bracket::Angle,
            ..
        }
    )
}

enum Shape {
    Scalar(Expr),
    Matrix(Rows),
}

fn shape(expr: &Expr) -> Option<Shape> {
    match expr {
        Expr::Matrix(rows) => Some(Shape::Matrix(rows.clone())),
        Expr::Tuple { items, .. } if is_vector(expr) => {
            Some(Shape::Matrix(items.iter().map(|item| vec![item.clone()]).collect()))
        }
        Expr::Sum(terms) => {
            let mut sum: Option<Rows> = None;
            for term in terms {
                let Shape::Matrix(rows) = shape(term)? else {
                    return scalar(expr);
                };
                sum = Some(match sum {
                    None => rows,
                    Some(sum) => added(&sum, &rows)?,
                });
            }
            sum.map(Shape::Matrix)
        }
        Expr::Product(factors) => {
            let mut scalars = Vec::new();
            let mut product: Option<Rows> = None;
            for factor in factors {
                match shape(factor)? {
                    Shape::Scalar(factor) => scalars.push(factor),
                    Shape::Matrix(rows) => {
                        product = Some(match product {
                            None => rows,
                            Some(product) => multiplied(&product, &rows)?,
                        });
                    }
                }
            }
            match product {
                Some(rows) if scalars.is_empty() => Some(Shape::Matrix(rows)),
                Some(rows) => Some(Shape::Matrix(scaled(&rows, &|entry| {
                    let mut factors = scalars.clone();
                    factors.push(entry);
                    Expr::Product(factors)
                }))),
                None => scalar(expr),
            }
        }
        Expr::Quotient(a, b) => match (shape(a)?, shape(b)?) {
            (Shape::Matrix(rows), Shape::Scalar(divisor)) => {
                Some(Shape::Matrix(scaled(&rows, &|entry| {
                    Expr::Quotient(Box::new(entry), Box::new(divisor.clone()))
                })))
            }
            _ => scalar(expr),
        },
        Expr::Negative(a) => match shape(a)? {
            Shape::Matrix(rows) => {
                Some(Shape::Matrix(scaled(&rows, &|entry| Expr::Negative(Box::new(entry)))))
            }
            Shape::Scalar(_) => scalar(expr),
        },
        Expr::Power(base, exponent) => match shape(base)? {
            Shape::Matrix(rows) if matches!(&**exponent, Expr::Symbol(name) if name == "T") => {
                transposed(&rows)
            }
            Shape::Matrix(rows) => {
                let power = (2..=4).find(|power| exponent.is_integer(*power))?;
                (1..power)
                    .try_fold(rows.clone(), |product, _| multiplied(&product, &rows))
                    .map(Shape::Matrix)
            }
            Shape::Scalar(_) => scalar(expr),
        },
        _ => scalar(expr),
    }
}

/// A scalar is an expression without matrices.
fn scalar(expr: &Expr) -> Option<Shape> {
    let is_other = |part: &Expr| part.is_structural();
    (!expr.any(&is_other)).then(|| Shape::Scalar(expr.clone()))
}

fn scaled(rows: &Rows, map: &dyn Fn(Expr) -> Expr) -> Rows {
    rows.iter().map(|row| row.iter().map(|entry| map(entry.clone())).collect()).collect()
}

fn added(a: &Rows, b: &Rows) -> Option<Rows> {
    if a.len() != b.len() {
        return None;
    }
    a.iter()
        .zip(b)
        .map(|(a, b)| {
            (a.len() == b.len()).then(|| {
                a.iter().zip(b).map(|(a, b)| Expr::Sum(vec![a.clone(), b.clone()])).collect()
            })
        })
        .collect()
}

fn multiplied(a: &Rows, b: &Rows) -> Option<Rows> {
    let n_columns = b.first()?.len();
    if a.len() * n_columns > MAX_ENTRIES || b.len() > MAX_ENTRIES {
        return None;
    }
    a.iter()
        .map(|row| {
            if row.len() != b.len() {
                return None;
            }
            (0..n_columns)
                .map(|column| {
                    let terms = row
                        .iter()
                        .zip(b)
                        .map(|(left, right)| {
                            Some(Expr::Product(vec![left.clone(), right.get(column)?.clone()]))
                        })
                        .collect::<Option<Vec<_>>>()?;
                    Some(Expr::Sum(terms))
                })
                .collect()
        })
        .collect()
}

fn transposed(rows: &Rows) -> Option<Shape> {
    let n_columns = rows.first()?.len();
    let columns: Option<Rows> = (0..n_columns)
        .map(|column| rows.iter().map(|row| row.get(column).cloned()).collect())
        .collect();
    columns.map(Shape::Matrix)
}

/// The components of `a\mathbf{i} + b\mathbf{j} + c\mathbf{k}`, at most as many as `n`; `None` when
/// the expression is no such sum.
pub(super) fn components(expr: &Expr, n: usize, budget: &Budget) -> Option<Vec<Expr>> {
    let is_j = |part: &Expr| matches!(part, Expr::Symbol(name) if name == "j" || name == "k");
    if !matches!(expr, Expr::Sum(_)) || !expr.any(&is_j) || !(2..=3).contains(&n) {
        return None;
    }
    let along = |axis: Option<usize>| {
        let unit = |idx: usize| Expr::integer(i64::from(axis == Some(idx)));
        with_units(expr, &[unit(0), unit(1), unit(2)])
    };
    let origin = normal(&along(None), &mut Context::new(budget))?.as_rational()?;
    origin.is_zero().then(|| (0..n).map(|axis| along(Some(axis))).collect())
}

fn with_units(expr: &Expr, units: &[Expr; 3]) -> Expr {
    match expr {
        Expr::Constant(Constant::I) => units[0].clone(),
        Expr::Symbol(name) if name == "j" => units[1].clone(),
        Expr::Symbol(name) if name == "k" => units[2].clone(),
        other => other.map_children(&|child| with_units(child, units)),
    }
}
