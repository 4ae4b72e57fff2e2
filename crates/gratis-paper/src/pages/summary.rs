//! Outcomes for a terminal: the averages of the comparisons, the other tables, and the claims with
//! their verdicts. The cells of each generator and N are in the report.

use gratis::evaluation::Interval;

use super::Finished;
use crate::outcome::{Claim, ComparedRow};
use crate::summary::SummaryPart;

/// All experiments, one after the other.
pub fn summary(finished: &[Finished]) -> Vec<SummaryPart> {
    let mut parts = Vec::new();
    for Finished { outcome, .. } in finished {
        if !parts.is_empty() {
            parts.push(SummaryPart::blank());
        }
        parts.push(SummaryPart::note(format!(
            "{}: {}. {}",
            outcome.name, outcome.title, outcome.question
        )));
        let caption = |text: &str| SummaryPart::note(format!("{}:", text.trim_end_matches('.')));
        for comparison in &outcome.comparisons {
            parts.extend([
                SummaryPart::blank(),
                caption(&comparison.caption),
                SummaryPart::table(
                    &["%", "average", "weighted vote", "first-error F1", "paper's average"],
                    in_groups(&comparison.rows),
                ),
            ]);
        }
        for table in &outcome.tables {
            let (header, rows) = (table.header.clone(), table.rows.clone());
            parts.extend([
                SummaryPart::blank(),
                caption(&table.caption),
                SummaryPart::Table { header, rows },
            ]);
        }
        if !outcome.claims.is_empty() {
            parts.push(SummaryPart::blank());
            parts.push(SummaryPart::Notes(outcome.claims.iter().map(verdict).collect()));
        }
    }
    parts
}

/// The averages of all rows; each group opens with its name, unless there is only one.
fn in_groups(rows: &[ComparedRow]) -> Vec<Vec<String>> {
    let has_groups = rows.windows(2).any(|pair| pair[0].group != pair[1].group);
    if !has_groups {
        return rows.iter().map(averages).collect();
    }
    let group = |rows: &[ComparedRow]| {
        let mut lines = vec![vec![rows[0].group.clone()]];
        lines[0].resize(averages(&rows[0]).len(), String::new());
        lines.extend(rows.iter().map(|row| {
            let mut line = averages(row);
            line[0].insert_str(0, "  ");
            line
        }));
        lines
    };
    rows.chunk_by(|a, b| a.group == b.group).flat_map(group).collect()
}

fn averages(row: &ComparedRow) -> Vec<String> {
    let percent = |interval: &Interval| {
        let half = (interval.high - interval.low) / 2.0;
        format!("{:.1} ± {:.1}", 100.0 * interval.mean, 100.0 * half)
    };
    let optional = |value: &Option<Interval>| value.as_ref().map_or(String::new(), percent);
    vec![
        row.name.clone(),
        percent(&row.average),
        optional(&row.weighted_vote),
        optional(&row.first_error),
        row.paper.map_or(String::new(), |paper| format!("{paper:.1}")),
    ]
}

fn verdict(claim: &Claim) -> String {
    let show = |value| claim.unit.show(value);
    let (mark, name) = (claim.verdict.mark(), claim.verdict.name());
    let [ours, low, high] = [claim.ours.mean, claim.ours.low, claim.ours.high].map(show);
    let Claim { statement, measure, source, .. } = claim;
    let caveat = claim.caveat.as_ref().map_or(String::new(), |why| format!(" Not counted: {why}"));
    format!(
        "{mark} {name}: {statement} ({source}). {measure}: {ours}, interval {low} to \
         {high}.{caveat}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::Experiment;
    use crate::outcome::{ClaimUnit, Comparison, Outcome, Side, Verdict};

    #[test]
    fn a_summary_has_groups_averages_and_verdicts() {
        let interval = |mean| Interval { mean, low: mean - 0.02, high: mean + 0.04 };
        let row = |group: &str, name: &str| ComparedRow {
            group: group.to_owned(),
            name: name.to_owned(),
            detail: "beta 0.3".to_owned(),
            cells: vec![interval(0.5); 9],
            average: interval(0.688),
            weighted_vote: Some(interval(0.7)),
            first_error: None,
            paper: Some(49.2),
            chosen: Vec::new(),
        };
        let outcome = Outcome {
            name: "Table 1".to_owned(),
            title: "best-of-N".to_owned(),
            question: "Which reward model selects best?".to_owned(),
            comparisons: vec![Comparison {
                caption: "Best of N.".to_owned(),
                columns: Vec::new(),
                rows: vec![row("baselines", "majority"), row("explicit", "a head")],
            }],
            claims: vec![Claim {
                statement: "implicit models beat Math-Shepherd".to_owned(),
                source: "Table 1".to_owned(),
                measure: "difference of averages".to_owned(),
                ours: interval(0.1),
                unit: ClaimUnit::Points,
                bound: 0.0,
                side: Side::Above,
                verdict: Verdict::Holds,
                caveat: None,
            }],
            ..Outcome::default()
        };
        let [title, _, caption, table, _, claims] =
            &summary(&[Finished { experiment: Experiment::ALL[0], outcome }])[..]
        else {
            panic!("title, caption, table and claims")
        };
        let note = |text: &str| SummaryPart::note(text);
        assert_eq!(*title, note("Table 1: best-of-N. Which reward model selects best?"));
        assert_eq!(*caption, note("Best of N:"));
        let SummaryPart::Table { rows, .. } = table else { panic!("a table: {table:?}") };
        let names: Vec<&str> = rows.iter().map(|row| &*row[0]).collect();
        assert_eq!(names, ["baselines", "  majority", "explicit", "  a head"]);
        assert_eq!(rows[1][1..], ["68.8 ± 3.0", "70.0 ± 3.0", "", "49.2"]);
        assert_eq!(
            *claims,
            note(
                "✓ holds: implicit models beat Math-Shepherd (Table 1). difference of averages: \
                 +10.0, interval +8.0 to +14.0."
            )
        );
    }
}
