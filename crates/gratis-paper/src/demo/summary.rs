//! The demo's result for a terminal, from the base model to the example solutions.

use super::DemoResult;
use crate::summary::{Colours, SummaryPart};

impl DemoResult {
    /// What was trained and measured, in words and tables.
    pub fn summary(&self, colours: Colours) -> Vec<SummaryPart> {
        let mut notes = vec![format!(
            "Base model: {} parameters, {} steps; mean probability of the correct solution of a new \
             problem {:.3}.",
            self.n_parameters, self.base.n_steps, self.base_solves
        )];
        notes.extend(self.generators.iter().map(|generator| {
            format!(
                "Generator {}: pass@1 {:.1} % over {} candidates.",
                generator.strength.name(),
                100.0 * generator.pass_at_1,
                generator.n_candidates
            )
        }));
        let verdicts = &self.rollouts.verdicts;
        notes.push(format!(
            "Reward model: {} steps of cross-entropy (beta {}) on {} graded rollouts of the medium \
             generator, {} of them correct.",
            self.reward_model.n_steps,
            self.settings.beta,
            verdicts.n(),
            verdicts.correct
        ));
        let mut parts = vec![SummaryPart::Notes(notes), SummaryPart::blank()];
        parts.extend(self.selections());
        parts.extend([SummaryPart::blank(), self.first_errors()]);
        for example in &self.examples {
            let view = example.view(self.first_error_validation.threshold, self.colour_scale());
            parts.push(SummaryPart::Verbatim(format!("\n{}:\n", example.caption)));
            parts.push(SummaryPart::Text(view.to_terminal(colours)));
        }
        parts
    }

    /// One row per selection method, one column per generator and N.
    fn selections(&self) -> [SummaryPart; 2] {
        let (settings, table) = (&self.settings, &self.best_of_n);
        let mut header = vec!["correct, %".to_owned()];
        header.extend(self.columns().map(|(generator, n)| format!("{generator} {n}")));
        header.push("average".to_owned());
        let rows = self.rows().map(|(name, selector, average)| {
            let mut cells = vec![name];
            let accuracies = table.accuracies(selector);
            cells.extend(accuracies.map(|(_, _, of)| format!("{:.1}", 100.0 * of.mean)));
            let half = 50.0 * (average.high - average.low);
            cells.push(format!("{:.1} ± {half:.1}", 100.0 * average.mean));
            cells
        });
        let notes = vec![
            format!(
                "{} problems; the first N of {} candidates, sampled at temperature {}; seed {}.",
                table.n_problems, settings.test.n_samples, settings.test.temperature, settings.seed
            ),
            "Score of a candidate: its lowest step reward, unless the row says otherwise; ties to \
             the first; no threshold."
                .to_owned(),
            format!(
                "±: half of a {:.0} % bootstrap interval over problems.",
                100.0 * table.settings.bootstrap.confidence
            ),
        ];
        [SummaryPart::Table { header, rows: rows.collect() }, SummaryPart::Notes(notes)]
    }

    fn first_errors(&self) -> SummaryPart {
        let scores = self.generators.iter().map(|generator| {
            format!("{} {:.1}", generator.strength.name(), 100.0 * generator.first_error.f1)
        });
        SummaryPart::Notes(vec![
            format!("First wrong step, F1: {}.", scores.collect::<Vec<_>>().join(", ")),
            format!(
                "A step is predicted wrong below a reward of {:.3}, tuned on {} separate problems.",
                self.first_error_validation.threshold, self.settings.validation.n_problems,
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    use gratis::Silent;

    use super::super::{DemoSettings, run};
    use super::*;
    use crate::settings::{BaseSettings, LearningSettings, SampleSettings};

    /// A demo that learns nothing but passes through every stage.
    fn small() -> DemoSettings {
        let defaults = DemoSettings::default();
        let learning = |settings: LearningSettings| LearningSettings {
            n_steps: Some(2),
            batch_size: 4,
            ..settings
        };
        let draw =
            |settings: SampleSettings| SampleSettings { n_problems: 4, n_samples: 4, ..settings };
        DemoSettings {
            base: BaseSettings {
                ascent: learning(defaults.base.ascent),
                descent: learning(defaults.base.descent),
                target: 0.0,
                ..defaults.base
            },
            generators: learning(defaults.generators),
            reward_model: learning(defaults.reward_model),
            train: draw(defaults.train),
            validation: draw(defaults.validation),
            test: draw(defaults.test),
            ns: vec![1, 4],
            ..defaults
        }
    }

    #[test]
    fn the_summary_runs_from_the_first_stage_to_the_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let result = run(&small(), folder.path(), &mut Silent).expect("it runs");
        let text = format!("{:?}", result.summary(Colours::None));
        for part in ["Base model: ", "Generator strong: pass@1", "majority", "first N of 4", "F1: "]
        {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
        assert!(!text.contains("\\u{1b}"), "no escape sequences without colours");
    }
}
