//! The work budget: how a comparison of hostile input stays bounded without a clock.

use std::cell::Cell;

/// Steps of work left to one comparison, shared by all of its parts.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// A budget of `steps`.
    pub(crate) fn new(steps: u64) -> Self {
        Self { left: Cell::new(steps) }
    }

    /// Takes `steps` from the budget; `None` once it is spent, and ever after.
    pub(crate) fn spend(&self, steps: u64) -> Option<()> {
        let left = self.left.get();
        if left < steps {
            self.left.set(0);
            return None;
        }
        self.left.set(left - steps);
        Some(())
    }

    /// Takes `steps` from the budget; `None`, and nothing is taken, if there are not as many.
    pub(crate) fn spend_if_left(&self, steps: u64) -> Option<()> {
        let left = self.left.get().checked_sub(steps)?;
        self.left.set(left);
        Some(())
    }
}
