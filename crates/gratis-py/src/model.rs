//! Reward models: opening, and scoring with the interpreter free for other threads.

use std::path::{Path, PathBuf};

use gratis::data::{Completion, Rollout};
use gratis::reward_model::{
    self, LoadOptions, OpenOptions, PromptSettings, ReferenceCheck, ReferenceChoice,
};
use gratis::{Observer, Silent};
use gratis_engine::FinishReason;
use gratis_model::chat_template::Message;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::raised;
use crate::hub::PythonHub;
use crate::names::{add_template_args, named, parsed, score_by, weights};
use crate::score::Score;

/// Problems that are scored between two looks for an interrupt; as many as `gratis score` has in a
/// chunk, so that the scores have the same bits.
const CHUNK: usize = 32;

/// What is said while a model is opened.
#[derive(Default)]
struct Remarks {
    notes: Vec<String>,
    warnings: Vec<String>,
}

impl Observer for Remarks {
    fn note(&mut self, text: &str) {
        self.notes.push(text.to_owned());
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }
}

impl Remarks {
    /// Notes go to the logger `gratis`, warnings to `warnings`.
    fn say(self, py: Python<'_>) -> PyResult<()> {
        let logger = py.import("logging")?.call_method1("getLogger", ("gratis",))?;
        for note in self.notes {
            logger.call_method1("info", ("%s", note))?;
        }
        for warning in self.warnings {
            py.import("warnings")?.call_method1("warn", (warning,))?;
        }
        Ok(())
    }
}

/// A candidate: text, steps, token ids and finish reason.
type Candidate = (String, Option<Vec<String>>, Option<Vec<u32>>, Option<String>);

/// A problem: what was said before it, its text, and its candidates.
type Problem = (Vec<(String, String)>, String, Vec<Candidate>);

/// A reward model that is ready to score.
#[pyclass(module = "gratis._native", frozen, subclass)]
pub(crate) struct RewardModel {
    inner: reward_model::RewardModel,
}

#[pymethods]
impl RewardModel {
    #[new]
    #[pyo3(signature = (path, *, reference=None, accept_reference=false, kind=None, step_tag=None,
                        by="reward", aggregation=None, beta=None, value_rule=None, step_split=None,
                        template=None, chat_template=None, chat_system=None, template_args=None,
                        on_overlong="stop", threads=None, batch_tokens=8192, weights="auto"))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        reference: Option<PathBuf>,
        accept_reference: bool,
        kind: Option<&str>,
        step_tag: Option<String>,
        by: &str,
        aggregation: Option<&str>,
        beta: Option<f64>,
        value_rule: Option<&str>,
        step_split: Option<&str>,
        template: Option<String>,
        chat_template: Option<String>,
        chat_system: Option<String>,
        template_args: Option<&Bound<'_, PyDict>>,
        on_overlong: &str,
        threads: Option<usize>,
        batch_tokens: usize,
        weights: &str,
    ) -> PyResult<Self> {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        let mut prompt =
            PromptSettings { template, chat_template, chat_system, ..PromptSettings::default() };
        if let Some(given) = template_args {
            add_template_args(&mut prompt, given)?;
        }
        let options = OpenOptions {
            load: LoadOptions {
                n_threads: threads.unwrap_or_else(all).max(1),
                weights: self::weights(weights)?,
                ..LoadOptions::default()
            },
            format: kind.map(|name| named("kind", name)).transpose()?,
            step_tag,
            by: score_by(by)?,
            reference: match reference {
                None => ReferenceChoice::Own,
                Some(path) if path == Path::new("none") => ReferenceChoice::Absent,
                Some(path) => ReferenceChoice::At(path),
            },
            reference_check: if accept_reference {
                ReferenceCheck::Accept
            } else {
                ReferenceCheck::Require
            },
            aggregation: aggregation.map(parsed).transpose()?,
            beta,
            value_rule: value_rule.map(|name| named("value_rule", name)).transpose()?,
            step_split: step_split.map(parsed).transpose()?,
            prompt,
            on_overlong: named("on_overlong", on_overlong)?,
            batch_tokens,
            ..OpenOptions::default()
        };
        let mut remarks = Remarks::default();
        let opened = py.detach(|| reward_model::open(&path, &options, &PythonHub, &mut remarks));
        remarks.say(py)?;
        let mut inner = opened.map_err(raised)?;
        inner.keep_token_rewards();
        Ok(Self { inner })
    }

    /// Scores per problem and candidate.
    fn _score(&self, py: Python<'_>, problems: Vec<Problem>) -> PyResult<Vec<Vec<Py<Score>>>> {
        let rollouts = problems.into_iter().enumerate().map(|(idx, problem)| rollout(idx, problem));
        let rollouts = rollouts.collect::<PyResult<Vec<Rollout>>>()?;
        let aggregation = self.inner.aggregation();
        let mut all = Vec::with_capacity(rollouts.len());
        for chunk in rollouts.chunks(CHUNK) {
            let lines = py.detach(|| self.inner.score(chunk, &mut Silent)).map_err(raised)?;
            for line in lines {
                let wrapped = line.scores.into_iter().map(|own| Score::new(py, own, aggregation));
                all.push(wrapped.map(|score| Py::new(py, score)).collect::<PyResult<_>>()?);
            }
            py.check_signals()?;
        }
        Ok(all)
    }

    /// How steps become the reward of a candidate.
    #[getter]
    fn aggregation(&self) -> &'static str {
        self.inner.aggregation().name()
    }

    /// Factor of the log-ratio.
    #[getter]
    fn beta(&self) -> f64 {
        self.inner.beta()
    }

    /// The prompt, with `{prompt}` for the problem.
    #[getter]
    fn template(&self) -> &str {
        self.inner.template()
    }

    /// The kind of reward model, as score files name it.
    #[getter]
    fn kind(&self) -> String {
        self.inner.origin().kind.to_string()
    }

    /// Longest prompt and completion together, in tokens.
    #[getter]
    fn context_length(&self) -> usize {
        self.inner.model().config().context_length
    }

    fn __repr__(&self) -> String {
        let origin = self.inner.origin();
        format!("RewardModel({:?}, kind={:?})", origin.model, origin.kind.to_string())
    }
}

fn rollout(idx: usize, (context, prompt, candidates): Problem) -> PyResult<Rollout> {
    let message = |(role, content)| Message { role, content };
    let completions = candidates.into_iter().map(|(text, steps, token_ids, finish_reason)| {
        let finish_reason = match finish_reason.as_deref() {
            None => None,
            Some("stop") => Some(FinishReason::Stop),
            Some("length") => Some(FinishReason::Length),
            Some(other) => {
                let message = format!("a finish reason must be `stop` or `length`, got `{other}`");
                return Err(PyValueError::new_err(message));
            }
        };
        Ok(Completion { text, steps, token_ids, finish_reason, ..Completion::default() })
    });
    Ok(Rollout {
        id: Some(idx.to_string()),
        prompt,
        context: context.into_iter().map(message).collect(),
        completions: completions.collect::<PyResult<_>>()?,
        ..Rollout::default()
    })
}
