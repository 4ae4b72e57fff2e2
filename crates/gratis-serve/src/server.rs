//! Sockets: the runtime, the routes on it, and how it ends.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::timeout_at;

use crate::error::{Failure, FailureKind};
use crate::metrics::Metrics;
use crate::routes::{GETS, POSTS};
use crate::scorer::{About, Scorer};
use crate::service::{Answered, Prepare, Service, Settings};
use crate::worker::Worker;

/// Threads that serve connections.
const N_CONNECTION_THREADS: usize = 2;
/// Threads that parse, count tokens and write answers.
const N_TEXT_THREADS: usize = 4;
/// A header with a deadline of the request's own.
const DEADLINE: &str = "x-gratis-deadline-ms";
/// Routes that need no token: what is there to be seen before one signs in.
const OPEN: [&str; 2] = ["/", "/health"];

/// Stops a service from another thread.
#[derive(Debug, Clone)]
pub struct Stop(Arc<watch::Sender<bool>>);

impl Default for Stop {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Stop {
    /// No connection is accepted from now on; [`serve`] returns when the requests that were are
    /// answered.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    async fn stopped(&self) {
        let mut receiver = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|stopped| *stopped).await;
    }
}

/// What a service did until it was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Answers, those that say no included.
    pub n_answers: u64,
    /// Whether connections were cut off because they outlasted [`Settings::drain`].
    pub is_cut_off: bool,
}

/// Serves until `stop` is told to.
///
/// # Errors
/// If the system gives no threads or the socket fails.
pub fn serve(
    listener: TcpListener,
    scorer: Arc<dyn Scorer>,
    about: About,
    settings: Settings,
    stop: &Stop,
) -> std::io::Result<Summary> {
    listener.set_nonblocking(true)?;
    let service = Arc::new(Service::new(scorer, about, settings));
    let worker = Worker {
        queue: Arc::clone(&service.queue),
        scorer: Arc::clone(&service.scorer),
        metrics: Arc::clone(&service.metrics),
        batch_tokens: service.about.batch_tokens,
    };
    let worker = worker.start()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(N_CONNECTION_THREADS)
        .max_blocking_threads(N_TEXT_THREADS)
        .enable_all()
        .build()?;
    let is_cut_off = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let stopped = stop.clone();
        let served = axum::serve(listener, router(&service))
            .with_graceful_shutdown(async move { stopped.stopped().await })
            .into_future();
        let drained = async {
            stop.stopped().await;
            tokio::time::sleep(service.settings.drain).await;
        };
        tokio::select! {
            served = served => served.map(|()| false),
            () = drained => Ok(true),
        }
    })?;
    service.queue.close();
    runtime.shutdown_timeout(Duration::from_millis(100));
    // A panic outside a batch; there is nothing left to do for it.
    let _ = worker.join();
    Ok(Summary { n_answers: service.metrics.n_answers(), is_cut_off })
}

fn router(service: &Arc<Service>) -> Router {
    let mut router = Router::new();
    for (path, prepare) in POSTS {
        let answer = move |State(service): State<Arc<Service>>, request: Request| {
            answer(service, prepare, request)
        };
        router = router.route(path, post(answer));
    }
    for (path, content_type, text) in GETS {
        let show = move |State(service): State<Arc<Service>>| async move {
            ([(CONTENT_TYPE, content_type)], text(&service))
        };
        router = router.route(path, get(show));
    }
    router
        .fallback(async || failed(&unknown_route(), StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || {
            failed(&wrong_method(), StatusCode::METHOD_NOT_ALLOWED)
        })
        .layer(from_fn_with_state(Arc::clone(service), guard))
        .layer(DefaultBodyLimit::max(service.settings.max_body_bytes))
        .with_state(Arc::clone(service))
}

fn unknown_route() -> Failure {
    Failure::invalid("there is no such route").hinted("`/openapi.json` lists the routes")
}

fn wrong_method() -> Failure {
    Failure::invalid("the route has another method").hinted("`/openapi.json` lists the routes")
}

/// Checks the token and counts the answer.
async fn guard(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let posts = POSTS.iter().map(|(route, _)| *route);
    let mut routes = posts.chain(GETS.iter().map(|(route, ..)| *route));
    let route = routes.find(|route| *route == path).unwrap_or("other");
    let check = match &service.settings.token {
        Some(token) if !OPEN.contains(&route) => {
            token.check(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes))
        }
        _ => Ok(()),
    };
    let left = Left { metrics: Arc::clone(&service.metrics), is_answered: false };
    let response = match check {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    };
    left.answered();
    service.metrics.add_answer(route, response.status().as_u16());
    response
}

/// Counts a client that leaves before its answer: what waits for the answer is then dropped.
struct Left {
    metrics: Arc<Metrics>,
    is_answered: bool,
}

impl Left {
    fn answered(mut self) {
        self.is_answered = true;
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if !self.is_answered {
            self.metrics.add_abandoned();
        }
    }
}

async fn answer(service: Arc<Service>, prepare: Prepare, request: Request) -> Response {
    let begun = Instant::now();
    let deadline = match own_deadline(request.headers()) {
        Ok(own) => begun + own.unwrap_or(service.settings.deadline).min(service.settings.deadline),
        Err(failure) => return failure.into_response(),
    };
    let process = async {
        let body = Bytes::from_request(request, &()).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let limit = service.settings.max_body_bytes;
                let message = format!("the body exceeds {limit} bytes");
                Failure::new(FailureKind::TooLarge, message)
            } else {
                Failure::invalid("the body could not be read to its end")
            }
        })?;
        service.process(prepare, body, begun, deadline).await
    };
    let outcome = timeout_at(deadline.into(), process).await;
    match outcome.unwrap_or_else(|_| Err(Failure::deadline())) {
        Ok(Answered { body, queued }) => {
            let timing = format!("queue;dur={:.3}", 1e3 * queued.as_secs_f64());
            let headers = [
                (CONTENT_TYPE, "application/json".to_owned()),
                (HeaderName::from_static("server-timing"), timing),
            ];
            (headers, body).into_response()
        }
        Err(failure) => failure.into_response(),
    }
}

fn own_deadline(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get(DEADLINE) else { return Ok(None) };
    let milliseconds = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match milliseconds {
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        None => Err(Failure::invalid(format!("`{DEADLINE}` should be a number of milliseconds"))),
    }
}

fn failed(failure: &Failure, status: StatusCode) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, failure.body().to_string()).into_response()
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind().status());
        let mut response = failed(&self, status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
        let header = match self.kind() {
            FailureKind::Busy => Some((RETRY_AFTER, "1")),
            FailureKind::Unauthorised => Some((WWW_AUTHENTICATE, "Bearer")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
