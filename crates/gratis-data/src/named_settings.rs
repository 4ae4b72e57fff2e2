//! `NAME,KEY=VALUE,...`: a choice with its settings as one command-line argument.
//!
//! Objectives and data operations are written like this: `ce,beta=0.3`,
//! `subsample_responses,n=4,seed=1`. A value is a number, `true` or `false`, or else text; a key
//! without a value is `true`. Text with a comma, or text that would be read as a number, is put in
//! double quotes with the escapes of JSON: `mix,path="a,b.jsonl"`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Key that holds the name in a configuration.
const NAME: &str = "name";

/// Reads a choice; `field` is what errors call it, such as `objective`.
///
/// # Errors
/// [`Error::InvalidSetting`]. An unknown name lists the known ones, an unknown key the keys of this
/// name; a bad value is named with its key.
pub fn parse<T: DeserializeOwned>(field: &'static str, text: &str) -> Result<T> {
    let table = read(field, text)?;
    let build = |table: &Map<String, Value>| {
        serde_json::from_value::<T>(Value::Object(table.clone())).map_err(|error| error.to_string())
    };
    build(&table).map_err(|message| explain(field, &table, &message, |rest| build(rest).err()))
}

/// The short form of a choice that is a table with a `name` in a configuration.
///
/// # Errors
/// Where the value is no such table.
pub fn display(value: &impl Serialize) -> Result<String, std::fmt::Error> {
    let Ok(Value::Object(mut table)) = serde_json::to_value(value) else {
        return Err(std::fmt::Error);
    };
    let Some(Value::String(mut text)) = table.shift_remove(NAME) else {
        return Err(std::fmt::Error);
    };
    for (key, value) in table.iter().filter(|(_, value)| !value.is_null()) {
        let value = match value {
            Value::String(plain) if is_plain(plain) => plain.clone(),
            value => value.to_string(),
        };
        text.extend([",", key, "=", &value]);
    }
    Ok(text)
}

/// Whether a text is read as itself without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(',') && !text.starts_with('"') && scalar(text).is_string()
}

/// A number or truth value where the text is one.
fn scalar(text: &str) -> Value {
    if let Ok(value @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text) {
        return value;
    }
    // Such as `.5` or `+1`.
    let number = text.parse().ok().and_then(serde_json::Number::from_f64);
    number.map_or_else(|| text.into(), Value::Number)
}

fn read(field: &'static str, text: &str) -> Result<Map<String, Value>> {
    let malformed = || Error::setting(field, "`NAME` or `NAME,KEY=VALUE,...`", text);
    let (name, mut rest) = text.split_once(',').map_or((text, None), |(a, b)| (a, Some(b)));
    if name.is_empty() || name.contains('=') {
        return Err(malformed());
    }
    let mut table = Map::new();
    table.insert(NAME.to_owned(), name.into());
    while let Some(settings) = rest {
        let end = settings.find(['=', ',']).unwrap_or(settings.len());
        let (key, after) = settings.split_at(end);
        let value = match after.strip_prefix('=') {
            Some(quoted) if quoted.starts_with('"') => {
                let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
                let value = values.next().and_then(Result::ok).ok_or_else(malformed)?;
                rest = match &quoted[values.byte_offset()..] {
                    "" => None,
                    more => Some(more.strip_prefix(',').ok_or_else(malformed)?),
                };
                Value::String(value)
            }
            Some(plain) => {
                let (value, more) =
                    plain.split_once(',').map_or((plain, None), |(a, b)| (a, Some(b)));
                rest = more;
                if value.is_empty() {
                    return Err(malformed());
                }
                scalar(value)
            }
            None => {
                rest = after.strip_prefix(',');
                Value::Bool(true)
            }
        };
        if key.is_empty() {
            return Err(malformed());
        }
        if table.insert(key.to_owned(), value).is_some() {
            return Err(Error::setting(field, "a name with every key once", text));
        }
    }
    Ok(table)
}

