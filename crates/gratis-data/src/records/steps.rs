//! Steps of a response as ranges of its own text (paper section 4.1).
//!
//! The separator belongs to the step it ends, nothing is stripped, and the concatenated steps equal
//! the text, so token positions do not change. The authors rewrite the text instead; `renumber`
//! does the same, for their input format (`gratis data steps --text renumbered`).

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::completion::Completion;
use super::rollout::Rollout;
use crate::error::{Error, Result};

/// Where one step ends and the next begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StepSplit {
    /// A step begins at `Step i:`, whatever its number, with a heading's `#` or `*` before it. The
    /// authors' prompts ask for this form. At the beginning of a line other spellings count as well
    /// (`step 1:`, `Step 1.`, `**Step 1**:`, `[Step 1]`, `Step 1` alone, `Étape 1 :`), and anywhere
    /// `步骤1：` and `第一步`. A text with none of these is split at the items of numbered lists (`1. `,
    /// `1) `, `(1) `). A preface before the first one is a step of its own.
    Numbered,
    /// Steps are separated by blank lines.
    Paragraphs,
    /// Steps are separated by line ends.
    #[default]
    Lines,
    /// A step ends with a sentence: `.`, `!` or `?`, and closing quotes, before white space, `。`, `！`
    /// or `？`, or a line end. Decimal points, the numbers of list items and common abbreviations end none.
    Sentences,
    /// The whole response is one step.
    Whole,
    /// Steps are separated by matches of this regular expression.
    Pattern(String),
}

impl fmt::Display for StepSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbered => f.write_str("numbered"),
            Self::Paragraphs => f.write_str("paragraphs"),
            Self::Lines => f.write_str("lines"),
            Self::Sentences => f.write_str("sentences"),
            Self::Whole => f.write_str("whole"),
            Self::Pattern(pattern) => write!(f, "pattern:{pattern}"),
        }
    }
}

impl FromStr for StepSplit {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let pattern =
            name.strip_prefix("pattern:").map(|pattern| Self::Pattern(pattern.to_owned()));
        match name {
            "numbered" => Ok(Self::Numbered),
            "paragraphs" => Ok(Self::Paragraphs),
            "lines" => Ok(Self::Lines),
            "sentences" => Ok(Self::Sentences),
            "whole" => Ok(Self::Whole),
            _ => pattern.ok_or_else(|| {
                let expected = "`numbered`, `paragraphs`, `lines`, `sentences`, `whole` or \
                                `pattern:` and a regular expression";
                Error::setting("step_split", expected, name)
            }),
        }
    }
}

impl TryFrom<String> for StepSplit {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<StepSplit> for String {
    fn from(split: StepSplit) -> Self {
        split.to_string()
    }
}

/// What a match of a splitter's expression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// It opens a step.
    Opens,
    /// It closes one.
    Closes,
}

/// `Step i:` anywhere; other spellings of it, and the word in other languages, at the beginning of a
/// line; the Chinese ones anywhere. Brackets or signs may stand around it. A number is followed by a
/// mark (`Step 1.`, `Step 1 -`), a bracket (`[Step 1]`), or the end of the line.
const NUMBERED: &str = concat!(
    r"(?:(?m:^)[ \t]*[#*]+[ \t]*)?Step \d+:",
    r"|(?m:^)[ \t]*[#*]*[ \t]*[\[(<]?",
    r"(?i:(?:step|étape|etape|paso|passo|pas|schritt|stap|krok|langkah|bước|шаг|крок)",
    r"[ \t]*(?:#|no\.?|nr\.?)?[ \t]*",
    r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten)",
    r"|(?:ステップ|手順|단계)[ \t]*\d+|\d+[ \t]*단계)",
    r"[ \t]*(?:\**[ \t]*[:.)：\]>]|\**[ \t]*[-–—][ \t]|\**[ \t]*\r?(?m:$))",
    r"|步骤[ \t]*[\d一二三四五六七八九十]+[ \t]*[：:.、]",
    r"|第[ \t]*[\d一二三四五六七八九十]+[ \t]*步",
);

/// An item of a numbered list.
const LIST_ITEM: &str =
    r"(?m:^)[ \t]*[#*]*[ \t]*(?:\(\d{1,3}\)\**[ \t]*|\d{1,3}[.)]\**[ \t]+|\d{1,3}[、．])";

/// Words whose full stop ends no sentence.
const ABBREVIATIONS: [&str; 16] = [
    "e.g", "i.e", "etc", "cf", "vs", "approx", "Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Fig", "Eq",
    "No", "resp",
];

