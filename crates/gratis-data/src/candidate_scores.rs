//! The scores of a problem as selection reads them: the same lines as [`ProblemScores`], without what only
//! other commands use, in few pieces of memory.

use std::mem;
use std::path::Path;

use crate::aggregation::Aggregation;
use crate::error::{Error, Result};
use crate::quick::Scanner;
use crate::records::reader::{Source, open_files};
use crate::records::reading::Reading;
use crate::records::record::{Fault, Field, Record, RowLayout};
use crate::records::rollout::Rollout;
use crate::score::{ProblemScores, SCORES_VERSION, ScoreOrigin, Scored, check_scored};

/// The scores of the candidates of one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct CandidateScores {
    /// Names the problem, as in the rollout file.
    pub id: String,
    /// How the scores were computed; absent in files of version 1.
    pub origin: Option<ScoreOrigin>,
    candidates: Vec<Candidate>,
    /// Of each candidate the process rewards of its steps, then their Q values.
    values: Vec<f64>,
}

/// The scores of one candidate.
#[derive(Debug, Clone, PartialEq)]
struct Candidate {
    hash: Option<String>,
    outcome: f64,
    /// Where its values begin.
    start: usize,
    n_steps: usize,
    /// Where its last step ends, in characters.
    end: Option<usize>,
}

impl CandidateScores {
    /// The scores of a problem.
    ///
    /// # Errors
    /// [`Error::ScoresDiffer`] for a candidate with another number of Q values than of steps.
    pub fn of(problem: &ProblemScores) -> Result<Self> {
        for (number, Scored { steps, q_values, .. }) in (1..).zip(&problem.scores) {
            if steps.len() != q_values.len() {
                let (n_steps, n_values) = (steps.len(), q_values.len());
                let reason =
                    format!("completion {number} has {n_steps} steps and {n_values} Q values");
                return Err(Error::ScoresDiffer { problem: problem.id.clone(), reason });
            }
        }
        Ok(Self::of_whole(problem))
    }

    /// As [`Self::of`], where every step has its Q value.
    fn of_whole(problem: &ProblemScores) -> Self {
        let mut values = Vec::new();
        let candidates = problem.scores.iter().map(|score| {
            let (start, n_steps) = (values.len(), score.steps.len());
            values.extend_from_slice(&score.steps);
            values.extend_from_slice(&score.q_values);
            let (hash, end) = (score.hash.clone(), score.step_ends.last().copied());
            Candidate { hash, outcome: score.outcome, start, n_steps, end }
        });
        let candidates = candidates.collect();
        Self { id: problem.id.clone(), origin: problem.origin.clone(), candidates, values }
    }

    /// Number of candidates.
    pub fn n_candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Bytes in memory, about.
    pub fn n_bytes(&self) -> usize {
        size_of::<Candidate>() * self.candidates.len() + size_of_val(&self.values[..])
    }

    /// The same scores without a name; here only the name and the origin stay.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let (candidates, values) = (mem::take(&mut self.candidates), mem::take(&mut self.values));
        Self { id: String::new(), origin: None, candidates, values }
    }

    /// The score of each candidate: `[n_candidates]`.
    pub fn by(&self, aggregation: Aggregation) -> Vec<f64> {
        let score = |candidate: &Candidate| {
            let values = &self.values[candidate.start..][..2 * candidate.n_steps];
            let (rewards, q_values) = values.split_at(candidate.n_steps);
            aggregation.score(rewards, q_values, candidate.outcome)
        };
        self.candidates.iter().map(score).collect()
    }

    /// Number of steps of each candidate: `[n_candidates]`.
    pub fn n_steps(&self) -> impl Iterator<Item = usize> {
        self.candidates.iter().map(|candidate| candidate.n_steps)
    }

    /// As [`ProblemScores::check`].
    ///
    /// # Errors
    /// [`Error::ScoresDiffer`] with the first difference.
    pub fn check(&self, rollout: &Rollout) -> Result<()> {
        let scored = self.candidates.iter().map(|one| (one.hash.as_deref(), one.end));
        check_scored(&self.id, scored, rollout)
    }

    /// The scores of a line in its usual form.
    fn quick(line: &[u8]) -> Option<Self> {
        let mut line = Scanner::new(line)?;
        line.expect(b'{')?;
        if line.skip_name("version") {
            let version = line.count()?;
            if version > SCORES_VERSION as usize {
                return None;
            }
            line.expect(b',')?;
        }
        let id = line.skip_name("id").then(|| line.plain_string())??.to_owned();
        line.expect(b',')?;
        let mut origin = None;
        if line.skip_name("origin") {
            origin = Some(line.value()?);
            line.expect(b',')?;
        }
        // Most problems have a few dozens of candidates or less.
        let mut candidates = Vec::with_capacity(16);
        let mut values = Vec::with_capacity(256);
        line.skip_name("scores").then_some(())?;
        line.list(|line| {
            candidates.push(candidate(line, &mut values)?);
            Some(())
        })?;
        line.expect(b'}')?;
        line.is_over().then_some(Self { id, origin, candidates, values })
    }
}

