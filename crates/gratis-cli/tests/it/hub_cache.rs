//! The cache is never wrong for good: what arrives is checked by length and hash before it is kept,
//! and what is there is checked before it is used.

use std::io::Write;
use std::path::PathBuf;

use crate::loopback::{COMMIT, FILES, Hub, score, scores_in, send, tag_of};
use crate::workspace::{Workspace, stderr};

const WEIGHTS: &str = "model.safetensors";

/// Asserts that the model is fetched, and that it is the one of the hub.
fn assert_fetched(hub: &Hub, workspace: &Workspace) -> String {
    let fetched = hub.run(workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    assert_eq!(scores_in(&fetched), scores_in(&workspace.run(&score("model"))));
    let snapshot = format!("hub-home/hub/models--org--name/snapshots/{COMMIT}");
    assert_eq!(workspace.names(&snapshot), FILES);
    for name in FILES {
        let original = workspace.read(&format!("model/{name}"));
        assert!(workspace.read(&format!("{snapshot}/{name}")) == original, "`{name}` differs");
    }
    stderr(&fetched)
}

fn error_of(hub: &Hub, workspace: &Workspace, online: bool) -> String {
    let output = hub.run(workspace, &score("org/name"), online);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

/// Where the content of a file is in the cache.
fn blob(workspace: &Workspace, name: &str) -> PathBuf {
    let tag = tag_of(name, &workspace.read(&format!("model/{name}")));
    workspace.path(&format!("hub-home/hub/models--org--name/blobs/{tag}"))
}

fn n_downloads(hub: &Hub, name: &str) -> usize {
    hub.shelf().asked.iter().filter(|request| request.is_download_of(name)).count()
}

/// Sends all downloads of the weights through `edit`, the first `n_times` of them.
fn edit_weights(
    hub: &Hub,
    workspace: &Workspace,
    mut n_times: usize,
    edit: impl Fn(&mut Vec<u8>) + Send + 'static,
) {
    let weights = workspace.read("model/model.safetensors");
    hub.answer_by(move |request, stream| {
        if !request.is_download_of(WEIGHTS) || n_times == 0 {
            return false;
        }
        n_times -= 1;
        let mut edited = weights.clone();
        edit(&mut edited);
        let part = &edited[request.first.min(edited.len())..];
        let range = format!("bytes {}-{}/{}", request.first, weights.len() - 1, weights.len());
        // Without a length the body ends with the connection.
        send(stream, "206 Partial Content", &[("Content-Range", &range)], part).is_ok()
    });
}

#[test]
fn a_flipped_bit_is_found_and_the_file_fetched_again() {
    for name in [WEIGHTS, "tokenizer.json"] {
        let workspace = Workspace::new();
        let hub = Hub::start(&workspace);
        // The tag is that of the right content.
        let right = workspace.read(&format!("model/{name}"));
        hub.shelf().tags.insert(name.to_owned(), tag_of(name, &right));
        let mut wrong = right.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        hub.shelf().files.insert(name.to_owned(), wrong);
        let text = error_of(&hub, &workspace, true);
        assert!(text.contains("what it sent is not what it names: its "), "{text}");
        assert_eq!(n_downloads(&hub, name), 2, "once more, and no oftener");
        assert!(!blob(&workspace, name).exists());
        hub.shelf().files.insert(name.to_owned(), right);
        assert_fetched(&hub, &workspace);
    }
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    edit_weights(&hub, &workspace, 1, |bytes| bytes[1000] ^= 0x80);
    assert_fetched(&hub, &workspace);
    assert_eq!(n_downloads(&hub, WEIGHTS), 2);
}

#[test]
fn a_body_too_short_or_too_long_is_found() {
    let edits: [fn(&mut Vec<u8>); 2] =
        [|bytes| bytes.truncate(bytes.len() - 7), |bytes| bytes.extend_from_slice(b"more")];
    for edit in edits {
        for tag in ["a-tag-that-is-no-hash", ""] {
            let workspace = Workspace::new();
            let hub = Hub::start(&workspace);
            if !tag.is_empty() {
                hub.shelf().tags.insert(WEIGHTS.to_owned(), tag.to_owned());
            }
            edit_weights(&hub, &workspace, 1, edit);
            assert_fetched(&hub, &workspace);
            assert_eq!(n_downloads(&hub, WEIGHTS), 2);
        }
    }
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    edit_weights(&hub, &workspace, usize::MAX, |bytes| bytes.push(0));
    let text = error_of(&hub, &workspace, true);
    assert!(text.contains("it sends more bytes than it names"), "{text}");
    hub.shelf().hook = None;
    assert_fetched(&hub, &workspace);
}

#[test]
fn a_part_goes_on_after_an_error_of_the_server() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    hub.shelf().n_cuts = 9;
    error_of(&hub, &workspace, true);
    let part = blob(&workspace, WEIGHTS).with_added_extension("incomplete");
    let n_there = part.metadata().expect("a part").len() as usize;
    hub.shelf().n_cuts = 0;
    hub.shelf().asked.clear();
    let mut n_errors = 1;
    hub.answer_by(move |request, stream| {
        let is_error = request.is_download_of(WEIGHTS) && n_errors > 0;
        n_errors -= usize::from(is_error);
        let headers = [("Content-Length", "0")];
        is_error && send(stream, "503 Service Unavailable", &headers, b"").is_ok()
    });
    assert_fetched(&hub, &workspace);
    let shelf = hub.shelf();
    let firsts = shelf.asked.iter().filter(|request| request.is_download_of(WEIGHTS));
    let firsts: Vec<usize> = firsts.map(|request| request.first).collect();
    assert_eq!(firsts, [n_there, n_there]);
    assert!(!part.exists());
}

#[test]
fn a_server_that_ignores_ranges_is_understood() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    hub.shelf().n_cuts = 9;
    error_of(&hub, &workspace, true);
    hub.shelf().n_cuts = 0;
    let files = hub.shelf().files.clone();
    hub.answer_by(move |request, stream| {
        let Some(body) = files.get(&request.name) else { return false };
        let (length, tag) = (body.len().to_string(), tag_of(&request.name, body));
        let headers =
            [("Content-Length", length.as_str()), ("ETag", &tag), ("X-Repo-Commit", COMMIT)];
        // Who only wants the headers goes away.
        let _ = send(stream, "200 OK", &headers, body);
        true
    });
    assert_fetched(&hub, &workspace);
}

