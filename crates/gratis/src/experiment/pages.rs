//! Outcomes as pages, Markdown and JSON: one page with everything, one for each experiment.

use std::fmt::Write as _;
use std::path::Path;

use gratis_engine::atomic;

use super::lab::store::write_json;
use super::outcome::{Claim, ComparedRow, Comparison, Outcome, PlainTable};
use super::reproduce::Experiment;
use crate::error::{Error, Result};
use crate::evaluation::Interval;
use crate::report::{Cells, Page, Table};

/// An experiment and what came of it.
pub type Finished = (Experiment, Outcome);

/// Writes `index.html`, `report.md`, `report.json`, and a page and a JSON file for each experiment.
///
/// # Errors
/// Those of the file system.
pub fn write(folder: &Path, finished: &[Finished]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let put = |name: String, text: String| -> Result<()> {
        Ok(atomic::write(&folder.join(name), text.as_bytes())?)
    };
    put("index.html".to_owned(), index(finished).render())?;
    put("report.md".to_owned(), markdown(finished))?;
    write_json(&folder.join("report.json"), &finished)?;
    for (experiment, outcome) in finished {
        let mut page = Page::new(&outcome.title, &outcome.question);
        sections(&mut page, outcome);
        put(format!("{}.html", experiment.name()), page.render())?;
        write_json(&folder.join(format!("{}.json", experiment.name())), outcome)?;
    }
    Ok(())
}

/// The page with everything.
fn index(finished: &[Finished]) -> Page {
    let mut page = Page::new(
        "Free process rewards, reproduced",
        "Every table and figure of the paper in the tiny world: models trained on the spot, our \
         numbers beside the paper's, and for each claim whether it shows here. The paper's models \
         have eight billion parameters and solve competition problems; ours have a hundred \
         thousand and solve sums. What carries over is the comparison, not the level.",
    );
    let claims: Vec<&Claim> = finished.iter().flat_map(|(_, outcome)| &outcome.claims).collect();
    if !claims.is_empty() {
        let count = |name: &str| claims.iter().filter(|c| c.verdict.name() == name).count();
        page.key_figures(&[
            (count("shows").to_string(), "claims show".to_owned()),
            (count("within noise").to_string(), "within noise".to_owned()),
            (count("does not show").to_string(), "do not show".to_owned()),
        ]);
        page.heading("The claims");
        page.paragraph(
            "A claim shows if the whole interval is on its side of the bound, does not show if the \
             whole interval is on the other side, and is within noise otherwise.",
        );
        page.table(&claims_table(&claims));
    }
    for (_, outcome) in finished {
        page.heading(&outcome.title);
        page.paragraph(&outcome.question);
        sections(&mut page, outcome);
    }
    page
}

/// Plots, tables, claims and conditions.
fn sections(page: &mut Page, outcome: &Outcome) {
    if !outcome.plots.is_empty() {
        let plots: Vec<String> =
            outcome.plots.iter().map(crate::report::LinePlot::render).collect();
        page.figure(
            &plots,
            "Bars are intervals over seeds and problems; in tables ± is half of the interval.",
        );
    }
    for comparison in &outcome.comparisons {
        page.table(&comparison_table(comparison, Places::Page));
    }
    for PlainTable { caption, header, rows } in &outcome.tables {
        page.table(&Table {
            caption: caption.clone(),
            header: header.clone(),
            rows: rows.clone(),
            emphasis: None,
            cells: Cells::Numbers,
        });
    }
    if !outcome.claims.is_empty() {
        page.table(&claims_table(&outcome.claims.iter().collect::<Vec<_>>()));
    }
    page.details("How it was measured", &outcome.conditions.join("\n\n"));
}

/// How much room a cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    Page,
    Markdown,
}

