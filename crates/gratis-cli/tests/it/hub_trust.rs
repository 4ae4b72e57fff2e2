//! A hub that lies, redirects or falls silent: nothing is written outside the cache, the token goes
//! nowhere else, and every command ends with an error that says what was wrong.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::loopback::{COMMIT, Hub, Request, score, scores_in, send, tag_of};
use crate::workspace::{Workspace, stderr};

const WEIGHTS: &str = "model.safetensors";

/// What a command says that must fail as a user error.
fn error_of(hub: &Hub, workspace: &Workspace, model: &'static str) -> String {
    let output = hub.run(workspace, &score(model), true);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

/// All paths below a folder, hidden ones as well.
fn paths_below(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry")) {
        paths.push(entry.path().display().to_string());
        if entry.file_type().expect("a type").is_dir() {
            paths.extend(paths_below(&entry.path()));
        }
    }
    paths
}

/// Asserts that nothing is outside the cache that was not there before.
fn assert_nothing_outside(workspace: &Workspace, before: &[String]) {
    let cache = workspace.path("hub-home/hub").display().to_string();
    let home = workspace.path("hub-home").display().to_string();
    let mut after = paths_below(&workspace.path(""));
    after.retain(|path| !path.starts_with(&cache) && *path != home && !before.contains(path));
    assert!(after.is_empty(), "written outside the cache: {after:?}");
}

#[test]
fn a_tag_or_a_commit_never_becomes_a_path_outside_the_cache() {
    for text in ["../../../../escaped", "/tmp/gratis-escaped", "..", "a/b", ".hidden", "a\\..\\b"] {
        let workspace = Workspace::new();
        let before = paths_below(&workspace.path(""));
        let hub = Hub::start(&workspace);
        hub.shelf().tags.insert("config.json".to_owned(), text.to_owned());
        let message = error_of(&hub, &workspace, "org/name");
        assert!(
            message.contains("the hub's response for config.json of `org/name` is rejected"),
            "{message}"
        );
        assert!(message.contains("its header `ETag` is"), "{message}");
        assert!(message.contains("hint: nothing was kept"), "{message}");

        hub.shelf().tags.clear();
        hub.shelf().file_commit = Some(text.to_owned());
        let message = error_of(&hub, &workspace, "org/name");
        assert!(message.contains("its header `X-Repo-Commit` is"), "{message}");

        hub.shelf().file_commit = None;
        hub.shelf().listed_commit = Some(text.to_owned());
        let message = error_of(&hub, &workspace, "org/name");
        assert!(message.contains("it names the commit"), "{message}");
        assert_nothing_outside(&workspace, &before);
        assert!(!Path::new("/tmp/gratis-escaped").exists());
    }
}

#[test]
fn a_revision_never_becomes_a_path_outside_the_cache() {
    let workspace = Workspace::new();
    workspace.write("victim", "precious");
    let before = paths_below(&workspace.path(""));
    let hub = Hub::start(&workspace);
    // Whatever is asked for, the hub has it.
    hub.answer_by(|request, stream| {
        let is_listing = request.path.starts_with("/api/");
        let body = serde_json::json!({"siblings": [{"rfilename": "config.json"}], "sha": COMMIT});
        let body = if is_listing { body.to_string() } else { "{}".to_owned() };
        let length = body.len().to_string();
        let range = format!("bytes 0-{}/{length}", body.len() - 1);
        let headers = [
            ("Content-Length", length.as_str()),
            ("Content-Range", &range),
            ("ETag", "\"tag\""),
            ("X-Repo-Commit", COMMIT),
        ];
        send(stream, "206 Partial Content", &headers, body.as_bytes()).is_ok()
    });
    let victim = workspace.path("victim").display().to_string();
    for revision in [&victim, "../../../victim", "a/../../../../victim"] {
        let model = format!("org/name@{revision}");
        let output = hub.run(&workspace, &["inspect", &model], true);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));

        let config = serde_json::json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"],
            "base_model_name_or_path": "org/name", "revision": revision,
        });
        std::fs::create_dir_all(workspace.path("adapter")).expect("made");
        workspace.write("adapter/adapter_config.json", &config.to_string());
        let output = hub.run(&workspace, &["inspect", "adapter"], true);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let expected = "field `revision` must be a branch, a tag or a commit";
        assert!(text.contains(expected), "{text}");
        std::fs::remove_dir_all(workspace.path("adapter")).expect("removed");
    }
    assert_eq!(workspace.read("victim"), b"precious");
    assert_eq!(hub.n_requests(), 0, "no name, no request");
    assert_nothing_outside(&workspace, &before);
}

