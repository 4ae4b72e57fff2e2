//! SIGINT, SIGTERM and SIGHUP: remove temporary files, print how to continue, and exit.
//!
//! SIGTERM and SIGHUP exit with 128 plus the number of the signal. SIGINT ends the process by the
//! signal itself; shells report it as 130 and also stop a surrounding script.

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

/// Called by the first signal, in place of the end of the process.
type Callback = Box<dyn FnOnce() + Send>;

/// What remains if the run is interrupted now, and how to continue it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Continue {
    /// Nothing is kept.
    StartAgain,
    /// Finished work is kept, and the same command continues with the rest.
    SameCommand,
    /// Finished work is kept, and the same command continues when `--resume` is added.
    WithResume,
}

static CONTINUE: Mutex<Continue> = Mutex::new(Continue::StartAgain);
static FIRST: Mutex<Option<Callback>> = Mutex::new(None);

/// Lets the first signal call `stop` instead of ending the process; the next one ends it.
#[cfg(feature = "serve")]
pub(crate) fn stop_by(stop: impl FnOnce() + Send + 'static) {
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
}

fn take_first() -> Option<Callback> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Sets how an interruption from now on tells the user to continue.
pub(crate) fn on_interrupt(how: Continue) {
    *CONTINUE.lock().unwrap_or_else(PoisonError::into_inner) = how;
}

/// The line for the user.
fn advice(how: Continue, arguments: &[OsString]) -> String {
    let mut words: Vec<String> =
        arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(program) = words.first_mut() {
        "gratis".clone_into(program);
    }
    let is_resumed = words.iter().any(|word| word == "--resume");
    if how == Continue::WithResume && !is_resumed {
        words.push("--resume".to_owned());
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = crate::output::command(&words);
    match how {
        Continue::StartAgain => format!("to start again: {command}"),
        Continue::SameCommand => format!("finished work is kept; to continue: {command}"),
        Continue::WithResume => format!("checkpoints are kept; to continue: {command}"),
    }
}

#[cfg(unix)]
pub(crate) use unix::listen;

/// Signals of other systems keep their default action.
#[cfg(not(unix))]
pub(crate) fn listen() {}

#[cfg(unix)]
mod unix {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use gratis_model::atomic;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::{emulate_default_handler, signal_name};

    use super::{CONTINUE, Continue, advice, take_first};
    use crate::terminal;

    /// How long a blocked stderr may delay the exit.
    const PATIENCE: Duration = Duration::from_millis(500);

    /// Installs the handlers of the signals that end a process. A signal that is ignored stays
    /// ignored, as `nohup` and background jobs require.
    pub(crate) fn listen() {
        let ignored = ignored_signals();
        let watched = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| match ignored {
            Some(mask) => mask >> (signal - 1) & 1 == 0,
            // If the system does not report the mask, SIGHUP keeps its action.
            None => signal != SIGHUP,
        });
        let watched: Vec<i32> = watched.collect();
        let wait = move || {
            let Ok(mut signals) = Signals::new(watched) else { return };
            for signal in &mut signals {
                match take_first() {
                    Some(stop) => stop(),
                    None => end(signal),
                }
            }
        };
        // Without this thread, signals keep their default action.
        let _ = thread::Builder::new().name("signals".to_owned()).spawn(wait);
    }

    fn end(signal: i32) {
        // The holder of the lock is about to change the value; the old one is good enough.
        let how = CONTINUE.try_lock().map_or(Continue::StartAgain, |how| *how);
        atomic::remove_temporaries();
        let name = signal_name(signal).unwrap_or("a signal");
        let arguments: Vec<_> = std::env::args_os().collect();
        let line = format!("interrupted by {name}: {}\n", advice(how, &arguments));
        let (done, is_done) = mpsc::channel();
        let told = thread::Builder::new().spawn(move || {
            terminal::say(&line);
            let _ = done.send(());
        });
        if told.is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
        // PID 1 of a container does not die of its own signals.
        if signal == SIGINT && std::process::id() != 1 {
            let _ = emulate_default_handler(signal);
        }
        #[expect(clippy::exit, reason = "the main thread cannot be unwound from here")]
        std::process::exit(128 + signal);
    }

    /// The mask of ignored signals, if `/proc` has it.
    fn ignored_signals() -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_continue_can_be_pasted() {
        let arguments = ["target/debug/gratis", "train", "--run", "my runs", "--model", "m"];
        let arguments = arguments.map(OsString::from);
        assert_eq!(
            advice(Continue::WithResume, &arguments),
            "checkpoints are kept; to continue: gratis train --run 'my runs' --model m --resume"
        );
        let resumed = [&arguments[..], &["--resume".into()]].concat();
        assert_eq!(advice(Continue::WithResume, &resumed).matches("--resume").count(), 1);
        assert!(advice(Continue::SameCommand, &arguments).ends_with("--model m"));
    }
}