#[test]
fn a_part_that_is_no_beginning_of_the_file_is_thrown_away() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    hub.shelf().n_cuts = 9;
    error_of(&hub, &workspace, true);
    let part = blob(&workspace, WEIGHTS).with_added_extension("incomplete");
    let n_there = part.metadata().expect("a part").len() as usize;
    let n_all = workspace.read("model/model.safetensors").len();
    for n_bytes in [n_there, n_all, n_all + 9] {
        let _ = std::fs::remove_dir_all(workspace.path("hub-home/hub/models--org--name/snapshots"));
        let _ = std::fs::remove_dir_all(workspace.path("hub-home/hub/models--org--name/refs"));
        let _ = std::fs::remove_file(blob(&workspace, WEIGHTS));
        std::fs::write(&part, vec![7; n_bytes]).expect("written");
        hub.shelf().n_cuts = 0;
        assert_fetched(&hub, &workspace);
        assert!(!part.exists());
    }
    #[cfg(unix)]
    {
        // Nor is a link written through.
        std::fs::remove_dir_all(workspace.path("hub-home/hub/models--org--name/snapshots"))
            .expect("removed");
        std::fs::remove_file(blob(&workspace, WEIGHTS)).expect("removed");
        workspace.write("victim", "precious");
        std::os::unix::fs::symlink(workspace.path("victim"), &part).expect("linked");
        assert_fetched(&hub, &workspace);
        assert_eq!(workspace.read("victim"), b"precious");
    }
}

