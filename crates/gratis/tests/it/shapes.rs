//! Files in the shapes of other tools are read as they are, or refused with what to do. The table in
//! `docs/data-files.md` says which; `GRATIS_UPDATE_DOCS=1 cargo test -p gratis --test it data_files`
//! writes it anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gratis::data::{OnInvalid, RecordReader, Rollout};

const FOLDERS: [&str; 5] =
    ["field_shapes", "field_prm", "ipvrm_qwen3_0.6b", "bon_gsm8k", "openr_step_samples"];

fn shared(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(folder)
}

/// What becomes of a file, in a few words.
fn outcome(path: &Path) -> String {
    let mut reader = match RecordReader::<Rollout>::open(path, OnInvalid::Stop) {
        Ok(reader) => reader,
        Err(error) => return format!("refused: {}", plain(&error, path)),
    };
    let (mut n_problems, mut n_responses, mut n_labels) = (0, 0, 0);
    for rollout in reader.by_ref() {
        match rollout {
            Ok(rollout) => {
                n_problems += 1;
                n_responses += rollout.completions.len();
                n_labels += rollout.completions.iter().filter(|c| c.label.is_some()).count();
            }
            Err(error) => return format!("refused: {}", plain(&error, path)),
        }
    }
    let words = reader.notice().unwrap_or("read as it is").to_owned();
    format!("{n_problems} problems, {n_responses} responses, {n_labels} labels; {words}")
}

fn plain(error: &gratis::Error, path: &Path) -> String {
    let text = error.to_string().replace(&path.display().to_string(), "FILE");
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.replace('|', "\\|").replace("`FILE`, ", "").replace("`FILE` ", "")
}

#[test]
fn data_files_of_other_tools() {
    let mut table = String::from("| file | what becomes of it |\n|---|---|\n");
    for folder in FOLDERS {
        let folder_path = shared(folder);
        let Ok(entries) = std::fs::read_dir(&folder_path) else {
            println!("skipped: `{}` is not here", folder_path.display());
            return;
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
        files.retain(|file| file.extension().is_none_or(|extension| extension != "txt") || file.ends_with("c_txt.txt"));
        files.sort();
        for file in files {
            let name = file.file_name().expect("a name").to_string_lossy();
            writeln!(table, "| `{folder}/{name}` | {} |", outcome(&file)).expect("text");
        }
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/data-files.md");
    const MARK: &str = "<!-- table -->\n";
    let text = std::fs::read_to_string(&docs).unwrap_or_default();
    let (before, written) = text.split_once(MARK).unwrap_or((&text, ""));
    if std::env::var_os("GRATIS_UPDATE_DOCS").is_some() {
        std::fs::write(&docs, format!("{before}{MARK}{table}")).expect("written");
        return;
    }
    for (line, (found, expected)) in table.lines().zip(written.lines()).enumerate() {
        assert_eq!(found, expected, "line {line} of the table in docs/data-files.md");
    }
    assert_eq!(table, written, "the table in docs/data-files.md");
}
