//! The pages: one file each without external resources. That of scores is served at `/` or written with
//! its data, that of a training run is written with its metrics.

use serde_json::Value;

const STYLE: &str = include_str!("style.css");
const SCORES: &str = include_str!("scores.html");
const TRAINING: &str = include_str!("training.html");

/// Where a page has the style.
const STYLE_PLACE: &str = "/*style*/";
/// Where a page holds its data.
const NO_DATA: &str = r#"id="data">null<"#;

/// The page of scores without data: it asks the service that serves it.
pub(crate) fn empty() -> String {
    styled(SCORES)
}

/// The page with scores: `{"aggregation", "problems": [..]}`, where a problem has `line`, a line of a
/// score file, its `rewards`, and optionally `prompt`, `texts`, `labels`, `answers` and `starts`, the
/// characters at which tokens begin.
pub fn page(data: &Value) -> String {
    with_data(SCORES, data)
}

/// The page of a training run: `{"name", "config", "lines": [..]}`, the text of `config.toml` and the lines
/// of `metrics.jsonl`.
pub fn training_page(data: &Value) -> String {
    with_data(TRAINING, data)
}

fn styled(page: &str) -> String {
    page.replacen(STYLE_PLACE, STYLE, 1)
}

fn with_data(page: &str, data: &Value) -> String {
    // No text in it can end the element that holds it.
    let json = data.to_string().replace('<', "\\u003c");
    styled(page).replacen(NO_DATA, &format!(r#"id="data">{json}<"#), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_its_element() {
        let text = "</script><script>alert(1)</script>";
        let scores = page(&serde_json::json!({"problems": [], "aggregation": text}));
        let training = training_page(&serde_json::json!({"lines": [], "config": text}));
        for page in [scores, training] {
            assert!(!page.contains("alert(1)</script>") && page.contains("\\u003c/script>"));
        }
    }

    #[test]
    fn pages_are_whole_and_load_nothing_from_elsewhere() {
        for page in [empty(), styled(TRAINING)] {
            for mark in ["src=", "<link", "@import", "url(", "https://"] {
                assert!(!page.contains(mark), "{mark}");
            }
            assert!(page.contains("color-scheme: light dark") && !page.contains(STYLE_PLACE));
            assert_eq!(page.matches(NO_DATA).count(), 1);
        }
    }
}
