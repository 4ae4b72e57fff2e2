//! The terminal: its width, and a stderr stream that never fails and has control characters
//! escaped.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use gratis::visible::visible;
use indicatif::ProgressBar;
use terminal_size::{Height, Width, terminal_size_of};

/// Width if the output is not a terminal.
const DEFAULT_WIDTH: usize = 80;
/// Minimum width; narrower tables are unreadable.
const LEAST_WIDTH: usize = 40;

/// Width of the terminal of stdout, or 80.
pub(crate) fn width() -> usize {
    let stdout = io::stdout();
    let size = if stdout.is_terminal() { terminal_size_of(&stdout) } else { None };
    size.map_or(DEFAULT_WIDTH, |(Width(columns), Height(_))| usize::from(columns).max(LEAST_WIDTH))
}

/// The progress bar that is on the screen.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Prints later stderr text above this bar.
pub(crate) fn show_above(bar: Option<ProgressBar>) {
    *BAR.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Writes text to stderr, above the progress bar if there is one. Control characters in data are
/// escaped. If stderr is closed or full, the text is dropped.
pub(crate) fn say(text: &str) {
    let text = visible(text);
    let write = || {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    };
    let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Stderr for text that is already escaped, such as coloured log lines.
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || {
            let _ = io::stderr().lock().write_all(bytes);
        };
        let bar = BAR.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