/// Turns a deserialiser's error into a message that the user can act on. `without` is the message
/// for a table that lacks a key.
fn explain(
    field: &'static str,
    table: &Map<String, Value>,
    message: &str,
    without: impl Fn(&Map<String, Value>) -> Option<String>,
) -> Error {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let name = shown(&table[NAME]);
    let expected = message.split_once(", expected ").map(|(_, expected)| plain_type(expected));
    if message.starts_with(&format!("unknown variant `{name}`,"))
        && let Some(expected) = expected
    {
        return Error::setting(field, expected, name);
    }
    if let Some(unknown) = between(message, "unknown field `", "`") {
        let expected = match expected {
            Some(keys) => match keys.strip_prefix("one of ") {
                Some(keys) => format!("`{name}` with any of the keys {keys}"),
                None => format!("`{name}` with the key {keys}"),
            },
            None => format!("`{name}`, which has no keys"),
        };
        return Error::setting(field, expected, unknown);
    }
    if let Some(missing) = between(message, "missing field `", "`") {
        return Error::setting(field, format!("`{name},{missing}=...`"), name);
    }
    // The key whose absence changes the error is the one at fault.
    let at_fault = table.iter().filter(|(key, _)| *key != NAME).find(|(key, _)| {
        let rest = table.iter().filter(|(other, _)| other != key);
        let rest = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
        without(&rest).as_deref() != Some(message)
    });
    let Some((key, value)) = at_fault else {
        return Error::setting(field, format!("a valid `{name}` ({message})"), name);
    };
    let expected = match expected {
        Some(expected) => format!("`{name}` with {expected} as `{key}`"),
        None => format!("`{name}` with a valid `{key}` ({message})"),
    };
    Error::setting(field, expected, shown(value))
}

/// The name of a type for users.
fn plain_type(expected: &str) -> &str {
    match expected {
        "f64" | "f32" => "a number",
        "u64" | "u32" | "usize" => "a whole number",
        "a boolean" => "`true` or `false`",
        other => other,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split_once(end).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "name", rename_all = "snake_case")]
    enum Choice {
        Plain(None),
        Full(Full),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct None {}

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Full {
        text: String,
        #[serde(default)]
        share: f64,
        #[serde(default)]
        n: usize,
        #[serde(default)]
        side: Side,
        #[serde(default)]
        keep: bool,
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Side {
        #[default]
        Left,
        Right,
    }

    fn full(text: &str) -> Full {
        Full { text: text.to_owned(), share: 0.0, n: 0, side: Side::Left, keep: false }
    }

    #[test]
    fn settings_are_read_and_written_back() {
        let read = |text: &str| parse::<Choice>("choice", text).expect(text);
        assert_eq!(read("plain"), Choice::Plain(None {}));
        let all = Full { share: 0.5, n: 4, side: Side::Right, keep: true, ..full("a b=c") };
        assert_eq!(read("full,text=a b=c,share=.5,n=4,side=right,keep"), Choice::Full(all));
        for text in ["", "a,b", "12", "true", "\"quoted\"", "x=y,z", "\u{1b}", "1e5"] {
            let choice = Choice::Full(full(text));
            let short = display(&choice).expect("a table");
            assert_eq!(read(&short), choice, "{short}");
        }
        assert_eq!(
            display(&Choice::Full(full("a,b"))).expect("a table"),
            r#"full,text="a,b",share=0.0,n=0,side=left,keep=false"#
        );
    }

    #[test]
    fn errors_name_what_is_wrong_and_what_is_known() {
        for (text, said) in [
            ("fulll", "`plain` or `full`, got `fulll`"),
            ("plain,x=1", "`plain`, which has no keys, got `x`"),
            (
                "full,text=a,shaer=1",
                "`full` with any of the keys `text`, `share`, `n`, `side`, `keep`, got `shaer`",
            ),
            ("full", "`full,text=...`, got `full`"),
            ("full,text=a,share=much", "`full` with a number as `share`, got `much`"),
            ("full,text=a,n=-1", "`full` with a whole number as `n`, got `-1`"),
            ("full,text=a,keep=1", "`full` with `true` or `false` as `keep`, got `1`"),
            ("full,text=a,side=up", "`full` with `left` or `right` as `side`, got `up`"),
            ("full,text=a,text=b", "a name with every key once, got `full,text=a,text=b`"),
            ("full,name=plain", "a name with every key once, got `full,name=plain`"),
            ("full,", "`NAME` or `NAME,KEY=VALUE,...`, got `full,`"),
            ("full,,n=1", "`NAME` or `NAME,KEY=VALUE,...`, got `full,,n=1`"),
            ("full,n=", "`NAME` or `NAME,KEY=VALUE,...`, got `full,n=`"),
            ("full,text=\"a", "`NAME` or `NAME,KEY=VALUE,...`, got `full,text=\"a`"),
            ("", "`NAME` or `NAME,KEY=VALUE,...`, got ``"),
            ("n=1", "`NAME` or `NAME,KEY=VALUE,...`, got `n=1`"),
        ] {
            let error = parse::<Choice>("choice", text).expect_err(text).to_string();
            assert_eq!(error, format!("`choice` should be {said}"), "{text}");
        }
    }
}
