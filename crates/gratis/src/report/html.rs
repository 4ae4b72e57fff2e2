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

/// What the cells of a table hold, beside the labels of the first column.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cells {
    /// Numbers: to the right, on one line.
    #[default]
    Numbers,
    /// Words: to the left, on as many lines as they need.
    Text,
}

/// A table: the first column holds labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Column headings.
    pub header: Vec<String>,
    /// Cells as text, row by row.
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
            "<p class=\"caption\">{caption}</p>\n<div class=\"scroll\"><table class=\"{class}\" \
             aria-label=\"{caption}\"><thead><tr>"
        );
        for heading in &self.header {
            let _ = write!(html, "<th scope=\"col\">{}</th>", escape(heading));
        }
        html.push_str("</tr></thead><tbody>\n");
        for (row_idx, row) in self.rows.iter().enumerate() {
            let class = if self.emphasis == Some(row_idx) { " class=\"emphasis\"" } else { "" };
            let _ = write!(html, "<tr{class}>");
            for (column_idx, cell) in row.iter().enumerate() {
                let cell = escape(cell);
                let _ = match column_idx {
                    0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                    _ => write!(html, "<td>{cell}</td>"),
                };
            }
            html.push_str("</tr>\n");
        }
        html + "</tbody></table></div>\n"
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
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), escape(lead));
        Self { title: title.to_owned(), body }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.body, "<h2>{}</h2>", escape(text));
    }

    /// A paragraph of plain text.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.body, "<p>{}</p>", escape(text));
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
        let _ = writeln!(self.body, "</div><figcaption>{}</figcaption></figure>", escape(caption));
    }

    /// HTML made by another part of this module, taken as it is.
    pub(super) fn raw(&mut self, html: &str) {
        self.body.push_str(html);
    }

    /// Preformatted text that can be unfolded.
    pub fn details(&mut self, summary: &str, text: &str) {
        let (summary, text) = (escape(summary), escape(text));
        let _ =
            writeln!(self.body, "<details><summary>{summary}</summary><pre>{text}</pre></details>");
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
