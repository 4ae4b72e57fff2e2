//! The model card of a trained reward model: `README.md` in its folder.
//!
//! A card ends with a hash of its text. One whose text has another hash was changed by somebody, as was
//! one without a hash; both are kept.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::metrics::Evaluation;
use crate::digest::hex;
use crate::numeric::figure;
use crate::visible::visible;

/// Name of the file.
pub(super) const CARD: &str = "README.md";

const MARK: &str = "\n<!-- gratis: ";
const MARK_END: &str =
    " (hash of the text above; a card that was changed is not written again) -->\n";

/// What a card says beside the measured figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ModelCard {
    /// What the model was trained from, as it was given.
    pub base: String,
    /// One sentence on the kind of reward model.
    pub summary: String,
    /// Tags on a hub.
    pub tags: Vec<String>,
    /// Rows of the table of settings: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// Whether rewards need a reference that `gratis.json` names.
    pub has_reference: bool,
}

/// What was measured when the model was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures<'a> {
    /// Steps taken.
    pub(super) step: u64,
    /// Steps of the whole run.
    pub(super) n_steps: u64,
    /// The last optimizer batch, before its step.
    pub(super) training: Option<&'a Evaluation>,
    /// The validation split after the step.
    pub(super) validation: Option<&'a Evaluation>,
}

impl ModelCard {
    /// The card of a model with these figures.
    pub(super) fn text(&self, figures: Figures) -> String {
        let mut text = "---\nlibrary_name: gratis\n".to_owned();
        if !self.tags.is_empty() {
            text += "tags:\n";
        }
        for tag in &self.tags {
            text.extend(["- ", tag, "\n"]);
        }
        text += "---\n\n";
        let Figures { step, n_steps, .. } = figures;
        let (base, summary) = (code(&self.base), &self.summary);
        let _ = write!(
            text,
            "# Reward model from {base}\n\n{summary} Trained with gratis {}; the weights are those \
             after step {step} of {n_steps}.\n\n## Training\n\n| | |\n|---|---|\n",
            env!("CARGO_PKG_VERSION")
        );
        for (name, value) in &self.facts {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text += "\n`config.toml` in the folder of the run has every setting.\n\n## Measured\n\n";
        text += &measured(figures);
        text += "\n## Use\n\n`gratis.json` beside the weights says how to score with this model: beta, \
                 prompt, step split, aggregation";
        text += if self.has_reference { " and reference.\n" } else { ".\n" };
        text += "\n```sh\ngratis score --model FOLDER candidates.jsonl -o scores.jsonl\ngratis serve \
                 --model FOLDER\n```\n\n```python\nimport gratis\n\nrm = gratis.RewardModel(\"FOLDER\")\n\
                 scores = rm.score(problems, candidates)\n```\n";
        if self.has_reference {
            text += "\nThe rewards are log-ratios to the reference: with another reference they have no \
                     meaning.\n";
        }
        text
    }
}

/// A figure of an evaluation.
type Of = fn(&Evaluation) -> Option<f64>;

/// The table of figures.
fn measured(figures: Figures) -> String {
    let Figures { training, validation, .. } = figures;
    let Some(any) = validation.or(training) else {
        return "Nothing was measured.\n".to_owned();
    };
    let columns: Vec<(&str, &Evaluation)> =
        [("validation", validation), ("last training batch", training)]
            .into_iter()
            .filter_map(|(name, evaluation)| Some((name, evaluation?)))
            .collect();
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    let rows: [(&str, Of, bool); 5] = [
        ("loss", |evaluation| Some(evaluation.loss), false),
        ("accuracy (reward above 0 exactly where correct)", |own| own.accuracy, true),
        ("pair accuracy", |evaluation| evaluation.pair_accuracy, true),
        ("mean reward, correct", |evaluation| evaluation.reward_correct, false),
        ("mean reward, incorrect", |evaluation| evaluation.reward_incorrect, false),
    ];
    let mut text = "| ".to_owned();
    for (name, _) in &columns {
        text.extend([" | ", name]);
    }
    text += " |\n|---|";
    text += &"---|".repeat(columns.len());
    text.push('\n');
    for (name, of, is_share) in rows {
        if of(any).is_none() {
            continue;
        }
        text.extend(["| ", name]);
        for (_, evaluation) in &columns {
            let value =
                of(evaluation).map(|value| if is_share { share(value) } else { figure(value) });
            text.extend([" | ", value.as_deref().unwrap_or("")]);
        }
        text += " |\n";
    }
    if validation.is_none() {
        text += "\nNo problems were held out: these figures say nothing about new problems.\n";
    }
    text
}

/// A text as code in a table.
pub(crate) fn code(text: &str) -> String {
    let text = visible(text).replace(['\n', '\r'], "\\n").replace('|', "\\|");
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

/// The bytes of a card with its hash.
pub(super) fn signed(text: &str) -> Vec<u8> {
    let hash = hex(&Sha256::digest(text));
    format!("{text}{MARK}{hash}{MARK_END}").into_bytes()
}

/// Whether a folder has no card, or one that was written here and not changed.
pub(super) fn may_be_written(folder: &Path) -> bool {
    let Ok(bytes) = fs::read(folder.join(CARD)) else {
        return !folder.join(CARD).exists();
    };
    let Ok(text) = String::from_utf8(bytes) else { return false };
    text.rsplit_once(MARK).is_some_and(|(above, _)| signed(above) == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_the_figures_that_were_measured() {
        let card = ModelCard {
            base: "a|b".to_owned(),
            summary: "A model.".to_owned(),
            facts: vec![("beta", "0.05".to_owned())],
            ..ModelCard::default()
        };
        let evaluation = Evaluation { loss: 0.5, accuracy: Some(0.75), ..Evaluation::default() };
        let figures =
            Figures { step: 3, n_steps: 9, training: Some(&evaluation), validation: None };
        let text = card.text(figures);
        for part in ["# Reward model from `a\\|b`", "step 3 of 9", "| beta | 0.05 |", "75.0 %"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("No problems were held out") && !text.contains("pair accuracy"));
        let held_out = card.text(Figures { validation: Some(&evaluation), ..figures });
        assert!(held_out.contains("| validation | last training batch |"), "{held_out}");
    }

    #[test]
    fn a_card_that_somebody_changed_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |bytes: &[u8]| fs::write(folder.path().join(CARD), bytes).expect("written");
        assert!(may_be_written(folder.path()));
        write(&signed("# Mine\n"));
        assert!(may_be_written(folder.path()));
        let mut changed = signed("# Mine\n");
        changed[2] = b'F';
        write(&changed);
        assert!(!may_be_written(folder.path()));
        write(b"# Own words\n");
        assert!(!may_be_written(folder.path()));
        write(&[0xff]);
        assert!(!may_be_written(folder.path()));
    }
}
