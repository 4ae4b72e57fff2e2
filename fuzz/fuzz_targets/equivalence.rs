//! Equivalence never panics or hangs, and takes every answer for itself:
//! `cargo +nightly fuzz run equivalence`.
#![no_main]

use gratis_grading::{Options, canonical, equivalent, grade};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str)| {
    let (gold, pred) = texts;
    let options = Options::default();
    let _ = grade(gold, pred, &options);
    let _ = equivalent(gold, pred, &options);
    let _ = canonical(pred);
});
