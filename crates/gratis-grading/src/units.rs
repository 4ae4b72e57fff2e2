//! Units of measurement: their names, what they measure, and how one converts to another.

use std::collections::HashMap;
use std::sync::LazyLock;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;

/// What a unit measures. Two units convert when they measure the same; each currency is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Length,
    /// Litres and gallons: a length to the third power.
    Volume,
    Mass,
    Time,
    /// Months and years, whose length in days varies.
    Calendar,
    /// Dollars and cents.
    Dollar,
    /// A speed: a length over a time.
    Speed,
    /// Degrees of an angle.
    Angle,
    /// A unit that converts to no other, by its row in [`UNITS`].
    Own,
    /// The word `unit` itself: any unit.
    Any,
}

/// One unit: its canonical name, what it measures, its size in the base unit of that measure as a
/// fraction, and the ways it is written (lower case, singular).
type Row = (&'static str, Measure, (i64, i64), &'static [&'static str]);

const UNITS: &[Row] = &[
    ("deg", Measure::Angle, (1, 1), &["degree", "deg", "°", "度"]),
    (
        "celsius",
        Measure::Own,
        (1, 1),
        &["celsius", "degree celsius", "°c", "° c", "℃", "degree c", "摄氏度"],
    ),
    (
        "fahrenheit",
        Measure::Own,
        (1, 1),
        &["fahrenheit", "degree fahrenheit", "°f", "° f", "℉", "degree f"],
    ),
    ("rad", Measure::Own, (1, 1), &["radian", "rad"]),
    ("$", Measure::Dollar, (1, 1), &["$", "dollar", "usd", "us dollar", "us$", "buck", "美元"]),
    ("cent", Measure::Dollar, (1, 100), &["cent", "¢"]),
    ("€", Measure::Own, (1, 1), &["€", "euro", "eur"]),
    ("£", Measure::Own, (1, 1), &["£", "pound sterling", "gbp"]),
    ("yuan", Measure::Own, (1, 1), &["yuan", "rmb", "元", "¥", "块钱"]),
    ("rupee", Measure::Own, (1, 1), &["rupee", "₹", "rs"]),
    ("mm", Measure::Length, (1, 1_000), &["mm", "millimeter", "millimetre", "毫米"]),
    ("cm", Measure::Length, (1, 100), &["cm", "centimeter", "centimetre", "厘米"]),
    ("dm", Measure::Length, (1, 10), &["dm", "decimeter", "decimetre", "分米"]),
    ("m", Measure::Length, (1, 1), &["meter", "metre", "米"]),
    ("km", Measure::Length, (1_000, 1), &["km", "kilometer", "kilometre", "公里", "千米"]),
    ("inch", Measure::Length, (254, 10_000), &["inch", "inche", "in."]),
    ("foot", Measure::Length, (3_048, 10_000), &["foot", "feet", "ft"]),
    ("yard", Measure::Length, (9_144, 10_000), &["yard", "yd"]),
    ("mile", Measure::Length, (1_609_344, 1_000), &["mile"]),
    ("mg", Measure::Mass, (1, 1_000), &["mg", "milligram", "毫克"]),
    ("g", Measure::Mass, (1, 1), &["gram", "克"]),
    ("kg", Measure::Mass, (1_000, 1), &["kg", "kilogram", "kilo", "千克", "公斤"]),
    ("lb", Measure::Mass, (45_359_237, 100_000), &["pound", "lb"]),
    ("oz", Measure::Mass, (45_359_237, 1_600_000), &["ounce", "oz"]),
    ("ton", Measure::Own, (1, 1), &["ton", "tonne", "吨"]),
    ("ml", Measure::Volume, (1, 1_000_000), &["ml", "milliliter", "millilitre", "毫升"]),
    ("l", Measure::Volume, (1, 1_000), &["liter", "litre", "升"]),
    ("gal", Measure::Own, (1, 1), &["gallon", "gal"]),
    ("cup", Measure::Own, (1, 1), &["cup"]),
    ("ms", Measure::Time, (1, 1_000), &["millisecond", "毫秒"]),
    ("s", Measure::Time, (1, 1), &["second", "sec", "秒"]),
    ("min", Measure::Time, (60, 1), &["minute", "min", "分钟"]),
    ("h", Measure::Time, (3_600, 1), &["hour", "hr", "小时"]),
    ("day", Measure::Time, (86_400, 1), &["day", "天"]),
    ("week", Measure::Time, (604_800, 1), &["week", "周", "星期"]),
    ("month", Measure::Calendar, (1, 1), &["month", "个月"]),
    ("year", Measure::Calendar, (12, 1), &["year", "yr", "年", "岁"]),
    ("mph", Measure::Speed, (1_609_344, 3_600_000), &["mph", "mile/h"]),
    ("km/h", Measure::Speed, (1_000, 3_600), &["kph", "kmh", "kmph", "km/h"]),
    ("m/s", Measure::Speed, (1, 1), &["m/s"]),
    ("hz", Measure::Own, (1, 1), &["hz", "hertz"]),
    ("n", Measure::Own, (1, 1), &["newton"]),
    ("j", Measure::Own, (1, 1), &["joule"]),
    ("w", Measure::Own, (1, 1), &["watt"]),
    ("v", Measure::Own, (1, 1), &["volt"]),
    ("mol", Measure::Own, (1, 1), &["mol", "mole"]),
    ("dozen", Measure::Own, (1, 1), &["dozen"]),
    ("unit", Measure::Any, (1, 1), &["unit"]),
];

/// Short units that are words only after a number: `in`, `m`, `g` are letters elsewhere.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("m", "m"),
    ("g", "g"),
    ("s", "s"),
    ("h", "h"),
    ("l", "l"),
    ("in", "inch"),
    ("mi", "mile"),
    ("n", "n"),
    ("j", "j"),
    ("w", "w"),
    ("v", "v"),
    ("c", "celsius"),
    ("f", "fahrenheit"),
];

static ROW_BY_NAME: LazyLock<HashMap<&'static str, usize>> = LazyLock::new(|| {
    let names = |(idx, row): (usize, &'static Row)| {
        std::iter::once((row.0, idx)).chain(row.3.iter().map(move |name| (*name, idx)))
    };
    // Canonical names that are single letters (`m`, `g`) are words only as abbreviations.
    UNITS.iter().enumerate().flat_map(names).collect()
});

