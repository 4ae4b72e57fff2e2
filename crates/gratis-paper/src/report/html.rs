//! Pages: one self-contained HTML file, with its style sheet, in the reader's light or dark theme.

use std::fmt::Write as _;

/// Text as HTML, safe in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Text as HTML, with words between backticks set as code.
fn inline(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // A backtick without its partner is a backtick.
        return escape(text);
    }
    let set = |(idx, part): (usize, &&str)| match idx % 2 {
        0 => escape(part),
        _ => format!("<code>{}</code>", escape(part)),
    };
    parts.iter().enumerate().map(set).collect()
}

/// What the cells of a table hold, beside the labels of the first column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cells {
    /// Numbers: to the right, on one line; what follows `±` stands below.
    #[default]
    Numbers,
    /// Words: to the left, on as many lines as they need; cells that begin with ✓ or ✗ are coloured.
    Text,
}

/// A table: the first column holds labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Headings above the column headings, each with the number of columns it stands above; these
    /// are all columns, or there are no such headings.
    pub spans: Vec<(String, usize)>,
    /// Column headings.
    pub header: Vec<String>,
    /// Cells as text, row by row. A row of one cell is the heading of those below it; the second line
    /// of a row's label is set small.
    pub rows: Vec<Vec<String>>,
    /// Index of the row to stand out.
    pub emphasis: Option<usize>,
    /// What the cells hold.
    pub cells: Cells,
}

impl Table {
    /// The table as an HTML element.
    pub fn render(&self) -> String {
        let caption = escape(&self.caption);
        let class = match self.cells {
            Cells::Numbers => "numbers",
            Cells::Text => "text",
        };
        let mut html = format!(
            "<p class=\"caption\">{}</p>\n<div class=\"scroll\"><table class=\"{class}\" \
             aria-label=\"{caption}\"><thead>",
            inline(&self.caption)
        );
        if !self.spans.is_empty() {
            html.push_str("<tr class=\"spans\">");
            for (heading, n_columns) in &self.spans {
                let scope = if *n_columns > 1 { "colgroup" } else { "col" };
                let heading = inline(heading);
                let _ =
                    write!(html, "<th scope=\"{scope}\" colspan=\"{n_columns}\">{heading}</th>");
            }
            html.push_str("</tr>");
        }
        html.push_str("<tr>");
        for heading in &self.header {
            let _ = write!(html, "<th scope=\"col\">{}</th>", inline(heading));
        }
        html.push_str("</tr></thead><tbody>\n");
        for (row_idx, row) in self.rows.iter().enumerate() {
            if let [heading] = &row[..]
                && self.header.len() > 1
            {
                let (n_columns, heading) = (self.header.len(), inline(heading));
                let _ = writeln!(
                    html,
                    "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"{n_columns}\">\
                     <span>{heading}</span></th></tr>"
                );
                continue;
            }
            let class = if self.emphasis == Some(row_idx) { " class=\"emphasis\"" } else { "" };
            let _ = write!(html, "<tr{class}>");
            for (column_idx, cell) in row.iter().enumerate() {
                html.push_str(&self.cell(column_idx, cell));
            }
            html.push_str("</tr>\n");
        }
        html + "</tbody></table></div>\n"
    }

    fn cell(&self, column_idx: usize, cell: &str) -> String {
        if column_idx == 0 {
            let (label, detail) = cell.split_once('\n').unwrap_or((cell, ""));
            let (label, detail) = (inline(label), inline(detail));
            return match &detail[..] {
                "" => format!("<th scope=\"row\">{label}</th>"),
                _ => {
                    format!("<th scope=\"row\">{label}<span class=\"detail\">{detail}</span></th>")
                }
            };
        }
        match (self.cells, cell.split_once(" ± "), cell.chars().next()) {
            (Cells::Numbers, Some((mean, half)), _) => {
                let (mean, half) = (inline(mean), inline(half));
                format!("<td>{mean}<span class=\"half\">± {half}</span></td>")
            }
            (Cells::Text, _, Some('✓')) => format!("<td class=\"up\">{}</td>", inline(cell)),
            (Cells::Text, _, Some('✗')) => format!("<td class=\"down\">{}</td>", inline(cell)),
            _ => format!("<td>{}</td>", inline(cell)),
        }
    }
}

/// A page, built from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    title: String,
    body: String,
}

