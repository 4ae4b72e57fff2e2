//! Outcomes as pages, Markdown and JSON: one page with everything, one per experiment.

mod markdown;
mod summary;

use std::path::Path;

use gratis::evaluation::Interval;
use gratis::reward::ValueRule;
use gratis_model::atomic;
use serde::{Deserialize, Serialize};

use crate::cache::store::write_json;
use crate::error::{Error, Result};
use crate::experiments::Experiment;
use crate::outcome::{
    Chosen, Claim, Column, ComparedRow, Comparison, Outcome, PlainTable, Verdict,
};
use crate::report::{
    Block, Cell, Cells, Emphasis, KeyFigure, LinePlot, Link, Page, Row, Span, Table, Tone,
};

pub use summary::summary;

/// The paper.
pub(crate) const PAPER: &str = "https://arxiv.org/abs/2412.01981";

/// An experiment and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The experiment.
    pub(crate) experiment: Experiment,
    /// What it reports.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl Finished {
    /// Number of the paper's claims that hold in this experiment, those not counted left out.
    pub fn n_claims_that_hold(&self) -> usize {
        let holds = |claim: &&Claim| claim.verdict == Verdict::Holds && claim.caveat.is_none();
        self.outcome.claims.iter().filter(holds).count()
    }

    fn title(&self) -> String {
        format!("{}: {}", self.outcome.name, self.outcome.title)
    }

    fn page_name(&self) -> String {
        format!("{}.html", self.experiment.name())
    }
}

/// Title and first sentence of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heading {
    /// The title.
    pub(crate) title: String,
    /// The title of the Markdown file.
    pub(crate) markdown_title: String,
    /// What it is a report of.
    pub(crate) lead: String,
}

impl Heading {
    /// That of the tiny world.
    pub(crate) fn tiny_world() -> Self {
        Self {
            title: "Free process rewards, reproduced".to_owned(),
            markdown_title: "Free process rewards, reproduced in the tiny world".to_owned(),
            lead: "Every table and figure of the paper in the tiny world: small models trained from \
                   scratch, our numbers beside the paper's, and for each claim whether it holds here. \
                   The paper's models have eight billion parameters and solve competition problems; \
                   ours have a hundred thousand and solve sums. Compare the differences, not the \
                   levels."
                .to_owned(),
        }
    }
}

/// Writes `index.html`, `report.md`, `report.json`, and a page and a JSON file per experiment.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write(folder: &Path, heading: &Heading, finished: &[Finished]) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let put = |name: &str, text: &str| -> Result<()> {
        Ok(atomic::write(&folder.join(name), text.as_bytes())?)
    };
    put("index.html", &index(heading, finished).render()?)?;
    put("report.md", &markdown::markdown_under(&heading.markdown_title, finished))?;
    write_json(&folder.join("report.json"), &finished)?;
    for (idx, of) in finished.iter().enumerate() {
        put(&of.page_name(), &page(finished, idx).render()?)?;
        write_json(&folder.join(format!("{}.json", of.experiment.name())), &of.outcome)?;
    }
    Ok(())
}

