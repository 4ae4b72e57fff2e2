//! The part of a text that contains the answer: after the reasoning, inside answer tags, before
//! another turn or another question.

use std::sync::LazyLock;

use regex::Regex;

use super::boxed::{Boxed, last_boxed};
use super::phrase;

/// Marks after which a reasoning model gives its answer.
const REASONING_ENDS: [&str; 4] = ["</think>", "</thinking>", "</reasoning>", "</REASONING_END>"];
/// Marks after which another turn begins.
const TURN_ENDS: [&str; 6] =
    ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "</s>"];
/// Tags around an answer.
const ANSWER_TAGS: [(&str, &str); 4] = [
    ("<answer>", "</answer>"),
    ("<Answer>", "</Answer>"),
    ("<ANSWER>", "</ANSWER>"),
    ("<final_answer>", "</final_answer>"),
];

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
    // Every mark begins with one of these, and one pass over the text tells that none is there.
    let (mut has_close, mut has_mark) = (false, false);
    for at in memchr::memchr_iter(b'<', text.as_bytes()) {
        let next = text.as_bytes().get(at + 1);
        has_close |= next == Some(&b'/');
        has_mark |= next == Some(&b'|');
    }
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
    let mut starts = memchr::memchr_iter(b'<', text.as_bytes());
    if !starts.any(|at| ANSWER_TAGS.iter().any(|(open, _)| text[at..].starts_with(open))) {
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
