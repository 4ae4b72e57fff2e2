//! Whatever the text and the split, the steps joined together are the text, none is blank, and they
//! are found again from their own texts: `cargo +nightly fuzz run steps`.
#![no_main]

use gratis::data::{StepSplit, StepSplitter, ends_in_chars, locate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str, &str)| {
    let (kind, pattern, text) = input;
    let split = match kind % 6 {
        0 => StepSplit::Numbered,
        1 => StepSplit::Paragraphs,
        2 => StepSplit::Lines,
        3 => StepSplit::Sentences,
        4 => StepSplit::Whole,
        _ => StepSplit::Pattern(pattern.to_owned()),
    };
    assert_eq!(split.to_string().parse::<StepSplit>().expect("its own name"), split);
    let Ok(splitter) = StepSplitter::new(&split) else { return };
    let steps = splitter.split(text);
    let texts: Vec<&str> = steps.iter().map(|step| &text[step.clone()]).collect();
    assert!(texts.iter().all(|step| !step.trim().is_empty()));
    if steps.is_empty() {
        assert!(text.trim().is_empty());
    } else {
        assert_eq!(texts.concat(), text);
        assert_eq!(ends_in_chars(text, &steps).last(), Some(&text.chars().count()));
    }
    let found = locate(text, &texts).expect("its own steps");
    assert_eq!(found.len(), steps.len());
});
