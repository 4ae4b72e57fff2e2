//! Answers without what surrounds them, and the keys by which texts are compared.

/// The answer without dollar signs, boxes, markdown and closing punctuation around it.
pub(super) fn clean(answer: &str) -> &str {
    let mut text = answer.trim();
    loop {
        let before = text;
        text = text.trim().trim_matches(['`', '\u{200b}', '\u{feff}']);
        for (open, close) in
            [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("**", "**"), ("__", "__")]
        {
            if let Some(inner) = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close))
                && !inner.contains(open)
            {
                text = inner;
            }
        }
        if let Some(inner) = text.strip_prefix('$').and_then(|rest| rest.strip_suffix('$'))
            && !inner.replace("\\$", "").contains('$')
        {
            text = inner;
        }
        for command in ["\\boxed{", "\\fbox{"] {
            if let Some(body) = text.strip_prefix(command) {
                let open = &text[command.len() - 1..];
                if crate::extract::closing_brace(open) == Some(open.len() - 1) {
                    text = &body[..body.len() - 1];
                }
            }
        }
        // `5!` and `0.\overline{3}` keep their marks; a sentence's stop goes.
        text = text.trim_end_matches([',', ';', ':', '。', '，', '\u{3000}']);
        if text.ends_with('.') && !text.ends_with("..") {
            text = &text[..text.len() - 1];
        }
        for suffix in ["\\\\", "\\,", "\\;", "\\!", "\\ ", "\\quad"] {
            text = text.strip_suffix(suffix).unwrap_or(text);
        }
        if text == before {
            return text;
        }
    }
}

/// The text without anything that only changes how it looks.
pub(super) fn text_key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            if let Some(dropped) = DROPPED.iter().find(|dropped| is_command(rest, dropped)) {
                rest = &rest[dropped.len()..];
                continue;
            }
            if let Some((from, to)) = RENAMED.iter().find(|(from, _)| is_command(rest, from)) {
                key.push_str(to);
                rest = &rest[from.len()..];
                continue;
            }
        }
        if !c.is_whitespace() && c != '$' {
            key.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    key
}

/// Commands that say nothing.
const DROPPED: &[&str] = &[
    "\\left",
    "\\right",
    "\\,",
    "\\;",
    "\\:",
    "\\!",
    "\\ ",
    "\\quad",
    "\\qquad",
    "\\displaystyle",
];

/// Commands with another name.
const RENAMED: &[(&str, &str)] = &[
    ("\\dfrac", "\\frac"),
    ("\\tfrac", "\\frac"),
    ("\\cfrac", "\\frac"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\neq", "\\ne"),
];

/// Whether `text` starts with this command and not with a longer one.
fn is_command(text: &str, command: &str) -> bool {
    text.strip_prefix(command).is_some_and(|rest| {
        !command.ends_with(|c: char| c.is_ascii_alphabetic())
            || !rest.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

/// The letter of a multiple-choice answer and the text after it: `(D) Alina`, `D. 5`, `D`.
pub(crate) fn choice_label(answer: &str) -> Option<(char, String)> {
    let mut text = answer.trim();
    for dressing in ["\\textbf{", "\\text{", "\\mathrm{", "\\mathbf{"] {
        if let Some(rest) = text.strip_prefix(dressing) {
            text = rest.trim_start();
        }
    }
    let has_open = text.starts_with('(');
    let body = text.strip_prefix('(').unwrap_or(text).trim_start();
    let letter = body.chars().next().filter(char::is_ascii_uppercase)?;
    let rest = &body[1..];
    let after = rest.trim_start();
    let closed = after.strip_prefix([')', '）', '.', ':', '}']);
    let is_apart = |tail: &str| {
        after.starts_with([')', '）'])
            || !tail.starts_with(|c: char| c.is_alphanumeric() || "*+-/^=_".contains(c))
    };
    match closed {
        Some(tail) if is_apart(tail) && (!has_open || after.starts_with([')', '）'])) => {
            let tail = tail.trim_matches(|c: char| c.is_whitespace() || "})~\\.".contains(c));
            Some((letter, tail.to_owned()))
        }
        None if after.is_empty() && !has_open => Some((letter, String::new())),
        _ => None,
    }
}

/// `1,22` with a decimal point, when nothing but a unit or a sign surrounds it.
pub(super) fn decimal_point(answer: &str) -> Option<String> {
    let (before, after) = answer.split_once(',')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let whole = before.trim_start_matches(['-', '+', '$', '€', '£', ' ']);
    let places = after.trim_end_matches(|c: char| !c.is_ascii_digit());
    let is_grouped = places.len() == 3 && whole.len() <= 3;
    (is_number(whole) && is_number(places) && !is_grouped).then(|| format!("{before}.{after}"))
}
