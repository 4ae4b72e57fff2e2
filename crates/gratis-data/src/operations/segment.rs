//! Writing steps: splits every response into its `steps`, in its own text or in the authors' form
//! (paper section 4.1).

use serde::{Deserialize, Serialize};

use super::operation::{Operation, Outcome};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::records::step_labels::STEP_LABELS;
use crate::records::steps::{StepSplit, StepSplitter, renumber};

/// Whether the text of a response is kept or rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum StepText {
    /// It is kept; the concatenated steps equal the text.
    #[default]
    Kept,
    /// It becomes the authors' input: each step stripped, numbered anew as `Step 1: `, `Step 2: `,
    /// ..., and joined by blank lines.
    Renumbered,
}

/// Where steps end where nothing else is asked for.
pub(crate) fn default_split() -> StepSplit {
    StepSplit::Numbered
}

/// [`DataOperation::SegmentSteps`](crate::DataOperation) at work.
pub(crate) struct Segmentation {
    splitter: StepSplitter,
    text: StepText,
}

impl Segmentation {
    pub(crate) fn new(split: &StepSplit, text: StepText) -> Result<Self> {
        Ok(Self { splitter: StepSplitter::new(split)?, text })
    }
}

impl Operation for Segmentation {
    fn apply(&mut self, _number: u64, mut rollout: Rollout, out: &mut Outcome) -> Result<()> {
        if rollout.completions.iter().any(|completion| completion.step_labels.is_some()) {
            let expected = "responses without step labels, which would no longer fit their steps";
            let name = rollout.id.as_deref().unwrap_or(&rollout.prompt);
            return Err(Error::setting(STEP_LABELS, expected, format!("labels of {name}")));
        }
        for completion in &mut rollout.completions {
            let ranges = self.splitter.split(&completion.text);
            let steps = ranges.into_iter().map(|step| completion.text[step].to_owned());
            let steps: Vec<String> = match self.text {
                StepText::Kept => steps.collect(),
                StepText::Renumbered => renumber(steps),
            };
            if self.text == StepText::Renumbered {
                if completion.mask.is_some() {
                    let expected = "responses without masks, which would no longer fit the text";
                    return Err(Error::setting("masks", expected, "a masked response"));
                }
                completion.text = steps.concat();
                // They are those of the former text.
                completion.token_ids = None;
            }
            out.remark("steps", steps.len() as u64);
            completion.steps = Some(steps);
        }
        out.keep(rollout)
    }
}

#[cfg(test)]
mod tests {
    use super::super::apply::apply;
    use super::super::operation::DataOperation;
    use super::*;
    use crate::Completion;
    use crate::observer::Silent;

    fn segmented(operation: &str, completion: impl Into<Completion>) -> Rollout {
        let rollout = Rollout {
            prompt: "1 + 1".to_owned(),
            completions: vec![completion.into()],
            ..Rollout::default()
        };
        let operations: [DataOperation; 1] = [operation.parse().expect("an operation")];
        let (mut rollouts, _) = apply(&operations, vec![rollout], &mut Silent).expect("applied");
        rollouts.remove(0)
    }

    #[test]
    fn the_text_is_kept_or_becomes_the_authors_form() {
        let completion = "So.\nStep 4: half of 2.\n\n## Step 7: add.\n";
        let kept = segmented("segment_steps", completion);
        assert_eq!(kept.completions[0].text, completion);
        let steps = kept.completions[0].steps.clone().expect("steps");
        assert_eq!(steps, ["So.\n", "Step 4: half of 2.\n\n", "## Step 7: add.\n"]);

        let sampled = Completion { token_ids: Some(vec![1, 2]), ..Completion::from(completion) };
        let anew = segmented("segment_steps,text=renumbered", sampled);
        assert_eq!(anew.completions[0].token_ids, None, "of the former text");
        assert_eq!(anew.completions[0].text, "Step 1: So.\n\nStep 2: half of 2.\n\nStep 3: add.");
        let steps = anew.completions[0].steps.clone().expect("steps");
        assert_eq!(steps, ["Step 1: So.\n\n", "Step 2: half of 2.\n\n", "Step 3: add."]);

        let lines = segmented("segment_steps,split=lines,text=renumbered", "a\nb\n");
        assert_eq!(lines.completions[0].text, "Step 1: a\n\nStep 2: b");
    }

    #[test]
    fn labels_of_other_steps_are_not_carried_on() {
        let labelled = Completion { step_labels: Some(vec![Some(1.0)]), ..Completion::from("a") };
        let rollout =
            Rollout { prompt: "p".into(), completions: vec![labelled], ..Rollout::default() };
        let operations = ["segment_steps".parse().expect("an operation")];
        let error = apply(&operations, vec![rollout], &mut Silent).expect_err("labels").to_string();
        assert!(error.contains("step_labels"), "{error}");
    }
}