#[test]
fn an_index_names_shards_beside_it_and_no_other_files() {
    let workspace = Workspace::new();
    let before = paths_below(&workspace.path(""));
    let hub = Hub::start(&workspace);
    let shard = "../../../../../escaped.safetensors";
    {
        let mut shelf = hub.shelf();
        let weights = shelf.files.remove(WEIGHTS).expect("weights");
        shelf.files.insert(shard.to_owned(), weights);
        let index = serde_json::json!({"weight_map": {"model.embed_tokens.weight": shard}});
        let index = index.to_string().into_bytes();
        shelf.files.insert("model.safetensors.index.json".to_owned(), index);
    }
    let text = error_of(&hub, &workspace, "org/name");
    assert!(text.contains("is no file beside it"), "{text}");
    assert_nothing_outside(&workspace, &before);
}

/// Redirects downloads of the weights to `location`, as a hub does to its storage.
fn redirect(hub: &Hub, location: Option<String>, tag: String) {
    hub.answer_by(move |request, stream| {
        if !request.path.contains(WEIGHTS) {
            return false;
        }
        let mut headers = vec![("Content-Length", "0"), ("X-Repo-Commit", COMMIT)];
        headers.push(("X-Linked-ETag", &tag));
        headers.extend(location.as_deref().map(|location| ("Location", location)));
        send(stream, "302 Found", &headers, b"").is_ok()
    });
}

/// Serves the weights at any path, as a storage does that knows no commits.
fn serve_weights(weights: Vec<u8>) -> impl FnMut(&Request, &mut TcpStream) -> bool + Send {
    move |request, stream| {
        let part = &weights[request.first..];
        let length = part.len().to_string();
        let range = format!("bytes {}-{}/{}", request.first, weights.len() - 1, weights.len());
        let headers = [
            ("Content-Length", length.as_str()),
            ("Content-Range", &range),
            ("ETag", "\"of-the-storage\""),
        ];
        send(stream, "206 Partial Content", &headers, part).is_ok()
    }
}

#[test]
fn the_token_does_not_follow_a_redirect_to_another_port() {
    let workspace = Workspace::new();
    let (hub, storage) = (Hub::start(&workspace), Hub::start(&workspace));
    let weights = workspace.read("model/model.safetensors");
    let location = format!("http://{}/stored?signature=x", storage.address);
    redirect(&hub, Some(location), tag_of(WEIGHTS, &weights));
    storage.answer_by(serve_weights(weights));
    let fetched = hub.run(&workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    assert_eq!(scores_in(&fetched), scores_in(&workspace.run(&score("model"))));
    let asked = &storage.shelf().asked;
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.authorization, None, "{request:?}");
        assert_eq!(request.path, "/stored?signature=x");
    }
    assert!(hub.shelf().asked.iter().all(|request| request.authorization.is_some()));
}