/// A candidate of which every value is known.
fn candidate(line: &mut Scanner<'_>, values: &mut Vec<f64>) -> Option<Candidate> {
    line.expect(b'{')?;
    let mut hash = None;
    if line.skip_name("hash") {
        hash = Some(line.plain_string()?.to_owned());
        line.expect(b',')?;
    }
    let outcome = line.skip_name("outcome").then(|| line.number())??;
    let start = values.len();
    let mut numbers = |name: &str| {
        line.expect(b',')?;
        line.skip_name(name).then_some(())?;
        line.list(|line| {
            values.push(line.number()?);
            Some(())
        })?;
        Some(values.len() - start)
    };
    let n_steps = numbers("steps")?;
    let n_values = numbers("q_values")?;
    line.expect(b',')?;
    line.skip_name("step_ends").then_some(())?;
    let (mut end, mut n_ends) = (None, 0);
    line.list(|line| {
        end = Some(line.count()?);
        n_ends += 1;
        Some(())
    })?;
    line.expect(b'}')?;
    let is_whole = n_values == 2 * n_steps && n_ends == n_steps;
    is_whole.then_some(Candidate { hash, outcome, start, n_steps, end })
}

impl Record for CandidateScores {
    type Columns = ProblemScores;

    const FIELDS: &'static [Field] = ProblemScores::FIELDS;
    const ROWS: RowLayout = ProblemScores::ROWS;

    fn may_be_rounded(columns: &ProblemScores) -> bool {
        ProblemScores::may_be_rounded(columns)
    }

    fn from_columns(columns: ProblemScores) -> std::result::Result<Self, Fault> {
        ProblemScores::from_columns(columns).map(|problem| Self::of_whole(&problem))
    }

    fn quick(line: &[u8]) -> Option<std::result::Result<Self, Fault>> {
        Self::quick(line).map(Ok)
    }

    fn open(path: &Path, reading: Reading) -> Result<Box<dyn Source<Self>>> {
        open_files::<Self, Self>(path, reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::record::from_json;

    #[test]
    fn scores_are_those_of_the_general_reader() {
        let candidate = r#"{"outcome": -0.25, "steps": [0.5, -0.75, 1e-07], "q_values": [0.5, -0.25, -0.25], "step_ends": [3, 7, 9]}"#;
        let hashed = r#"{"hash":"0f","outcome":1,"steps":[],"q_values":[],"step_ends":[]}"#;
        let masked =
            r#"{"outcome": 1.5, "steps": [null, 0.5], "q_values": [1, 1.5], "step_ends": [3, 7]}"#;
        let origin = r#""origin": {"model": "m", "kind": "implicit", "aggregation": "min", "beta": 0.05, "step_split": {"lines": {}}}, "#;
        for (line, is_quick) in [
            (format!(r#"{{"version": 1, "id": "a", "scores": [{candidate}, {hashed}]}}"#), true),
            (format!(r#"{{"version":2,"id":"a","scores":[{candidate}]}} "#), true),
            (r#"{"id": "a", "scores": []}"#.to_owned(), true),
            (format!(r#"{{"id": "a", "scores": [{masked}]}}"#), false),
            (format!(r#"{{"id": "a", "scores": [{candidate}], "more": 1}}"#), false),
            (format!(r#"{{"scores": [{candidate}], "id": "a"}}"#), false),
            (format!(r#"{{"version": 3, "id": "a", "scores": [{candidate}]}}"#), false),
            (
                format!(r#"{{"id": "a", "scores": [{}]}}"#, candidate.replace("[3, 7, 9]", "[3]")),
                false,
            ),
            (format!(r#"{{"id": "a", "scores": [{candidate}"#), false),
            (format!(r#"{{"id": "a", {origin}"scores": [{candidate}]}}"#), false),
        ] {
            let quick = CandidateScores::quick(line.as_bytes());
            assert_eq!(quick.is_some(), is_quick, "{line}");
            let general = from_json::<ProblemScores>(line.as_bytes());
            let read = from_json::<CandidateScores>(line.as_bytes());
            // NaN is not equal to itself.
            let shown = general.map(|problem| {
                format!("{:?}", CandidateScores::of(&problem).expect("as many values as steps"))
            });
            assert_eq!(read.map(|scores| format!("{scores:?}")), shown, "{line}");
        }
    }

    #[test]
    fn a_score_is_that_of_its_steps() {
        let steps = [[0.5, -0.75], [0.25, 2.0]];
        let scored = steps.map(|steps| crate::Scored {
            outcome: 4.0,
            steps: steps.to_vec(),
            q_values: vec![steps[0], steps[0] + steps[1]],
            step_ends: vec![1, 2],
            ..Default::default()
        });
        let mut problem = ProblemScores::new("a", scored.to_vec());
        let scores = CandidateScores::of(&problem).expect("as many values as steps");
        assert_eq!(scores.by(Aggregation::Min), [-0.75, 0.25]);
        assert_eq!(scores.by(Aggregation::QLast), [-0.25, 2.25]);
        assert_eq!(scores.by(Aggregation::Outcome), [4.0, 4.0]);
        assert_eq!(scores.n_candidates(), 2);
        assert_eq!(scores.n_steps().collect::<Vec<_>>(), [2, 2]);
        problem.scores[1].q_values.pop();
        let error = CandidateScores::of(&problem).expect_err("a step without a Q value");
        assert!(error.to_string().ends_with("completion 2 has 2 steps and 1 Q values"), "{error}");
    }
}
