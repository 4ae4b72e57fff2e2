//! The cache on models that learn nothing: what is found, and what is made again.

use std::fs;

use super::*;
use crate::settings::{LearningSettings, Scale};

/// Remembers stages with what they belong to, and notes.
#[derive(Default)]
struct Recorder {
    part: String,
    stages: Vec<String>,
    notes: Vec<String>,
}

impl Observer for Recorder {
    fn part(&mut self, name: &str) {
        name.clone_into(&mut self.part);
    }

    fn stage(&mut self, name: &str, _total: Option<u64>) {
        self.stages.push(format!("{}: {name}", self.part));
    }

    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// Two optimizer steps of four responses per model, a few samples.
fn settings() -> Settings {
    let settings = Settings::new(Scale::Quick, Some(2), 1);
    let two_steps = |learning| LearningSettings { n_steps: Some(2), batch_size: 4, ..learning };
    let few = |samples| SampleSettings { n_problems: 4, n_samples: 2, ..samples };
    let mut base = settings.base;
    (base.ascent, base.descent) = (two_steps(base.ascent), two_steps(base.descent));
    base.target = 0.0;
    Settings {
        base,
        generators: two_steps(settings.generators),
        train: few(settings.train),
        validation: few(settings.validation),
        test: few(settings.test),
        ns: vec![1, 2],
        ..settings
    }
}

#[test]
fn a_damaged_model_and_a_damaged_value_are_made_again_and_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Recorder::default();
    let mut cache = Cache::new(settings(), folder.path(), &mut first).expect("opened");
    cache.begin_part("1 of 1, test".to_owned());
    cache.begin_row("a row", 1);
    let controls = cache.controls(1).expect("evaluated");
    let base = cache.base(1, Trunk::default()).expect("made");
    let n_made = cache.store.n_made;
    drop(cache);
    assert!(first.notes.is_empty(), "{:?}", first.notes);
    // A base, three generators, their test candidates, the controls.
    assert_eq!(n_made, 1 + 3 + 3 + 1);
    let row = "1 of 1, test, a row, seed 1: ";
    assert!(first.stages.iter().all(|stage| stage.starts_with(row)), "{:?}", first.stages);

    let weights = base.join("model.safetensors");
    let whole = fs::read(&weights).expect("read");
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&weights, &damaged).expect("written");
    let is_value = |name: &str| name.starts_with("controls-");
    let entries = fs::read_dir(folder.path()).expect("a folder");
    let mut names = entries.map(|entry| entry.expect("an entry").file_name());
    let value = names.find(|name| is_value(&name.to_string_lossy())).expect("a value");
    fs::write(folder.path().join(value).join("value.json"), "{").expect("written");

    let mut second = Recorder::default();
    let mut cache = Cache::new(settings(), folder.path(), &mut second).expect("opened");
    assert_eq!(cache.controls(1).expect("evaluated"), controls);
    assert_eq!(cache.store.n_made, 2, "the base and the controls");
    drop(cache);
    assert_eq!(fs::read(&weights).expect("read"), whole);
    let [of_base, of_value] = &second.notes[..] else { panic!("{:?}", second.notes) };
    assert!(of_base.contains("`model.safetensors` has changed; making it again"), "{of_base}");
    assert!(of_value.contains("`value.json` has changed; making it again"), "{of_value}");
}