/// The page with everything. It has the claims once, at the top.
fn index(heading: &Heading, finished: &[Finished]) -> Page {
    let mut page = Page::new(&heading.title, &heading.lead);
    let anchor = |of: &Finished| format!("#{}", of.experiment.name());
    let sections = finished.iter().map(|of| Link::new(anchor(of), &*of.outcome.name));
    page.links(sections.chain([
        Link::new("report.md", "as Markdown"),
        Link::new("report.json", "all numbers (JSON)"),
        Link::new(PAPER, "the paper (arXiv)"),
    ]));
    let claims = || finished.iter().flat_map(|of| &of.outcome.claims);
    if claims().next().is_some() {
        let counted = |verdict| {
            claims().filter(|c| c.verdict == verdict && c.caveat.is_none()).count().to_string()
        };
        let figure = |value, label: &str| KeyFigure { value, label: label.to_owned() };
        page.blocks.push(Block::KeyFigures {
            figures: vec![
                figure(counted(Verdict::Holds), "claims hold"),
                figure(counted(Verdict::WithinNoise), "within noise"),
                figure(counted(Verdict::DoesNotHold), "do not hold"),
            ],
        });
        page.heading_at("claims", "The claims");
        let n_not_counted = claims().filter(|claim| claim.caveat.is_some()).count();
        page.paragraph(format!(
            "A claim holds (✓) if the whole interval is on its side of the bound, does not hold \
             (✗) if the whole interval is on the other side, and is within noise (~) otherwise.{}",
            match n_not_counted {
                0 => String::new(),
                n => format!(
                    " Verdicts in brackets ({n}) are not counted: they compare with a row that \
                     does not learn this task at all, even from true step labels."
                ),
            }
        ));
        let groups: Vec<ClaimGroup> = finished
            .iter()
            .filter(|of| !of.outcome.claims.is_empty())
            .map(|of| ClaimGroup {
                heading: Some((of.title(), anchor(of))),
                claims: &of.outcome.claims,
            })
            .collect();
        page.table(claims_table(&groups));
    }
    for of in finished {
        page.heading_at(of.experiment.name(), &of.title());
        page.paragraph(&*of.outcome.question);
        let mut links = Vec::new();
        if !of.outcome.claims.is_empty() {
            links.push(Link::new("#claims", "its claims"));
        }
        links.push(Link::new(of.page_name(), "on a page of its own"));
        links.push(Link::new(format!("{}.json", of.experiment.name()), "all numbers (JSON)"));
        page.links(links);
        evidence(&mut page, &of.outcome);
        examples(&mut page, &of.outcome);
        conditions(&mut page, &of.outcome);
    }
    page
}

/// The page of one experiment.
fn page(finished: &[Finished], idx: usize) -> Page {
    let of = &finished[idx];
    let mut page = Page::new(&of.title(), &of.outcome.question);
    let mut links = vec![Link::new("index.html", "All experiments")];
    if let Some(before) = idx.checked_sub(1).and_then(|idx| finished.get(idx)) {
        links.push(Link::new(before.page_name(), format!("← {}", before.outcome.name)));
    }
    if let Some(after) = finished.get(idx + 1) {
        links.push(Link::new(after.page_name(), format!("→ {}", after.outcome.name)));
    }
    links.push(Link::new(format!("{}.json", of.experiment.name()), "all numbers (JSON)"));
    links.push(Link::new(PAPER, "the paper (arXiv)"));
    page.links(links);
    evidence(&mut page, &of.outcome);
    if !of.outcome.claims.is_empty() {
        page.table(claims_table(&[ClaimGroup { heading: None, claims: &of.outcome.claims }]));
    }
    examples(&mut page, &of.outcome);
    conditions(&mut page, &of.outcome);
    page
}

/// Plots and tables.
fn evidence(page: &mut Page, outcome: &Outcome) {
    if !outcome.plots.is_empty() {
        let plots: Vec<String> = outcome.plots.iter().map(LinePlot::render).collect();
        let points = outcome.plots.iter().flat_map(|plot| &plot.series).flat_map(|s| &s.points);
        let has_bars = points.into_iter().any(|point| point.interval.is_some());
        let caption = if has_bars { "Bars are intervals over seeds and problems." } else { "" };
        page.figure(plots, caption);
    }
    for comparison in &outcome.comparisons {
        page.table(comparison_table(comparison));
        if let Some(table) = chosen_table(comparison) {
            let summary = "What was chosen on validation problems".to_owned();
            page.blocks.push(Block::FoldedTable { summary, table });
        }
    }
    for table in &outcome.tables {
        page.table(plain_table(table));
    }
}

fn examples(page: &mut Page, outcome: &Outcome) {
    let Some(examples) = &outcome.examples else { return };
    page.blocks.push(Block::Subheading { text: "Step by step".to_owned() });
    page.paragraph(&*examples.lead);
    for example in &examples.examples {
        page.paragraph(format!("{}:", example.caption));
        page.solution(&example.view(examples.threshold, examples.scale));
    }
}

fn conditions(page: &mut Page, outcome: &Outcome) {
    let (summary, remarks) = ("How it was measured".to_owned(), outcome.conditions.clone());
    page.blocks.push(Block::Remarks { summary, remarks });
}

