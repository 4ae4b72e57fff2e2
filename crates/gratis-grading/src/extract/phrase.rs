//! Phrases that announce an answer, in the languages models are asked in.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::plain::is_plain;
use super::{last, prose};
use crate::markup::is_ornament;

/// How far from the end a phrase is looked for.
const MAX_REACH: usize = 100_000;
/// What is looked at after a phrase.
const MAX_TAIL: usize = 1_200;

static MARKER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let markers = [
        r"####\s*:?",
        r"(?m:^\s*A:)",
        r"\banswers?\b\**\s*(?:(?:is|are|was|would be|must be|should be|will be|to be|equals|comes out to)\b\s*:?|[:=：])",
        r"\bfinal answer\b\**\s*[:：]?",
        r"\br[ée]ponse(?:\s+(?:finale|correcte))?\s*(?:est\b|[:：])",
        r"\brespuesta(?:\s+(?:final|correcta))?\s*(?:es\b|[:：])",
        r"\bresposta(?:\s+(?:final|correta))?\s*(?:é|[:：])",
        r"\brisposta(?:\s+(?:finale|corretta))?\s*(?:è|[:：])",
        r"\b(?:antwort|ergebnis|lösung)\s*(?:ist\b|lautet\b|[:：])",
        r"\bantwoord\s*(?:is\b|[:：])",
        r"\bsvar(?:et)?\s*(?:är|er|[:：])",
        r"\bodpowiedź\s*(?:to\b|[:：])",
        r"\b(?:ответ|відповідь)\s*(?:[:：—–-]|это|равен)",
        r"\bcevap\s*[:：]?",
        r"(?:đáp án|câu trả lời)\s*(?:là|[:：])",
        r"\bjawaban(?:nya)?\s*(?:adalah|[:：])",
        r"(?:最终答案|最終答案|答案)\s*(?:是|为|為|[:：])",
        r"故选\s*[:：]?",
        r"答え\s*(?:は|[:：])",
        r"(?:^|[\s。])答\s*[:：]",
        r"答案为",
        r"(?:정답|답)\s*(?:은|는|[:：])",
        r"उत्तर\s*(?:है|[:：])",
        r"(?:الجواب|الإجابة)\s*(?:هو|هي|[:：])",
        r"คำตอบ\s*(?:คือ|[:：])",
    ];
    Regex::new(&format!("(?i){}", markers.join("|"))).ok()
});

/// Words and signs of which every phrase of [`MARKER`] has one at its beginning, if the text has no
/// other characters than ASCII and the signs of [`is_plain`]: each with the place of a byte that is
/// rare in prose after the one before it.
const BEGINNINGS: &[(&[u8], usize)] = &[
    (b"####", 1),
    (b"a:", 1),
    (b"answer", 3),
    (b"final answer", 9),
    (b"reponse", 2),
    (b"respuesta", 3),
    (b"resposta", 3),
    (b"risposta", 3),
    (b"antwort", 3),
    (b"antwoord", 3),
    (b"ergebnis", 4),
    (b"svar", 1),
    (b"cevap", 2),
    (b"jawaban", 2),
];
/// The largest of these places.
const MAX_PLACE: usize = 9;

/// Whether two bytes may be at the place of one of [`BEGINNINGS`], by [`pair_of`].
const IS_RARE: [bool; 1024] = {
    let mut is_rare = [false; 1024];
    let mut idx = 0;
    while idx < BEGINNINGS.len() {
        let (word, place) = BEGINNINGS[idx];
        is_rare[pair_of(word[place - 1], word[place])] = true;
        idx += 1;
    }
    is_rare
};

/// A number that two bytes share with few others; that of their upper case is the same.
const fn pair_of(a: u8, b: u8) -> usize {
    ((a & 31) as usize) << 5 | (b & 31) as usize
}

