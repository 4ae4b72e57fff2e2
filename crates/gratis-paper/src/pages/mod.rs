//! Outcomes as pages, Markdown and JSON: one page with everything, one per experiment.

use std::fmt::Write as _;
use std::path::Path;

use gratis::evaluation::Interval;
use gratis_model::atomic;
use serde::{Deserialize, Serialize};

use crate::cache::store::write_json;
use crate::error::{Error, Result};
use crate::experiments::Experiment;
use crate::outcome::{
    Chosen, Claim, Column, ComparedRow, Comparison, Outcome, PlainTable, Verdict,
};
use crate::report::{Cells, Colours, LinePlot, Page, Table};

/// An experiment and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The experiment.
    pub experiment: Experiment,
    /// What it reports.
    #[serde(flatten)]
    pub outcome: Outcome,
}

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
    for (idx, Finished { experiment, outcome }) in finished.iter().enumerate() {
        let mut page = Page::new(&full_title(outcome), &outcome.question);
        let mut links = vec![("index.html".to_owned(), "All experiments".to_owned())];
        let mut neighbour = |idx: Option<usize>, arrow: &str| {
            if let Some(Finished { experiment, outcome }) = idx.and_then(|idx| finished.get(idx)) {
                let text = format!("{arrow} {}", outcome.name);
                links.push((format!("{}.html", experiment.name()), text));
            }
        };
        neighbour(idx.checked_sub(1), "←");
        neighbour(Some(idx + 1), "→");
        page.links(&links);
        sections(&mut page, outcome);
        put(format!("{}.html", experiment.name()), page.render())?;
        write_json(&folder.join(format!("{}.json", experiment.name())), outcome)?;
    }
    Ok(())
}

fn full_title(outcome: &Outcome) -> String {
    format!("{}: {}", outcome.name, outcome.title)
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
    let anchor = |experiment: Experiment| format!("#{}", experiment.name());
    let links: Vec<(String, String)> =
        finished.iter().map(|f| (anchor(f.experiment), f.outcome.name.clone())).collect();
    page.links(&links);
    let claims = || finished.iter().flat_map(|finished| &finished.outcome.claims);
    if claims().next().is_some() {
        let count = |verdict| claims().filter(|c| c.verdict == verdict).count().to_string();
        page.key_figures(&[
            (count(Verdict::Holds), "claims hold".to_owned()),
            (count(Verdict::WithinNoise), "within noise".to_owned()),
            (count(Verdict::DoesNotHold), "do not hold".to_owned()),
        ]);
        page.heading("The claims");
        page.paragraph(
            "A claim holds (✓) if the whole interval is on its side of the bound, does not hold (✗) \
             if the whole interval is on the other side, and is within noise (~) otherwise.",
        );
        let groups: Vec<(String, &[Claim])> = finished
            .iter()
            .map(|finished| (full_title(&finished.outcome), &finished.outcome.claims[..]))
            .filter(|(_, claims)| !claims.is_empty())
            .collect();
        page.table(&claims_table(&groups, Places::Page));
    }
    for Finished { experiment, outcome } in finished {
        page.heading_at(experiment.name(), &full_title(outcome));
        page.paragraph(&outcome.question);
        page.links(&[
            (format!("{}.html", experiment.name()), "on a page of its own".to_owned()),
            (format!("{}.json", experiment.name()), "all numbers (JSON)".to_owned()),
        ]);
        sections(&mut page, outcome);
    }
    page
}

/// Plots, tables, claims, solutions and conditions.
fn sections(page: &mut Page, outcome: &Outcome) {
    if !outcome.plots.is_empty() {
        let plots: Vec<String> = outcome.plots.iter().map(LinePlot::render).collect();
        let points = outcome.plots.iter().flat_map(|plot| &plot.series).flat_map(|s| &s.points);
        let has_bars = points.into_iter().any(|point| point.interval.is_some());
        page.figure(
            &plots,
            if has_bars { "Bars are intervals over seeds and problems." } else { "" },
        );
    }
    for comparison in &outcome.comparisons {
        page.table(&comparison_table(comparison, Places::Page));
        if let Some(table) = chosen_table(comparison) {
            page.folded_table("What was chosen on validation problems", &table);
        }
    }
    for table in &outcome.tables {
        page.table(&plain_table(table));
    }
    if !outcome.claims.is_empty() {
        page.table(&claims_table(&[(String::new(), &outcome.claims)], Places::Page));
    }
    if let Some(examples) = &outcome.examples {
        page.subheading("Step by step");
        page.paragraph(&examples.lead);
        for example in &examples.examples {
            page.paragraph(&format!("{}:", example.caption));
            example.view(examples.threshold, examples.scale).add_to(page);
        }
    }
    page.remarks("How it was measured", &outcome.conditions);
}

