//! Converts panics of libraries on untrusted input to errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static IS_ACTIVE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught here and become an error of the input. A panic
/// hook should say nothing about such a panic.
pub fn is_active() -> bool {
    IS_ACTIVE.get()
}

/// Runs `run`; the message of its panic, if it panics.
///
/// `run` must leave no state in an inconsistent condition that is used again.
///
/// # Errors
/// The message of the panic.
pub fn run<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_ACTIVE.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_ACTIVE.set(before);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "no message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_message() {
        assert!(!is_active());
        assert_eq!(run(is_active), Ok(true));
        assert_eq!(run(|| -> u8 { panic!("{} failed", 1) }), Err("1 failed".to_owned()));
        assert!(!is_active());
    }
}
