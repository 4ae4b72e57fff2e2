//! The Jinja environment that `transformers` gives to a chat template.

use std::fmt;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::date::Date;
use super::{guards, json};

/// Instructions that one rendering may run, those of [`super::rewrite`] included. The longest
/// templates in use stay far below it on conversations of thousands of messages; an endless one
/// ends within seconds.
const MAX_INSTRUCTIONS: u64 = 20_000_000;

/// What a `{% generation %}` block becomes: a call whose body it is.
const GENERATION_BLOCK: &str = "gratis_generation_block";

/// The message of a template that rejected its input.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// An environment without templates: white space as `transformers` sets it, Python's methods, no
/// escaping, a bound on the work.
pub(super) fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_syntax(syntax());
    environment.set_debug(true);
    environment.set_fuel(Some(MAX_INSTRUCTIONS));
    guards::add_to(&mut environment);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function(GENERATION_BLOCK, generation_block);
    environment
}

/// White space as `transformers` sets it.
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

/// The function `strftime_now(format)` of a template for which today is `date`.
pub(super) fn strftime_now(date: Date) -> Value {
    Value::from_function(move |format: &str| {
        date.format(format)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    })
}

/// The message with which the template called `raise_exception`, if it did.
pub(super) fn raised(error: &Error) -> Option<&str> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Raised(message)) = error.downcast_ref() {
            return Some(message);
        }
        cause = error.source();
    }
    None
}

/// The error message.
pub(super) fn describe(error: &Error) -> String {
    match error.detail() {
        Some(detail) if detail.contains("strftime_now") => {
            "the template asks for today's date and none was given".to_owned()
        }
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "the template raised an exception")
        .with_source(Raised(message)))
}

/// Prints the block's body: the marks that `transformers` makes of it concern its own masks.
fn generation_block(state: &mut State, kwargs: Kwargs) -> Result<Value, Error> {
    let body: Value = kwargs.get("caller")?;
    body.call(state, &[])
}

/// The filter `int(default=0)`, which gives the default for what is no number.
fn int(value: &Value, default: Option<Value>) -> Value {
    let whole = value.as_str().and_then(|text| text.trim().parse::<i64>().ok()).map(Value::from);
    let exact = || value.is_integer().then(|| value.clone());
    let truncated = || number(value).map(|number| Value::from(number.trunc() as i64));
    whole.or_else(exact).or_else(truncated).or(default).unwrap_or_else(|| Value::from(0))
}

/// The filter `float(default=0.0)`, which gives the default for what is no number.
fn float(value: &Value, default: Option<Value>) -> Value {
    number(value).map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0))
}

fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::String => value.as_str()?.trim().parse().ok(),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        _ => f64::try_from(value.clone()).ok(),
    }
}

/// Turns `{% generation %}` and `{% endgeneration %}` into a call block, which has the same scope
/// and is known to the parser.
pub(super) fn rewrite_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        rest = tag;
        let word_start = tag.len() - tag.trim_start_matches(['-', '+']).trim_start().len();
        let word_len =
            tag[word_start..].find(|c: char| !c.is_alphabetic()).unwrap_or(tag.len() - word_start);
        let (word, after) = tag[word_start..].split_at(word_len);
        let is_whole = after.trim_start().trim_start_matches(['-', '+']).starts_with("%}");
        let replacement = match word {
            "generation" if is_whole => format!("call {GENERATION_BLOCK}()"),
            "endgeneration" if is_whole => "endcall".to_owned(),
            _ => continue,
        };
        out.push_str(&tag[..word_start]);
        out.push_str(&replacement);
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_generation_tags_are_rewritten() {
        let source = "{%- generation -%}a{% endgeneration %}{% if generation %}{% endif %}{%";
        assert_eq!(
            rewrite_generation_blocks(source),
            "{%- call gratis_generation_block() -%}a{% endcall %}{% if generation %}{% endif %}{%"
        );
    }
}