/// How much room a cell has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    Page,
    Markdown,
}

fn plain_table(table: &PlainTable) -> Table {
    let PlainTable { caption, header, rows } = table.clone();
    Table { caption, header, rows, ..Table::default() }
}

/// Adds a heading above rows of another group than those before.
fn grouped(groups: impl Iterator<Item = (String, Vec<String>)>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut last = String::new();
    for (group, row) in groups {
        if group != last {
            rows.push(vec![group.clone()]);
            last = group;
        }
        rows.push(row);
    }
    rows
}

fn comparison_table(comparison: &Comparison, places: Places) -> Table {
    let has = |of: fn(&ComparedRow) -> bool| comparison.rows.iter().any(of);
    let (vote, f1, paper) = (
        has(|row| row.weighted_vote.is_some()),
        has(|row| row.first_error.is_some()),
        has(|row| row.paper.is_some()),
    );
    let mut summary = vec!["average".to_owned()];
    summary.extend(vote.then(|| "vote".to_owned()));
    summary.extend(f1.then(|| "F1".to_owned()));
    summary.extend(paper.then(|| "paper".to_owned()));
    let (spans, columns) = match places {
        Places::Page => spans(&comparison.columns, summary.len()),
        Places::Markdown => {
            let name = |column: &Column| format!("{} @{}", column.generator, column.n);
            (Vec::new(), comparison.columns.iter().map(name).collect())
        }
    };
    let mut header = vec![String::new()];
    header.extend(columns);
    header.extend(summary);
    let rows = comparison.rows.iter().map(|row| {
        let name = match (&row.detail[..], places) {
            ("", _) => row.name.clone(),
            (detail, Places::Page) => format!("{}\n{detail}", row.name),
            (detail, Places::Markdown) => format!("{} ({detail})", row.name),
        };
        let mut cells = vec![name];
        cells.extend(row.cells.iter().map(percent));
        cells.push(percent(&row.average));
        let optional = |value: &Option<Interval>| value.as_ref().map_or(String::new(), percent);
        cells.extend(vote.then(|| optional(&row.weighted_vote)));
        cells.extend(f1.then(|| optional(&row.first_error)));
        cells.extend(paper.then(|| row.paper.map_or(String::new(), |paper| format!("{paper:.1}"))));
        (row.group.clone(), cells)
    });
    Table {
        caption: format!(
            "{}. ± is half of the interval{}.",
            comparison.caption,
            if paper { "; `paper` is the paper's average" } else { "" }
        ),
        spans,
        header,
        rows: grouped(rows),
        ..Table::default()
    }
}

/// The part of `weak @4` that neighbours share, above the columns, and the columns' own part.
fn spans(columns: &[Column], n_summary: usize) -> (Vec<(String, usize)>, Vec<String>) {
    let mut spans: Vec<(String, usize)> = vec![(String::new(), 1)];
    let mut own = Vec::new();
    for Column { generator, n } in columns {
        match spans.last_mut() {
            Some((text, n_columns)) if text == generator && !own.is_empty() => *n_columns += 1,
            _ => spans.push((generator.clone(), 1)),
        }
        own.push(format!("@{n}"));
    }
    spans.push((String::new(), n_summary));
    (spans, own)
}

/// What the rows of a comparison depend on beside their settings, seed by seed.
fn chosen_table(comparison: &Comparison) -> Option<Table> {
    let with_choices = || comparison.rows.iter().filter(|row| !row.chosen.is_empty());
    let seeds = &with_choices().next()?.chosen;
    // Once where all seeds have the same.
    let list = |row: &ComparedRow, of: fn(&Chosen) -> String| -> String {
        let mut values: Vec<String> = row.chosen.iter().map(of).collect();
        if values.iter().all(|value| *value == values[0]) {
            values.truncate(1);
        }
        values.join(", ")
    };
    let rows = with_choices().map(|row| {
        let cells = vec![
            row.name.clone(),
            list(row, |chosen| chosen.aggregation.to_string()),
            list(row, |chosen| chosen.signal.name().to_owned()),
            list(row, |chosen| format!("{:.3}", chosen.threshold)),
            list(row, |chosen| chosen.vote_temperature.to_string()),
        ];
        (row.group.clone(), cells)
    });
    let seeds: Vec<String> = seeds.iter().map(|chosen| chosen.seed.to_string()).collect();
    Some(Table {
        caption: format!(
            "Chosen on validation problems, for the seeds {} in this order: how steps become a score, \
             what is held against the threshold, the threshold below which a step is called wrong, \
             and the temperature of the vote",
            seeds.join(", ")
        ),
        header: ["", "aggregation", "signal", "threshold", "vote temperature"]
            .map(str::to_owned)
            .to_vec(),
        rows: grouped(rows),
        cells: Cells::Text,
        ..Table::default()
    })
}

