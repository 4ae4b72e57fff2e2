//! Results in words and tables, for a terminal. The caller wraps and prints them.

/// A part of a summary. All but [`Self::Text`] may hold data whose control characters are still to be
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SummaryPart {
    /// Sentences, each on lines of its own.
    Notes(Vec<String>),
    /// A table; the first column holds names.
    Table {
        /// Column headings.
        header: Vec<String>,
        /// The rows.
        rows: Vec<Vec<String>>,
    },
    /// Lines that may be wrapped; they may contain colours.
    Text(String),
    /// Lines that are printed as they are.
    Verbatim(String),
}

/// Whether a terminal shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// Plain text.
    None,
    /// 24-bit escape sequences.
    Ansi,
}

impl SummaryPart {
    /// One sentence.
    pub(crate) fn note(note: impl Into<String>) -> Self {
        Self::Notes(vec![note.into()])
    }

    /// A table with these headings.
    pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self::Table { header: header.iter().map(|&heading| heading.to_owned()).collect(), rows }
    }

    /// An empty line.
    pub(crate) fn blank() -> Self {
        Self::Verbatim("\n".to_owned())
    }
}