/// The row of a canonical name.
fn row(name: &str) -> Option<(usize, &'static Row)> {
    let idx = *ROW_BY_NAME.get(name)?;
    Some((idx, &UNITS[idx])).filter(|(_, row)| row.0 == name)
}

/// The canonical name of a unit written in full, with plurals folded; `None` when the text is no
/// unit that is known here.
pub(crate) fn known_unit(text: &str) -> Option<&'static str> {
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() || text.len() > 40 {
        return None;
    }
    let lower = text.to_lowercase();
    let find = |name: &str| {
        let row = &UNITS[*ROW_BY_NAME.get(name)?];
        // `m` alone is no unit: it may be a letter.
        row.3.contains(&name).then_some(row.0)
    };
    find(&lower).or_else(|| {
        if !lower.contains(char::is_whitespace) {
            return find(singular(&lower));
        }
        let folded: Vec<&str> = lower.split_whitespace().map(singular).collect();
        find(&folded.join(" "))
    })
}

fn singular(word: &str) -> &str {
    match word {
        "feet" => "foot",
        _ if word.len() > 2 && word.ends_with('s') => &word[..word.len() - 1],
        _ => word,
    }
}

/// The unit a short name stands for in text mode.
pub(crate) fn abbreviation(text: &str) -> Option<&'static str> {
    ABBREVIATIONS.iter().find(|(short, _)| *short == text).map(|(_, name)| *name)
}

/// The canonical form of what follows a number: `cm^2` for `square centimeters`, `mile/h` for
/// `miles per hour`, or the words as they are.
pub(crate) fn canonical_unit(text: &str) -> String {
    let text = text.trim().to_lowercase().replace(['{', '}'], "").replace(" per ", "/");
    let text = text.strip_prefix("per ").map_or(text.clone(), |rest| format!("/{rest}"));
    let parts: Vec<String> = text.split('/').map(one_unit).collect();
    let joined = parts.join("/");
    // `miles/hour` has a name of its own.
    match ROW_BY_NAME.get(joined.as_str()) {
        Some(idx) => UNITS[*idx].0.to_owned(),
        None => joined,
    }
}

