//! Flags and `config.toml` share one struct: defaults, then the file, then the given flags.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::failure::CliError;

/// The settings of a command: those in `file`, overridden by every flag of `given` that is on the
/// command line. Flags are matched by field name, in any table.
///
/// # Errors
/// [`CliError::Config`] for a file that is not TOML, or has an unknown field or a wrong value.
pub(crate) fn layered<T: Serialize + DeserializeOwned>(
    flags: T,
    given: &ArgMatches,
    file: Option<&Path>,
) -> Result<T> {
    let Some(path) = file else { return Ok(flags) };
    let broken = |reason: String| CliError::Config { path: path.display().to_string(), reason };
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut table: Table = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
    overlay(&mut table, Table::try_from(&flags)?, given);
    let settings = Value::Table(table).try_into();
    Ok(settings.map_err(|error: toml::de::Error| broken(error.message().to_owned()))?)
}

/// Copies the given flags from `from` to `into`, table by table.
fn overlay(into: &mut Table, from: Table, given: &ArgMatches) {
    for (key, value) in from {
        match value {
            Value::Table(from) if !is_given(given, &key) => {
                let entry = into.entry(key).or_insert_with(|| Value::Table(Table::new()));
                if let Value::Table(into) = entry {
                    overlay(into, from, given);
                }
            }
            value if is_given(given, &key) => {
                into.insert(key, value);
            }
            _ => {}
        }
    }
}

fn is_given(given: &ArgMatches, key: &str) -> bool {
    // `clap` does not know fields that are not flags.
    given.try_contains_id(key).is_ok() && given.value_source(key) == Some(ValueSource::CommandLine)
}

/// The settings as `config.toml` text.
pub(crate) fn resolved<T: Serialize>(settings: &T) -> Result<String> {
    Ok(toml::to_string(settings)?)
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Args, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[arg(long)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        #[command(flatten)]
        #[serde(default)]
        inner: Inner,
    }

    #[derive(Debug, Default, PartialEq, Args, Serialize, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Inner {
        #[arg(long, default_value_t = 1)]
        epochs: u32,
        #[arg(long, default_value_t = 2)]
        steps: u32,
    }

    fn layer(arguments: &[&str], config: &str) -> Result<Settings> {
        let command = Settings::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.get_matches_from(arguments);
        let flags = Settings::from_arg_matches(&matches).expect("flags");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        fs::write(&path, config).expect("written");
        layered(flags, &matches, Some(&path))
    }

    #[test]
    fn a_given_flag_wins_over_the_file_and_the_file_over_a_default() {
        let settings = layer(&["--epochs", "1"], "model = 'a'\n[inner]\nepochs = 5\nsteps = 6\n");
        let expected = Settings { model: Some("a".into()), inner: Inner { epochs: 1, steps: 6 } };
        assert_eq!(settings.expect("valid"), expected);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = layer(&[], "[inner]\nepoch = 5\n").expect_err("unknown");
        assert!(error.to_string().contains("unknown field `epoch`"), "{error}");
    }
}