/// A [`StepSplit`] ready for use.
#[derive(Debug, Clone)]
pub struct StepSplitter {
    boundary: Option<(Regex, Match)>,
    /// For a text in which the expression matches nowhere.
    otherwise: Option<Regex>,
    /// Whether matches after a list's number or an abbreviation are none.
    are_sentences: bool,
}

impl StepSplitter {
    /// Compiles the split's expression.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] if a custom pattern is no regular expression.
    pub fn new(split: &StepSplit) -> Result<Self> {
        let (pattern, kind) = match split {
            StepSplit::Numbered => (NUMBERED, Match::Opens),
            StepSplit::Paragraphs => (r"\n\s*\n", Match::Closes),
            StepSplit::Lines => (r"\n", Match::Closes),
            StepSplit::Sentences => {
                (r#"[.!?]["'”’)\]]*\s+|[。！？]["”’」』）]*\s*|\n"#, Match::Closes)
            }
            StepSplit::Whole => {
                return Ok(Self { boundary: None, otherwise: None, are_sentences: false });
            }
            StepSplit::Pattern(pattern) => (pattern.as_str(), Match::Closes),
        };
        let compile = |pattern: &str| {
            Regex::new(pattern)
                .map_err(|_| Error::setting("step_split", "a regular expression", pattern))
        };
        Ok(Self {
            boundary: Some((compile(pattern)?, kind)),
            otherwise: match split {
                StepSplit::Numbered => Some(compile(LIST_ITEM)?),
                _ => None,
            },
            are_sentences: *split == StepSplit::Sentences,
        })
    }

    /// The steps of `text` as byte ranges that follow one another without a gap from its beginning
    /// to its end. None is blank: white space joins the step before it, at the beginning the one
    /// after it. A blank text has no steps.
    pub fn split(&self, text: &str) -> Vec<Range<usize>> {
        let mut boundaries: Vec<usize> = match &self.boundary {
            None => Vec::new(),
            Some((regex, Match::Opens)) => regex.find_iter(text).map(|m| m.start()).collect(),
            Some((regex, Match::Closes)) => regex
                .find_iter(text)
                .filter(|m| !(self.are_sentences && goes_on(&text[..m.start()], m.as_str())))
                .map(|m| m.end() + leading_space(&text[m.end()..]))
                .collect(),
        };
        if let (true, Some(regex)) = (boundaries.is_empty(), &self.otherwise) {
            boundaries = regex.find_iter(text).map(|m| m.start()).collect();
        }
        let mut steps: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for end in boundaries.into_iter().chain([text.len()]) {
            if text[start..end].trim().is_empty() {
                if let Some(before) = steps.last_mut() {
                    before.end = end;
                    start = end;
                }
            } else {
                steps.push(start..end);
                start = end;
            }
        }
        steps
    }
}

/// Whether a sentence goes on after a full stop: it follows the number of a list's item, or an
/// abbreviation.
fn goes_on(before: &str, end: &str) -> bool {
    if !end.starts_with('.') || end.contains('\n') {
        return false;
    }
    let line = before.rsplit('\n').next().unwrap_or_default();
    let word = line.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    // The number of an item begins its line or follows a sentence.
    let item = match line.rsplit_once(['.', '!', '?']) {
        Some((_, after)) if after.starts_with(' ') => after.trim_start(),
        _ => line.trim_start_matches([' ', '\t', '#', '*']),
    };
    let is_item = (1..=3).contains(&item.len()) && item.bytes().all(|byte| byte.is_ascii_digit());
    is_item || ABBREVIATIONS.contains(&word)
}

/// Bytes of white space at the beginning of `text`.
fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// The byte ranges of steps that are given as texts: each is looked for after the one before it,
/// and whatever lies between two belongs to the first.
///
/// # Errors
/// [`Error::InvalidSetting`] if a step does not occur there.
pub fn locate(text: &str, steps: &[impl AsRef<str>]) -> Result<Vec<Range<usize>>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    for step in steps {
        let step = step.as_ref().trim();
        let offset = text[from..].find(step).filter(|_| !step.is_empty()).ok_or_else(|| {
            let expected = "parts of the completion, in their order";
            Error::setting("steps", expected, step.lines().next().unwrap_or_default())
        })?;
        let start = match ranges.last_mut() {
            Some(before) => {
                before.end = from + offset;
                before.end
            }
            None => 0,
        };
        from += offset + step.len();
        ranges.push(start..from);
    }
    if let Some(last) = ranges.last_mut() {
        last.end = text.len();
    }
    Ok(ranges)
}

