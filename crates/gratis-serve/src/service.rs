//! A request from its body to its answer: parsed, looked up in the cache, counted, queued, answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gratis::data::{Completion, ProblemScores, Rollout, Scored};
use gratis_grading::{Grade, Options};
use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use crate::auth::Token;
use crate::cache::{Key, ScoreCache, key};
use crate::conversation::Form;
use crate::error::{Failure, FailureKind};
use crate::metrics::{Gauges, Metrics};
use crate::queue::{Answer, Done, Queue, Task};
use crate::scorer::{About, Scorer};

/// Limits of the service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// Most tokens that a request may take.
    pub max_request_tokens: usize,
    /// Most requests admitted and not yet answered.
    pub max_queue: usize,
    /// Time after which a request is given up, unless it asks for less.
    pub deadline: Duration,
    /// Bound on the memory of cached scores, in bytes; 0 for no cache.
    pub cache_bytes: usize,
    /// How long open connections may delay the end of the service.
    pub drain: Duration,
    /// The token that requests must carry, if any.
    pub token: Option<Token>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            max_request_tokens: 1 << 18,
            max_queue: 256,
            deadline: Duration::from_secs(120),
            cache_bytes: 64 << 20,
            drain: Duration::from_secs(30),
            token: None,
        }
    }
}

/// The service.
pub(crate) struct Service {
    pub(crate) scorer: Arc<dyn Scorer>,
    pub(crate) about: About,
    pub(crate) form: Form,
    pub(crate) settings: Settings,
    pub(crate) queue: Arc<Queue>,
    pub(crate) metrics: Arc<Metrics>,
    cache: Mutex<ScoreCache>,
}

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Work {
    /// The scores of these problems.
    Score(Vec<Rollout>),
    /// The grades of these pairs of a gold answer and a response.
    Grade(Vec<(String, String)>, Options),
}

/// What was computed for a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Scores.
    Scored {
        /// The problems as they were scored.
        rollouts: Vec<Rollout>,
        /// Their scores.
        scores: Vec<ProblemScores>,
        /// Tokens per problem.
        n_tokens: Vec<usize>,
    },
    /// Grades.
    Graded(Vec<Grade>),
}

/// The answer in the shape of its route.
pub(crate) type Shape = Box<dyn FnOnce(&Service, Outcome) -> Result<Value, Failure> + Send>;

/// A request that was read.
pub(crate) struct Prepared {
    pub(crate) work: Work,
    /// A deadline of its own.
    pub(crate) deadline: Option<Duration>,
    pub(crate) shape: Shape,
}

/// Reads the body of a request.
pub(crate) type Prepare = fn(&Service, &[u8]) -> Result<Prepared, Failure>;

/// An answer with the time that its request waited for the engine.
pub(crate) struct Answered {
    pub(crate) body: Vec<u8>,
    pub(crate) queued: Duration,
}

/// A request of which it is known what has to be computed.
struct Planned {
    tasks: Vec<Task>,
    assembly: Assembly,
    deadline: Option<Duration>,
    shape: Shape,
}

/// How the answers to tasks become the outcome of a request.
enum Assembly {
    Score { problems: Vec<Problem> },
    Grade,
}

/// A problem with the scores that are known.
struct Problem {
    rollout: Rollout,
    n_tokens: usize,
    keys: Vec<Key>,
    scores: Vec<Option<Scored>>,
    /// Indices of the completions in each of its tasks.
    tasks: Vec<Vec<usize>>,
}

impl Service {
    pub(crate) fn new(scorer: Arc<dyn Scorer>, about: About, settings: Settings) -> Self {
        Self {
            form: Form::new(&about.template, about.bos.clone(), about.ends.clone()),
            queue: Arc::new(Queue::new(settings.max_queue)),
            cache: Mutex::new(ScoreCache::new(settings.cache_bytes)),
            metrics: Arc::default(),
            scorer,
            about,
            settings,
        }
    }

