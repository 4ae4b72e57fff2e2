//! A hub on the loopback interface: it speaks the hub's routes, honestly unless a test says how not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::workspace::Workspace;

/// The commit of every revision.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// The files of `org/name`.
pub(crate) const FILES: &[&str] =
    &["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
/// The revisions of `org/name`.
const REVISIONS: &[&str] = &["main", "v1"];

/// One request as the server sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// The file of `org/name` that is asked for.
    pub(crate) name: String,
    pub(crate) first: usize,
    last: Option<usize>,
    pub(crate) authorization: Option<String>,
}

impl Request {
    /// Whether the content of a file is asked for, and not only its headers.
    pub(crate) fn is_download_of(&self, name: &str) -> bool {
        self.name == name && self.last != Some(0)
    }
}

/// Answers a request instead of the server, or does not (`false`).
pub(crate) type Hook = Box<dyn FnMut(&Request, &mut TcpStream) -> bool + Send>;

/// What the server knows and has seen.
#[derive(Default)]
pub(crate) struct Shelf {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) asked: Vec<Request>,
    /// Downloads of weights that are yet to be cut off in the middle.
    pub(crate) n_cuts: usize,
    pub(crate) hook: Option<Hook>,
    /// Entity tags other than the hash of the content.
    pub(crate) tags: BTreeMap<String, String>,
    /// Commits other than [`COMMIT`] in the list of files and in the headers of a file.
    pub(crate) listed_commit: Option<String>,
    pub(crate) file_commit: Option<String>,
}

/// The server; it ends with the test.
pub(crate) struct Hub {
    pub(crate) address: String,
    shelf: Arc<Mutex<Shelf>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Serves the workspace's `model` as `org/name` to whoever has the token.
    pub(crate) fn start(workspace: &Workspace) -> Self {
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

    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().expect("not poisoned")
    }

    pub(crate) fn n_requests(&self) -> usize {
        self.shelf().asked.len()
    }

    /// Answers by `hook` where it wants to.
    pub(crate) fn answer_by(
        &self,
        hook: impl FnMut(&Request, &mut TcpStream) -> bool + Send + 'static,
    ) {
        self.shelf().hook = Some(Box::new(hook));
    }

    /// The binary with this hub as its own.
    pub(crate) fn command(&self, workspace: &Workspace, arguments: &[&str]) -> Command {
        let mut command = workspace.command(arguments);
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
            .env("HF_ENDPOINT", format!("http://{}", self.address))
            .env("HF_HOME", workspace.path("hub-home"))
            .env("HF_TOKEN", "secret")
            .env("HF_HUB_OFFLINE", "0");
        command
    }

    pub(crate) fn run(&self, workspace: &Workspace, arguments: &[&str], online: bool) -> Output {
        let mut command = self.command(workspace, arguments);
        command.env("HF_HUB_OFFLINE", if online { "0" } else { "1" });
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

/// Sends a status line, headers and a body, and closes.
pub(crate) fn send(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a line");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)
}

/// The entity tag of content: SHA-256 for weights, that of a git blob for the rest.
pub(crate) fn tag_of(name: &str, content: &[u8]) -> String {
    let hash = if name.ends_with(".safetensors") {
        Sha256::digest(content).to_vec()
    } else {
        let blob = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
        blob.chain_update(content).finalize().to_vec()
    };
    hash.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a digit");
        text
    })
}

/// Answers one request and closes.
fn answer(mut stream: TcpStream, shelf: &Mutex<Shelf>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first_line = lines.next().transpose()?.unwrap_or_default();
    let headers: Vec<String> =
        lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        let is_it = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
        headers.iter().find(is_it).map(|line| line[name.len() + 1..].trim().to_owned())
    };
    let path = first_line.split(' ').nth(1).unwrap_or_default().to_owned();
    let prefixes = REVISIONS.iter().map(|revision| format!("/org/name/resolve/{revision}/"));
    let name =
        prefixes.into_iter().find_map(|prefix| path.strip_prefix(&prefix).map(str::to_owned));
    let range = header("range").unwrap_or_default();
    let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", ""));
    let request = Request {
        name: name.unwrap_or_default(),
        first: first.parse().unwrap_or(0),
        last: last.parse().ok(),
        authorization: header("authorization"),
        path,
    };
    let mut shelf = shelf.lock().expect("not poisoned");
    shelf.asked.push(request.clone());
    if shelf.hook.as_mut().is_some_and(|hook| hook(&request, &mut stream)) {
        return Ok(());
    }

    if request.authorization.as_deref() != Some("Bearer secret") || request.path.contains("private")
    {
        return send(&mut stream, "401 Unauthorized", &[("Content-Length", "0")], b"");
    }
    let is_listing =
        |revision: &&str| request.path == format!("/api/models/org/name/revision/{revision}");
    if REVISIONS.iter().any(is_listing) {
        let siblings: Vec<_> =
            shelf.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let sha = shelf.listed_commit.as_deref().unwrap_or(COMMIT);
        let body = serde_json::json!({"siblings": siblings, "sha": sha}).to_string();
        let length = body.len().to_string();
        return send(&mut stream, "200 OK", &[("Content-Length", &length)], body.as_bytes());
    }
    let Some(body) = shelf.files.get(&request.name).cloned() else {
        return send(&mut stream, "404 Not Found", &[("Content-Length", "0")], b"");
    };
    let last = request.last.unwrap_or(body.len() - 1).min(body.len() - 1);
    let own_tag = || tag_of(&request.name, &body);
    let tag = shelf.tags.get(&request.name).cloned().unwrap_or_else(own_tag);
    let mut part = &body[request.first..=last];
    let length = part.len().to_string();
    if request.is_download_of("model.safetensors") && shelf.n_cuts > 0 {
        shelf.n_cuts -= 1;
        part = &part[..part.len() / 2];
    }
    let headers = [
        ("ETag", format!("\"{tag}\"")),
        ("X-Repo-Commit", shelf.file_commit.clone().unwrap_or_else(|| COMMIT.to_owned())),
        ("Content-Range", format!("bytes {}-{last}/{}", request.first, body.len())),
        ("Content-Length", length),
    ];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    send(&mut stream, "206 Partial Content", &headers, part)
}

/// The scores that a command printed, without the name of the model that each line records.
pub(crate) fn scores_in(output: &std::process::Output) -> String {
    const MODEL: &str = r#""model":""#;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.split(MODEL);
    let first = parts.next().unwrap_or_default().to_owned();
    let without_name = |part: &str| part.split_once('"').map_or("", |(_, rest)| rest).to_owned();
    std::iter::once(first).chain(parts.map(without_name)).collect()
}

/// The arguments that score the workspace's solutions by a model.
pub(crate) fn score(model: &'static str) -> [&'static str; 6] {
    ["score", "--model", model, "--reference", "none", "graded.jsonl"]
}
