//! The parts of a reasoning trace: the thought, up to the tag that ends it, and the answer after it.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Which part of a response is scored. The model reads the whole response in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum ScorePart {
    /// The whole response.
    #[default]
    All,
    /// The thought, with its tags such as `<think>` and `</think>`.
    Thought,
    /// What follows the thought, or the whole response if there is none.
    Answer,
}

/// Tags that begin and end a thought.
const TAGS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
];

impl ScorePart {
    /// Whether it is the whole response.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// The bytes of a response that belong to the part; `None` if it has no such part. `opening` is
    /// the tag that the prompt ends in, if it ends in one.
    ///
    /// The thought ends with the last tag that ends one and the white space after it. A response that
    /// begins a thought and never ends it has no answer.
    pub fn range(self, text: &str, opening: Option<&str>) -> Option<Range<usize>> {
        if self == Self::All {
            return Some(0..text.len());
        }
        let end = TAGS.iter().filter_map(|(_, end)| Some(text.rfind(end)? + end.len())).max();
        let begins = |tag: &str| text.trim_start().starts_with(tag) || opening == Some(tag);
        let thought = match end {
            Some(end) => end + text[end..].len() - text[end..].trim_start().len(),
            None if TAGS.iter().any(|(tag, _)| begins(tag)) => text.len(),
            None => 0,
        };
        let range = if self == Self::Thought { 0..thought } else { thought..text.len() };
        // A response without a thought may be empty, which is an answer.
        let is_there = !range.is_empty() || (self == Self::Answer && thought == 0);
        is_there.then_some(range)
    }

    /// The steps of a text that lie in a part, cut where the part begins and ends; the last one is extended
    /// to its end. A part of white space is one step.
    pub fn steps_within(
        text: &str,
        steps: &[Range<usize>],
        part: &Range<usize>,
    ) -> Vec<Range<usize>> {
        let cut = |step: &Range<usize>| step.start.max(part.start)..step.end.min(part.end);
        let is_blank =
            |step: &Range<usize>| step.start >= step.end || text[step.clone()].trim().is_empty();
        let mut within: Vec<_> = steps.iter().map(cut).filter(|step| !is_blank(step)).collect();
        match within.last_mut() {
            Some(last) => last.end = part.end,
            None => within.push(part.clone()),
        }
        within
    }
}

impl fmt::Display for ScorePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::Thought => "thought",
            Self::Answer => "answer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(text: &'a str, opening: Option<&str>) -> [Option<&'a str>; 2] {
        [ScorePart::Thought, ScorePart::Answer]
            .map(|part| part.range(text, opening).map(|range| &text[range]))
    }

    #[test]
    fn thought_and_answer_make_up_the_response() {
        for (text, opening, thought, answer) in [
            ("<think>\na\n</think>\n\nb", None, Some("<think>\na\n</think>\n\n"), Some("b")),
            ("a</think>b", Some("<think>"), Some("a</think>"), Some("b")),
            ("a </think> b </think> c", None, Some("a </think> b </think> "), Some("c")),
            ("<think>a", None, Some("<think>a"), None),
            ("still thinking", Some("<think>"), Some("still thinking"), None),
            ("<reasoning>a</reasoning>\n", None, Some("<reasoning>a</reasoning>\n"), None),
            ("an answer", None, None, Some("an answer")),
            ("an answer", Some("<answer>"), None, Some("an answer")),
            ("", None, None, Some("")),
        ] {
            assert_eq!(parts(text, opening), [thought, answer], "{text}");
            assert_eq!(ScorePart::All.range(text, opening), Some(0..text.len()));
        }
    }

    #[test]
    fn steps_are_cut_at_the_part() {
        let text = "a\n\nb</think>\n\nc\n\nd";
        let steps = [0..3, 3..14, 14..17, 17..18];
        let of = |part: ScorePart| {
            ScorePart::steps_within(text, &steps, &part.range(text, None).expect("there"))
        };
        assert_eq!(of(ScorePart::Thought), [0..3, 3..14]);
        assert_eq!(of(ScorePart::Answer), [14..17, 17..18]);
        assert_eq!(of(ScorePart::All), steps);
        // One step over both parts.
        let only = |steps: &[Range<usize>], part: Range<usize>| {
            assert_eq!(
                ScorePart::steps_within("a</think>b", steps, &part),
                std::slice::from_ref(&part)
            );
        };
        only(std::slice::from_ref(&(0..10)), 9..10);
        only(&[], 0..9);
    }
}