    fn cache(&self) -> MutexGuard<'_, ScoreCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn metrics_text(&self) -> String {
        let (cached, cached_bytes) = {
            let cache = self.cache();
            (cache.len(), cache.n_bytes())
        };
        let requests = self.queue.n_requests();
        self.metrics.text(Gauges { requests, cached, cached_bytes })
    }

    /// Answers a request that began at `begun` and ends by `deadline` at the latest.
    pub(crate) async fn process(
        self: &Arc<Self>,
        prepare: Prepare,
        body: impl AsRef<[u8]> + Send + 'static,
        begun: Instant,
        deadline: Instant,
    ) -> Result<Answered, Failure> {
        let service = Arc::clone(self);
        let planned =
            on_own_thread(move || service.plan(prepare(&service, body.as_ref())?)).await?;
        let Planned { tasks, assembly, deadline: own, shape } = planned;
        let deadline = own.map_or(deadline, |own| deadline.min(begun + own));
        if Instant::now() >= deadline {
            return Err(Failure::deadline());
        }
        let mut answer = Answer { done: Vec::new(), queued: Duration::ZERO };
        if !tasks.is_empty() {
            let mut admitted = self.queue.admit(tasks, deadline)?;
            let waited = timeout_at(deadline.into(), &mut admitted.answer).await;
            answer = match waited {
                Err(_) => return Err(Failure::deadline()),
                Ok(Err(_)) => return Err(Failure::panicked()),
                Ok(Ok(answer)) => answer?,
            };
        }
        self.metrics.add_queued(answer.queued);
        let queued = answer.queued;
        let service = Arc::clone(self);
        let body = on_own_thread(move || {
            let outcome = service.assemble(assembly, answer.done)?;
            Ok(shape(&service, outcome)?.to_string().into_bytes())
        });
        Ok(Answered { body: body.await?, queued })
    }

    /// What has to be computed: the completions that the cache does not hold, at most a batch at a
    /// time.
    fn plan(&self, prepared: Prepared) -> Result<Planned, Failure> {
        let Prepared { work, deadline, shape } = prepared;
        let rollouts = match work {
            Work::Score(rollouts) => rollouts,
            Work::Grade(pairs, options) => {
                let task = |(gold, pred)| Task::Grade { gold, pred, options: options.clone() };
                let tasks = pairs.into_iter().map(task).collect();
                return Ok(Planned { tasks, assembly: Assembly::Grade, deadline, shape });
            }
        };
        let (mut tasks, mut problems) = (Vec::new(), Vec::new());
        let (mut n_all, limit) = (0, self.settings.max_request_tokens);
        for rollout in rollouts {
            let counts = self.scorer.count_tokens(&rollout)?;
            n_all += counts.total();
            if n_all > limit {
                let message = format!("the request takes more than {limit} tokens");
                let failure = Failure::new(FailureKind::TooLarge, message);
                return Err(failure.hinted("send its problems or candidates in several requests"));
            }
            let keys: Vec<Key> = rollout.completions.iter().map(|c| key(&rollout, c)).collect();
            let scores: Vec<Option<Scored>> = {
                let mut cache = self.cache();
                keys.iter().map(|key| cache.get(key)).collect()
            };
            let missing: Vec<usize> = (0..scores.len()).filter(|&i| scores[i].is_none()).collect();
            self.metrics.add_cache((scores.len() - missing.len()) as u64, missing.len() as u64);
            let mut groups: Vec<Vec<usize>> = Vec::new();
            let mut n_tokens = 0;
            for idx in missing {
                let n_own = counts.n_completion[idx];
                match groups.last_mut() {
                    Some(group) if n_tokens + n_own <= self.about.batch_tokens => group.push(idx),
                    _ => {
                        groups.push(vec![idx]);
                        n_tokens = counts.n_prompt;
                    }
                }
                n_tokens += n_own;
            }
            for group in &groups {
                let n_completions = group.iter().map(|&idx| counts.n_completion[idx]);
                let n_tokens = counts.n_prompt + n_completions.sum::<usize>();
                tasks.push(Task::Score { rollout: part(&rollout, group), n_tokens });
            }
            problems.push(Problem {
                n_tokens: counts.total(),
                keys,
                scores,
                tasks: groups,
                rollout,
            });
        }
        Ok(Planned { tasks, assembly: Assembly::Score { problems }, deadline, shape })
    }

    fn assemble(&self, assembly: Assembly, done: Vec<Done>) -> Result<Outcome, Failure> {
        let lost = || Failure::new(FailureKind::Internal, "internal error: an answer is missing");
        let mut done = done.into_iter();
        let problems = match assembly {
            Assembly::Score { problems } => problems,
            Assembly::Grade => {
                let grade = |done| match done {
                    Done::Grade(grade) => Ok(grade),
                    Done::Scores(_) => Err(lost()),
                };
                return Ok(Outcome::Graded(done.map(grade).collect::<Result<_, _>>()?));
            }
        };
        let (mut rollouts, mut scores, mut n_tokens) = (Vec::new(), Vec::new(), Vec::new());
        for mut problem in problems {
            for indices in &problem.tasks {
                let Some(Done::Scores(computed)) = done.next() else { return Err(lost()) };
                if computed.len() != indices.len() {
                    return Err(lost());
                }
                let mut cache = self.cache();
                for (&idx, scored) in indices.iter().zip(computed) {
                    cache.insert(problem.keys[idx], scored.clone());
                    problem.scores[idx] = Some(scored);
                }
            }
            let all: Option<Vec<Scored>> = problem.scores.into_iter().collect();
            let mut line = ProblemScores::new(problem.rollout.name(), all.ok_or_else(lost)?);
            line.origin = Some(self.about.origin.clone());
            scores.push(line);
            n_tokens.push(problem.n_tokens);
            rollouts.push(problem.rollout);
        }
        Ok(Outcome::Scored { rollouts, scores, n_tokens })
    }
}

/// A problem with some of its completions, as far as scores depend on it.
fn part(rollout: &Rollout, indices: &[usize]) -> Rollout {
    let completion = |&idx: &usize| {
        let Completion { text, steps, token_ids, mask, finish_reason, .. } =
            &rollout.completions[idx];
        Completion {
            text: text.clone(),
            steps: steps.clone(),
            token_ids: token_ids.clone(),
            mask: mask.clone(),
            finish_reason: *finish_reason,
            ..Completion::default()
        }
    };
    Rollout {
        id: rollout.id.clone(),
        prompt: rollout.prompt.clone(),
        context: rollout.context.clone(),
        completions: indices.iter().map(completion).collect(),
        ..Rollout::default()
    }
}

/// Runs what computes away from the threads of the connections.
async fn on_own_thread<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(run).await.unwrap_or_else(|_| Err(Failure::panicked()))
}
