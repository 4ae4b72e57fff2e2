//! Flags and `config.toml` share one struct: defaults, then the file, then the given flags.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::failure::CliError;

/// The settings that the flags of a command overrule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    /// The defaults.
    Defaults,
    /// The settings of a file, which flags overrule.
    File(PathBuf),
    /// The settings of a run that is resumed, which no flag may change.
    Run(PathBuf),
}

impl Base {
    /// The file that was given, or else the configuration of the run to resume, if it has begun.
    pub(crate) fn of_run(file: Option<&Path>, run: &Path, resume: bool) -> Self {
        if let Some(file) = file {
            return Self::File(file.to_owned());
        }
        if resume && run.join(CONFIG).exists() { Self::Run(run.to_owned()) } else { Self::Defaults }
    }
}

/// Name of the configuration in the folder of a run.
const CONFIG: &str = "config.toml";

/// The settings of a command: those of `base`, overridden by every flag of `given` that is on the
/// command line, and by `finish` for flags that are not fields. Flags are matched by field name, in any
/// table.
///
/// # Errors
/// [`CliError::Config`] for a file that is not TOML, or has an unknown field or a wrong value;
/// [`gratis::Error::RunDiffers`] for a flag that differs from the settings of the run.
pub(crate) fn layered<T: Serialize + DeserializeOwned>(
    flags: T,
    given: &ArgMatches,
    base: &Base,
    finish: impl FnOnce(T) -> T,
) -> Result<T> {
    let path = match base {
        Base::Defaults => return Ok(finish(flags)),
        Base::File(path) => path.clone(),
        Base::Run(run) => run.join(CONFIG),
    };
    let broken = |reason: String| CliError::Config { path: path.display().to_string(), reason };
    let typed = |table: Table| -> Result<T> {
        let settings = Value::Table(table).try_into();
        Ok(settings.map_err(|error: toml::de::Error| broken(error.message().to_owned()))?)
    };
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let own: Table = toml::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let mut table = own.clone();
    overlay(&mut table, Table::try_from(&flags)?, given);
    let settings = finish(typed(table)?);
    if let Base::Run(run) = base {
        // Both with their defaults filled in.
        let (own, asked) = (Table::try_from(typed(own)?)?, Table::try_from(&settings)?);
        if let Some(what) = first_difference(&own, &asked) {
            return Err(gratis::Error::RunDiffers { path: run.clone(), what }.into());
        }
    }
    Ok(settings)
}

/// The first setting that differs, with both values.
fn first_difference(own: &Table, asked: &Table) -> Option<String> {
    let absent = |value: Option<&Value>| value.map_or("nothing".to_owned(), |v| format!("`{v}`"));
    let keys = asked.keys().chain(own.keys().filter(|key| !asked.contains_key(*key)));
    keys.into_iter().find_map(|key| match (own.get(key), asked.get(key)) {
        (Some(Value::Table(own)), Some(Value::Table(asked))) => first_difference(own, asked),
        (own, asked) if own != asked => {
            Some(format!("`{key}` (it has {}, the flag says {})", absent(own), absent(asked)))
        }
        _ => None,
    })
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

    fn layer(arguments: &[&str], config: &str, base: impl Fn(&Path) -> Base) -> Result<Settings> {
        let command = Settings::augment_args(Command::new("test").no_binary_name(true));
        let matches = command.get_matches_from(arguments);
        let flags = Settings::from_arg_matches(&matches).expect("flags");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        fs::write(&path, config).expect("written");
        layered(flags, &matches, &base(&path), |settings| settings)
    }

    fn over_file(path: &Path) -> Base {
        Base::File(path.to_owned())
    }

    #[test]
    fn a_given_flag_wins_over_the_file_and_the_file_over_a_default() {
        let settings =
            layer(&["--epochs", "1"], "model = 'a'\n[inner]\nepochs = 5\nsteps = 6\n", over_file);
        let expected = Settings { model: Some("a".into()), inner: Inner { epochs: 1, steps: 6 } };
        assert_eq!(settings.expect("valid"), expected);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = layer(&[], "[inner]\nepoch = 5\n", over_file).expect_err("unknown");
        assert!(error.to_string().contains("unknown field `epoch`"), "{error}");
    }

    #[test]
    fn no_flag_changes_a_run_that_is_resumed() {
        let config = "model = 'a'\n[inner]\nepochs = 5\nsteps = 2\n";
        let run = |path: &Path| Base::of_run(None, path.parent().expect("a folder"), true);
        let resumed = |arguments: &[&str]| layer(arguments, config, run);
        let expected = Settings { model: Some("a".into()), inner: Inner { epochs: 5, steps: 2 } };
        assert_eq!(resumed(&[]).expect("valid"), expected);
        // A flag with the value of the run changes nothing.
        assert_eq!(resumed(&["--steps", "2", "--epochs", "5"]).expect("the same"), expected);
        let error = resumed(&["--steps", "3", "--epochs", "1"]).expect_err("differs").to_string();
        assert!(error.ends_with("`epochs` (it has `5`, the flag says `1`) differs"), "{error}");
        let beginning = Base::of_run(None, Path::new("absent"), true);
        assert_eq!(beginning, Base::Defaults);
    }
}
