//! Errors as exceptions: the message with its causes, and the hint of the command line.

use std::error::Error as _;

use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    gratis,
    GratisError,
    PyException,
    "An error of gratis: `message` says what is wrong, `hint` what to do, where that is known."
);

/// The exception for an error.
pub(crate) fn raised(error: impl Into<gratis::Error>) -> PyErr {
    let error = error.into();
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    with_hint(message, gratis::hint::of(&error))
}

/// The exception for an invalid argument.
pub(crate) fn invalid(message: String) -> PyErr {
    with_hint(message, None)
}

fn with_hint(message: String, hint: Option<String>) -> PyErr {
    let text = match &hint {
        Some(hint) => format!("{message}\nhint: {hint}"),
        None => message.clone(),
    };
    let exception = GratisError::new_err(text);
    Python::attach(|py| {
        let value = exception.value(py);
        let set = value.setattr("message", message).and_then(|()| value.setattr("hint", hint));
        // An exception that cannot take attributes is replaced by the reason.
        match set {
            Ok(()) => exception,
            Err(error) => error,
        }
    })
}
