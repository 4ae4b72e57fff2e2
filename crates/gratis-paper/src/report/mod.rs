//! Reports: self-contained HTML pages with inline SVG plots, and solutions coloured by process
//! reward for pages and terminals.
//!
//! A page is one file without scripts or external resources and follows the reader's light or dark
//! theme. Colour is never the only cue: a number, a mark or a label is beside it.

mod axis;
mod page;
mod solution;
mod svg;
mod table;

pub(crate) use page::{Block, KeyFigure, Link, Page};
pub(crate) use solution::{JudgedStep, SolutionView};
pub(crate) use svg::{Bar, BarPlot};
pub(crate) use svg::{LinePlot, Point, Series, Unit, XScale};
pub(crate) use table::{Cell, Cells, Emphasis, Row, Span, Table, Tone};
