//! Settings by the names that they have on the command line and in files.

use gratis::reward_model::{PromptSettings, ScoreBy, Weights};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyDictMethods};
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use crate::error::{invalid, raised};

/// A setting whose names are those of its files.
pub(crate) fn named<'de, T: Deserialize<'de>>(argument: &str, name: &'de str) -> PyResult<T> {
    let parsed: Result<T, Error> = T::deserialize(name.into_deserializer());
    parsed.map_err(|error| invalid(format!("`{argument}`: {error}")))
}

/// A setting that is read from text.
pub(crate) fn parsed<T: std::str::FromStr<Err: Into<gratis::Error>>>(name: &str) -> PyResult<T> {
    name.parse().map_err(raised)
}

/// How weights are held in memory.
pub(crate) fn weights(name: &str) -> PyResult<Weights> {
    match name {
        "auto" => Ok(Weights::Auto),
        "loaded" => Ok(Weights::Loaded),
        "mapped" => Ok(Weights::Mapped),
        _ => Err(invalid(format!("`weights` must be `auto`, `loaded` or `mapped`, got `{name}`"))),
    }
}

/// The source of the rewards.
pub(crate) fn score_by(name: &str) -> PyResult<ScoreBy> {
    match name {
        "reward" => Ok(ScoreBy::Reward),
        "self-certainty" => Ok(ScoreBy::SelfCertainty),
        _ => Err(invalid(format!("`by` must be `reward` or `self-certainty`, got `{name}`"))),
    }
}

/// Adds variables of a chat template to a prompt.
pub(crate) fn add_template_args(
    prompt: &mut PromptSettings,
    given: &Bound<'_, PyDict>,
) -> PyResult<()> {
    let to_json = given.py().import("json")?.getattr("dumps")?;
    for (name, value) in given.iter() {
        let (name, value): (String, String) =
            (name.extract()?, to_json.call1((value,))?.extract()?);
        let argument = PromptSettings::argument(&format!("{name}={value}")).map_err(invalid)?;
        prompt.template_args.push(argument);
    }
    Ok(())
}