/// Claims under the titles of their experiments.
fn claims_table(groups: &[(String, &[Claim])], places: Places) -> Table {
    // Lines break between columns only.
    let whole = |text: String| match places {
        Places::Page => text.replace(' ', "\u{a0}"),
        Places::Markdown => text,
    };
    let row = |claim: &Claim| {
        let Claim { ours, unit, verdict, .. } = claim;
        let show = |value| unit.show(value);
        let interval = if ours.low < ours.high {
            format!("{} ({} to {})", show(ours.mean), show(ours.low), show(ours.high))
        } else {
            show(ours.mean)
        };
        vec![
            claim.statement.clone(),
            match places {
                Places::Page => whole(format!("{} {}", verdict.mark(), verdict.name())),
                Places::Markdown => verdict.name().to_owned(),
            },
            whole(interval),
            claim.measure.clone(),
            whole(claim.source.clone()),
        ]
    };
    let of_group = |(title, claims): &(String, &[Claim])| -> Vec<(String, Vec<String>)> {
        claims.iter().map(|claim| (title.clone(), row(claim))).collect()
    };
    Table {
        caption: "Claims, the verdict, and our measure with its interval".to_owned(),
        header: ["claim", "verdict", "ours", "measure", "where"].map(str::to_owned).to_vec(),
        rows: grouped(groups.iter().flat_map(of_group)),
        cells: Cells::Text,
        ..Table::default()
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
    for Finished { outcome, .. } in finished {
        let _ = write!(text, "\n## {}\n\n{}\n", full_title(outcome), outcome.question);
        for comparison in &outcome.comparisons {
            text += &markdown_table(&comparison_table(comparison, Places::Markdown));
            text += &chosen_table(comparison).as_ref().map_or(String::new(), markdown_table);
        }
        for table in &outcome.tables {
            text += &markdown_table(&plain_table(table));
        }
        if !outcome.claims.is_empty() {
            text += &markdown_table(&claims_table(
                &[(String::new(), &outcome.claims)],
                Places::Markdown,
            ));
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

fn markdown_table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let caption = table.caption.trim_end_matches('.');
    let mut text = format!("\n{caption}:\n\n{}", line(&table.header));
    text += &line(&vec!["---".to_owned(); table.header.len()]);
    for row in &table.rows {
        match &row[..] {
            [heading] if table.header.len() > 1 => {
                let mut cells = vec![String::new(); table.header.len()];
                cells[0] = format!("**{heading}**");
                text += &line(&cells);
            }
            cells => text += &line(cells),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{Example, Examples};
    use crate::report::JudgedStep;
    use gratis::evaluation::StepSignal;
    use gratis::selection::Aggregation;

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
            chosen: vec![Chosen {
                seed: 3,
                aggregation: Aggregation::Min,
                signal: StepSignal::Reward,
                threshold: -0.25,
                vote_temperature: 0.1,
            }],
        };
        let step = JudgedStep { text: "a = 1\n".to_owned(), process_reward: -2.0 };
        let example = Example {
            caption: "wrong at once".to_owned(),
            problem: "p".to_owned(),
            reference: "2".to_owned(),
            steps: vec![step],
            first_error: Some(0),
            outcome_reward: -2.0,
            is_correct: false,
        };
        let outcome = Outcome {
            name: "Table 1".to_owned(),
            title: "t".to_owned(),
            comparisons: vec![Comparison {
                caption: "c".to_owned(),
                columns: vec![Column { generator: "weak".to_owned(), n: 4 }],
                rows: vec![row],
            }],
            examples: Some(Examples { scale: 1.0, examples: vec![example], ..Examples::default() }),
            claims: vec![Claim::above("s", "w", "m", interval, 0.0)],
            ..Outcome::default()
        };
        let finished = vec![Finished { experiment: Experiment::Table1, outcome }];
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &finished).expect("written");
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
        let markdown = read("report.md");
        for part in [
            "| **g** |",
            "| a\\|b | 50.0 ± 10.0 | 50.0 ± 10.0 |",
            "| a\\|b | min | process reward | -0.250 | 0.1 |",
            "✗ first error, found",
        ] {
            assert!(markdown.contains(part), "`{part}` is missing in\n{markdown}");
        }
        let index = read("index.html");
        for part in ["claims hold", "✓\u{a0}holds", "href=\"#table1\"", "href=\"table1.html\""] {
            assert!(index.contains(part), "`{part}` is missing");
        }
        let page = read("table1.html");
        for part in ["48.4", ">weak</th>", "<code>a = 1</code>", "href=\"index.html\""] {
            assert!(page.contains(part), "`{part}` is missing");
        }
        let back: Vec<Finished> = serde_json::from_str(&read("report.json")).expect("read");
        assert_eq!(back, finished);
    }
}
