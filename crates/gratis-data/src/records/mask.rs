//! Parts of a completion without rewards and without a training signal, such as a tool's output.
//!
//! They are stored in the column `masks`, as ranges of characters or of tokens. Other programs
//! write a flag per token or per step instead, under names such as `loss_mask`; these are converted
//! to masks or are an error, but never ignored.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::completion::Completion;
use super::record::Fault;
use super::steps::{ends_in_chars, given};

/// Parts of a completion that are excluded from rewards and training: half open ranges
/// `[start, end)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Ranges of characters (Unicode scalar values) of the text.
    Chars(Vec<(usize, usize)>),
    /// Ranges of tokens.
    Tokens(Vec<(usize, usize)>),
}

/// Columns of flags: 1 for what counts, 0 for what is excluded.
const FLAGS: [&str; 6] =
    ["loss_mask", "response_mask", "completion_mask", "assistant_masks", "step_mask", "mask"];
/// Of these, the one whose name says little: a mask only if it looks like one.
const ANYTHING: &str = "mask";

impl Mask {
    /// The masked tokens of a text whose tokens begin at the bytes `starts`, in rising ranges that
    /// do not touch. A token is masked if it begins in a masked part, as it belongs to the step in
    /// which it begins. `None` if a range of tokens ends past the last one.
    pub fn tokens(&self, text: &str, starts: &[usize]) -> Option<Vec<Range<usize>>> {
        let mut is_masked = vec![false; starts.len()];
        match self {
            Self::Tokens(ranges) => {
                // Of a text that was cut there are fewer tokens.
                let is_cut = starts.last().is_some_and(|&start| start < text.len());
                for &(start, end) in ranges {
                    if end > starts.len() && !is_cut {
                        return None;
                    }
                    let end = end.min(starts.len());
                    is_masked[start.min(end)..end].fill(true);
                }
            }
            Self::Chars(ranges) => {
                let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
                let byte = |n_chars: usize| bytes.get(n_chars).copied().unwrap_or(text.len());
                for &(start, end) in ranges {
                    let token = |n_chars| starts.partition_point(|&token| token < byte(n_chars));
                    let (start, end) = (token(start), token(end));
                    is_masked[start..end.max(start)].fill(true);
                }
            }
        }
        Some(ranges_of(is_masked))
    }

    /// Checks that ranges rise and stay within the text.
    pub(crate) fn check(&self, field: &str, text: &str) -> Result<(), Fault> {
        let (ranges, n, what) = match self {
            Self::Chars(ranges) => (ranges, text.chars().count(), "characters"),
            Self::Tokens(ranges) => (ranges, usize::MAX, "tokens"),
        };
        match ranges.iter().find(|(start, end)| start > end || *end > n) {
            None => Ok(()),
            Some((start, end)) if start > end => {
                let expected = format!("ranges of {what} that begin before they end");
                Err(Fault::new(field, expected, format!("[{start}, {end}]")))
            }
            Some((start, end)) => {
                let expected = format!("ranges within the {n} {what} of the completion");
                Err(Fault::new(field, expected, format!("[{start}, {end}]")))
            }
        }
    }
}

/// The runs of `true`.
fn ranges_of(flags: impl IntoIterator<Item = bool>) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (idx, flag) in flags.into_iter().enumerate() {
        match ranges.last_mut() {
            Some(last) if flag && last.end == idx => last.end += 1,
            _ if flag => ranges.push(idx..idx + 1),
            _ => {}
        }
    }
    ranges
}

