//! Error output: the chain, a hint, and the exit code; panics as one line.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};
use std::process::ExitCode;

use gratis::data::Error as DataError;
use gratis::visible::{is_unsafe, visible};

use crate::terminal;

/// Exit code of a user error.
const USER: u8 = 1;
/// Exit code of an internal error.
const OURS: u8 = 2;

/// An error of the command line itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Stdout {
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The compute threads cannot be started.
    #[error("cannot start {n_threads} threads")]
    Threads {
        /// The requested number.
        n_threads: usize,
        /// The reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder for temporary files cannot be created.
    #[error("cannot create a temporary folder in `{place}`{}", if *.is_set { ", the value of \
             `TMPDIR`" } else { "" })]
    Temporary {
        /// The folder for temporary files.
        place: String,
        /// Whether it comes from `TMPDIR`.
        is_set: bool,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// A request that is too large.
    #[error("{amount}; {limit}")]
    TooLarge {
        /// The size of the request.
        amount: String,
        /// The limit that it exceeds.
        limit: String,
        /// The flag that sets it.
        flag: &'static str,
    },
    /// A required setting is missing.
    #[error("`{field}` is missing")]
    Missing {
        /// The setting.
        field: &'static str,
        /// How to give it.
        hint: String,
    },
    /// An invalid configuration file.
    #[error("`{path}`: {reason}")]
    Config {
        /// The file.
        path: String,
        /// What is wrong, with the field.
        reason: String,
    },
    /// Two inputs that do not match.
    #[error("{what}")]
    Mismatch {
        /// The mismatch.
        what: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Prints the error with its causes and a hint on stderr.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        // The reader of our output has closed it.
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
    terminal::say(&text);
    ExitCode::from(if is_ours(error) { OURS } else { USER })
}

/// Prints the output of `clap`: help, the version, or an error in the flags.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    // If the stream is closed, nothing can be reported.
    let _ = if text.contains(is_unsafe) {
        std::io::stderr().write_all(visible(&text).as_bytes())
    } else {
        error.print()
    };
    ExitCode::from(if error.use_stderr() { USER } else { 0 })
}

fn hint(error: &anyhow::Error) -> Option<String> {
    own_hint(error).or_else(|| {
        let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>())?;
        Some(gratis::hint::of_io(io.kind())?.to_owned())
    })
}

/// The hint of the first of our own errors, if it has one.
fn own_hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let known = gratis::hint::of_cause(cause);
        if known.is_some() {
            return known;
        }
        if let Some(error) = cause.downcast_ref::<gratis_paper::Error>() {
            return error.hint().map(str::to_owned);
        }
        match cause.downcast_ref::<CliError>()? {
            CliError::Missing { hint, .. } => Some(hint.clone()),
            CliError::Mismatch { hint, .. } => Some((*hint).to_owned()),
            CliError::TooLarge { flag, .. } => Some(format!(
                "lower `{flag}`, `--max-tokens` or `--chunk`, or give `--allow-large`"
            )),
            CliError::Stdout { source } => gratis::hint::of_io(source.kind()).map(str::to_owned),
            CliError::Threads { .. } => Some(
                "use fewer threads (`--threads`), or raise the limit on processes or memory \
                 (`ulimit -u`, `ulimit -v`)"
                    .to_owned(),
            ),
            CliError::Temporary { .. } => {
                Some("set `TMPDIR` to an existing writable folder".to_owned())
            }
            CliError::Config { .. } => {
                Some("`config.toml` of a run folder shows every setting with its value".to_owned())
            }
        }
    })
}

/// Whether the error is internal, not a user error.
fn is_ours(error: &anyhow::Error) -> bool {
    !error.chain().any(|cause| {
        cause.is::<gratis::Error>()
            || cause.is::<gratis::data::Error>()
            || cause.is::<gratis_model::Error>()
            || cause.is::<gratis_engine::Error>()
            || cause.is::<gratis_cpu::Error>()
            || cause.is::<gratis_remote::Error>()
            || cause.is::<gratis_paper::Error>()
            || cause.is::<CliError>()
            || cause.is::<std::io::Error>()
    })
}

/// Whether the reader of standard output has closed it. A broken network connection is an error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_stdout = |cause: &(dyn std::error::Error + 'static)| {
        let of_data = match cause.downcast_ref() {
            Some(gratis::Error::Data(error)) => Some(error),
            _ => cause.downcast_ref(),
        };
        matches!(cause.downcast_ref(), Some(CliError::Stdout { .. }))
            || matches!(of_data, Some(DataError::Io { action: "write", path, .. }) if path == "-")
    };
    error.chain().any(is_stdout)
        && error.chain().any(|cause| {
            let io = cause.downcast_ref::<std::io::Error>();
            io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
        })
}

/// Runs the program. A panic prints one line and ends with the exit code of an internal error.
pub(crate) fn catch_panics(run: impl FnOnce() -> ExitCode) -> ExitCode {
    set_hook(Box::new(|panic| {
        // Reported as an error of the input.
        if gratis_model::guard::is_active() {
            return;
        }
        let mut text = panic_line(panic);
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            text += &backtrace.to_string();
        }
        terminal::say(&text);
    }));
    // State left by the panic is not used again.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(ExitCode::from(OURS))
}

/// The message, the place, the version, and what to do.
fn panic_line(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let what = text.unwrap_or("unknown reason").replace('\n', " ");
    let place = panic.location().map(|location| format!(" at {location}")).unwrap_or_default();
    format!(
        "internal error: {what}{place} (gratis {} on {}-{}); this is a bug in gratis: please \
         report \
         this line with the command that led to it\n",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_one_line_and_an_internal_error() {
        let code = catch_panics(|| panic!("two\nlines"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(OURS)));
        let (sender, receiver) = std::sync::mpsc::channel();
        set_hook(Box::new(move |panic| {
            let _ = sender.send(panic_line(panic));
        }));
        let caught = catch_unwind(|| panic!("two\nlines"));
        let _ = std::panic::take_hook();
        assert!(caught.is_err());
        let line = receiver.recv().expect("a line");
        let start = "internal error: two lines at crates/gratis-cli/src/failure.rs:";
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(env!("CARGO_PKG_VERSION")) && line.contains("is a bug"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }

    #[test]
    fn only_a_closed_stdout_is_no_error() {
        let broken = || std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&CliError::Stdout { source: broken() }.into()));
        assert!(!is_broken_pipe(&anyhow::Error::new(broken()).context("cannot download")));
    }
}
