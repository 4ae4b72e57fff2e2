//! Where the final answer of a solution stands.

mod boxed;

use crate::verdict::{Extracted, Extraction};
use boxed::Boxed;

/// Finds the final answer of `solution`, which may be a bare answer itself.
pub fn extract(solution: &str) -> Extracted {
    extract_for("", solution)
}

/// Finds the final answer of `solution` when the gold answer is known.
///
/// The gold answer only says what kind of answer to look for: a choice letter, a text, a
/// number. It never decides between candidates.
pub fn extract_for(_gold: &str, solution: &str) -> Extracted {
    match boxed::last_boxed(solution) {
        Boxed::Found(answer) => Extracted { answer: Some(answer), how: Extraction::Boxed },
        Boxed::Unclosed => Extracted { answer: None, how: Extraction::Malformed },
        Boxed::None if solution.trim().is_empty() => {
            Extracted { answer: None, how: Extraction::NotFound }
        }
        Boxed::None => phrase_or_whole(solution),
    }
}

fn phrase_or_whole(solution: &str) -> Extracted {
    for marker in ["####", "answer is", "Answer:", "\nA:"] {
        if let Some(at) = solution.rfind(marker) {
            let tail = solution[at + marker.len()..].lines().next().unwrap_or("");
            let answer = tail.trim().trim_end_matches('.').to_owned();
            return Extracted { answer: Some(answer), how: Extraction::Phrase };
        }
    }
    Extracted { answer: Some(solution.trim().to_owned()), how: Extraction::Whole }
}
