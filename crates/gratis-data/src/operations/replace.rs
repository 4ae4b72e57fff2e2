//! Replacing some responses by those of another model (appendix C.2: four of a base model's).

use std::collections::HashMap;
use std::io::{BufWriter, SeekFrom, Write};
use std::path::Path;

use rand::seq::index;
use serde_json::Value;

use super::operation::{Operation, Outcome};
use super::scratch::{Scratch, Spool, spool};
use crate::error::{Error, Result};
use crate::records::reader::RecordReader;
use crate::records::record::OnInvalid;
use crate::records::rollout::Rollout;
use crate::seeding::{rank_of, rng_of};

/// What errors call the temporary file.
const SPOOL: &str = "a temporary file";

/// The drawn responses of the other file, put aside.
struct Others {
    spool: Box<dyn Spool>,
    /// First byte and number of bytes, by the prompt's hash.
    places: HashMap<u64, (u64, usize)>,
}

impl Others {
    /// Draws `n` responses of each problem of the file `path` that has as many.
    fn draw(path: &Path, n: usize, seed: u64, scratch: Option<&Scratch>) -> Result<Self> {
        let mut spool = BufWriter::new(spool(scratch)?);
        let (mut places, mut start) = (HashMap::new(), 0);
        for other in RecordReader::<Rollout>::open(path, OnInvalid::Stop)? {
            let other = other?;
            if other.completions.len() < n {
                continue;
            }
            // A stream of its own: the places are drawn from that of the prompt.
            let mut rng = rng_of(seed, &format!("replacement {}", other.prompt));
            let sources = index::sample(&mut rng, other.completions.len(), n).into_vec();
            let drawn = serde_json::json!(other.with_completions(&sources)).to_string();
            spool.write_all(drawn.as_bytes()).map_err(Error::io("write", SPOOL))?;
            places.insert(rank_of(0, &[&other.prompt]), (start, drawn.len()));
            start += drawn.len() as u64;
        }
        let spool = spool.into_inner().map_err(std::io::IntoInnerError::into_error);
        Ok(Self { spool: spool.map_err(Error::io("write", SPOOL))?, places })
    }

    /// The drawn responses to a prompt.
    fn of(&mut self, prompt: &str) -> Result<Option<Rollout>> {
        let Some(&(start, n_bytes)) = self.places.get(&rank_of(0, &[prompt])) else {
            return Ok(None);
        };
        let mut bytes = vec![0; n_bytes];
        let mut read = || {
            self.spool.seek(SeekFrom::Start(start))?;
            self.spool.read_exact(&mut bytes)?;
            Ok(serde_json::from_slice::<Rollout>(&bytes)?)
        };
        let other = read().map_err(Error::io("read", SPOOL))?;
        Ok(Some(other).filter(|other| other.prompt == prompt))
    }
}

/// [`DataOperation::ReplaceResponses`](crate::DataOperation) at work.
pub(crate) struct Replacement {
    n: usize,
    seed: u64,
    others: Others,
}

impl Replacement {
    pub(crate) fn new(path: &Path, n: usize, seed: u64, scratch: Option<&Scratch>) -> Result<Self> {
        if n == 0 {
            return Err(Error::setting("n", "at least 1", n));
        }
        Ok(Self { n, seed, others: Others::draw(path, n, seed, scratch)? })
    }
}

impl Operation for Replacement {
    fn apply(&mut self, _number: u64, mut rollout: Rollout, out: &mut Outcome) -> Result<()> {
        let has_enough = rollout.completions.len() >= self.n;
        let other = if has_enough { self.others.of(&rollout.prompt)? } else { None };
        let Some(other) = other else {
            out.remark("problems without enough responses to exchange", 1);
            return out.keep(rollout);
        };
        let mut rng = rng_of(self.seed, &rollout.prompt);
        let places = index::sample(&mut rng, rollout.completions.len(), self.n);
        for (source, place) in places.into_iter().enumerate() {
            let theirs = &other.completions[source];
            if rollout.completions[place].is_labelled() != theirs.is_labelled() {
                return Err(Error::NoCorrectness {
                    needed_by: "exchanging responses of graded rollouts".to_owned(),
                    record: format!("one side of the problem `{}`", rollout.prompt),
                });
            }
            let ours = std::mem::replace(&mut rollout.completions[place], theirs.clone());
            for name in ours.extra.keys() {
                // A column that the other file lacks has no value here.
                rollout.completions[place].extra.entry(name.as_str()).or_insert(Value::Null);
            }
        }
        out.remark("responses replaced", self.n as u64);
        out.keep(rollout)
    }
}
