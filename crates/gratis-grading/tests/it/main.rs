//! The grader against its evidence: public grading suites, labelled solutions, properties.
#![expect(clippy::print_stderr, reason = "the evidence tests report their figures")]

mod classes;
mod golds;
mod hostile;
mod kinds;
mod labels;
mod suites;
