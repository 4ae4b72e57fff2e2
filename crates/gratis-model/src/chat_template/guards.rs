//! The filters that are inserted around a template's instructions ([`super::rewrite`]), and those
//! of Jinja whose results may be far larger than what goes in, bounded.

use std::borrow::Cow;

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::limits::{Budget, Numbers, refused};

// Names that no template can spell.
pub(super) const ADDED: &str = "\0+";
pub(super) const APPLY: &str = "\0apply";
pub(super) const CALLED: &str = "\0call";
pub(super) const CAPTURED: &str = "\0set";
pub(super) const JOINED: &str = "\0~";
pub(super) const LISTED: &str = "\0list";
pub(super) const MAPPED: &str = "\0dict";
pub(super) const MULTIPLY: &str = "\0*";
pub(super) const SLICE: &str = "\0[:]";
pub(super) const STORE: &str = "\0store";
pub(super) const WEIGH: &str = "\0weigh";
pub(super) const WEIGH_TOP: &str = "\0weigh_top";

/// Largest width, precision, count or length that a template may ask for.
const LARGEST_COUNT: usize = 100_000;

/// What a number, a boolean or a mark of a container takes when it is printed, at most.
const PRINTED_NUMBER: usize = 400;

pub(super) fn add_to(environment: &mut Environment<'static>) {
    for (name, what) in [
        (ADDED, "+"),
        (JOINED, "~"),
        (LISTED, "[...]"),
        (MAPPED, "{...}"),
        (CAPTURED, "set"),
        (CALLED, "call"),
    ] {
        environment.add_filter(name, move |state: &State, value: Value| {
            Budget::of(state)?.accept(what, value)
        });
    }
    environment.add_filter(STORE, |state: &State, value: Value| {
        Budget::of(state)?.accept_inside("set", value)
    });
    environment.add_filter(WEIGH, |state: &State, value: ValueOrKwargs| {
        let value = value.into_value();
        Budget::of(state)?.measure("comparison", &value).map(|_| value)
    });
    environment.add_filter(WEIGH_TOP, |state: &State, value: ValueOrKwargs| {
        let value = value.into_value();
        Budget::of(state)?.weigh_top(&value).map(|()| value)
    });
    environment.add_filter(APPLY, apply);
    environment.add_filter(MULTIPLY, multiply);
    environment.add_filter(SLICE, slice);
    environment.add_filter("replace", replace);
    environment.add_filter("join", join);
    environment.add_filter("indent", indent);
    environment.add_filter("format", format);
    environment.add_filter("batch", batch);
    environment.add_filter("slice", slices);
    environment.add_function("range", range);
    // It prints the whole state, and Jinja does not have it.
    environment.remove_global("debug");
    environment.set_unknown_method_callback(method);
    environment.set_formatter(emit);
}

/// Prints a value; every text of a template comes through here.
fn emit(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let budget = Budget::of(state)?;
    let n_bytes = match value.as_str() {
        Some(text) => text.len(),
        None => budget.measure("{{ ... }}", value)?,
    };
    budget.take_bytes(n_bytes)?;
    minijinja::escape_formatter(out, state, value)
}

/// Applies a filter, whose name is the last argument, to the others.
fn apply(state: &mut State, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    let arguments = arguments.into_values();
    let Some((name, arguments)) = arguments.split_last() else {
        return Err(refused("no filter is named".to_owned()));
    };
    let name: String = name.as_str().unwrap_or_default().split_whitespace().collect();
    arguments.iter().try_for_each(|argument| budget.weigh_top(argument))?;
    let made = state.apply_filter(&name, arguments).map_err(|error| match error.kind() {
        ErrorKind::UnknownFilter if error.detail().is_none() => {
            Error::new(ErrorKind::UnknownFilter, format!("filter {name} is unknown"))
        }
        _ => error,
    })?;
    budget.accept(&name, made)
}

