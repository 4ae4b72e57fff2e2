//! The HTTP part of the fake server: a thread per connection, keep-alive, faults.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::bodies::{self, Answer};
use crate::model::{Model, mixed};
use crate::pooling::{self, Pooling};
use crate::tinker::{TinkerAnswer, TinkerServer};

/// How often requests fail: shares between 0 and 1, of which at most one fault befalls a request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Answered with status 500.
    pub internal: f64,
    /// Answered with status 503.
    pub unavailable: f64,
    /// Never answered.
    pub hang: f64,
    /// The connection ends in the middle of the answer.
    pub cut: f64,
    /// Answered rightly, but late.
    pub slow: f64,
    /// Changes which requests fail.
    pub seed: u64,
}

impl Faults {
    /// The same share of each fault.
    pub fn each(share: f64) -> Self {
        Self { internal: share, unavailable: share, hang: share, cut: share, slow: share, seed: 0 }
    }
}

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// Names of the models; the first is the base, the others its adapters.
    pub models: Vec<String>,
    /// Time that each scoring or sampling request takes.
    pub latency: Duration,
    /// Such requests that are worked on at the same time; `None` for no limit.
    pub slots: Option<usize>,
    /// How often requests fail.
    pub faults: Faults,
    /// How much later a slow answer is.
    pub slow: Duration,
    /// How long a request that is never answered keeps its connection.
    pub hang: Duration,
    /// The key that every request needs.
    pub key: Option<String>,
    /// Whether answers are compressed where the client accepts it.
    pub gzip: bool,
    /// Where requests for completions are redirected to.
    pub redirect: Option<String>,
    /// Added to log-probabilities of sequences that are not alone in their request: the fault of a
    /// server with adapters.
    pub batch_error: f32,
    /// How the head of a reward model is read.
    pub pooling: Pooling,
    /// The status of its health.
    pub health: u16,
    /// Whether its message for a wrong key repeats the key.
    pub repeats_key: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            models: vec!["policy".to_owned()],
            latency: Duration::ZERO,
            slots: None,
            faults: Faults::default(),
            slow: Duration::from_millis(200),
            hang: Duration::from_secs(5),
            key: None,
            gzip: false,
            redirect: None,
            batch_error: 0.0,
            pooling: Pooling::default(),
            health: 200,
            repeats_key: false,
        }
    }
}

/// What a server does.
enum Served {
    Inference(Box<dyn Model>),
    Training(TinkerServer),
}

/// An answer as it is sent.
struct Reply {
    status: u16,
    content_type: &'static str,
    body: Vec<u8>,
}

impl From<Answer> for Reply {
    fn from((status, body): Answer) -> Self {
        Self { status, content_type: "application/json", body: body.to_string().into_bytes() }
    }
}

impl From<TinkerAnswer> for Reply {
    fn from(answer: TinkerAnswer) -> Self {
        let ok = |content_type, body| Self { status: 200, content_type, body };
        match answer {
            TinkerAnswer::Json(status, body) => (status, body).into(),
            TinkerAnswer::Protobuf(body) => ok("application/x-protobuf", body),
            TinkerAnswer::File(body) => ok("application/octet-stream", body),
        }
    }
}

/// What the connections share.
struct Shared {
    behaviour: Behaviour,
    served: Served,
    is_stopped: AtomicBool,
    /// How often each body was sent.
    n_sent: Mutex<HashMap<u64, u64>>,
    n_busy: Mutex<usize>,
    freed: Condvar,
    n_requests: AtomicU64,
    n_answered: AtomicU64,
    keys: Mutex<Vec<Option<String>>>,
    connections: Mutex<Vec<TcpStream>>,
}

