//! Output on stdout: text, JSON, tables and the notes under them.
//!
//! Tables fit the terminal, or 80 columns elsewhere, and never break a number: headings and names
//! are wrapped first, then the columns are spread over several blocks that repeat the first column.

use std::io::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use gratis::visible::{is_unsafe, visible};
use gratis_paper::SummaryPart;
use textwrap::{Options, WordSplitter, core::display_width};
use tracing::info;

use crate::failure::CliError;
use crate::terminal;

/// Prints text on stdout; control characters in data are escaped.
pub(crate) fn print(text: &str) -> Result<()> {
    print_visible(&visible(text))
}

/// Prints text that may contain colours and whose data is already escaped.
pub(crate) fn print_visible(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|source| CliError::Stdout { source }.into())
}

/// Prints a value as indented JSON on stdout. Control characters are escaped by the rules of JSON,
/// so the value does not change.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    print_visible(&(json_escaped(&format!("{value:#}")) + "\n"))
}

/// Such characters occur only inside strings.
fn json_escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            let mut units = [0; 2];
            escaped.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// A command line that can be pasted into a shell.
pub(crate) fn command(words: &[&str]) -> String {
    let quote = |word: &&str| match shlex::try_quote(word) {
        Ok(quoted) => quoted.into_owned(),
        // A word with a null byte cannot be an argument.
        Err(_) => (*word).to_owned(),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Logs the command that usually comes next.
pub(crate) fn next(words: &[&str]) {
    info!("next: {}", command(words));
}

/// Sentences under a table, each on lines of its own that fit the terminal.
pub(crate) fn notes<T: AsRef<str>>(notes: impl IntoIterator<Item = T>) -> String {
    let width = terminal::width().min(MOST_WIDTH);
    let mut text = String::new();
    for note in notes {
        let options = wrapping(width).subsequent_indent("  ");
        for line in textwrap::wrap(note.as_ref(), options) {
            text.extend([&*line, "\n"]);
        }
    }
    text
}

/// The text with its long lines wrapped, except those with colours.
pub(crate) fn wrapped(text: &str) -> String {
    let width = terminal::width().min(MOST_WIDTH);
    let wrap = |line: &str| match line {
        line if line.contains('\u{1b}') => format!("{line}\n"),
        line => textwrap::fill(line, wrapping(width)) + "\n",
    };
    text.lines().map(wrap).collect()
}

/// A summary of experiments; only its data in [`SummaryPart::Text`] are escaped.
pub(crate) fn summary(parts: &[SummaryPart]) -> String {
    let part = |part: &SummaryPart| match part {
        SummaryPart::Notes(lines) => notes(lines),
        SummaryPart::Table { header, rows } => table(header, rows),
        SummaryPart::Text(text) => wrapped(text),
        SummaryPart::Verbatim(text) => text.clone(),
    };
    parts.iter().map(part).collect()
}

/// Maximum width of wrapped text, even on wider terminals.
const MOST_WIDTH: usize = 100;

/// A table with the first column left-aligned and the others right-aligned, at most as wide as the
/// terminal.
pub(crate) fn table<T: AsRef<str>>(header: &[T], rows: &[Vec<String>]) -> String {
    let header: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
    table_in(&header, rows, terminal::width())
}

/// Blanks on both sides of a cell.
const PADDING: usize = 2;
/// Minimum width of the first column, unless all its cells are narrower.
const LEAST_NAME: usize = 16;

fn table_in(header: &[&str], rows: &[Vec<String>], width: usize) -> String {
    let cell = |row: &Vec<String>, idx: usize| row.get(idx).cloned().unwrap_or_default();
    let columns: Vec<Column> = (0..header.len())
        .map(|idx| {
            let cells = rows.iter().map(|row| visible(&cell(row, idx)).into_owned()).collect();
            Column { heading: visible(header[idx]).into_owned(), cells }
        })
        .collect();
    let Some((names, others)) = columns.split_first() else { return String::new() };
    let natural: usize = columns.iter().map(|column| column.natural() + PADDING).sum();
    if natural <= width {
        return render(&columns.iter().collect::<Vec<_>>());
    }
    // Narrow the other columns first, the widest headings before the others.
    let mut widths: Vec<usize> = others.iter().map(Column::natural).collect();
    let narrowest: Vec<usize> = others.iter().map(Column::narrowest).collect();
    for _ in width..natural {
        let slack = |&idx: &usize| widths[idx] - narrowest[idx];
        // The last of equals, so that the first ones, which matter more, stay as they are.
        let Some(idx) = (0..widths.len()).max_by_key(slack).filter(|idx| slack(idx) > 0) else {
            break;
        };
        widths[idx] -= 1;
    }
    let others: Vec<Column> =
        others.iter().zip(&widths).map(|(column, &width)| column.wrapped(width)).collect();
    let needed: usize = others.iter().map(|column| column.natural() + PADDING).sum();
    let widest = others.iter().map(|column| column.natural() + PADDING).max().unwrap_or(0);
    let room = width.saturating_sub(PADDING);
    let least = names.natural().min(names.least().max(LEAST_NAME)).min(room);
    if needed + least <= room {
        let names = names.wrapped(room - needed);
        return render(&std::iter::once(&names).chain(&others).collect::<Vec<_>>());
    }
    // Several blocks, as many columns in each as fit.
    let least = least.min(room.saturating_sub(widest)).max(1);
    let n_blocks = blocks_of(&others, room - least, usize::MAX).len();
    // Distributes the columns evenly over the same number of blocks.
    let even = others.len().div_ceil(n_blocks.max(1));
    let blocks = (even..=others.len())
        .map(|most| blocks_of(&others, room - least, most))
        .find(|blocks| blocks.len() <= n_blocks)
        .unwrap_or_default();
    // The same first column in every block, as wide as the fullest block allows.
    let of_block = |block: &Vec<&Column>| -> usize {
        block.iter().map(|column| column.natural() + PADDING).sum()
    };
    let fullest = blocks.iter().map(of_block).max().unwrap_or(0);
    let names = names.wrapped(room.saturating_sub(fullest).max(1));
    let tables = blocks
        .into_iter()
        .map(|block| render(&std::iter::once(&names).chain(block).collect::<Vec<_>>()));
    tables.collect::<Vec<_>>().join("\n")
}

/// The columns in blocks of at most `room` columns of text and `most` columns of the table.
fn blocks_of(columns: &[Column], room: usize, most: usize) -> Vec<Vec<&Column>> {
    let mut blocks: Vec<Vec<&Column>> = Vec::new();
    let mut used = 0;
    for column in columns {
        let own = column.natural() + PADDING;
        match blocks.last_mut() {
            Some(block) if block.len() < most && used + own <= room => block.push(column),
            _ => {
                blocks.push(vec![column]);
                used = 0;
            }
        }
        used += own;
    }
    blocks
}

/// The texts of a column; a line feed starts a new line in its cell.
struct Column {
    heading: String,
    cells: Vec<String>,
}

impl Column {
    fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.heading).chain(&self.cells)
    }

    /// Width without wrapping.
    fn natural(&self) -> usize {
        self.all().flat_map(|text| text.lines()).map(display_width).max().unwrap_or(0)
    }

    /// Width of the longest word.
    fn least(&self) -> usize {
        let words = self.all().flat_map(|text| text.split_whitespace());
        words.map(display_width).max().unwrap_or(0)
    }

    /// Minimum width that keeps every cell with a digit on one line and breaks no word.
    fn narrowest(&self) -> usize {
        let is_whole = |cell: &&String| cell.contains(|c: char| c.is_ascii_digit());
        let cells = self.cells.iter().filter(is_whole).map(|cell| display_width(cell)).max();
        cells.unwrap_or(0).max(self.least())
    }

    fn wrapped(&self, width: usize) -> Self {
        let wrap = |text: &String| textwrap::wrap(text, wrapping(width.max(1))).join("\n");
        Self { heading: wrap(&self.heading), cells: self.cells.iter().map(wrap).collect() }
    }
}

