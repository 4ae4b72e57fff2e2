//! What is wrong with a line that is not JSON: what it is instead, and what to do about it.

use super::record::Fault;

/// The first bytes of files that are no text, what they are, and what to do.
const KINDS: [(&[u8], &str, &str); 10] = [
    (b"\xef\xbb\xbf", "a byte order mark (BOM) before it", "save the file as UTF-8 without a BOM"),
    (b"\xff\xfe", "UTF-16 text", "convert the file to UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "convert the file to UTF-8"),
    (b"\x1f\x8b", "gzip data", DECOMPRESS),
    (b"BZh", "bzip2 data", DECOMPRESS),
    (b"\xfd7zXZ", "xz data", DECOMPRESS),
    (b"\x28\xb5\x2f\xfd", "zstd data", "let the name of the file end in `.jsonl.zst`"),
    (b"PK\x03\x04", "zip data", DECOMPRESS),
    (b"PAR1", "a Parquet file", "let the name of the file end in `.parquet`"),
    (b"ARROW1", "an Arrow file", "convert the file to JSON lines or Parquet"),
];

const DECOMPRESS: &str = "decompress the file; of compressed text only `.jsonl.zst` is read";

/// The hint for a list in the place of a record.
pub(super) const LIST: &str =
    "write one object per line instead of a list of them, such as by `jq -c '.[]' FILE`";

/// Names of numbers that other programs write as if they were JSON.
const NOT_NUMBERS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// The fault of a line that `serde_json` could not read for `error`.
pub(super) fn fault(line: &[u8], error: &serde_json::Error) -> Fault {
    let found = |got: &str| Fault::new("record", "a JSON object", got);
    if let Some((_, what, hint)) = KINDS.iter().find(|(first, ..)| line.starts_with(first)) {
        return found(what).hinted(hint);
    }
    let column = error.column();
    let Ok(text) = std::str::from_utf8(line) else {
        let valid = std::str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
        let got = format!("bytes that are not UTF-8 (at byte {})", valid + 1);
        return found(&got).hinted("convert the file to UTF-8");
    };
    if text.contains('\0') {
        return found("null bytes").hinted("is the file whole, and is it text?");
    }
    // The column counts bytes, and may stand after the sign.
    let before = column.saturating_sub(1).min(line.len());
    let rest = [before, before.saturating_sub(1)].map(|at| &line[at..]);
    let name = NOT_NUMBERS.iter().find(|name| rest.iter().any(|rest| rest.starts_with(name)));
    if let Some(name) = name {
        let name = String::from_utf8_lossy(name);
        return found(&format!("`{name}` at column {column}, which is not JSON"))
            .hinted("write null in its place, or keep such columns in Parquet");
    }
    let reason = error.to_string();
    // The line that counts is that of the file.
    let reason = reason.split(" at line ").next().unwrap_or_default();
    let excerpt = super::record::excerpt(text);
    match text.trim() {
        list if list.starts_with('[') => found(&format!("a list, {excerpt}")).hinted(LIST),
        "{" => found("the beginning of one over several lines")
            .hinted("write each object on one line, such as by `jq -c . FILE`"),
        _ => found(&format!("{excerpt} ({reason} at column {column})")),
    }
}
