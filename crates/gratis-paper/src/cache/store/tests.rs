//! The store: what is found, what is made again, and what a SIGKILL leaves.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("opened");
    (folder, store)
}

fn found(store: &mut Store, key: &Value) -> PathBuf {
    match store.find("number", key).expect("looked up") {
        Lookup::Found(artefact) => artefact,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_made_is_found_and_what_failed_is_not_there() {
    let (folder, mut store) = store();
    let key = json!({ "seed": 1 });
    assert_eq!(store.find("number", &key).expect("looked up"), Lookup::Missing);
    store.make_value("number", &key, &(0.1 + 0.2)).expect("made");
    let artefact = found(&mut store, &key);
    assert_eq!(store.value(&artefact).expect("read"), Some(0.1 + 0.2));
    assert_eq!((store.n_made, store.n_found), (1, 1));

    let failing = store.make("number", &json!({ "seed": 2 }), |draft| {
        fs::write(draft.join("half"), "half").expect("written");
        Err(Error::NoThreshold)
    });
    assert!(failing.is_err());
    // The artefact and the lock.
    let n_entries = fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(n_entries, 2, "nothing half-made is left");
}

#[test]
fn a_damaged_artefact_is_removed_and_says_why() {
    let (folder, mut store) = store();
    let key = json!(1);
    for (file, text, expected) in [
        (VALUE_FILE, "3", "`value.json` has changed"),
        (VALUE_FILE, "", "`value.json` has changed"),
        (KEY_FILE, "{}", "`key.json` is damaged or holds no checksums"),
    ] {
        store.make_value("number", &key, &2).expect("made");
        let artefact = found(&mut store, &key);
        fs::write(artefact.join(file), text).expect("written");
        // Another process: this one compares checksums once.
        let mut store = Store::open(folder.path()).expect("opened");
        match store.find("number", &key).expect("looked up") {
            Lookup::Damaged { artefact: name, reason } => {
                assert_eq!(reason, expected);
                assert!(artefact.ends_with(name));
            }
            other => panic!("{other:?}"),
        }
        assert!(!artefact.exists());
    }
    store.make_value("number", &key, &2).expect("made");
    let artefact = found(&mut store, &key);
    fs::remove_file(artefact.join(VALUE_FILE)).expect("removed");
    let lookup = Store::open(folder.path()).expect("opened").find("number", &key);
    assert!(
        matches!(&lookup, Ok(Lookup::Damaged { reason, .. }) if reason == "`value.json` is missing"),
        "{lookup:?}"
    );
}

#[test]
fn a_value_of_another_type_is_removed() {
    let (_folder, mut store) = store();
    let key = json!(1);
    store.make_value("number", &key, &"text").expect("made");
    let artefact = found(&mut store, &key);
    assert_eq!(store.value::<f64>(&artefact).expect("read"), None);
    assert_eq!(store.find("number", &key).expect("looked up"), Lookup::Missing);
}

#[test]
fn left_drafts_are_removed_unless_another_process_may_be_writing_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let drafts = [".reward-0123456789abcdef.Xy12Zz", "..base-0123456789abcdef.Xy12Zz.Ab34Cd"];
    let others = [".reward", ".notes.Xy12Zz", "reward-0123456789abcdef", ".reward-0123.Xy12Zz"];
    let make = || {
        for name in drafts.iter().chain(&others) {
            fs::create_dir_all(folder.path().join(name)).expect("created");
        }
    };
    let is_there = |name: &&str| folder.path().join(name).exists();
    make();
    let first = Store::open(folder.path()).expect("opened");
    assert!(!drafts.iter().any(is_there) && others.iter().all(is_there));
    make();
    let second = Store::open(folder.path()).expect("opened");
    assert!(drafts.iter().all(is_there), "the first store is still in use");
    drop((first, second));
    Store::open(folder.path()).expect("opened");
    assert!(!drafts.iter().any(is_there) && others.iter().all(is_there));
}

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
    let mut store = Store::open(folder).expect("opened");
    let mut source = String::new();
    for artefact in 0..N_ARTEFACTS {
        let key = json!({ "artefact": artefact, "source": source });
        let made = match store.find("piece", &key).expect("looked up") {
            Lookup::Found(artefact) => artefact,
            Lookup::Damaged { artefact, reason } => panic!("`{artefact}`: {reason}"),
            Lookup::Missing => store
                .make("piece", &key, |draft| {
                    for file in 0..N_FILES {
                        let text = content(artefact, file, &source);
                        fs::write(draft.join(format!("{file}.txt")), text).expect("written");
                    }
                    Ok(())
                })
                .expect("made"),
        };
        source = made.file_name().expect("a name").to_string_lossy().into_owned();
    }
    store.n_made
}

/// The artefacts by name, drafts left out: their files' names and texts, one after the other.
fn artefacts(folder: &Path) -> BTreeMap<String, String> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let whole = |path: &PathBuf| {
        let read = |file: &PathBuf| fs::read_to_string(file).expect("readable");
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

    fs::create_dir(&killed).expect("a folder");
    for kill in 0..N_KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "cache::store::tests::child_that_makes_artefacts", "--ignored"])
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