#[test]
fn what_is_damaged_in_the_cache_is_fetched_again() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    assert_fetched(&hub, &workspace);
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        (WEIGHTS, |bytes| bytes.truncate(bytes.len() / 2)),
        (WEIGHTS, |bytes| bytes.extend_from_slice(b"more")),
        (WEIGHTS, |bytes| bytes[5000] ^= 1),
        ("config.json", |bytes| bytes.clear()),
        ("tokenizer.json", |bytes| bytes[100] ^= 1),
    ];
    for (name, damage) in damages {
        let mut bytes = workspace.read(&format!("model/{name}"));
        damage(&mut bytes);
        std::fs::write(blob(&workspace, name), bytes).expect("written");
        let n_before = hub.n_requests();
        let text = error_of(&hub, &workspace, false);
        assert!(text.contains("in the cache is damaged: "), "{text}");
        assert!(text.contains("hint: unset `HF_HUB_OFFLINE`"), "{text}");
        assert_eq!(hub.n_requests(), n_before);
        let text = assert_fetched(&hub, &workspace);
        assert!(text.contains(&format!("`{name}` in the cache is damaged")), "{text}");
        assert!(text.contains("downloading it again"), "{text}");
    }
    let n_before = hub.n_requests();
    assert_fetched(&hub, &workspace);
    assert_eq!(hub.n_requests(), n_before, "a sound cache needs no request");
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_cache_is_not_followed() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    assert_fetched(&hub, &workspace);
    workspace.write("elsewhere.json", "{}");
    let snapshot = format!("hub-home/hub/models--org--name/snapshots/{COMMIT}");
    let path = workspace.path(&format!("{snapshot}/generation_config.json"));
    std::os::unix::fs::symlink(workspace.path("elsewhere.json"), &path).expect("linked");
    let text = error_of(&hub, &workspace, false);
    assert!(text.contains("it is a link out of the cache"), "{text}");
}

#[test]
fn two_processes_fetch_one_model() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let mut running: Vec<_> = (0..3)
        .map(|_| {
            let mut command = hub.command(&workspace, &score("org/name"));
            command.stdout(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    assert!(running.iter_mut().all(|child| child.wait().expect("it ends").success()));
    assert_eq!(n_downloads(&hub, WEIGHTS), 1);
    assert_fetched(&hub, &workspace);
}

#[test]
fn the_layout_is_the_one_that_other_libraries_read() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let fetched = hub.run(&workspace, &score("org/name@v1"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    let folder = "hub-home/hub/models--org--name";
    assert_eq!(workspace.names(folder), ["blobs", "refs", "snapshots"]);
    assert_eq!(workspace.read(&format!("{folder}/refs/v1")), COMMIT.as_bytes());
    assert_eq!(workspace.names(&format!("{folder}/refs")), ["v1"]);
    let mut tags: Vec<_> =
        FILES.iter().map(|name| tag_of(name, &workspace.read(&format!("model/{name}")))).collect();
    tags.sort();
    assert_eq!(workspace.names(&format!("{folder}/blobs")), tags);
    #[cfg(unix)]
    for name in FILES {
        let link = workspace.path(&format!("{folder}/snapshots/{COMMIT}/{name}"));
        let target = link.read_link().expect("a link");
        let tag = tag_of(name, &workspace.read(&format!("model/{name}")));
        assert_eq!(target, PathBuf::from(format!("../../blobs/{tag}")));
    }

    // Files without links, as written where there are none, and no reference for a commit.
    let other = Workspace::new();
    let snapshot = format!("hub-home/hub/models--org--name/snapshots/{COMMIT}");
    std::fs::create_dir_all(other.path(&snapshot)).expect("made");
    for name in FILES {
        let path = other.path(&format!("{snapshot}/{name}"));
        let mut file = std::fs::File::create(path).expect("made");
        file.write_all(&other.read(&format!("model/{name}"))).expect("written");
    }
    let hub = Hub::start(&other);
    let model: &'static str = "org/name@0123456789abcdef0123456789abcdef01234567";
    let found = hub.run(&other, &score(model), false);
    assert!(found.status.success(), "{}", stderr(&found));
    assert_eq!(hub.n_requests(), 0);
}