fn comparison_table(comparison: &Comparison, places: Places) -> Table {
    let has = |of: fn(&ComparedRow) -> bool| comparison.rows.iter().any(of);
    let (vote, f1, paper) = (
        has(|row| row.weighted_vote.is_some()),
        has(|row| row.first_error.is_some()),
        has(|row| row.paper.is_some()),
    );
    let mut header = vec![String::new()];
    header.extend(comparison.columns.iter().cloned());
    header.push("average".to_owned());
    header.extend(vote.then(|| "vote".to_owned()));
    header.extend(f1.then(|| "F1".to_owned()));
    header.extend(paper.then(|| "paper's average".to_owned()));
    let rows = comparison.rows.iter().map(|row| {
        let mut name = row.name.clone();
        if !row.group.is_empty() {
            name = format!("{}: {name}", row.group);
        }
        if !row.detail.is_empty() && places == Places::Markdown {
            name = format!("{name} ({})", row.detail);
        }
        let mut cells = vec![name];
        cells.extend(row.cells.iter().map(|cell| format!("{:.1}", 100.0 * cell.mean)));
        cells.push(percent(&row.average));
        let optional = |value: &Option<Interval>| value.as_ref().map_or(String::new(), percent);
        cells.extend(vote.then(|| optional(&row.weighted_vote)));
        cells.extend(f1.then(|| optional(&row.first_error)));
        cells.extend(paper.then(|| row.paper.map_or(String::new(), |paper| format!("{paper:.1}"))));
        cells
    });
    Table {
        caption: comparison.caption.clone(),
        header,
        rows: rows.collect(),
        emphasis: None,
        cells: Cells::Numbers,
    }
}

fn claims_table(claims: &[&Claim]) -> Table {
    let row = |claim: &&Claim| {
        let Claim { ours, unit, .. } = claim;
        let show = |value| unit.show(value);
        vec![
            claim.statement.clone(),
            claim.verdict.name().to_owned(),
            format!("{} ({} to {})", show(ours.mean), show(ours.low), show(ours.high)),
            claim.measure.clone(),
            claim.source.clone(),
        ]
    };
    Table {
        caption: "Claims, the verdict, and our measure with its interval".to_owned(),
        header: ["claim", "verdict", "ours", "measure", "where"].map(str::to_owned).to_vec(),
        rows: claims.iter().map(row).collect(),
        emphasis: None,
        cells: Cells::Text,
    }
}

/// A share in percent with half its interval.
fn percent(interval: &Interval) -> String {
    let Interval { mean, low, high } = interval;
    format!("{:.1} ± {:.1}", 100.0 * mean, 50.0 * (high - low))
}

/// Everything as Markdown.
pub fn markdown(finished: &[Finished]) -> String {
    let mut text = "# Free process rewards, reproduced in the tiny world\n".to_owned();
    for (_, outcome) in finished {
        let _ = write!(text, "\n## {}\n\n{}\n", outcome.title, outcome.question);
        for comparison in &outcome.comparisons {
            text += &markdown_table(&comparison_table(comparison, Places::Markdown));
        }
        for PlainTable { caption, header, rows } in &outcome.tables {
            text += &markdown_table(&Table {
                caption: caption.clone(),
                header: header.clone(),
                rows: rows.clone(),
                emphasis: None,
                cells: Cells::Numbers,
            });
        }
        if !outcome.claims.is_empty() {
            text += &markdown_table(&claims_table(&outcome.claims.iter().collect::<Vec<_>>()));
        }
        for condition in &outcome.conditions {
            let _ = write!(text, "\n- {condition}");
        }
        text.push('\n');
    }
    text
}

fn markdown_table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = format!("\n{}:\n\n{}", table.caption, line(&table.header));
    text += &line(&vec!["---".to_owned(); table.header.len()]);
    for row in &table.rows {
        text += &line(row);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_markdown_and_numbers_are_written_for_each_experiment() {
        let interval = Interval { mean: 0.5, low: 0.4, high: 0.6 };
        let row = ComparedRow {
            group: "g".to_owned(),
            name: "a|b".to_owned(),
            detail: String::new(),
            cells: vec![interval],
            average: interval,
            weighted_vote: None,
            first_error: Some(interval),
            paper: Some(48.4),
        };
        let outcome = Outcome {
            title: "Table 1".to_owned(),
            comparisons: vec![Comparison {
                caption: "c".to_owned(),
                columns: vec!["weak @4".to_owned()],
                rows: vec![row],
            }],
            claims: vec![Claim::above("s", "w", "m", interval, 0.0)],
            ..Outcome::default()
        };
        let finished = vec![(Experiment::Table1, outcome)];
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &finished).expect("written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        assert!(read("report.md").contains("| g: a\\|b | 50.0 | 50.0 ± 10.0 |"));
        assert!(read("index.html").contains("claims show"));
        assert!(read("table1.html").contains("48.4"));
        let back: Vec<Finished> = serde_json::from_str(&read("report.json")).expect("read");
        assert_eq!(back, finished);
    }
}
