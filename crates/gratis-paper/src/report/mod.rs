//! Reports: self-contained HTML pages with inline SVG plots, and solutions coloured by process
//! reward for pages and terminals.
//!
//! Nothing is loaded and nothing is scripted: a page is one file that follows the reader's light
//! or dark theme. No colour stands alone: a number, a mark or a label is beside each.

mod axis;
mod page;
mod solution;
mod svg;
mod table;

pub(crate) use page::{Block, KeyFigure, Link, Page};
pub use solution::{Colours, JudgedStep, SolutionView};
pub(crate) use svg::{Bar, BarPlot};
pub use svg::{LinePlot, Point, Series, Unit, XScale};
pub(crate) use table::{Cell, Cells, Emphasis, Row, Span, Table, Tone};