impl Rollout {
    /// The byte ranges of the steps that completion `idx` gives: none if it gives none, one for a text
    /// of white space.
    ///
    /// # Errors
    /// [`Error::Steps`], which names the problem.
    pub fn given_steps(&self, idx: usize) -> Result<Vec<Range<usize>>> {
        given(&self.completions[idx]).map_err(|source| Error::Steps {
            problem: self.name().to_owned(),
            completion: idx + 1,
            source: Box::new(source),
        })
    }
}

/// The byte ranges of the steps that a completion gives: none if it gives none, one for a text of
/// white space.
///
/// # Errors
/// As [`locate`].
pub(crate) fn given(completion: &Completion) -> Result<Vec<Range<usize>>> {
    let text = &completion.text;
    let steps = completion.steps.as_deref().unwrap_or_default();
    if text.trim().is_empty() {
        return Ok(steps.iter().take(1).map(|_| 0..text.len()).collect());
    }
    locate(text, steps)
}

/// Where steps end, in characters of `text` rather than bytes.
pub fn ends_in_chars(text: &str, steps: &[Range<usize>]) -> Vec<usize> {
    let mut n_chars = steps.first().map_or(0, |first| text[..first.start].chars().count());
    let count = |step: &Range<usize>| {
        n_chars += text[step.clone()].chars().count();
        n_chars
    };
    steps.iter().map(count).collect()
}

/// The authors' input format: the steps stripped of white space and of an old marker, numbered anew,
/// each but the last with the blank line that ends it; a step of nothing but a marker is left out.
/// `Step 3: a ` and `Step 7: b` become `Step 1: a\n\n` and `Step 2: b`.
pub(crate) fn renumber(steps: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut numbered: Vec<String> = Vec::new();
    for step in steps {
        let text = without_marker(step.as_ref());
        if text.is_empty() {
            continue;
        }
        if let Some(before) = numbered.last_mut() {
            before.push_str("\n\n");
        }
        numbered.push(format!("Step {}: {text}", numbered.len() + 1));
    }
    numbered
}