/// A place at or after `from` before which no phrase of [`MARKER`] begins; `None` if there is none at
/// all. A search for the phrase can begin there, and is slow before.
fn beginning(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut first = from;
    loop {
        let mut pairs = bytes[first..].windows(2);
        first += pairs.position(|pair| IS_RARE[pair_of(pair[0], pair[1])])?;
        let at = first + 1;
        let found = BEGINNINGS.iter().find(|(word, place)| {
            let start = at.checked_sub(*place).filter(|start| *start >= from);
            let found = start.and_then(|start| bytes.get(start..start + word.len()));
            found.is_some_and(|found| found.eq_ignore_ascii_case(word))
        });
        match found {
            Some((b"a:", _)) => {
                // After spaces at the beginning of a line, which may be an earlier one.
                let start = from + text[from..first].trim_end_matches(is_ascii_space).len();
                if start == from || bytes[start..first].contains(&b'\n') {
                    return Some(start);
                }
            }
            Some(_) => {
                let mut start = at.saturating_sub(MAX_PLACE).max(from);
                while !text.is_char_boundary(start) {
                    start += 1;
                }
                return Some(start);
            }
            None => {}
        }
        first += 1;
    }
}

fn is_ascii_space(c: char) -> bool {
    matches!(c, '\t'..='\r' | ' ')
}

/// Where the phrases of `text` are.
fn markers(text: &str) -> Vec<Range<usize>> {
    let Some(marker) = MARKER.as_ref() else {
        return Vec::new();
    };
    if !is_plain(text) {
        return marker.find_iter(text).map(|found| found.range()).collect();
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = beginning(text, at)
        && let Some(next) = marker.find_at(text, start)
    {
        found.push(next.range());
        at = next.end();
    }
    found
}

/// The phrases of a text from the last to the first: mostly the last one announces the answer, and then
/// no others are looked for.
struct FromEnd<'a> {
    text: &'a str,
    /// No phrase that is still to come ends after this byte.
    end: usize,
    /// The phrases that are still to come, where all of them had to be looked for; the last one first.
    rest: Option<Vec<Range<usize>>>,
}

impl<'a> FromEnd<'a> {
    fn new(text: &'a str) -> Self {
        let rest = (!is_plain(text)).then(|| markers(text));
        Self { text, end: text.len(), rest }
    }
}

/// What begins at a place that may be the beginning of a phrase.
enum Beginning {
    /// A phrase.
    Phrase(Range<usize>),
    /// None; the places before this byte are still to be looked at.
    Nothing(usize),
    /// Perhaps a phrase, of a kind that only [`MARKER`] knows.
    Other,
}

impl Iterator for FromEnd<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        let mut end = self.end;
        while self.rest.is_none() {
            let at = last_rare(&bytes[..end])?;
            match last_beginning(bytes, at) {
                Beginning::Phrase(found) => {
                    self.end = found.start;
                    return Some(found);
                }
                Beginning::Nothing(before) => end = before,
                Beginning::Other => {
                    let mut all = markers(self.text);
                    all.retain(|found| found.end <= self.end);
                    self.rest = Some(all);
                }
            }
        }
        self.rest.as_mut()?.pop()
    }
}

/// The last place of a byte that [`IS_RARE`] after the one before it. By itself, since the loop is slower
/// among what its place is used for.
#[inline(never)]
fn last_rare(bytes: &[u8]) -> Option<usize> {
    let mut pairs = bytes.windows(2);
    Some(pairs.rposition(|pair| IS_RARE[pair_of(pair[0], pair[1])])? + 1)
}