fn plain_table(table: &PlainTable) -> Table {
    let row = |row: &Vec<String>| {
        let (label, cells) = row.split_first().map_or(("", &[][..]), |(l, cells)| (&**l, cells));
        Row::new(label, cells.iter().map(|cell| Cell::number(&**cell)).collect())
    };
    Table {
        caption: table.caption.clone(),
        header: table.header.clone(),
        rows: table.rows.iter().map(row).collect(),
        ..Table::default()
    }
}

/// Adds a heading above rows of another group than those before.
fn grouped(groups: impl Iterator<Item = (String, Row)>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut last = String::new();
    for (group, row) in groups {
        if group != last {
            rows.push(Row::Group { heading: group.clone(), link: None });
            last = group;
        }
        rows.push(row);
    }
    rows
}

fn comparison_table(comparison: &Comparison) -> Table {
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
    let spans = spans(&comparison.columns, summary.len());
    let mut header = vec![String::new()];
    header.extend(comparison.columns.iter().map(|column| format!("@{}", column.n)));
    header.extend(summary);
    let rows = comparison.rows.iter().map(|row| {
        let mut cells: Vec<Cell> = row.cells.iter().map(Cell::percent).collect();
        cells.push(Cell::percent(&row.average));
        let optional = |value: &Option<Interval>| value.as_ref().map_or(Cell::Empty, Cell::percent);
        cells.extend(vote.then(|| optional(&row.weighted_vote)));
        cells.extend(f1.then(|| optional(&row.first_error)));
        let of_paper = |paper| Cell::number(format!("{paper:.1}"));
        cells.extend(paper.then(|| row.paper.map_or(Cell::Empty, of_paper)));
        Row::Cells {
            label: row.name.clone(),
            detail: (!row.detail.is_empty()).then(|| row.detail.clone()),
            cells,
            emphasis: Emphasis::Ordinary,
        }
    });
    let groups = comparison.rows.iter().map(|row| row.group.clone());
    Table {
        caption: format!(
            "{}. ± is half of the interval{}.",
            comparison.caption,
            if paper { "; `paper` is the paper's average" } else { "" }
        ),
        spans,
        header,
        rows: grouped(groups.zip(rows)),
        cells: Cells::Numbers,
    }
}

/// The generators above their columns.
fn spans(columns: &[Column], n_summary: usize) -> Vec<Span> {
    let mut spans = vec![Span { heading: String::new(), n_columns: 1 }];
    for Column { generator, .. } in columns {
        match spans.last_mut() {
            Some(span) if span.heading == *generator => span.n_columns += 1,
            _ => spans.push(Span { heading: generator.clone(), n_columns: 1 }),
        }
    }
    spans.push(Span { heading: String::new(), n_columns: n_summary });
    spans
}

