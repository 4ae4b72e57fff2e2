//! Pages: one self-contained HTML file with its style sheet, in the reader's light or dark theme,
//! rendered by the templates beside this file. All text is escaped by the template engine.

use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value};
use serde::Serialize;

use super::solution::SolutionView;
use super::svg::escape;
use super::table::Table;
use crate::error::{Error, Result};

const PAGE: &str = "page.html";
const TEMPLATES: [(&str, &str); 3] = [
    (PAGE, include_str!("templates/page.html")),
    ("table.html", include_str!("templates/table.html")),
    ("solution.html", include_str!("templates/solution.html")),
];
const STYLE: &str = include_str!("templates/style.css");

static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> =
    LazyLock::new(|| {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.add_filter("inline", inline);
        for (name, source) in TEMPLATES {
            environment.add_template(name, source)?;
        }
        Ok(environment)
    });

/// A page, built from the top.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Page {
    /// Its title.
    pub(crate) title: String,
    /// The paragraph that says what it shows.
    pub(crate) lead: String,
    /// The blocks below.
    pub(crate) blocks: Vec<Block>,
}

/// A part of a page. In texts, words between backticks are set as code.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Block {
    /// Links to other files, or with `#` to headings of this page.
    Links { links: Vec<Link> },
    /// A heading, with an anchor if others link to it.
    Heading { text: String, anchor: Option<String> },
    /// A heading below the others.
    Subheading { text: String },
    /// A paragraph.
    Paragraph { text: String },
    /// A few numbers that summarise the page.
    KeyFigures { figures: Vec<KeyFigure> },
    /// Plots side by side, as SVG elements, with a caption.
    Figure { plots: Vec<String>, caption: String },
    /// A table.
    Table { table: Table },
    /// A table that can be unfolded.
    FoldedTable { summary: String, table: Table },
    /// A solution with its process rewards.
    Solution { solution: SolutionPage },
    /// A list that can be unfolded.
    Remarks { summary: String, remarks: Vec<String> },
    /// Preformatted text that can be unfolded.
    Details { summary: String, text: String },
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Link {
    pub(crate) target: String,
    pub(crate) text: String,
}

/// A number and what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyFigure {
    pub(crate) value: String,
    pub(crate) label: String,
}

/// A solution as the template shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct SolutionPage {
    pub(crate) problem: String,
    pub(crate) steps: Vec<StepLine>,
    pub(crate) summary: String,
}

/// A step as the template shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct StepLine {
    /// `up` or `down`.
    pub(crate) tone: &'static str,
    /// Strength of the colour, in percent.
    pub(crate) strength: u32,
    pub(crate) reward: String,
    pub(crate) text: String,
    pub(crate) remark: &'static str,
}

impl Page {
    /// A page without blocks.
    pub(crate) fn new(title: &str, lead: &str) -> Self {
        Self { title: title.to_owned(), lead: lead.to_owned(), blocks: Vec::new() }
    }

    /// Adds links.
    pub(crate) fn links(&mut self, links: impl IntoIterator<Item = Link>) {
        self.blocks.push(Block::Links { links: links.into_iter().collect() });
    }

    /// Adds a heading.
    pub(crate) fn heading(&mut self, text: &str) {
        self.blocks.push(Block::Heading { text: text.to_owned(), anchor: None });
    }

    /// Adds a heading that links can lead to.
    pub(crate) fn heading_at(&mut self, anchor: &str, text: &str) {
        let anchor = Some(anchor.to_owned());
        self.blocks.push(Block::Heading { text: text.to_owned(), anchor });
    }

    /// Adds a paragraph.
    pub(crate) fn paragraph(&mut self, text: impl Into<String>) {
        self.blocks.push(Block::Paragraph { text: text.into() });
    }

    /// Adds plots side by side; `plots` are SVG elements made by [`super::svg`].
    pub(crate) fn figure(&mut self, plots: Vec<String>, caption: impl Into<String>) {
        self.blocks.push(Block::Figure { plots, caption: caption.into() });
    }

    /// Adds a table.
    pub(crate) fn table(&mut self, table: Table) {
        self.blocks.push(Block::Table { table });
    }

