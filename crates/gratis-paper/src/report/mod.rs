//! Reports: self-contained HTML pages with inline SVG plots, and solutions coloured by process
//! reward for pages and terminals.
//!
//! Nothing is fetched and nothing is scripted: a page is one file that follows the reader's light
//! or dark theme. No colour stands alone; a number, a mark or a label is beside each.

pub mod html;
pub mod solution;
pub mod svg;

mod axis;

pub use html::{Cells, Page, Table};
pub use solution::{Colours, JudgedStep, SolutionView};
pub use svg::{Bar, BarPlot, LinePlot, Point, Series, Unit, XScale};
