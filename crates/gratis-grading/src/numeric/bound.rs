//! Sums, products and integrals in double precision.

use super::evaluate::{Assignment, evaluate};
use super::value::Value;
use crate::budget::Budget;
use crate::syntax::{Binder, Expr};

/// More terms than this are not added up.
const MAX_TERMS: f64 = 2_000.0;
/// An endless sum whose terms have not vanished by then is not evaluated.
const MAX_ENDLESS_TERMS: u32 = 400;
/// The points of Gauss-Legendre quadrature of order ten on either side of the middle of
/// `[-1, 1]`, each with its weight.
const GAUSS: [(f64, f64); 5] = [
    (0.148_874_338_981_631_22, 0.295_524_224_714_752_87),
    (0.433_395_394_129_247_2, 0.269_266_719_309_996_35),
    (0.679_409_568_299_024_4, 0.219_086_362_515_982_04),
    (0.865_063_366_688_984_5, 0.149_451_349_150_580_6),
    (0.973_906_528_517_171_7, 0.066_671_344_308_688_14),
];
/// Panels of the finer of the two quadratures that must agree.
const N_PANELS: u32 = 8;

/// The value of an operation over a range; undefined where the range or the body is.
pub(super) fn bound(
    binder: Binder,
    index: &str,
    parts: &[Expr],
    point: &Assignment<'_>,
    budget: &Budget,
) -> Option<Value> {
    let [body, lower, upper] = parts else {
        return None;
    };
    // What a subscript hides from substitution has no value here.
    if body.hides(index) {
        return None;
    }
    let low = evaluate(lower, point, budget)?.number;
    let high = evaluate(upper, point, budget)?.number;
    if !low.is_real() || !high.is_real() || low.re.is_nan() || high.re.is_nan() {
        return Some(Value::UNDEFINED);
    }
    let at = |x: f64| evaluate(body, &point.with(index, x), budget);
    match binder {
        Binder::Integral => integral(low.re, high.re, &at),
        Binder::Limit => None,
        _ if low.re.fract() != 0.0 || !low.re.is_finite() => Some(Value::UNDEFINED),
        Binder::Sum if high.re == f64::INFINITY => endless_sum(low.re, &at),
        _ => {
            let n_terms = high.re - low.re + 1.0;
            if !(0.0..=MAX_TERMS).contains(&n_terms) || n_terms.fract() != 0.0 {
                return Some(Value::UNDEFINED);
            }
            let is_sum = binder == Binder::Sum;
            let mut total = Value::exact(if is_sum { 0.0 } else { 1.0 });
            for idx in 0..n_terms as u32 {
                let term = at(low.re + f64::from(idx))?;
                total = if is_sum { total + term } else { total * term };
            }
            Some(total)
        }
    }
}

/// A sum without end whose terms vanish like those of a geometric series.
fn endless_sum(low: f64, at: &dyn Fn(f64) -> Option<Value>) -> Option<Value> {
    let mut total = Value::exact(0.0);
    let mut n_vanished = 0;
    for idx in 0..MAX_ENDLESS_TERMS {
        let term = at(low + f64::from(idx))?;
        if !term.is_finite() {
            return Some(Value::UNDEFINED);
        }
        total = total + term;
        n_vanished = if term.abs() <= 1e-18 * total.abs() { n_vanished + 1 } else { 0 };
        if n_vanished == 4 && idx >= 10 {
            return Some(total);
        }
    }
    Some(Value::UNDEFINED)
}

/// A definite integral of a smooth function; undefined when two quadratures disagree.
fn integral(low: f64, high: f64, at: &dyn Fn(f64) -> Option<Value>) -> Option<Value> {
    if !low.is_finite() || !high.is_finite() {
        return Some(Value::UNDEFINED);
    }
    let quadrature = |n_panels: u32| {
        let half = (high - low) / f64::from(2 * n_panels);
        let mut total = Value::exact(0.0);
        for panel in 0..n_panels {
            let middle = low + half * f64::from(2 * panel + 1);
            for (offset, weight) in GAUSS {
                for side in [-1.0, 1.0] {
                    total = total + at(middle + side * offset * half)? * Value::rounded(weight);
                }
            }
        }
        Some(total * Value::rounded(half))
    };
    let (rough, fine) = (quadrature(N_PANELS / 2)?, quadrature(N_PANELS)?);
    let difference = (rough - fine).abs();
    if difference <= 1e-11 * fine.abs().max(1e-3) {
        return Some(Value { error: fine.error + difference, ..fine });
    }
    Some(Value::UNDEFINED)
}