    /// Adds a solution.
    pub(crate) fn solution(&mut self, view: &SolutionView) {
        self.blocks.push(Block::Solution { solution: view.to_page() });
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`Error::Template`] if a template is wrong.
    pub(crate) fn render(&self) -> Result<String> {
        let failed = |source| Error::Template { template: PAGE, source };
        let environment = match &*ENVIRONMENT {
            Ok(environment) => environment,
            Err(error) => {
                let reason = error.to_string();
                return Err(failed(minijinja::Error::new(error.kind(), reason)));
            }
        };
        let template = environment.get_template(PAGE).map_err(failed)?;
        let style = Value::from_safe_string(STYLE.to_owned());
        template
            .render(minijinja::context! { page => Value::from(Serde(self)), style })
            .map_err(failed)
    }
}

impl Link {
    pub(crate) fn new(target: impl Into<String>, text: impl Into<String>) -> Self {
        Self { target: target.into(), text: text.into() }
    }
}

/// Text as HTML, with words between backticks set as code.
fn inline(text: &str) -> Value {
    let parts: Vec<&str> = text.split('`').collect();
    let html = if parts.len().is_multiple_of(2) {
        // A backtick without its partner is a backtick.
        escape(text)
    } else {
        let set = |(idx, part): (usize, &&str)| match idx % 2 {
            0 => escape(part),
            _ => format!("<code>{}</code>", escape(part)),
        };
        parts.iter().enumerate().map(set).collect()
    };
    Value::from_safe_string(html)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::table::{Cell, Cells, Emphasis, Row, Span, Tone};

    #[test]
    fn text_cannot_become_markup() {
        let mut page = Page::new("<script>", "\"quoted\" & 'so'");
        page.paragraph("</main>");
        page.links([Link::new("\"><script>", "<a>")]);
        page.table(Table {
            header: vec!["<b>".to_owned()],
            rows: vec![Row::new("<i>", vec![Cell::text("<u>"), Cell::number("<s>")])],
            ..Table::default()
        });
        page.blocks.push(Block::Details { summary: "<em>".to_owned(), text: "</pre>".to_owned() });
        let html = page.render().expect("rendered");
        for markup in
            ["<script>", "<b>", "<i>", "<u>", "<s>", "<em>", "</main></p>", "</pre></pre>"]
        {
            assert!(!html.contains(markup), "{markup} in\n{html}");
        }
        assert!(html.contains("&quot;quoted&quot; &amp; &#39;so&#39;"), "{html}");
    }

    #[test]
    fn tables_have_groups_spans_and_intervals_below_the_numbers() {
        let header = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let span = |heading: &str, n_columns| Span { heading: heading.to_owned(), n_columns };
        let verdict = Cell::Verdict { mark: '✗', text: "no".to_owned(), tone: Tone::Down };
        let mut page = Page::new("t", "l");
        page.table(Table {
            spans: vec![span("", 1), span("weak", 2)],
            header: header(&["", "@4", "@16"]),
            rows: vec![
                Row::Group { heading: "`a` < b".to_owned(), link: Some("#a".to_owned()) },
                Row::Cells {
                    label: "ce".to_owned(),
                    detail: Some("beta 1".to_owned()),
                    cells: vec![
                        Cell::MeanAndHalf { mean: "1.0".to_owned(), half: "0.2".to_owned() },
                        verdict,
                    ],
                    emphasis: Emphasis::Strong,
                },
            ],
            cells: Cells::Numbers,
            ..Table::default()
        });
        let html = page.render().expect("rendered");
        for part in [
            "<th scope=\"colgroup\" colspan=\"2\">weak</th>",
            "colspan=\"3\"><span><a href=\"#a\"><code>a</code> &lt; b</a></span></th>",
            "<tr class=\"emphasis\"><th scope=\"row\">ce<span class=\"detail\">beta 1</span></th>",
            "<td class=\"number\">1.0<span class=\"half\">± 0.2</span></td>",
            "<td class=\"down\">✗&nbsp;no</td>",
        ] {
            assert!(html.contains(part), "`{part}` is missing in {html}");
        }
        assert_eq!(inline("one ` alone").to_string(), "one ` alone");
    }

    #[test]
    fn a_page_loads_nothing_from_elsewhere() {
        let mut page = Page::new("t", "l");
        page.figure(vec!["<svg></svg>".to_owned()], "caption");
        let html = page.render().expect("rendered");
        for reference in ["src=", "url(", "@import", "<script", "<link"] {
            assert!(!html.contains(reference), "{reference}");
        }
        assert!(html.contains("prefers-color-scheme: dark"));
        assert!(html.contains("<div><svg></svg></div>"), "{html}");
    }
}