impl Page {
    /// A page with its title and the paragraph that says what it shows.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), inline(lead));
        Self { title: title.to_owned(), body }
    }

    /// Links to other pages of the same folder, or with `#` to headings of this one: target and text.
    pub fn links(&mut self, links: &[(String, String)]) {
        self.body.push_str("<nav>");
        for (target, text) in links {
            let _ = write!(self.body, "<a href=\"{}\">{}</a>", escape(target), escape(text));
        }
        self.body.push_str("</nav>\n");
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", inline(text));
    }

    /// A heading that [`Self::links`] can lead to.
    pub fn heading_at(&mut self, anchor: &str, text: &str) {
        let _ = writeln!(self.body, "<h2 id=\"{}\">{}</h2>", escape(anchor), inline(text));
    }

    /// A heading below the others.
    pub fn subheading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h3>{}</h3>", inline(text));
    }

    /// A paragraph of plain text.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", inline(text));
    }

    /// A few numbers that say it all: value and label.
    pub fn key_figures(&mut self, figures: &[(String, String)]) {
        self.body.push_str("<dl class=\"figures\">");
        for (value, label) in figures {
            let (value, label) = (escape(value), escape(label));
            let _ = write!(self.body, "<div><dd>{value}</dd><dt>{label}</dt></div>");
        }
        self.body.push_str("</dl>\n");
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        self.body.push_str(&table.render());
    }

    /// One or more plots side by side with a caption; `plots` are SVG elements made by
    /// [`super::svg`].
    pub fn figure(&mut self, plots: &[String], caption: &str) {
        self.body.push_str("<figure><div class=\"plots\">\n");
        for plot in plots {
            let _ = writeln!(self.body, "<div>{plot}</div>");
        }
        let _ = writeln!(self.body, "</div><figcaption>{}</figcaption></figure>", inline(caption));
    }

    /// HTML made by another part of this module, taken as it is.
    pub(super) fn raw(&mut self, html: &str) {
        self.body.push_str(html);
    }

    /// A list of remarks that can be unfolded.
    pub fn remarks(&mut self, summary: &str, remarks: &[String]) {
        let items: Vec<String> = remarks.iter().map(|remark| inline(remark)).collect();
        self.fold(summary, &format!("<ul>\n<li>{}</li>\n</ul>", items.join("</li>\n<li>")));
    }

    /// A table that can be unfolded.
    pub fn folded_table(&mut self, summary: &str, table: &Table) {
        self.fold(summary, &table.render());
    }

    fn fold(&mut self, summary: &str, html: &str) {
        let summary = escape(summary);
        let _ = writeln!(self.body, "<details><summary>{summary}</summary>{html}</details>");
    }

    /// Preformatted text that can be unfolded.
    pub fn details(&mut self, summary: &str, text: &str) {
        self.fold(summary, &format!("<pre>{}</pre>", escape(text)));
    }

    /// The whole file.
    pub fn render(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{}</main>\n\
             </body>\n</html>\n",
            escape(&self.title),
            self.body
        )
    }
}

const STYLE: &str = include_str!("style.css");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut page = Page::new("<script>", "\"quoted\" & 'so'");
        page.paragraph("</main>");
        page.table(&Table {
            header: vec!["<b>".to_owned()],
            rows: vec![vec!["<i>".to_owned(), "1".to_owned()]],
            ..Table::default()
        });
        let html = page.render();
        for markup in ["<script>", "<b>", "<i>", "</main></p>"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert!(html.contains("&quot;quoted&quot; &amp; &#39;so&#39;"));
    }

    #[test]
    fn tables_have_groups_spans_and_intervals_below_the_numbers() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let table = Table {
            spans: vec![(String::new(), 1), ("weak".to_owned(), 2)],
            header: row(&["", "@4", "@16"]),
            rows: vec![row(&["`a` < b"]), row(&["ce\nbeta 1", "1.0 ± 0.2", "2"])],
            ..Table::default()
        };
        let html = table.render();
        for part in [
            "<th scope=\"colgroup\" colspan=\"2\">weak</th>",
            "colspan=\"3\"><span><code>a</code> &lt; b</span></th>",
            "<th scope=\"row\">ce<span class=\"detail\">beta 1</span></th>",
            "<td>1.0<span class=\"half\">± 0.2</span></td>",
        ] {
            assert!(html.contains(part), "`{part}` is missing in {html}");
        }
        let words = Table { cells: Cells::Text, rows: vec![row(&["c", "✗ no"])], ..table };
        assert!(words.render().contains("<td class=\"down\">✗ no</td>"));
        assert_eq!(inline("one ` alone"), "one ` alone");
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let mut page = Page::new("t", "l");
        page.figure(&["<svg></svg>".to_owned()], "caption");
        let html = page.render();
        for reference in ["src=", "href=", "url(", "@import", "<script"] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert!(html.contains("prefers-color-scheme: dark"));
    }
}
