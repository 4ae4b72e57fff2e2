//! Outcomes as Markdown.

use std::fmt::Write as _;

use super::{ClaimGroup, Finished, chosen_table, claims_table, comparison_table, plain_table};
use crate::summary::Colours;

/// Everything as Markdown, under a title.
pub(super) fn markdown_under(title: &str, finished: &[Finished]) -> String {
    let mut text = format!("# {title}\n");
    for of in finished {
        let outcome = &of.outcome;
        // Writing to a string does not fail.
        let _ = write!(text, "\n## {}\n\n{}\n", of.title(), outcome.question);
        for comparison in &outcome.comparisons {
            text += &comparison_table(comparison).to_markdown();
            text.extend(chosen_table(comparison).map(|table| table.to_markdown()));
        }
        for table in &outcome.tables {
            text += &plain_table(table).to_markdown();
        }
        if !outcome.claims.is_empty() {
            let group = ClaimGroup { heading: None, claims: &outcome.claims };
            text += &claims_table(&[group]).to_markdown();
        }
        if let Some(examples) = &outcome.examples {
            let _ = writeln!(text, "\n{}", examples.lead);
            for example in &examples.examples {
                let view = example.view(examples.threshold, examples.scale);
                let solution = view.to_terminal(Colours::None);
                let _ = write!(text, "\n{}:\n\n```\n{solution}```\n", example.caption);
            }
        }
        for condition in &outcome.conditions {
            let _ = write!(text, "\n- {condition}");
        }
        text.push('\n');
    }
    text
}
