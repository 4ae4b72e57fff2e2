//! The part of a text that contains the answer: after the reasoning, inside answer tags, before
//! another turn or another question.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use regex::Regex;

use super::boxed::{Boxed, last_boxed};
use super::phrase;

/// Marks after which a reasoning model gives its answer.
const REASONING_ENDS: [&str; 4] = ["</think>", "</thinking>", "</reasoning>", "</REASONING_END>"];
/// Marks after which another turn begins.
const TURN_ENDS: [&str; 6] =
    ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "</s>"];
/// How the marks of [`REASONING_ENDS`] and `</s>` begin.
static CLOSE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("</"));
/// How the other marks of [`TURN_ENDS`] begin.
static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("<|"));
/// Tags around an answer.
const ANSWER_TAGS: [(&str, &str); 4] = [
    ("<answer>", "</answer>"),
    ("<Answer>", "</Answer>"),
    ("<ANSWER>", "</ANSWER>"),
    ("<final_answer>", "</final_answer>"),
];

/// How all of them end.
static TAG_ENDS: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| ["swer>", "SWER>"].map(Finder::new));

/// The words of [`QUESTION`].
const QUESTIONS: [&str; 7] =
    ["Question", "Problem", "Exercise", "Instruction", "Human", "User", "Q"];

/// The line that begins another problem.
static QUESTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?m)^[\s#*>]*(?:Question|Problem|Exercise|Instruction|Human|User|Q)\**\s*:").ok()
});

/// The text after the reasoning, before the next turn and before another question.
pub(super) fn response(text: &str) -> &str {
    let mut text = text;
    // Every mark begins with one of these. Calculations such as `<<16-3=13>>` do not.
    let has_close = CLOSE.find(text.as_bytes()).is_some();
    let has_mark = MARK.find(text.as_bytes()).is_some();
    for end in REASONING_ENDS.iter().filter(|_| has_close) {
        if let Some(at) = text.rfind(end) {
            text = &text[at + end.len()..];
        }
    }
    let start = text.len() - text.trim_start().len();
    let ends = TURN_ENDS.iter().filter(|_| has_close || has_mark);
    let turn = ends.filter_map(|end| text[start..].find(end).filter(|at| *at > 0)).min();
    before_next_question(turn.map_or(text, |at| &text[..start + at]))
}

/// The text before a line such as `Question:`, if it answers already.
///
/// A base model without a stop condition continues with new problems. If the first such line comes
/// before any answer, the text poses questions to itself, and its last answer is used.
fn before_next_question(text: &str) -> &str {
    let may_ask = memchr::memchr_iter(b':', text.as_bytes()).any(|colon| {
        let before = text[..colon].trim_end().trim_end_matches('*');
        QUESTIONS.iter().any(|word| before.ends_with(word))
    });
    if !may_ask {
        return text;
    }
    let Some(found) = QUESTION.as_ref().and_then(|regex| regex.find(text)) else {
        return text;
    };
    let before = &text[..found.start()];
    let is_answered =
        matches!(last_boxed(before), Boxed::Found(_)) || phrase::announced(before).is_some();
    if is_answered { before } else { text }
}

/// What the last answer tag of a text holds, if anything.
pub(super) fn tagged(text: &str) -> Option<&str> {
    if !TAG_ENDS.iter().any(|end| end.find(text.as_bytes()).is_some()) {
        return None;
    }
    for (open, close) in ANSWER_TAGS {
        for (at, _) in text.rmatch_indices(open) {
            let rest = &text[at + open.len()..];
            let content = rest.find(close).map_or(rest, |end| &rest[..end]).trim();
            if !content.is_empty() {
                return Some(content);
            }
        }
    }
    None
}
