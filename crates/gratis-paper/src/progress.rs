//! Progress of a training inside a demo or a reproduction.

use std::cell::Cell;

use gratis::observer::{Figure, Observer};

/// Passes the progress of a training on. The command that it is part of is resumed as a whole, so the
/// training is not reported as a run of its own that could be resumed.
pub(crate) struct PartOfCommand<'a> {
    pub(crate) observer: &'a mut dyn Observer,
    /// What the stage of the training is called; by default as the library calls it.
    pub(crate) stage: Option<&'a str>,
    /// The latest value of a measure that the training takes between its steps.
    pub(crate) measure: Option<(&'static str, &'a Cell<Option<f64>>)>,
}

impl<'a> PartOfCommand<'a> {
    pub(crate) fn new(observer: &'a mut dyn Observer) -> Self {
        Self { observer, stage: None, measure: None }
    }
}

impl Observer for PartOfCommand<'_> {
    fn part(&mut self, name: &str) {
        self.observer.part(name);
    }

    fn stage(&mut self, name: &str, total: Option<u64>) {
        self.observer.stage(self.stage.unwrap_or(name), total);
    }

    fn resumed(&mut self, n: u64) {
        self.observer.resumed(n);
    }

    fn resumable(&mut self) {}

    fn advance(&mut self, n: u64, figures: &[Figure]) {
        let measure = self.measure.and_then(|(name, of)| Some(Figure::Value(name, of.get()?)));
        let all: Vec<Figure> = figures.iter().copied().chain(measure).collect();
        self.observer.advance(n, &all);
    }

    fn processor_seconds(&self) -> Option<f64> {
        self.observer.processor_seconds()
    }

    fn wall_seconds(&self) -> Option<f64> {
        self.observer.wall_seconds()
    }

    fn note(&mut self, text: &str) {
        self.observer.note(text);
    }

    fn warn(&mut self, text: &str) {
        self.observer.warn(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_is_named_and_not_resumed_by_itself() {
        #[derive(Default)]
        struct Recorder(Vec<String>);
        impl Observer for Recorder {
            fn stage(&mut self, name: &str, _total: Option<u64>) {
                self.0.push(name.to_owned());
            }
            fn advance(&mut self, _n: u64, figures: &[Figure]) {
                self.0.push(format!("{figures:?}"));
            }
            fn resumable(&mut self) {
                self.0.push("resumable".to_owned());
            }
            fn note(&mut self, text: &str) {
                self.0.push(text.to_owned());
            }
        }
        let mut recorder = Recorder::default();
        let solves = Cell::new(Some(0.5));
        for (stage, measure) in [(Some("base"), Some(("solves", &solves))), (None, None)] {
            let mut within = PartOfCommand { observer: &mut recorder, stage, measure };
            within.stage("train", None);
            within.resumable();
            within.advance(1, &[]);
            within.warn("a warning");
        }
        let measured = "[Value(\"solves\", 0.5)]";
        assert_eq!(recorder.0, ["base", measured, "a warning", "train", "[]", "a warning"]);
    }
}
