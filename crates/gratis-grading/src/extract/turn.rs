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

/// Whether `text` may hold one of these marks and tags, which all begin with one of these pairs of signs.
/// Calculations such as `<<16-3=13>>` do not.
fn may_be_marked(text: &str) -> bool {
    let Some(first) = memchr::memchr(b'<', text.as_bytes()) else {
        return false;
    };
    let begins = |next: u8| matches!(next, b'/' | b'|' | b'a' | b'A' | b'f');
    // All pairs in one pass, which is vectorised, rather than up to the first.
    let signs = &text.as_bytes()[first..];
    let pairs = signs.iter().zip(&signs[1..]);
    pairs.fold(false, |is_marked, (sign, next)| is_marked | ((*sign == b'<') & begins(*next)))
}

/// The words of [`QUESTION`].
const QUESTIONS: [&str; 7] =
    ["Question", "Problem", "Exercise", "Instruction", "Human", "User", "Q"];

/// The line that begins another problem.
static QUESTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?m)^[\s#*>]*(?:Question|Problem|Exercise|Instruction|Human|User|Q)\**\s*:").ok()
});

/// The text after the reasoning, before the next turn and before another question, and what the last
/// answer tag in it holds, if anything.
pub(super) fn response(text: &str) -> (&str, Option<&str>) {
    if !may_be_marked(text) {
        return (before_next_question(text), None);
    }
    let mut text = text;
    for end in REASONING_ENDS {
        if let Some(at) = text.rfind(end) {
            text = &text[at + end.len()..];
        }
    }
    let start = text.len() - text.trim_start().len();
    let turn =
        TURN_ENDS.iter().filter_map(|end| text[start..].find(end).filter(|at| *at > 0)).min();
    let text = before_next_question(turn.map_or(text, |at| &text[..start + at]));
    (text, tagged(text))
}

/// The text before a line such as `Question:`, if it answers already.
///
/// A base model without a stop condition continues with new problems. If the first such line comes
/// before any answer, the text poses questions to itself, and its last answer is used.
fn before_next_question(text: &str) -> &str {
    let may_ask = memchr::memchr_iter(b':', text.as_bytes()).any(|colon| {
        // Other letters end none of these words.
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic() && !b"nmerQ".contains(byte);
        if text.as_bytes()[..colon].last().is_some_and(is_letter) {
            return false;
        }
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
fn tagged(text: &str) -> Option<&str> {
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
