//! Checks a cast before anything is computed: everything is loaded, each engine samples one response,
//! which is graded, and the prompt is shown as the model reads it.

use std::path::Path;

use gratis::observer::Observer;
use gratis_model::tokenizer::SpecialText;
use serde::Serialize;

use super::data::{Purpose, sample, sampling_settings};
use super::{CastFile, Machine, OwnCast};
use crate::cast::Cast as _;
use crate::error::{Error, Result};
use crate::summary::SummaryPart;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Checked {
    /// The start: its name, parameters and context.
    pub(crate) start: String,
    /// The first training problem as the start reads it.
    pub(crate) prompt: String,
    /// Training data in words.
    pub(crate) train: String,
    /// The splits in words.
    pub(crate) splits: Vec<String>,
    /// The generators.
    pub(crate) generators: Vec<CheckedGenerator>,
    /// The rows of table 1.
    pub(crate) rows: Vec<String>,
    /// What is left out, and why.
    pub(crate) left_out: Vec<[String; 2]>,
}

/// A generator, with one response.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CheckedGenerator {
    /// Its name.
    pub(crate) name: String,
    /// The problem.
    pub(crate) problem: String,
    /// Its response: sampled, or the first of the files.
    pub(crate) response: String,
    /// Whether it was sampled now.
    pub(crate) is_sampled: bool,
    /// Whether its answer is correct; `None` if it was not graded.
    pub(crate) is_correct: Option<bool>,
}

impl Checked {
    /// What was found, for a terminal.
    pub fn summary(&self) -> Vec<SummaryPart> {
        let mut notes = vec![format!("Start: {}", self.start), format!("Training: {}", self.train)];
        notes.extend(self.splits.iter().cloned());
        let prompt =
            format!("\nThe first training problem as the start reads it:\n{}\n", self.prompt);
        let mut parts = vec![SummaryPart::Notes(notes), SummaryPart::Verbatim(prompt)];
        for generator in &self.generators {
            let how = if generator.is_sampled { "sampled" } else { "from its file" };
            let grade = match generator.is_correct {
                Some(true) => "correct",
                Some(false) => "incorrect",
                None => "not graded",
            };
            let response = generator.response.trim_end();
            let text = format!("\n{} ({how}, {grade}):\n{response}\n", generator.name);
            parts.push(SummaryPart::Verbatim(text));
        }
        let rows = self.rows.iter().map(|row| format!("Row: {row}"));
        parts.extend([
            SummaryPart::blank(),
            SummaryPart::Notes(rows.collect()),
            left_out(&self.left_out),
        ]);
        parts
    }
}

/// What is left out, and why.
pub(super) fn left_out(lines: &[[String; 2]]) -> SummaryPart {
    let line = |[what, why]: &[String; 2]| format!("Left out: {what}, because {why}.");
    SummaryPart::Notes(lines.iter().map(line).collect())
}

/// Loads all models and files of a cast.
///
/// # Errors
/// The first that cannot be loaded, sampled or graded.
pub fn check(
    file: &CastFile,
    machine: Machine<'_>,
    folder: &Path,
    observer: &mut dyn Observer,
) -> Result<Checked> {
    let mut cast = OwnCast::new(file, machine, folder, observer)?;
    let seed = file.seeds[0];
    let start = cast.start()?;
    cast.reference()?;
    let mut checked = Checked {
        start: format!(
            "`{}`: {} parameters, context of {} tokens",
            start.place().display_name(),
            gratis_model::Layout::new(start.config()).n_parameters(),
            start.config().context_length,
        ),
        ..Checked::default()
    };
    let has_engine = file.generators.iter().any(|generator| generator.engine.is_some());
    let first_problem = if file.train.problems.is_empty() {
        let answers = cast.training_answers(seed)?;
        checked.train = format!(
            "{} responses ({} correct) to {} problems",
            answers.n_responses(),
            answers.n_correct(),
            answers.rollouts.len()
        );
        answers.rollouts.first().cloned()
    } else {
        let problems = cast.problems(&file.train.part())?;
        checked.train = format!("{} problems to sample responses to", problems.len());
        problems.first().map(|problem| gratis::data::Rollout {
            prompt: problem.prompt.clone(),
            context: problem.context.clone(),
            ..gratis::data::Rollout::default()
        })
    };
    let nothing = |what: &str| Error::CastData {
        what: format!("no {what} problem is left"),
        hint: "check the files and the `part` of the split",
    };
    let first_problem = first_problem.ok_or_else(|| nothing("training"))?;
    let encoder = file.encoder(&start)?;
    let tokens = encoder.prompt_of(&first_problem)?;
    checked.prompt = start.tokenizer().decode_with_offsets(&tokens, SpecialText::Keep)?.text;
    if has_engine {
        for (name, part) in [("validation", &file.validation), ("test", &file.test)] {
            let n = cast.problems(part)?.len();
            checked.splits.push(format!("{name}: {n} problems"));
        }
    } else {
        for (name, purpose) in [("validation", Purpose::Validation), ("test", Purpose::Test)] {
            let sets = cast.candidate_sets(purpose, seed)?;
            let n = sets.first().map_or(0, |set| set.answers.rollouts.len());
            checked.splits.push(format!("{name}: {n} problems, the same for all generators"));
        }
    }
    for generator in &file.generators {
        let one = if let Some(engine) = &generator.engine {
            let problem = cast.problems(&file.test)?.into_iter().next();
            let problem = problem.ok_or_else(|| nothing("test"))?;
            let model = cast.load(&file.resolve(engine))?;
            let settings =
                sampling_settings(file.sampling, file.sampling.temperature, &model, seed)?;
            sample(file, &model, &[problem], 0, settings, 1)?.into_iter().next()
        } else {
            let sets = cast.candidate_sets(Purpose::Test, seed)?;
            let set = sets.iter().find(|set| set.name == generator.name);
            set.and_then(|set| set.answers.rollouts.first().cloned())
        };
        let one = one.ok_or_else(|| nothing("test"))?;
        let completion = one.completions.first().cloned().unwrap_or_default();
        checked.generators.push(CheckedGenerator {
            name: generator.name.clone(),
            problem: one.prompt.clone(),
            response: completion.text,
            is_sampled: generator.engine.is_some(),
            is_correct: completion.label,
        });
    }
    checked.rows = cast.rows().iter().map(|row| format!("{} ({})", row.name, row.detail)).collect();
    checked.left_out = cast.left_out();
    Ok(checked)
}
