//! Models by name, from a loopback server that speaks the hub's routes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::workspace::{Workspace, stderr, stdout};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: &[&str] =
    &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

/// What the server knows and has seen.
#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    /// Path and first byte asked for, of every request for more than one byte.
    asked: Vec<(String, usize)>,
    n_requests: usize,
    /// Downloads of weights that are yet to be cut off in the middle.
    n_cuts: usize,
}

/// The server; it ends with the test.
struct Hub {
    address: String,
    shelf: Arc<Mutex<Shelf>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    fn start(workspace: &Workspace) -> Self {
        let files =
            FILES.iter().map(|name| ((*name).to_owned(), workspace.read(&format!("model/{name}"))));
        let shelf = Arc::new(Mutex::new(Shelf { files: files.collect(), ..Shelf::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let (of_thread, over) = (Arc::clone(&shelf), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                // Whoever asks may go away.
                let _ = stream.and_then(|stream| answer(stream, &of_thread));
            }
        });
        Self { address, shelf, is_over, thread: Some(thread) }
    }

    fn n_requests(&self) -> usize {
        self.shelf.lock().expect("not poisoned").n_requests
    }

    fn run(&self, workspace: &Workspace, arguments: &[&str], online: bool) -> Output {
        let mut command = workspace.command(arguments);
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(name);
        }
        command
            .env("HF_ENDPOINT", format!("http://{}", self.address))
            .env("HF_HOME", workspace.path("hub-home"))
            .env("HF_TOKEN", "secret")
            .env("HF_HUB_OFFLINE", if online { "0" } else { "1" });
        command.output().expect("it runs")
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let is_it = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
        headers.iter().find(is_it).map(|line| line[name.len() + 1..].trim().to_owned())
    };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut shelf = shelf.lock().expect("not poisoned");
    shelf.n_requests += 1;

    let status = |stream: &mut TcpStream, status: &str| {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    };
    if header("authorization").as_deref() != Some("Bearer secret") || path.contains("private") {
        return status(&mut stream, "401 Unauthorized");
    }
    let revisions = ["main", "v1"];
    let is_info = |revision: &&str| path == format!("/api/models/org/name/revision/{revision}");
    if revisions.iter().any(is_info) {
        let siblings: Vec<_> =
            shelf.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string();
        return write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
    }
    let prefixes = revisions.map(|revision| format!("/org/name/resolve/{revision}/"));
    let name = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix.as_str()));
    let Some(body) = name.and_then(|name| shelf.files.get(name).cloned()) else {
        return status(&mut stream, "404 Not Found");
    };
    let range = header("range").unwrap_or_default();
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", ""));
    let first: usize = first.parse().unwrap_or(0);
    let last = last.parse().unwrap_or(body.len() - 1).min(body.len() - 1);
    if last > first {
        shelf.asked.push((name.unwrap_or_default().to_owned(), first));
    }
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nETag: \"{}-{}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Range: bytes {first}-{last}/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        name.unwrap_or_default(),
        body.len(),
        body.len(),
        last + 1 - first
    )?;
    let part = &body[first..=last];
    if last > first && name == Some("model.safetensors") && shelf.n_cuts > 0 {
        shelf.n_cuts -= 1;
        return stream.write_all(&part[..part.len() / 2]);
    }
    stream.write_all(part)
}

fn score(model: &'static str) -> [&'static str; 6] {
    ["score", "--model", model, "--reference", "none", "graded.jsonl"]
}

#[test]
fn a_name_is_fetched_once_and_then_found_without_a_network() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let local = workspace.run(&score("model"));
    let fetched = hub.run(&workspace, &score("org/name"), true);
    assert!(fetched.status.success(), "{}", stderr(&fetched));
    assert_eq!(stdout(&fetched), stdout(&local));
    assert!(stderr(&fetched).contains("fetched `model.safetensors`"), "{}", stderr(&fetched));
    let n_requests = hub.n_requests();
    for online in [true, false] {
        let again = hub.run(&workspace, &score("org/name"), online);
        assert!(again.status.success(), "{}", stderr(&again));
        assert_eq!(stdout(&again), stdout(&local));
    }
    assert_eq!(hub.n_requests(), n_requests, "the cache needs no request");
    let snapshot = format!("hub-home/hub/models--org--name/snapshots/{COMMIT}");
    assert_eq!(workspace.names(&snapshot), FILES);

    // Another revision is asked for; its files are known by their content.
    let revised = hub.run(&workspace, &score("org/name@v1"), true);
    assert!(revised.status.success(), "{}", stderr(&revised));
    assert!(hub.n_requests() > n_requests);

    // What is here wins over a name.
    std::fs::create_dir_all(workspace.path("org")).expect("made");
    std::fs::rename(workspace.path("model"), workspace.path("org/name")).expect("moved");
    let n_requests = hub.n_requests();
    std::fs::remove_dir_all(workspace.path("hub-home")).expect("removed");
    let here = hub.run(&workspace, &score("org/name"), true);
    assert!(here.status.success(), "{}", stderr(&here));
    assert_eq!(hub.n_requests(), n_requests);
}

#[test]
fn a_download_that_is_cut_off_goes_on() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    // More often than it is tried: the first run gives up.
    hub.shelf.lock().expect("not poisoned").n_cuts = 5;
    let first = hub.run(&workspace, &score("org/name"), true);
    let text = stderr(&first);
    assert_eq!(first.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot fetch model.safetensors of `org/name` from the hub"), "{text}");
    assert!(text.contains("run the same command again to go on"), "{text}");
    hub.shelf.lock().expect("not poisoned").n_cuts = 0;
    let second = hub.run(&workspace, &score("org/name"), true);
    assert!(second.status.success(), "{}", stderr(&second));
    assert_eq!(stdout(&second), stdout(&workspace.run(&score("model"))));
    let shelf = hub.shelf.lock().expect("not poisoned");
    let starts: Vec<usize> = shelf
        .asked
        .iter()
        .filter(|(name, _)| name == "model.safetensors")
        .map(|(_, first)| *first)
        .collect();
    assert_eq!(starts[0], 0, "{starts:?}");
    assert!(starts.is_sorted_by(|a, b| a < b), "each goes on where the last stopped: {starts:?}");
}

#[test]
fn what_the_hub_does_not_give_is_said_with_a_hint() {
    let workspace = Workspace::new();
    let hub = Hub::start(&workspace);
    let fails = |model: &'static str, online: bool| {
        let output = hub.run(&workspace, &score(model), online);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    let text = fails("org/name", false);
    assert!(text.contains("`org/name` is not in the cache"), "{text}");
    assert!(text.contains("hint: unset `HF_HUB_OFFLINE`"), "{text}");
    assert_eq!(hub.n_requests(), 0);
    let text = fails("org/absent", true);
    assert!(text.contains("the hub has no `org/absent`"), "{text}");
    assert!(text.contains("hint: look for a slip in the name"), "{text}");
    let text = fails("org/private", true);
    assert!(text.contains("the hub refuses the list of files of `org/private`"), "{text}");
    assert!(text.contains("hint: set `HF_TOKEN`"), "{text}");
    hub.shelf.lock().expect("not poisoned").files.remove("model.safetensors");
    let text = fails("org/name", true);
    assert!(text.contains("lacks `model.safetensors`, nor other weights"), "{text}");
}