/// Turns columns of flags into the masks of the completions.
pub(crate) fn take_flags(
    completions: &mut [Completion],
    extra: &mut Map<String, Value>,
) -> Result<(), Fault> {
    if completions.is_empty() {
        return Ok(());
    }
    for name in FLAGS {
        let Some(column) = extra.get(name).filter(|column| !column.is_null()) else { continue };
        let rows = column.as_array().filter(|rows| rows.len() == completions.len());
        let rows: Option<Vec<Flags>> = rows.and_then(|rows| rows.iter().map(flags).collect());
        let Some(rows) = rows else {
            if name == ANYTHING {
                continue;
            }
            let expected = "a list of 0 and 1 for each of `completions`, 0 for what is excluded \
                            (or give ranges as `masks`)";
            return Err(Fault::new(name, expected, super::record::shown(column)));
        };
        for (idx, (completion, row)) in completions.iter_mut().zip(rows).enumerate() {
            let Flags::Given(row) = row else { continue };
            let mask = mask_of(completion, &row).map_err(|what| {
                let expected = "a flag for each of its `token_ids`, or for each of its `steps`";
                Fault::new(format!("{name}[{idx}]"), expected, what)
            })?;
            if completion.mask.as_ref().is_some_and(|known| *known != mask) {
                let expected = "the same as the other mask of this completion";
                return Err(Fault::new(format!("{name}[{idx}]"), expected, "another one"));
            }
            completion.mask = Some(mask);
        }
        extra.shift_remove(name);
    }
    Ok(())
}

/// The flags of a completion.
enum Flags {
    Absent,
    /// Whether each part counts.
    Given(Vec<bool>),
}

fn flags(row: &Value) -> Option<Flags> {
    let flag = |value: &Value| match value {
        Value::Bool(flag) => Some(*flag),
        value => value.as_u64().filter(|flag| *flag <= 1).map(|flag| flag == 1),
    };
    match row {
        Value::Null => Some(Flags::Absent),
        Value::Array(items) => items.iter().map(flag).collect::<Option<_>>().map(Flags::Given),
        _ => None,
    }
}

fn mask_of(completion: &Completion, counts: &[bool]) -> Result<Mask, String> {
    let n_tokens = completion.token_ids.as_ref().map(Vec::len);
    let n_steps = completion.steps.as_ref().map(Vec::len);
    let excluded = || ranges_of(counts.iter().map(|counts| !counts));
    match (n_tokens == Some(counts.len()), n_steps == Some(counts.len())) {
        (true, false) => {
            Ok(Mask::Tokens(excluded().into_iter().map(|range| (range.start, range.end)).collect()))
        }
        (false, true) => {
            let steps = given(completion).map_err(|error| error.to_string())?;
            let ends = ends_in_chars(&completion.text, &steps);
            let start = |step: usize| if step == 0 { 0 } else { ends[step - 1] };
            let spans = excluded().into_iter().filter(|range| range.end <= ends.len());
            Ok(Mask::Chars(spans.map(|range| (start(range.start), ends[range.end - 1])).collect()))
        }
        (true, true) => Err(format!("{} flags, which fits both", counts.len())),
        (false, false) => Err(format!("{} flags", counts.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_masked_where_they_begin() {
        // "é<tool>x", with the tokens "é", "<to", "ol>", "x" and an end token.
        let (text, starts) = ("é<tool>x", [0, 2, 5, 8, 9]);
        let tokens = |mask: Mask, starts: &[usize]| -> Option<Vec<(usize, usize)>> {
            let ranges = mask.tokens(text, starts)?;
            Some(ranges.into_iter().map(|range| (range.start, range.end)).collect())
        };
        let chars = |ranges: &[(usize, usize)]| {
            tokens(Mask::Chars(ranges.to_vec()), &starts).expect("within")
        };
        assert_eq!(chars(&[(1, 7)]), [(1, 3)]);
        assert_eq!(chars(&[(2, 5), (0, 1)]), [(0, 1), (2, 3)], "begun before");
        assert_eq!(chars(&[(0, 8)]), [(0, 4)], "never the end token");
        assert_eq!(chars(&[(3, 3)]), []);
        let whole = tokens(Mask::Tokens(vec![(1, 2), (2, 5)]), &starts);
        assert_eq!(whole.expect("within"), [(1, 5)]);
        assert_eq!(tokens(Mask::Tokens(vec![(4, 6)]), &starts), None);
        let cut = tokens(Mask::Tokens(vec![(1, 6)]), &starts[..3]);
        assert_eq!(cut.expect("of a cut text"), [(1, 3)]);
    }
}
