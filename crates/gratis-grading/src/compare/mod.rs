//! Whether two answers are the same answer.

use crate::options::Options;

/// Whether `pred` is equivalent to `gold` under the conventions of `options`.
pub fn equivalent(gold: &str, pred: &str, _options: &Options) -> bool {
    let (gold, pred) = (canonical(gold), canonical(pred));
    !gold.is_empty() && gold == pred
}

/// A key that equal answers usually share: cheap to group by, never equal for answers
/// that differ. Answers with different keys may still be equivalent; see [`classes`].
pub fn canonical(answer: &str) -> String {
    let mut key: String = answer.chars().filter(|c| !c.is_whitespace() && *c != '$').collect();
    for (from, to) in
        [("\\left", ""), ("\\right", ""), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), (",", "")]
    {
        key = key.replace(from, to);
    }
    match key.parse::<f64>() {
        Ok(value) if key.len() < 16 => value.to_string(),
        _ => key,
    }
}

/// Groups answers: the result gives each answer the index of its class, numbered in order
/// of first appearance. Equal keys share a class, and so do equivalent answers.
pub fn classes<S: AsRef<str>>(answers: &[S]) -> Vec<usize> {
    let options = Options::default();
    let mut representatives: Vec<(String, &str)> = Vec::new();
    answers
        .iter()
        .map(|answer| {
            let answer = answer.as_ref();
            let key = canonical(answer);
            let known = representatives.iter().position(|(other, _)| *other == key).or_else(|| {
                representatives.iter().position(|(_, other)| equivalent(other, answer, &options))
            });
            known.unwrap_or_else(|| {
                representatives.push((key, answer));
                representatives.len() - 1
            })
        })
        .collect()
}
