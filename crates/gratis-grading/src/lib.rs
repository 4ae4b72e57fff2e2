//! Final answers of mathematical solutions: extraction, equivalence, verdicts.
//!
//! Outcome labels are the only labels an implicit process reward model is trained on
//! (paper section 3), so this crate decides what "correct" means. It knows no tensors
//! and does no I/O.
