//! Models by name, downloaded by the Python package `huggingface_hub`, and the environment for engines
//! that run elsewhere.

use std::path::PathBuf;

use gratis::data::Error as DataError;
use gratis::reward_model::Hub;
use gratis_model::hub::HubName;
use gratis_model::web::Proxies;
use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The cache of `huggingface_hub`, which is also that of the command line.
pub(crate) struct PythonHub;

/// `huggingface_hub` is not installed.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{name}` is not a path on this machine, and the package `huggingface_hub` is not installed"
)]
struct NoHubPackage {
    name: String,
}

impl Hub for PythonHub {
    fn fetch(&self, name: &HubName) -> Result<PathBuf, gratis::Error> {
        let download = |py: Python<'_>| -> PyResult<PathBuf> {
            let hub = py.import("huggingface_hub")?;
            let arguments = PyDict::new(py);
            arguments.set_item("revision", name.revision())?;
            let folder =
                hub.call_method("snapshot_download", (name.repository(),), Some(&arguments))?;
            folder.extract()
        };
        Python::attach(|py| {
            download(py).map_err(|error| {
                let is_absent = error.is_instance_of::<PyImportError>(py);
                let absent = || NoHubPackage { name: name.to_string() };
                let cause = if is_absent { absent().into() } else { error.into() };
                DataError::Caller(cause).into()
            })
        })
    }

    fn variable(&self, name: &str) -> Option<String> {
        variable(name)
    }

    fn proxies(&self) -> Proxies {
        Proxies::from_variables(variable)
    }
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}