/// The canonical form of one unit without a quotient.
fn one_unit(text: &str) -> String {
    let text = text.trim();
    let (text, mut power) = match text.split_once('^') {
        Some((name, power)) => (name.trim(), power.trim()),
        None => (text, ""),
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let rest = match words.as_slice() {
        ["square" | "sq" | "sq." | "平方", rest @ ..] | [rest @ .., "squared"]
            if !rest.is_empty() =>
        {
            power = "2";
            rest
        }
        ["cubic" | "cu" | "cu." | "立方", rest @ ..] | [rest @ .., "cubed"] if !rest.is_empty() =>
        {
            power = "3";
            rest
        }
        rest => rest,
    };
    let joined = rest.join(" ");
    let mut name = joined.as_str();
    for (prefix, value) in [("平方", "2"), ("立方", "3")] {
        if let Some(rest) = name.strip_prefix(prefix) {
            power = value;
            name = rest;
        }
    }
    // `years old`, `hours in total`: the unit is the first word.
    let first = rest.first().copied().unwrap_or("");
    let known = known_unit(name)
        .or_else(|| abbreviation(name))
        .or_else(|| (rest.len() > 1 && power.is_empty()).then(|| known_unit(first)).flatten());
    let name = known.unwrap_or(name);
    if power.is_empty() || power == "1" { name.to_owned() } else { format!("{name}^{power}") }
}

/// What a canonical unit measures: a row of the table or the kind of its measure, and a power.
type Dimension = Vec<(usize, i32)>;

/// A unit as a dimension and its size in base units; `None` when a part of it is unknown.
fn size(unit: &str) -> Option<(Dimension, BigRational)> {
    let mut dimension = Dimension::new();
    let mut factor = BigRational::one();
    let whole = row(unit).map(|_| vec![unit]);
    for (idx, part) in whole.unwrap_or_else(|| unit.split('/').collect()).iter().enumerate() {
        let (name, power) = match part.split_once('^') {
            Some((name, power)) => (name, power.parse::<i32>().ok()?),
            None => (*part, 1),
        };
        if !(-9..=9).contains(&power) {
            return None;
        }
        let (row_idx, (_, measure, (numerator, denominator), _)) = row(name)?;
        let power = if idx == 0 { power } else { -power };
        let bases: &[(usize, i32)] = match measure {
            Measure::Any => return None,
            Measure::Own => &[(100 + row_idx, 1)],
            Measure::Length => &[(0, 1)],
            Measure::Volume => &[(0, 3)],
            Measure::Speed => &[(0, 1), (2, -1)],
            Measure::Mass => &[(1, 1)],
            Measure::Time => &[(2, 1)],
            Measure::Calendar => &[(3, 1)],
            Measure::Dollar => &[(4, 1)],
            Measure::Angle => &[(5, 1)],
        };
        for (base, exponent) in bases {
            match dimension.iter_mut().find(|(known, _)| known == base) {
                Some((_, total)) => *total += exponent * power,
                None => dimension.push((*base, exponent * power)),
            }
        }
        let one = BigRational::new(BigInt::from(*numerator), BigInt::from(*denominator));
        factor *= one.pow(power);
    }
    dimension.retain(|(_, power)| *power != 0);
    dimension.sort_unstable();
    Some((dimension, factor))
}

/// How two units compare.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Conversion {
    /// They measure different things: no value of one is a value of the other.
    Different,
    /// One unit of the first is this many of the second.
    Factor(BigRational),
    /// One of them is not known here, which settles nothing.
    Unknown,
}

/// How a quantity in the unit `from` is expressed in the unit `to`.
pub(crate) fn conversion(from: &str, to: &str) -> Conversion {
    if from == to {
        return Conversion::Factor(BigRational::one());
    }
    let power = |unit: &str| unit.split_once('^').map(|(_, power)| power.to_owned());
    match (size(from), size(to)) {
        // `20 degrees` of temperature leave out the scale.
        (Some(_), Some(_)) if is_bare_degree(from, to) || is_bare_degree(to, from) => {
            Conversion::Unknown
        }
        (Some((a, x)), Some((b, y))) if a == b => Conversion::Factor(x / y),
        (Some(_), Some(_)) => Conversion::Different,
        // Square units of anything are no cubic units.
        _ => match (power(from), power(to)) {
            (Some(a), Some(b)) if a != b => Conversion::Different,
            _ => Conversion::Unknown,
        },
    }
}

fn is_bare_degree(a: &str, b: &str) -> bool {
    a == "deg" && matches!(b, "celsius" | "fahrenheit")
}

#[cfg(test)]
mod tests {
    use super::{Conversion, canonical_unit, conversion};

    #[test]
    fn units_are_folded() {
        for (text, unit) in [
            ("square centimeters", "cm^2"),
            ("Miles per hour", "mph"),
            ("km/hr", "km/h"),
            ("meters per second", "m/s"),
            ("kgs", "kg"),
            ("years old", "year"),
            ("元/个", "yuan/个"),
            ("平方厘米", "cm^2"),
            ("cubic units", "unit^3"),
        ] {
            assert_eq!(canonical_unit(text), unit, "{text}");
        }
    }

    #[test]
    fn units_convert_or_differ() {
        let is_factor = |a: &str, b: &str, n: i64, d: i64| {
            conversion(a, b)
                == Conversion::Factor(num_rational::BigRational::new(n.into(), d.into()))
        };
        assert!(is_factor("cm", "mm", 10, 1));
        assert!(is_factor("h", "min", 60, 1));
        assert!(is_factor("l", "cm^3", 1_000, 1));
        assert!(is_factor("m/s", "km/h", 18, 5));
        assert!(is_factor("cent", "$", 1, 100));
        for (a, b) in [("m^2", "m^3"), ("m", "kg"), ("$", "€"), ("unit^2", "unit^3"), ("m", "m^2")]
        {
            assert_eq!(conversion(a, b), Conversion::Different, "{a} {b}");
        }
        for (a, b) in [("apples", "m"), ("unit", "cm"), ("deg", "celsius")] {
            assert_eq!(conversion(a, b), Conversion::Unknown, "{a} {b}");
        }
    }
}
