//! The page: one file without external resources, served at `/` or written with its data.

use serde_json::Value;

const SCORES: &str = include_str!("scores.html");

/// Where the page holds its data.
const NO_DATA: &str = r#"id="data">null<"#;

/// The page without data: it asks the service that serves it.
pub(crate) fn empty() -> String {
    SCORES.to_owned()
}

/// The page with scores: `{"aggregation", "problems": [..]}`, where a problem has `line`, a line of a
/// score file, its `rewards`, and optionally `prompt`, `texts`, `labels`, `answers` and `starts`, the
/// characters at which tokens begin.
pub fn page(data: &Value) -> String {
    // No text in it can end the element that holds it.
    let json = data.to_string().replace('<', "\\u003c");
    SCORES.replacen(NO_DATA, &format!(r#"id="data">{json}<"#), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_leave_its_element() {
        let text = "</script><script>alert(1)</script>";
        let page = page(&serde_json::json!({"problems": [], "aggregation": text}));
        assert!(!page.contains("alert(1)</script>") && page.contains("\\u003c/script>"));
        assert_eq!(empty().matches(NO_DATA).count(), 1);
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let page = empty();
        for mark in ["src=", "<link", "@import", "url(", "https://"] {
            assert!(!page.contains(mark), "{mark}");
        }
    }
}