/// What begins where the rare byte of one of [`BEGINNINGS`] may be `at`, given that no phrase begins
/// later. No phrase of the kinds that are read here begins within another one, but for those that
/// end a word of [`Beginning::Other`].
fn last_beginning(bytes: &[u8], at: usize) -> Beginning {
    let is_there = |(word, place): (&[u8], usize)| {
        let found = at.checked_sub(place).and_then(|start| bytes.get(start..start + word.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let is_space = |byte: u8| is_ascii_space(char::from(byte));
    let spaces = |from: usize| bytes[from..].iter().take_while(|byte| is_space(**byte)).count();
    let colon = |from: usize| from + usize::from(bytes.get(from) == Some(&b':'));
    if is_there((b"##", 1)) {
        let n_before = bytes[..=at].iter().rev().take_while(|byte| **byte == b'#').count();
        return match n_before {
            4 if bytes.get(at + 1) != Some(&b'#') => {
                let end = colon(at + 1 + spaces(at + 1));
                Beginning::Phrase(at - 3..end)
            }
            0..4 if bytes.get(at + 1) != Some(&b'#') => Beginning::Nothing(at + 1 - n_before),
            _ => Beginning::Other,
        };
    }
    if is_there((b"a:", 1)) {
        let before = &bytes[..at - 1];
        let n_spaces = before.iter().rev().take_while(|byte| is_space(**byte)).count();
        let first = before.len() - n_spaces;
        let is_line = first == 0 || before[first..].contains(&b'\n');
        return match (is_line, bytes[at - 1]) {
            // Spaces before the letter may belong to an earlier phrase.
            (true, b'A') if before.last().is_none_or(|byte| *byte == b'\n') => {
                Beginning::Phrase(at - 1..at + 1)
            }
            (true, _) => Beginning::Other,
            (false, _) => Beginning::Nothing(at),
        };
    }
    if is_there((b"answer", 3)) {
        let start = at - 3;
        let end = start + b"answer".len();
        let before = &bytes[..start];
        let ends_word = |before: &[u8]| before.last().is_some_and(|byte| is_word(*byte));
        if let Some((before, word)) = before.split_last_chunk::<6>()
            && word.eq_ignore_ascii_case(b"final ")
            && !ends_word(before)
            && !bytes.get(end).is_some_and(|byte| is_word(*byte))
        {
            let n_stars = bytes[end..].iter().take_while(|byte| **byte == b'*').count();
            let end = end + n_stars;
            return Beginning::Phrase(before.len()..colon(end + spaces(end)));
        }
        if ends_word(before) {
            return Beginning::Nothing(at);
        }
        return verb_end(bytes, end)
            .map_or(Beginning::Nothing(at), |end| Beginning::Phrase(start..end));
    }
    if BEGINNINGS.iter().any(|known| is_there(*known)) {
        return Beginning::Other;
    }
    Beginning::Nothing(at)
}

/// Whether a byte belongs to a word: in a text of [`is_plain`], no other characters do.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the phrase ends whose word `answer` ends at `at`: after `is`, `: `, `s would be` and the like.
fn verb_end(bytes: &[u8], at: usize) -> Option<usize> {
    const VERBS: [&[u8]; 10] = [
        b"is",
        b"are",
        b"was",
        b"would be",
        b"must be",
        b"should be",
        b"will be",
        b"to be",
        b"equals",
        b"comes out to",
    ];
    let skip = |from: usize, is_skipped: &dyn Fn(&u8) -> bool| {
        from + bytes[from..].iter().take_while(|byte| is_skipped(byte)).count()
    };
    let is_space = |byte: &u8| is_ascii_space(char::from(*byte));
    let at = at + usize::from(bytes.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&b's')));
    if bytes.get(at).is_some_and(|byte| is_word(*byte)) {
        return None;
    }
    let at = skip(skip(at, &|byte| *byte == b'*'), &is_space);
    if matches!(bytes.get(at), Some(b':' | b'=')) {
        return Some(at + 1);
    }
    let verb = VERBS.iter().find(|verb| {
        let found = bytes.get(at..at + verb.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(verb))
            && !bytes.get(at + verb.len()).is_some_and(|byte| is_word(*byte))
    })?;
    let end = skip(at + verb.len(), &is_space);
    Some(end + usize::from(bytes.get(end) == Some(&b':')))
}

/// What follows an announced answer and is no part of it.
static CLAUSE_END: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)(?:,|;|\s)\s*(?:because|since|but|which|where|it|not|non|so|as|therefore|rather|instead|i\.e)\b|\s+\(since|，|。|\.\s|\.\*|\.$|\*\*[\s,.;:!]").ok()
});