/// What the rows of a comparison depend on beside their settings, seed by seed.
fn chosen_table(comparison: &Comparison) -> Option<Table> {
    let with_choices = || comparison.rows.iter().filter(|row| !row.chosen.is_empty());
    let seeds = &with_choices().next()?.chosen;
    // Once where all seeds have the same.
    let list = |row: &ComparedRow, of: fn(&Chosen) -> String| -> Cell {
        let mut values: Vec<String> = row.chosen.iter().map(of).collect();
        if values.iter().all(|value| *value == values[0]) {
            values.truncate(1);
        }
        Cell::text(values.join(", "))
    };
    let rows = with_choices().map(|row| {
        let cells = vec![
            list(row, |chosen| chosen.aggregation.to_string() + of_means(chosen.value_rule)),
            list(row, |chosen| chosen.signal.name().to_owned() + of_means(chosen.signal_rule)),
            list(row, |chosen| chosen.threshold.map_or("-".to_owned(), |at| format!("{at:.3}"))),
            list(row, |chosen| chosen.vote_temperature.to_string()),
        ];
        (row.group.clone(), Row::new(&*row.name, cells))
    });
    let seeds: Vec<String> = seeds.iter().map(|chosen| chosen.seed.to_string()).collect();
    Some(Table {
        caption: format!(
            "Chosen on validation problems, for the seeds {} in this order: the aggregation of \
             steps, the signal compared with the threshold, the threshold below which a step is \
             predicted wrong, and the temperature of the vote",
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

/// What is added to a value's name where it is not made of sums of log-ratios.
fn of_means(rule: ValueRule) -> &'static str {
    match rule {
        ValueRule::Sum => "",
        ValueRule::Mean => ", of means",
    }
}

/// Claims of one experiment, with its title and a link to it where claims of several are shown.
struct ClaimGroup<'c> {
    heading: Option<(String, String)>,
    claims: &'c [Claim],
}

fn claims_table(groups: &[ClaimGroup]) -> Table {
    let mut rows = Vec::new();
    for ClaimGroup { heading, claims } in groups {
        rows.extend(heading.as_ref().map(|(heading, link)| Row::Group {
            heading: heading.clone(),
            link: Some(link.clone()),
        }));
        rows.extend(claims.iter().map(claim_row));
    }
    Table {
        caption: "Claims, the verdict, and our measure with its interval".to_owned(),
        header: ["claim", "verdict", "ours", "measure", "where"].map(str::to_owned).to_vec(),
        rows,
        cells: Cells::Text,
        ..Table::default()
    }
}

fn claim_row(claim: &Claim) -> Row {
    let Claim { ours, unit, verdict, .. } = claim;
    let show = |value| unit.show(value);
    let interval = if ours.low < ours.high {
        format!("{} ({} to {})", show(ours.mean), show(ours.low), show(ours.high))
    } else {
        show(ours.mean)
    };
    let tone = match (verdict, &claim.caveat) {
        (_, Some(_)) | (Verdict::WithinNoise, None) => Tone::Neutral,
        (Verdict::Holds, None) => Tone::Up,
        (Verdict::DoesNotHold, None) => Tone::Down,
    };
    let text = match claim.caveat {
        Some(_) => format!("({})", verdict.name()),
        None => verdict.name().to_owned(),
    };
    Row::Cells {
        label: claim.statement.clone(),
        detail: claim.caveat.clone(),
        cells: vec![
            Cell::Verdict { mark: verdict.mark(), text, tone },
            Cell::number(interval),
            Cell::text(&*claim.measure),
            Cell::text(&*claim.source),
        ],
        emphasis: Emphasis::Ordinary,
    }
}

#[cfg(test)]
mod tests {
    use gratis::evaluation::StepSignal;
    use gratis::selection::Aggregation;

    use super::*;
    use crate::example::{Example, Examples};
    use crate::report::JudgedStep;

    fn finished() -> Vec<Finished> {
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
                value_rule: ValueRule::Sum,
                signal: StepSignal::Reward,
                signal_rule: ValueRule::Sum,
                threshold: Some(-0.25),
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
            claims: vec![
                Claim::above("s", "w", "m", interval, 0.0),
                Claim::above("x", "w", "m", interval, 0.0).with_caveat("not counted".to_owned()),
            ],
            ..Outcome::default()
        };
        vec![Finished { experiment: Experiment::Table1, outcome }]
    }

    #[test]
    fn pages_markdown_and_numbers_are_written_for_each_experiment() {
        let finished = finished();
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &Heading::tiny_world(), &finished).expect("written");
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
        for part in [
            "claims hold",
            "✓&nbsp;holds",
            "href=\"#table1\"",
            "href=\"table1.html\"",
            "2412.01981\"",
        ] {
            assert!(index.contains(part), "`{part}` is missing");
        }
        let page = read("table1.html");
        for part in ["48.4", ">weak</th>", "<code>a = 1</code>", "href=\"index.html\""] {
            assert!(page.contains(part), "`{part}` is missing in\n{page}");
        }
        let back: Vec<Finished> = serde_json::from_str(&read("report.json")).expect("read");
        assert_eq!(back, finished);
    }

    #[test]
    fn claims_stand_once_on_a_page_and_those_with_a_caveat_are_not_counted() {
        let finished = finished();
        for html in [index(&Heading::tiny_world(), &finished).render(), page(&finished, 0).render()]
        {
            let html = html.expect("rendered");
            assert_eq!(html.matches("Claims, the verdict").count(), 2, "caption and label");
            assert!(html.contains("(holds)") && html.contains("not counted"));
        }
        let html = index(&Heading::tiny_world(), &finished).render().expect("rendered");
        assert!(html.contains("<dd>1</dd><dt>claims hold</dt>"), "one of two is counted");
        assert!(html.contains("Verdicts in brackets (1) are not counted"));
    }
}