/// The operator `*`.
fn multiply(state: &State, left: Value, right: Value) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    let is_whole = |value: &Value| matches!(value.kind(), ValueKind::String | ValueKind::Seq);
    let (many, times) = if is_whole(&left) { (&left, &right) } else { (&right, &left) };
    if is_whole(many) {
        if !times.is_integer() && times.kind() != ValueKind::Bool {
            return Err(refused("`*` repeats a text or a list a whole number of times".to_owned()));
        }
        let times = i128::try_from(times.clone()).unwrap_or(0).clamp(0, i128::from(i64::MAX));
        let times = usize::try_from(times).unwrap_or(usize::MAX);
        let size = budget.measure("*", many)?;
        budget.check_size("*", size.saturating_mul(times))?;
        let made = if let Some(text) = many.as_str() {
            Value::from(text.repeat(times))
        } else {
            let items: Vec<Value> = many.try_iter()?.collect();
            let made = vec![items; times].concat();
            if many.is_tuple() { Value::from(Tuple::from(made)) } else { Value::from(made) }
        };
        return budget.accept("*", made);
    }
    let is_number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    if !(is_number(&left) && is_number(&right)) {
        return Err(refused(format!(
            "tried to use * operator on unsupported types {} and {}",
            left.kind(),
            right.kind()
        )));
    }
    let is_float = |value: &Value| value.kind() == ValueKind::Number && !value.is_integer();
    if is_float(&left) || is_float(&right) {
        return Ok(Value::from(f64::try_from(left)? * f64::try_from(right)?));
    }
    let product = i128::try_from(left)?.checked_mul(i128::try_from(right)?);
    let product =
        product.ok_or_else(|| refused("`*` makes a number that is too large".to_owned()))?;
    Ok(i64::try_from(product).map_or_else(|_| Value::from(product), Value::from))
}

/// The subscript `value[start:stop:step]`, by Python's rules.
fn slice(
    state: &State,
    value: Value,
    start: Value,
    stop: Value,
    step: Value,
) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    budget.weigh_top(&value)?;
    let bound = |value: Value| (!value.is_none()).then(|| i64::try_from(value)).transpose();
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if step == 0 {
        return Err(refused("cannot slice by step size of 0".to_owned()));
    }
    let pick = |n: usize| picked(n as i64, start, stop, step);
    let made = match value.kind() {
        ValueKind::String => {
            let characters: Vec<char> = value.as_str().unwrap_or_default().chars().collect();
            Value::from(pick(characters.len()).map(|idx| characters[idx]).collect::<String>())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items: Vec<Value> = value.try_iter()?.collect();
            let made: Vec<Value> = pick(items.len()).map(|idx| items[idx].clone()).collect();
            if value.is_tuple() { Value::from(Tuple::from(made)) } else { Value::from(made) }
        }
        ValueKind::Undefined | ValueKind::None => Value::from(Vec::<Value>::new()),
        kind => return Err(refused(format!("value of type {kind} cannot be sliced"))),
    };
    budget.accept("[:]", made)
}