/// A running server; it stops when it is dropped.
pub struct FakeServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl FakeServer {
    /// Starts a server on a free port of this machine.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn start(model: impl Model + 'static, behaviour: Behaviour) -> io::Result<Self> {
        Self::start_at("127.0.0.1:0", model, behaviour)
    }

    /// Starts a server at an address.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn start_at(
        address: &str,
        model: impl Model + 'static,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        Self::serve(address, Served::Inference(Box::new(model)), behaviour)
    }

    /// Starts a training server at an address.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn start_training(
        address: &str,
        tinker: TinkerServer,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        Self::serve(address, Served::Training(tinker), behaviour)
    }

    fn serve(address: &str, served: Served, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            behaviour,
            served,
            is_stopped: AtomicBool::new(false),
            n_sent: Mutex::default(),
            n_busy: Mutex::new(0),
            freed: Condvar::new(),
            n_requests: AtomicU64::new(0),
            n_answered: AtomicU64::new(0),
            keys: Mutex::default(),
            connections: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if of_thread.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&of_thread);
                if let (Ok(copy), Ok(mut all)) = (stream.try_clone(), shared.connections.lock()) {
                    all.push(copy);
                }
                thread::spawn(move || {
                    // A client that goes away ends its connection.
                    let _ = serve(&stream, &shared);
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `host:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Scoring and sampling requests received, failed ones included.
    pub fn n_requests(&self) -> u64 {
        self.shared.n_requests.load(Ordering::SeqCst)
    }

    /// Scoring and sampling requests that were answered as they should be.
    pub fn n_answered(&self) -> u64 {
        self.shared.n_answered.load(Ordering::SeqCst)
    }

    /// The keys of all requests so far.
    pub fn keys(&self) -> Vec<Option<String>> {
        self.shared.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the server and cuts its connections.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts connections.
        drop(TcpStream::connect(self.address));
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.iter() {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A request taken apart.
struct Request {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let n = headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; n];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body }))
}

/// What befalls a request.
enum Fate {
    Answered,
    Slow,
    Status(u16),
    Hang,
    Cut,
}

fn fate(shared: &Shared, body: &[u8]) -> Fate {
    let faults = &shared.behaviour.faults;
    let mut hash = mixed(faults.seed);
    for part in body.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash = mixed(hash ^ u64::from_le_bytes(word));
    }
    let nth = {
        let mut sent = shared.n_sent.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = sent.entry(hash).or_default();
        *nth += 1;
        *nth
    };
    let mut share = (mixed(hash ^ nth) >> 11) as f64 / (1_u64 << 53) as f64;
    let fates = [
        (faults.internal, Fate::Status(500)),
        (faults.unavailable, Fate::Status(503)),
        (faults.hang, Fate::Hang),
        (faults.cut, Fate::Cut),
        (faults.slow, Fate::Slow),
    ];
    for (of_fault, fate) in fates {
        if share < of_fault {
            return fate;
        }
        share -= of_fault;
    }
    Fate::Answered
}

fn serve(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let key = request.headers.get("authorization").cloned();
        let key = key.and_then(|key| key.strip_prefix("Bearer ").map(str::to_owned));
        let key = key.or_else(|| request.headers.get("x-api-key").cloned());
        shared.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key.clone());
        if shared.behaviour.key.is_some() && key != shared.behaviour.key {
            let message = match key.filter(|_| shared.behaviour.repeats_key) {
                Some(key) => format!("Incorrect API key provided: {key}."),
                None => "Unauthorized".to_owned(),
            };
            write(stream, shared, &request, bodies::error(401, &message).into())?;
            continue;
        }
        let is_work = match (&shared.served, &request.path[..]) {
            (Served::Inference(_), path) => {
                let routes = ["/v1/completions", "/generate", "/pooling", "/classify", "/v1/score"];
                routes.contains(&path)
            }
            // Heartbeats come at any time: they must not change what befalls the others.
            (Served::Training(_), path) => {
                request.method == "POST" && path != "/api/v1/session_heartbeat"
            }
        };
        if !is_work {
            let answer = route(shared, &request);
            write(stream, shared, &request, answer)?;
            continue;
        }
        if let Some(target) = &shared.behaviour.redirect {
            let target = format!("{target}{}", request.path);
            let head = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"
            );
            (&*stream).write_all(head.as_bytes())?;
            continue;
        }
        shared.n_requests.fetch_add(1, Ordering::SeqCst);
        let fate = fate(shared, &request.body);
        match fate {
            Fate::Hang => {
                thread::sleep(shared.behaviour.hang);
                return Ok(());
            }
            Fate::Status(status) => {
                let answer = bodies::error(status, "injected fault").into();
                write(stream, shared, &request, answer)?;
                continue;
            }
            Fate::Answered | Fate::Slow | Fate::Cut => {}
        }
        let answer = in_slot(shared, || {
            thread::sleep(shared.behaviour.latency);
            route(shared, &request)
        });
        if let Fate::Cut = fate {
            let bytes = encoded(shared, &request, answer);
            (&*stream).write_all(&bytes[..bytes.len() / 2])?;
            return stream.shutdown(Shutdown::Both);
        }
        if let Fate::Slow = fate {
            thread::sleep(shared.behaviour.slow);
        }
        let status = answer.status;
        write(stream, shared, &request, answer)?;
        if status == 200 {
            shared.n_answered.fetch_add(1, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// Works while one of the slots is taken.
fn in_slot<T>(shared: &Shared, work: impl FnOnce() -> T) -> T {
    let Some(n_slots) = shared.behaviour.slots else { return work() };
    {
        let busy = shared.n_busy.lock().unwrap_or_else(PoisonError::into_inner);
        let mut busy = shared
            .freed
            .wait_while(busy, |n_busy| *n_busy >= n_slots)
            .unwrap_or_else(PoisonError::into_inner);
        *busy += 1;
    }
    let result = work();
    *shared.n_busy.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    shared.freed.notify_one();
    result
}

fn route(shared: &Shared, request: &Request) -> Reply {
    match &shared.served {
        Served::Inference(model) => inference(&shared.behaviour, &**model, request).into(),
        Served::Training(tinker) => {
            let answer = tinker.answer(&request.method, &request.path, &request.body);
            answer.map_or_else(|| (404, json!({"detail": "Not Found"})).into(), Reply::from)
        }
    }
}

fn inference(behaviour: &Behaviour, model: &dyn Model, request: &Request) -> Answer {
    let Behaviour { models, batch_error, .. } = behaviour;
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (&request.method[..], &request.path[..]) {
        ("GET", "/health") => (behaviour.health, json!({})),
        ("GET", "/v1/models") => bodies::models(models, model.context_length()),
        ("GET", "/version") => (200, json!({"version": "0.0.0-fake"})),
        ("POST", "/v1/completions") => {
            let name = body["model"].as_str().unwrap_or_default();
            if !models.iter().any(|known| known == name) {
                let message = format!("The model `{name}` does not exist.");
                return bodies::error(404, &message);
            }
            let (status, mut answer) = bodies::completions(&body, model);
            let choices = answer["choices"].as_array_mut();
            for choice in choices.filter(|choices| choices.len() > 1).into_iter().flatten() {
                let rows = choice["prompt_logprobs"].as_array_mut();
                let entries = rows.into_iter().flatten().filter_map(Value::as_object_mut);
                for entry in entries.flat_map(|row| row.values_mut()) {
                    let value = entry["logprob"].as_f64().unwrap_or_default();
                    entry["logprob"] = json!((value as f32) - batch_error);
                }
            }
            (status, answer)
        }
        ("POST", "/pooling") => pooling::pooling(&body, model, behaviour.pooling),
        ("POST", "/classify") => pooling::classify(&body, model, behaviour.pooling),
        ("POST", "/v1/score") => pooling::score(&body, model, behaviour.pooling),
        ("GET", "/model_info") => pooling::info(model, behaviour.pooling),
        ("POST", "/generate") => bodies::generate(&body, model),
        _ => (404, json!({"detail": "Not Found"})),
    }
}

fn encoded(shared: &Shared, request: &Request, answer: Reply) -> Vec<u8> {
    let Reply { status, content_type, mut body } = answer;
    let accepts = request.headers.get("accept-encoding");
    let is_gzip = shared.behaviour.gzip && accepts.is_some_and(|given| given.contains("gzip"));
    if is_gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = encoder.write_all(&body).and_then(|()| encoder.finish());
        body = packed.unwrap_or_default();
    }
    let encoding = if is_gzip { "content-encoding: gzip\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{encoding}content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

fn write(
    mut stream: &TcpStream,
    shared: &Shared,
    request: &Request,
    answer: Reply,
) -> io::Result<()> {
    stream.write_all(&encoded(shared, request, answer))
}
