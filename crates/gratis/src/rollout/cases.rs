//! Grading of case files.

use gratis_grading::{Grade, Options};
use rayon::prelude::*;

use crate::data::Case;

/// Grades cases over all cores and writes `verdict`, `extracted` and `how` into each.
/// The grades are in the order of the cases; a case without `gold` or `pred` stays as it is and
/// has none.
pub fn grade_cases(cases: &mut [Case], options: &Options) -> Vec<Option<Grade>> {
    cases
        .par_iter_mut()
        .map(|case| {
            if !case.is_complete() {
                return None;
            }
            let grade = gratis_grading::grade(&case.gold(), &case.pred(), options);
            let fields = &mut case.fields;
            fields.insert("verdict".to_owned(), serde_json::json!(grade.verdict));
            fields.insert("extracted".to_owned(), serde_json::json!(grade.extracted));
            fields.insert("how".to_owned(), serde_json::json!(grade.how));
            Some(grade)
        })
        .collect()
}