/// The places that a slice of `n` items takes, in its order.
fn picked(n: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> impl Iterator<Item = usize> {
    let (lowest, highest) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let place = |bound: i64| {
        let from_start = if bound < 0 { bound.saturating_add(n) } else { bound };
        from_start.clamp(lowest, highest)
    };
    let first = start.map_or(if step > 0 { 0 } else { n - 1 }, place);
    let end = stop.map_or(if step > 0 { n } else { -1 }, place);
    std::iter::successors(Some(first), move |at| at.checked_add(step))
        .take_while(move |at| if step > 0 { *at < end } else { *at > end })
        .map(|at| at as usize)
}

/// Size of `text` with each `from` replaced.
fn check_replace(budget: &Budget, text: &str, from: &str, to: &str) -> Result<(), Error> {
    budget.take_work(text.len())?;
    let n_places = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    budget.check_size("replace", text.len().saturating_add(n_places.saturating_mul(to.len())))
}

fn replace(
    state: &State,
    text: Cow<'_, str>,
    from: Cow<'_, str>,
    to: Cow<'_, str>,
) -> Result<String, Error> {
    check_replace(&*Budget::of(state)?, &text, &from, &to)?;
    Ok(text.replace(&*from, &to))
}

/// Size of `values`, printed, with `between` between any two.
fn check_join(budget: &Budget, values: &Value, between: &str) -> Result<(), Error> {
    let n_between = values.len().unwrap_or(0).saturating_mul(between.len());
    budget.check_size("join", budget.measure("join", values)?.saturating_add(n_between))
}

/// The filter `join(d='', attribute=None)`.
fn join(
    state: &mut State,
    values: Value,
    between: Option<Value>,
    attribute: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    let between = match between {
        None => kwargs.get::<Option<Value>>("d")?,
        given => given,
    };
    let attribute = match attribute {
        None => kwargs.get::<Option<String>>("attribute")?,
        given => given,
    };
    kwargs.assert_all_used()?;
    let between = between.map(|text| text.to_string()).unwrap_or_default();
    let values = budget.accept("join", values)?;
    let items = values.try_iter().map_err(|error| {
        let reason = format!("cannot join value of type {}", values.kind());
        Error::new(ErrorKind::InvalidOperation, reason).with_source(error)
    })?;
    check_join(&budget, &values, &between)?;
    let texts = items.map(|item| {
        let item = match &attribute {
            Some(path) => attribute_of(&item, path),
            None => item,
        };
        item.as_str().map_or_else(|| item.to_string(), str::to_owned)
    });
    Ok(Value::from(texts.collect::<Vec<_>>().join(&between)))
}

/// The value at a path such as `a.b`; undefined if there is none.
fn attribute_of(value: &Value, path: &str) -> Value {
    path.split('.').fold(value.clone(), |value, part| match part.parse::<usize>() {
        Ok(idx) => value.get_item_by_index(idx).unwrap_or_default(),
        Err(_) => value.get_attr(part).unwrap_or_default(),
    })
}

/// The filter `indent(width=4, first=False, blank=False)` as Jinja2 has it, which keeps a last line
/// break.
fn indent(
    state: &State,
    text: Cow<'_, str>,
    arguments: Rest<ValueOrKwargs>,
) -> Result<String, Error> {
    let arguments = arguments.into_values();
    let (width, first, blank, kwargs): (Option<Value>, Option<bool>, Option<bool>, Kwargs) =
        from_args(&arguments)?;
    let width = match kwargs.get::<Option<Value>>("width")?.or(width) {
        None => " ".repeat(4),
        Some(width) => match width.as_str() {
            Some(prefix) => prefix.to_owned(),
            None => " ".repeat(count("indent", &width)?),
        },
    };
    let is_first_indented = kwargs.get::<Option<bool>>("first")?.or(first).unwrap_or(false);
    let are_blanks_indented = kwargs.get::<Option<bool>>("blank")?.or(blank).unwrap_or(false);
    kwargs.assert_all_used()?;
    let n_lines = text.split('\n').count();
    let budget = Budget::of(state)?;
    budget.check_size("indent", n_lines.saturating_mul(width.len()).saturating_add(text.len()))?;
    let lines = text.split('\n').enumerate().map(|(line_idx, line)| {
        let is_indented =
            if line_idx == 0 { is_first_indented } else { are_blanks_indented || !line.is_empty() };
        if is_indented { format!("{width}{line}") } else { line.to_owned() }
    });
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// A width, a count or a length that a template may ask for.
pub(super) fn count(what: &str, value: &Value) -> Result<usize, Error> {
    let number = i128::try_from(value.clone())?;
    let too_large = || refused(format!("`{what}` of {number}: at most {LARGEST_COUNT} is allowed"));
    let number = usize::try_from(number).map_err(|_| too_large())?;
    if number > LARGEST_COUNT { Err(too_large()) } else { Ok(number) }
}

/// Whether a format that gives `n_arguments` values of `n_bytes` makes too much. Its widths are the
/// numbers in it; a number between the fields is taken for one, if it is as large as no text has it.
fn check_format(
    budget: &Budget,
    format: &str,
    mark: char,
    arguments: &[Value],
) -> Result<(), Error> {
    let mut n_bytes = format.len();
    let mut largest = 0;
    for argument in arguments {
        largest = largest.max(budget.measure("format", argument)?.saturating_add(PRINTED_NUMBER));
    }
    for field in format.split(mark).skip(1) {
        let is_of_field = |c: &char| !c.is_alphabetic() && *c != '}';
        let field: String = field.chars().take_while(is_of_field).collect();
        for number in field.split(|c: char| !c.is_ascii_digit()).filter(|text| !text.is_empty()) {
            let width = number.parse::<i64>().unwrap_or(i64::MAX);
            n_bytes = n_bytes.saturating_add(count("format", &Value::from(width))?);
        }
        if field.contains(['*', '{']) {
            return Err(refused("`format` with a computed width is not allowed".to_owned()));
        }
        n_bytes = n_bytes.saturating_add(largest);
    }
    budget.check_size("format", n_bytes)
}

/// The filter `format(*args)`, printf's.
fn format(state: &mut State, format: &str, arguments: Rest<Value>) -> Result<Value, Error> {
    check_format(&*Budget::of(state)?, format, '%', &arguments)?;
    let style = minijinja::formatting::FormatStyle::Printf;
    minijinja::formatting::format(style, format, &arguments).map(Value::from)
}

/// The filter `batch(count, fill_with=None)`.
fn batch(state: &State, values: Value, n: Value, filler: Option<Value>) -> Result<Value, Error> {
    let n = count("batch", &n)?;
    let values = Budget::of(state)?.accept("batch", values)?;
    minijinja::filters::batch(state, values, n, filler)
}

/// The filter `slice(count, fill_with=None)`.
fn slices(state: &State, values: Value, n: Value, filler: Option<Value>) -> Result<Value, Error> {
    let n = count("slice", &n)?;
    let values = Budget::of(state)?.accept("slice", values)?;
    minijinja::filters::slice(state, values, n, filler)
}

/// The function `range(start, stop, step)`.
fn range(first: i64, stop: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let (start, stop) = stop.map_or((0, first), |stop| (first, stop));
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(refused("cannot create range with step of 0".to_owned()));
    }
    let distance = if step > 0 {
        i128::from(stop) - i128::from(start)
    } else {
        i128::from(start) - i128::from(stop)
    };
    let step_size = i128::from(step).abs();
    let n = (distance + step_size - 1).div_euclid(step_size).max(0);
    let n = count("range", &Value::from(n))?;
    Ok(Value::from_object(Numbers { start, step, n }))
}

/// Python's methods.
fn method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let budget = Budget::of(state)?;
    budget.weigh_top(value)?;
    let argument = |idx: usize| arguments.get(idx).and_then(Value::as_str);
    match (value.as_str(), method) {
        (Some(text), "replace") => {
            if let (Some(from), Some(to)) = (argument(0), argument(1)) {
                check_replace(&budget, text, from, to)?;
            }
        }
        (Some(text), "join") => {
            if let Some(values) = arguments.first() {
                check_join(&budget, values, text)?;
            }
        }
        (Some(text), "format") => check_format(&budget, text, '{', arguments)?,
        (Some(_), _) => arguments.iter().try_for_each(|argument| budget.weigh_top(argument))?,
        (None, "count") => {
            budget.measure("count", value)?;
        }
        _ => {}
    }
    unknown_method_callback(state, value, method, arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_those_of_python() {
        let all = |start, stop, step| picked(5, start, stop, step).collect::<Vec<_>>();
        // list(range(5))[a:b:c]
        assert_eq!(all(None, None, 1), [0, 1, 2, 3, 4]);
        assert_eq!(all(Some(1), Some(-1), 1), [1, 2, 3]);
        assert_eq!(all(Some(-9), Some(9), 2), [0, 2, 4]);
        assert_eq!(all(None, None, -1), [4, 3, 2, 1, 0]);
        assert_eq!(all(Some(9), Some(0), -2), [4, 2]);
        assert_eq!(all(Some(-1), Some(-3), -1), [4, 3]);
        assert_eq!(all(Some(3), Some(1), 1), [0; 0]);
        assert_eq!(all(Some(i64::MIN), Some(i64::MAX), i64::MAX), [0]);
        assert_eq!(picked(0, None, None, -1).count(), 0);
    }
}
