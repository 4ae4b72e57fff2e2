//! Errors as the user sees them: the chain, a hint, and the exit code.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Exit code of what the user can mend.
const USER: u8 = 1;
/// Exit code of what only we can.
const OURS: u8 = 2;

/// An error of the command line itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Something that must be given was not.
    #[error("`{field}` is missing")]
    Missing {
        /// The setting.
        field: &'static str,
        /// How to give it.
        hint: String,
    },
    /// A configuration file that cannot be used.
    #[error("`{path}`: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong, with the field.
        reason: String,
    },
    /// Two inputs that do not belong together.
    #[error("{what}")]
    Mismatch {
        /// What does not fit what.
        what: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Prints the error with its causes and a hint on stderr.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has enough.
        return ExitCode::SUCCESS;
    }
    let mut text = format!("error: {error}\n");
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            text.extend(["  caused by: ", &cause, "\n"]);
        }
        said = cause;
    }
    if let Some(hint) = hint(error) {
        text.extend(["hint: ", &hint, "\n"]);
    }
    // Nothing is left to do if stderr is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(if is_ours(error) { OURS } else { USER })
}

/// Prints what `clap` has to say: help, the version, or what is wrong with the flags.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing is left to do if the stream is closed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { USER } else { 0 })
}

fn hint(error: &anyhow::Error) -> Option<String> {
    own_hint(error).or_else(|| {
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
        Some(io_hint(io.kind())?.to_owned())
    })
}

/// What the user can do about a file, by what the system says of it.
fn io_hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Some(
            "look for a slip in the path: a file to be read has to be there, and so has the folder \
             of one to be written",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some("name a place where you may read and write")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("make room and run the same command again: nothing was half-written")
        }
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof | ErrorKind::Other => {
            Some("is the file whole, and is it what its name says?")
        }
        _ => None,
    }
}

/// The hint of the first of our own errors, if it has one.
fn own_hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<gratis::Error>() {
            return error.hint().map(str::to_owned);
        }
        if let Some(error) = cause.downcast_ref::<gratis_model::Error>() {
            return error.hint().map(str::to_owned);
        }
        match cause.downcast_ref::<CliError>()? {
            CliError::Missing { hint, .. } => Some(hint.clone()),
            CliError::Mismatch { hint, .. } => Some((*hint).to_owned()),
            CliError::Config { .. } => {
                Some("`config.toml` of a run folder shows every setting with its value".to_owned())
            }
        }
    })
}

/// Whether no input of the user explains the error.
fn is_ours(error: &anyhow::Error) -> bool {
    !error.chain().any(|cause| {
        cause.is::<gratis::Error>()
            || cause.is::<gratis_model::Error>()
            || cause.is::<gratis_engine::Error>()
            || cause.is::<gratis_cpu::Error>()
            || cause.is::<CliError>()
            || cause.is::<std::io::Error>()
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
    })
}