/// Words that turn what they announce around.
const NEGATIONS: &[&str] = &[
    "not", "n't", "isn't", "wasn't", "never", "neither", "pas", "no ", "nicht", "不", "unknown",
    "unclear",
];

/// The answer that the last phrase of `text` announces.
pub(super) fn announced(text: &str) -> Option<String> {
    let text = last::tail(text, MAX_REACH);
    for Range { start, end } in FromEnd::new(text).take(20) {
        let marker = &text[start..end];
        let is_mark = matches!(marker.trim_start().as_bytes().first(), Some(b'#' | b'A'))
            && !marker.as_bytes().windows(6).any(|word| word.eq_ignore_ascii_case(b"answer"));
        if !is_mark && is_negated_before(&text[..start]) {
            continue;
        }
        if let Some(answer) = after(marker, &text[end..]) {
            return Some(answer);
        }
    }
    None
}

/// Start and line of the text that each phrase of `text` announces; the last first.
pub(super) fn tails(text: &str) -> Vec<(usize, &str)> {
    let reached = last::tail(text, MAX_REACH);
    let skipped = text.len() - reached.len();
    markers(reached)
        .into_iter()
        .rev()
        .take(20)
        .filter_map(|found| Some((skipped + found.end, first_line(&reached[found.end..])?)))
        .filter(|(_, tail)| !is_negation(tail))
        .collect()
}

/// `I doubt the answer is 5` and `not that the answer is 5` announce nothing.
fn is_negated_before(before: &str) -> bool {
    const NEGATED: [&str; 7] = ["doubt", "don't", "doesn't", "if", "whether", "can't", "cannot"];
    let words = before.rsplit(char::is_whitespace).filter(|word| !word.is_empty());
    words.take(4).any(|word| NEGATED.iter().any(|negated| word.eq_ignore_ascii_case(negated)))
}

fn is_negation(tail: &str) -> bool {
    let lower: String =
        tail.trim_start_matches(['*', ' ']).chars().take(12).collect::<String>().to_lowercase();
    NEGATIONS.iter().any(|negation| lower.starts_with(negation))
}

/// The first line of a tail that holds something.
fn first_line(tail: &str) -> Option<&str> {
    let mut end = tail.len().min(MAX_TAIL);
    while !tail.is_char_boundary(end) {
        end -= 1;
    }
    let tail = tail[..end].trim_start_matches(|c: char| c.is_whitespace() || "*:：#_>".contains(c));
    // A displayed formula may begin on this line and end on a later one.
    if let Some(body) = tail.strip_prefix("\\[").or_else(|| tail.strip_prefix("$$")) {
        let close = if tail.starts_with("$$") { "$$" } else { "\\]" };
        return body.find(close).map(|at| &body[..at]);
    }
    tail.lines().next().map(str::trim).filter(|line| !line.is_empty())
}

/// Titles whose stop ends no sentence.
const TITLES: [&str; 8] = ["Mr", "Mrs", "Ms", "Dr", "St", "Prof", "approx", "vs"];

/// Where the clause that holds the answer ends.
fn clause_end(line: &str) -> Option<usize> {
    let is_title = |start: usize| {
        TITLES.iter().any(|title| {
            line[..start]
                .strip_suffix(title)
                .is_some_and(|rest| !rest.ends_with(char::is_alphabetic))
        })
    };
    // `0.5.` and `1. e4 e5` are no sentence ends after a single character.
    CLAUSE_END
        .as_ref()?
        .find_iter(line)
        .map(|found| found.start())
        .find(|start| *start > 0 && !(line[*start..].starts_with('.') && is_title(*start)))
}

/// The text after a question that a phrase repeats before it answers: `Final Answer: How old is he?
/// He is 3.`
fn after_question<'a>(tail: &'a str, line: &str) -> Option<&'a str> {
    let end = line.find('?')?;
    let question = &line[..end];
    // A question mark of doubt follows a value.
    let asks = n_question_words(question) > 0 || prose::n_words(question) > 4;
    let at = tail.find('?').filter(|_| asks)?;
    Some(&tail[at + 1..])
}

