//! The cache of `gratis reproduce` under SIGKILL: whatever is there is whole, and the run that comes
//! after makes what is missing and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gratis_paper::experiment::lab::Store;
use serde_json::json;

/// Where the child that is killed has its store; without it the child does nothing.
const FOLDER: &str = "GRATIS_TEST_STORE";
const N_ARTEFACTS: usize = 60;
const N_FILES: usize = 4;
const N_KILLS: u32 = 5;

/// Files of an artefact, as a function of its number and its source's name.
fn content(artefact: usize, file: usize, source: &str) -> String {
    format!("{artefact} {file} {source}\n").repeat(2000)
}

/// Makes all artefacts, each from the one before; says how many it made.
fn make_all(folder: &Path) -> usize {
    let mut store = Store::new(folder);
    let mut source = String::new();
    for artefact in 0..N_ARTEFACTS {
        let key = json!({ "artefact": artefact, "source": source });
        let made = store.folder("piece", &key, |draft| {
            for file in 0..N_FILES {
                let text = content(artefact, file, &source);
                std::fs::write(draft.join(format!("{file}.txt")), text).expect("written");
            }
            Ok(())
        });
        let made = made.expect("made");
        source = made.file_name().expect("a name").to_string_lossy().into_owned();
    }
    store.n_made
}

/// The artefacts by name, drafts left out: their files' names and texts, one after the other.
fn artefacts(folder: &Path) -> BTreeMap<String, String> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let whole = |path: &PathBuf| {
        let read = |file: &PathBuf| std::fs::read_to_string(file).expect("readable");
        let files = list(path);
        (name(path), files.iter().map(|file| name(file) + "\n" + &read(file)).collect())
    };
    let paths = list(folder);
    paths.iter().filter(|path| name(path).starts_with("piece-")).map(whole).collect()
}

#[test]
#[ignore = "the child of the test below"]
fn child_that_makes_artefacts() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        make_all(Path::new(&folder));
    }
}

#[test]
fn a_killed_run_leaves_whole_artefacts_and_the_next_makes_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    let started = Instant::now();
    assert_eq!(make_all(&whole), N_ARTEFACTS);
    let takes = started.elapsed();
    let expected = artefacts(&whole);
    assert_eq!(expected.len(), N_ARTEFACTS);

    std::fs::create_dir(&killed).expect("a folder");
    for kill in 0..N_KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "store::child_that_makes_artefacts", "--ignored"])
            .env(FOLDER, &killed)
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let n_before = artefacts(&killed).len();
        // The process must begin to write before it is killed.
        let waiting = Instant::now();
        while artefacts(&killed).len() == n_before
            && n_before < N_ARTEFACTS
            && waiting.elapsed() < Duration::from_secs(20)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(takes.mul_f64(f64::from(kill) / 40.0));
        // SIGKILL on Unix; an error means that it had ended.
        let _ = child.kill();
        child.wait().expect("it ends");
        for (name, text) in artefacts(&killed) {
            assert_eq!(expected.get(&name), Some(&text), "`{name}` is not whole");
        }
    }
    let n_left = N_ARTEFACTS - artefacts(&killed).len();
    assert!(n_left < N_ARTEFACTS, "the children got nothing done");
    assert_eq!(make_all(&killed), n_left, "what was whole is not made again");
    assert!(artefacts(&killed) == expected);
    assert_eq!(make_all(&killed), 0);
}