#[test]
fn redirects_are_resolved_and_bounded() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let weights = workspace.read("model/model.safetensors");
    let tag = tag_of(WEIGHTS, &weights);
    redirect(&hub, None, tag.clone());
    let text = error_of(&hub, &workspace, "org/name");
    assert!(text.contains("it redirects without saying where to"), "{text}");

    for location in ["model.safetensors", "/org/name/resolve/main/./model.safetensors", "?x=1"] {
        redirect(&hub, Some(location.to_owned()), tag.clone());
        let n_before = hub.n_requests();
        let text = error_of(&hub, &workspace, "org/name");
        assert!(text.contains("it redirects more than 10 times"), "{text}");
        assert!(hub.n_requests() - n_before < 20, "{} requests", hub.n_requests() - n_before);
    }
    redirect(&hub, Some("file:///etc/passwd".to_owned()), tag);
    let text = error_of(&hub, &workspace, "org/name");
    assert!(text.contains("is neither http nor https"), "{text}");

    // Relative to the address that was asked, and with the token, which stays at home.
    let mut is_first = true;
    let mut serve = serve_weights(weights);
    hub.answer_by(move |request, stream| {
        if request.path == "/org/name/stored/weights" {
            return request.authorization.is_some() && serve(request, stream);
        }
        let is_redirected = request.name == WEIGHTS && std::mem::take(&mut is_first);
        let headers = [("Content-Length", "0"), ("Location", "../../stored/weights")];
        is_redirected && send(stream, "307 Temporary Redirect", &headers, b"").is_ok()
    });
    let text = error_of(&hub, &workspace, "org/name");
    assert!(text.contains("it names no commit"), "{text}");
    let fetched = hub.run(&workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
}

#[test]
fn a_silent_hub_is_given_up() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    for silent_at in ["/api/", "config.json", WEIGHTS] {
        let mut held = Vec::new();
        hub.answer_by(move |request, stream| {
            let is_silent = request.path.contains(silent_at);
            if is_silent {
                held.push(stream.try_clone().expect("a handle"));
            }
            is_silent
        });
        let start = Instant::now();
        let mut command = hub.command(&workspace, &score("org/name"));
        let output = command.env("HF_HUB_DOWNLOAD_TIMEOUT", "0.2").output().expect("it runs");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("the hub sent nothing for 0.2 s"), "{text}");
        // Observed: at most 3.2 s, for a download that is tried four times.
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }
    let mut command = hub.command(&workspace, &score("org/name"));
    let output = command.env("HF_HUB_DOWNLOAD_TIMEOUT", "soon").output().expect("it runs");
    assert!(stderr(&output).contains("must be a positive number of seconds"));
}

#[test]
fn a_download_that_stalls_in_the_middle_is_given_up() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let mut held = Vec::new();
    hub.answer_by(move |request, stream| {
        if !request.is_download_of(WEIGHTS) {
            return false;
        }
        let range = format!("bytes {}-99999/100000", request.first);
        let headers = [("Content-Length", "100000"), ("Content-Range", &range)];
        send(stream, "206 Partial Content", &headers, b"begun").expect("sent");
        held.push(stream.try_clone().expect("a handle"));
        true
    });
    let n_bytes = workspace.read("model/model.safetensors").len();
    assert_ne!(n_bytes, 100_000, "another length is noticed before the silence");
    hub.shelf().files.insert(WEIGHTS.to_owned(), vec![0; 100_000]);
    let mut command = hub.command(&workspace, &score("org/name"));
    let output = command.env("HF_HUB_DOWNLOAD_TIMEOUT", "0.2").output().expect("it runs");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("the hub sent nothing for 0.2 s"), "{text}");
}

#[test]
fn files_of_two_commits_are_not_mixed() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    hub.shelf().file_commit = Some("f".repeat(40));
    let text = error_of(&hub, &workspace, "org/name");
    assert!(text.contains("the revision moved meanwhile"), "{text}");
    hub.shelf().file_commit = None;
    let fetched = hub.run(&workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
}

#[test]
fn proxies_are_taken_from_the_environment() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    // Nobody listens on this port: it was given back.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    let mut command = hub.command(&workspace, &score("org/name"));
    let output = command.env("HTTP_PROXY", &proxy).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(hub.n_requests(), 0, "the proxy was passed by");
    let mut command = hub.command(&workspace, &score("org/name"));
    command.env("HTTP_PROXY", &proxy).env("NO_PROXY", "localhost, 127.0.0.1");
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
}
