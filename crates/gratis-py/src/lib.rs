//! The native part of the Python module `gratis`: reward models, selection and grading.
//!
//! It converts between Python and the crates and has no logic of its own; `python/gratis` adds what is
//! easier in Python.

mod error;
mod hub;
mod model;
mod names;
mod score;
mod select;

use pyo3::prelude::*;

/// The module `gratis._native`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("GratisError", module.py().get_type::<error::GratisError>())?;
    module.add_class::<model::RewardModel>()?;
    module.add_class::<score::Score>()?;
    module.add_class::<select::Grade>()?;
    module.add_function(wrap_pyfunction!(select::best_of_n, module)?)?;
    module.add_function(wrap_pyfunction!(select::vote, module)?)?;
    module.add_function(wrap_pyfunction!(select::grade, module)?)?;
    module.add_function(wrap_pyfunction!(select::grade_all, module)?)?;
    Ok(())
}
