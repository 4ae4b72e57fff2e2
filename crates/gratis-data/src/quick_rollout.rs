//! Lines of rollout files in their usual form, read by [`Scanner`].

use serde_json::Map;

use crate::quick::Scanner;
use crate::records::completion::PER_COMPLETION;
use crate::records::rollout::{
    COMPLETIONS, CONTEXT, CORRECTNESS, Columns, FINISH_REASONS, GradingColumns, MASKS, SOFT_LABELS,
    STEPS, TOKEN_IDS,
};
use crate::records::step_labels::STEP_LABELS;

/// Columns of [`Columns`] that are left to the general reader.
const OTHERS: [&str; 7] =
    [SOFT_LABELS, STEPS, STEP_LABELS, FINISH_REASONS, TOKEN_IDS, MASKS, CONTEXT];

impl Columns {
    /// The columns of a line in its usual form: texts, labels and further columns.
    pub(crate) fn quick(line: &[u8], grading: GradingColumns) -> Option<Self> {
        let mut line = Scanner::new(line)?;
        let mut id = None;
        let (mut prompt, mut reference, mut dataset) = (None, None, None);
        let (mut completions, mut correctness) = (None, None);
        let mut extra = Map::new();
        // Names and lengths.
        let mut passed_over: Vec<(&str, usize)> = Vec::new();
        line.expect(b'{')?;
        loop {
            let name = line.plain_string()?;
            line.expect(b':')?;
            let is_first = match name {
                "id" => id.replace(line.string()?.into_owned()).is_none(),
                "prompt" => prompt.replace(line.string()?.into_owned()).is_none(),
                "reference" => reference.replace(line.string()?.into_owned()).is_none(),
                "dataset" => dataset.replace(line.string()?.into_owned()).is_none(),
                COMPLETIONS => {
                    let mut texts = Vec::with_capacity(16);
                    line.list(|line| {
                        texts.push(line.string()?.into_owned());
                        Some(())
                    })?;
                    completions.replace(texts).is_none()
                }
                CORRECTNESS => {
                    let mut labels = Vec::with_capacity(16);
                    line.list(|line| {
                        labels.push(match () {
                            () if line.skip_word("true") => Some(true),
                            () if line.skip_word("false") => Some(false),
                            () if line.skip_word("null") => None,
                            () => return None,
                        });
                        Some(())
                    })?;
                    correctness.replace(labels).is_none()
                }
                name if OTHERS.contains(&name) => false,
                name if grading == GradingColumns::PassedOver && PER_COMPLETION.contains(&name) => {
                    let is_first = passed_over.iter().all(|(other, _)| *other != name);
                    passed_over.push((name, line.skip_strings()?));
                    is_first
                }
                name => extra.insert(name.to_owned(), line.value()?).is_none(),
            };
            if !is_first {
                return None;
            }
            if !line.skip(b',') {
                break;
            }
        }
        line.expect(b'}')?;
        let n_completions = completions.as_ref().map_or(0, Vec::len);
        if !line.is_over() || passed_over.iter().any(|(_, n)| *n != n_completions) {
            return None;
        }
        let columns = Self {
            id,
            prompt: prompt?,
            reference,
            dataset,
            completions,
            correctness,
            soft_labels: None,
            steps: None,
            step_labels: None,
            finish_reasons: None,
            token_ids: None,
            masks: None,
            context: None,
            extra,
        };
        (!columns.may_be_rounded()).then_some(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::record::from_json;
    use crate::records::rollout::{Bare, Rollout};

    /// Read in the general way.
    fn general(line: &str) -> Option<Rollout> {
        let columns: Columns = serde_json::from_str(line).ok()?;
        Rollout::try_from(columns).ok()
    }

    #[test]
    fn usual_lines_are_read_as_the_general_reader_reads_them() {
        for (line, is_quick) in [
            (
                r#"{"id": "a", "prompt": "p\u2019s \"q\"", "reference": "1", "completions": ["a\nb", ""], "correctness": [true, null]}"#,
                true,
            ),
            (
                r#"{"completions":[],"prompt":"é","dataset":"d","sampling":{"seed":1,"by":[null,"x"]}} "#,
                true,
            ),
            (
                r#"{"prompt": "p", "completions": ["a"], "extracted": ["1"], "how": ["box"], "other": [1, 2]}"#,
                true,
            ),
            (r#"{"prompt": "p", "completions": ["a"], "correctness": []}"#, true),
            (r#"{"prompt": "p", "temperature": 0.7}"#, false),
            (r#"{"id": 7, "prompt": "p"}"#, false),
            (r#"{"prompt": "p", "reference": null}"#, false),
            (r#"{"prompt": "p", "prompt": "q"}"#, false),
            (r#"{"prompt": "p", "steps": [["a"]], "completions": ["a"]}"#, false),
            (r#"{"prompt": "p\ud83d\ude00"}"#, false),
            (r#"{"prompt": "p"} x"#, false),
            (r#"{"prompt": "p",}"#, false),
            (r#"{"completions": ["p"]}"#, false),
            ("{}", false),
        ] {
            let quick = Columns::quick(line.as_bytes(), GradingColumns::Read);
            assert_eq!(quick.is_some(), is_quick, "{line}");
            if let Some(columns) = quick {
                assert_eq!(Rollout::try_from(columns).ok(), general(line), "{line}");
            }
            assert_eq!(from_json::<Rollout>(line.as_bytes()).ok(), general(line), "{line}");
        }
    }

    #[test]
    fn columns_of_grading_are_checked_where_they_are_passed_over() {
        for (columns, is_quick) in [
            (r#""extracted": ["1", "\u00e9"], "how": ["box", "phrase"], "other": [1]"#, true),
            (r#""extracted": [], "how": ["box", "phrase"]"#, false),
            (r#""extracted": ["1", null]"#, false),
            (r#""extracted": ["1", "2"], "extracted": ["1", "2"]"#, false),
            (r#""extracted": ["1", "\x"]"#, false),
            (r#""how": ["1", "2""#, false),
            (r#""how": "box""#, false),
            (r#""how": ["box", "phrase"], "prompt": " ""#, true),
        ] {
            for prompt in [r#", "prompt": "p""#, ""] {
                let line = format!(r#"{{"completions": ["a", "b"], {columns}{prompt}}}"#);
                let quick = Columns::quick(line.as_bytes(), GradingColumns::PassedOver);
                let is_whole = line.matches("\"prompt\"").count() == 1;
                assert_eq!(quick.is_some(), is_quick && is_whole, "{line}");
                // The same rollout without these columns, or the same fault.
                let read = from_json::<Bare>(line.as_bytes()).map(Rollout::from);
                let whole = from_json::<Rollout>(line.as_bytes()).map(|mut rollout| {
                    rollout.completions.iter_mut().for_each(|c| c.extra.clear());
                    rollout
                });
                assert_eq!(format!("{read:?}"), format!("{whole:?}"), "{line}");
            }
        }
    }
}