/// Breaks lines at spaces, never at the hyphen of `-3.6` or `1e-3`; a word longer than a line, such
/// as a path, is broken.
fn wrapping(width: usize) -> Options<'static> {
    Options::new(width).word_splitter(WordSplitter::NoHyphenation)
}

fn render(columns: &[&Column]) -> String {
    let rule = LineStyle::none().fill('─');
    let mut table = Table::new();
    table
        .load_style(TableStyle::new().header_separator(rule))
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.heading.as_str()).collect::<Vec<_>>());
    let n_rows = columns.first().map_or(0, |column| column.cells.len());
    for row in 0..n_rows {
        table.add_row(columns.iter().map(|column| column.cells[row].as_str()).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(n_columns: usize) -> Vec<Vec<String>> {
        let names =
            ["majority", "vote by exp(min / 0.1) over the last step", "runs/prm-20/with/a/path"];
        let row = |name: &str| {
            let cells = (1..n_columns).map(|idx| format!("{}.5 ± 12.{}", 10 * idx, idx % 10));
            std::iter::once(name.to_owned()).chain(cells).collect()
        };
        names.map(row).to_vec()
    }

    #[test]
    fn a_table_fits_any_width_and_breaks_no_number() {
        for n_columns in 1..14 {
            let header: Vec<String> =
                (0..n_columns).map(|idx| format!("generator number {idx} at N")).collect();
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            for width in [40, 50, 80, 100, 200] {
                let text = table_in(&header, &rows(n_columns), width);
                let widest = text.lines().map(display_width).max().expect("a line");
                assert!(widest <= width, "{widest} columns of {width}:\n{text}");
                for cell in rows(n_columns).iter().flat_map(|row| &row[1..]) {
                    assert!(text.contains(cell.as_str()), "`{cell}` at {width}:\n{text}");
                }
                let n_rules = text.lines().filter(|line| line.starts_with('─')).count();
                let n_blocks = text.split("\n\n").count();
                assert_eq!(n_rules, n_blocks, "one rule, under the heading:\n{text}");
            }
        }
    }

    #[test]
    fn headings_are_wrapped_before_columns_are_spread() {
        let header = ["%", "tokens as counted", "first error found"];
        let rows = [vec!["all of it".to_owned(), "1234567".to_owned(), "-3.6".to_owned()]];
        insta::assert_snapshot!(table_in(&header, &rows, 80), @r"
         %          tokens as counted  first error found
        ─────────────────────────────────────────────────
         all of it            1234567               -3.6
        ");
        insta::assert_snapshot!(table_in(&header, &rows, 40), @r"
         %          tokens as  first error
                      counted        found
        ───────────────────────────────────
         all of it    1234567         -3.6
        ");
    }

    #[test]
    fn data_cannot_steer_the_terminal_through_a_table_or_json() {
        let text = table_in(&["\x1b[31mred"], &[vec!["a\u{202e}b".to_owned()]], 80);
        assert!(text.contains(r"\u{1b}[31mred") && text.contains(r"a\u{202e}b"), "{text}");
        let value = serde_json::json!({ "a": "\u{9b}2J\u{202e}\u{e0041}" });
        let text = json_escaped(&value.to_string());
        assert_eq!(text, r#"{"a":"\u009b2J\u202e\udb40\udc41"}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn a_summary_is_wrapped_except_where_its_lines_stay() {
        let long = "a sentence that is longer than a line of eighty columns, ".repeat(3);
        let row = |name: &str| vec![name.to_owned(), "68.8 ± 3.0".to_owned()];
        let parts = [
            SummaryPart::Notes(vec![long.clone(), "short".to_owned()]),
            SummaryPart::Table {
                header: vec!["%".to_owned(), "average".to_owned()],
                rows: vec![row("Math-Shepherd, hard labels, with a fair head"), row(&long)],
            },
            SummaryPart::Text(long.clone()),
        ];
        let text = summary(&parts);
        assert!(text.lines().all(|line| display_width(line) <= 80), "{text}");
        assert_eq!(text.matches("68.8 ± 3.0").count(), 2);
        assert_eq!(summary(&[SummaryPart::Verbatim(long.clone())]), long);
    }

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["gratis", "train", "--run", "my runs", "--objective", "ce,beta=0.3"];
        assert_eq!(command(&words), "gratis train --run 'my runs' --objective 'ce,beta=0.3'");
    }
}