fn n_question_words(text: &str) -> usize {
    const WORDS: [&str; 8] = ["how", "what", "which", "who", "when", "where", "why", "find"];
    text.split_whitespace()
        .filter(|word| {
            WORDS.contains(&word.trim_matches(|c: char| !c.is_alphabetic()).to_lowercase().as_str())
        })
        .count()
}

/// The answer a phrase announces, from the phrase and the text after it.
fn after(marker: &str, tail: &str) -> Option<String> {
    let line = first_line(tail)?;
    // What follows leaves digits as they are.
    if line.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(line.to_owned());
    }
    // Neither do they change an amount, but for the stop of its sentence.
    let is_amount = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'$' | b',' | b'.');
    if line.bytes().all(is_amount) && line.contains(|c: char| c.is_ascii_digit()) {
        return Some(line.trim_end_matches(['.', ',']).to_owned());
    }
    if let Some(rest) = after_question(tail, line) {
        return last::last_value(rest);
    }
    if is_negation(line) {
        return None;
    }
    let line = line.trim_start_matches(['*', '=', ' ']);
    let clause = clause_end(line).map_or(line, |end| &line[..end]);
    let clause = clause.trim().trim_end_matches(|c: char| "*.,; ".contains(c) || is_ornament(c));
    let clause = without_exclamation(marker, clause);
    if clause.is_empty() {
        return None;
    }
    if prose::is_answer(clause) {
        return Some(clause.to_owned());
    }
    if let Some(value) = last::last_value(clause) {
        return Some(value);
    }
    // `the answer is no real solution`
    let is_short = prose::n_words(clause) <= 6 && !clause.contains(". ");
    is_short.then(|| clause.to_owned())
}

/// The largest number whose factorial is given as an answer.
const MAX_FACTORIAL: u32 = 20;

/// `The answer is 84!` exclaims; `Answer: 5!` may be a factorial.
fn without_exclamation<'a>(marker: &str, clause: &'a str) -> &'a str {
    let Some(body) = clause.strip_suffix('!') else {
        return clause;
    };
    let is_sentence = marker.trim_end().ends_with(char::is_alphabetic);
    let digits = body.len() - body.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let number = body[body.len() - digits..].parse::<u32>();
    let is_factorial = matches!(number, Ok(number) if number <= MAX_FACTORIAL) && !is_sentence;
    if is_factorial { clause } else { body.trim_end_matches(['!', ' ']) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn phrases_are_found_where_a_whole_search_finds_them(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "####", "#### :", "\n A:", "A:", "a:", "data:", "Answer is", "the answers: ",
                        "final answer", "FINAL ANSWER:", "**Answer**: ", "answer would be ", "\nA: ", "The answers are", "#####", "final Answer  =", "answer** equals:",
                        "Réponse : ", "reponse:", "respuesta es ", "risposta è ", "resposta: ",
                        "Antwort lautet ", "Ergebnis:", "Lösung:", "antwoord is ", "svaret är ",
                        "svar er ", "Cevap: ", "jawabannya adalah ", "答案是", "答：", "an\u{17f}wer is ",
                        "’", "×", "\u{a0}", " ", "\n", "42", "is", ": ", "x",
                    ]).prop_map(str::to_owned),
                    "[a-zA ,.:#\n’é]{0,5}",
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let marker = MARKER.as_ref().expect("a pattern");
            let expected: Vec<_> = marker.find_iter(&text).map(|found| found.range()).collect();
            prop_assert_eq!(&markers(&text), &expected, "{:?}", text);
            // Empty lines before a phrase count as a part of it, or do not.
            let trimmed = |found: Range<usize>| {
                let phrase = text[found.clone()].trim_start_matches(is_ascii_space);
                found.end - phrase.len()..found.end
            };
            let mut from_end: Vec<_> = FromEnd::new(&text).map(trimmed).collect();
            from_end.reverse();
            let expected: Vec<_> = expected.into_iter().map(trimmed).collect();
            prop_assert_eq!(from_end, expected, "{:?}", text);
        }
    }
}