/// A step's text without `Step i:` at its beginning, a heading's signs before it, and white space.
fn without_marker(step: &str) -> &str {
    let step = step.trim();
    let marker = step.trim_start_matches(['#', '*', ' ', '\t']).strip_prefix("Step ");
    let number_ends = |rest: &str| rest.find(|c: char| !c.is_ascii_digit()).filter(|&end| end > 0);
    marker
        .and_then(|rest| rest[number_ends(rest)?..].strip_prefix(':'))
        .map_or(step, |text| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<StepSplit> {
        vec![
            StepSplit::Numbered,
            StepSplit::Paragraphs,
            StepSplit::Lines,
            StepSplit::Sentences,
            StepSplit::Whole,
            StepSplit::Pattern(r"\s*;\s*".to_owned()),
        ]
    }

    fn split<'a>(split: &StepSplit, text: &'a str) -> Vec<&'a str> {
        let splitter = StepSplitter::new(split).expect("a valid pattern");
        splitter.split(text).into_iter().map(|step| &text[step]).collect()
    }

    #[test]
    fn by_hand() {
        let text = "Step 1: half of 3.5 is 1.75.\n\n## Step 2: add 2! Then\nstop.\n";
        assert_eq!(
            split(&StepSplit::Numbered, text),
            ["Step 1: half of 3.5 is 1.75.\n\n", "## Step 2: add 2! Then\nstop.\n"]
        );
        assert_eq!(split(&StepSplit::Paragraphs, text), split(&StepSplit::Numbered, text));
        assert_eq!(
            split(&StepSplit::Lines, text),
            ["Step 1: half of 3.5 is 1.75.\n\n", "## Step 2: add 2! Then\n", "stop.\n"]
        );
        assert_eq!(
            split(&StepSplit::Sentences, text),
            ["Step 1: half of 3.5 is 1.75.\n\n", "## Step 2: add 2! ", "Then\n", "stop.\n"]
        );
        assert_eq!(split(&StepSplit::Whole, text), [text]);
        assert_eq!(split(&StepSplit::Pattern(";".into()), "a; b;c"), ["a; ", "b;", "c"]);
        assert_eq!(split(&StepSplit::Numbered, "So.\nStep 4: x"), ["So.\n", "Step 4: x"]);
        assert_eq!(split(&StepSplit::Lines, "\n\n a\n"), ["\n\n a\n"]);
        assert_eq!(split(&StepSplit::Lines, " \n"), [""; 0]);
    }

    #[test]
    fn steps_in_the_forms_that_models_write() {
        for text in [
            "step 1: a b.\nstep 2: c d.",
            "Step 1. a b.\nStep 2. c d.",
            "**Step 1:** a b.\n**Step 2:** c d.",
            "**Step 1**: a b.\n**Step 2**: c d.",
            "### Step 1: a b.\n### Step 2: c d.",
            "1) a b.\n2) c d.",
            "1. a b: 2.5.\n2. c d.",
            "步骤1：甲乙。步骤2：丙丁。",
            "第一步，甲乙。第二步，丙丁。",
            "Étape 1 : a b.\nÉtape 2 : c d.",
            "Step 1: a\n1. b\n2. c\nStep 2: d",
            "STEP 1 - a b\nSTEP 2 - c d",
            "(1) a b\n(2) c d",
            "Step 1\na b\nStep 2\nc d",
            "[Step 1] a b\n[Step 2] c d",
            "Step #1: a b\nStep #2: c d",
            "Step One: a b\nStep Two: c d",
            "1、甲乙\n2、丙丁",
            "ステップ1：甲\nステップ2：乙",
            "단계 1: a\n단계 2: b",
            "Шаг 1: a\nШаг 2: b",
        ] {
            assert_eq!(split(&StepSplit::Numbered, text).len(), 2, "{text}");
        }
        // A number in the middle of a line begins no step, except in the authors' form.
        let prose = "I take step 1 - half.\nSteps 2 and 3 follow.\nStep 2 is next.";
        assert_eq!(split(&StepSplit::Numbered, prose).len(), 1);
        assert_eq!(split(&StepSplit::Numbered, "In step 1. we add 2. to 3.").len(), 1);
        assert_eq!(
            split(&StepSplit::Sentences, "1. Add 3.5, e.g. twice. Then stop.\n2. See Fig. 3."),
            ["1. Add 3.5, e.g. twice. ", "Then stop.\n", "2. See Fig. 3."]
        );
        assert_eq!(
            split(&StepSplit::Sentences, "1. Add 3. 2. Stop. He said \"Go.\" Then left."),
            ["1. Add 3. ", "2. Stop. ", "He said \"Go.\" ", "Then left."]
        );
        assert_eq!(
            split(&StepSplit::Sentences, "首先六乘七。然后得四十二！答案？"),
            ["首先六乘七。", "然后得四十二！", "答案？"]
        );
    }

    #[test]
    fn names_read_back_and_unknown_ones_are_errors() {
        for split in all() {
            assert_eq!(split.to_string().parse::<StepSplit>().expect("known"), split);
        }
        assert!("line".parse::<StepSplit>().expect_err("unknown").to_string().contains("`line`"));
        let error = StepSplitter::new(&StepSplit::Pattern("(".into())).expect_err("no pattern");
        assert!(error.to_string().contains("`(`"), "{error}");
    }

    #[test]
    fn given_steps_are_found_in_the_text() {
        let text = "one\n\ntwo one\n";
        let ranges = locate(text, &["one", "two", "one"]).expect("in order");
        assert_eq!(ranges, [0..5, 5..9, 9..13]);
        assert!(locate(text, &["two", "three"]).is_err());
        assert!(locate(text, &["two", ""]).is_err());
    }

    #[test]
    fn character_offsets() {
        let text = "naïve\nß";
        let splitter = StepSplitter::new(&StepSplit::Lines).expect("valid");
        assert_eq!(ends_in_chars(text, &splitter.split(text)), [6, 7]);
    }

    #[test]
    fn renumbered_as_the_authors_do() {
        let text = "Step 3: a \n Step 7:  b\nStep 9: ";
        let steps = renumber(split(&StepSplit::Numbered, text));
        assert_eq!(steps, ["Step 1: a\n\n", "Step 2: b"]);
        assert_eq!(
            renumber(["**Step 2: x", "Step two: y", "Step : z"]).concat(),
            "Step 1: x\n\nStep 2: Step two: y\n\nStep 3: Step : z"
        );
    }

    proptest! {
        #[test]
        fn steps_join_to_the_text_and_none_is_blank(
            text in r"(\PC|\n|Step [0-9]: |\. |; ){0,60}",
        ) {
            for split in all() {
                let splitter = StepSplitter::new(&split).expect("valid");
                let steps = splitter.split(&text);
                let mut end = 0;
                for step in &steps {
                    prop_assert_eq!(step.start, end);
                    prop_assert!(!text[step.clone()].trim().is_empty(), "{}", split);
                    end = step.end;
                }
                prop_assert_eq!(end, if text.trim().is_empty() { 0 } else { text.len() });
            }
        }
    }
}
