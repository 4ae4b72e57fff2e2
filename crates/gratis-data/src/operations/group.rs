//! Grouping: records of the same problem, wherever they are in the file, become one.
//!
//! The records are spread over temporary files by a hash of their problem, so that all records of a
//! problem are in the same one. A file that is still large is spread again. Each is then grouped in
//! memory, and the groups are merged by their first record. Memory is that of one such file, or of the
//! largest problem.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, BufRead, BufReader, BufWriter, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::operation::{Operation, Outcome};
use super::scratch::{Scratch, Spool, spool_in};
use crate::error::{Error, Result};
use crate::records::rollout::Rollout;
use crate::records::shapes;
use crate::seeding::rank_of;

/// Files over which records are spread at once.
const N_PARTS: u64 = 64;
/// Bytes of a file that is grouped in memory, unless it cannot be spread further.
const MAX_BYTES: u64 = if cfg!(test) { 1 << 16 } else { 32 << 20 };
/// A problem whose records exceed [`MAX_BYTES`] cannot be spread: the hash is the same at each level.
const MAX_LEVEL: u64 = 3;
/// What errors call the temporary files.
const SPOOL: &str = "a temporary file";

/// [`DataOperation::GroupResponses`](crate::DataOperation) at work.
pub(crate) struct Grouping {
    /// Where the temporary files are; `None` for memory.
    folder: Option<PathBuf>,
    parts: Parts,
    runs: Vec<Run>,
}

impl Operation for Grouping {
    fn apply(&mut self, number: u64, rollout: Rollout, _out: &mut Outcome) -> Result<()> {
        self.parts.add(&Numbered { number, rollout })
    }

    fn finish(&mut self, out: &mut Outcome) -> Result<()> {
        let parts = std::mem::take(&mut self.parts);
        self.group(parts, out)?;
        merge(std::mem::take(&mut self.runs), out)
    }
}

impl Grouping {
    pub(crate) fn new(scratch: Option<&Scratch>) -> Result<Self> {
        let folder = scratch.map(Scratch::folder).transpose()?.map(Path::to_owned);
        let parts = Parts::new(0, folder.as_deref())?;
        Ok(Self { folder, parts, runs: Vec::new() })
    }

    /// Groups every part, or spreads it again.
    fn group(&mut self, parts: Parts, out: &mut Outcome) -> Result<()> {
        let level = parts.level + 1;
        for part in parts.files {
            let is_large = part.n_bytes > MAX_BYTES && level <= MAX_LEVEL;
            if is_large {
                let mut smaller = Parts::new(level, self.folder.as_deref())?;
                part.read(|record| smaller.add(&record))?;
                self.group(smaller, out)?;
            } else if part.n_bytes > 0 {
                self.runs.push(run_of(part, self.folder.as_deref(), out)?);
            }
        }
        Ok(())
    }
}

/// A record with its place in the file.
struct Numbered {
    number: u64,
    rollout: Rollout,
}

/// What makes two records one problem.
fn key(rollout: &Rollout) -> String {
    json!([rollout.prompt, rollout.context, rollout.reference]).to_string()
}

/// Files over which records are spread by their problem.
#[derive(Default)]
struct Parts {
    level: u64,
    files: Vec<Part>,
}

impl Parts {
    fn new(level: u64, folder: Option<&Path>) -> Result<Self> {
        let files = (0..N_PARTS).map(|_| Part::new(folder)).collect::<Result<_>>()?;
        Ok(Self { level, files })
    }

    fn add(&mut self, record: &Numbered) -> Result<()> {
        let part = rank_of(self.level, &[&key(&record.rollout)]) % N_PARTS;
        self.files[part as usize].add(record)
    }
}

/// Records one after the other: each its number, a tab and its JSON on a line.
struct Part {
    file: BufWriter<Box<dyn Spool>>,
    n_bytes: u64,
}

impl Part {
    fn new(folder: Option<&Path>) -> Result<Self> {
        Ok(Self { file: BufWriter::new(spool_in(folder)?), n_bytes: 0 })
    }

    fn add(&mut self, record: &Numbered) -> Result<()> {
        let line = format!("{}\t{}\n", record.number, json!(record.rollout));
        self.n_bytes += line.len() as u64;
        self.file.write_all(line.as_bytes()).map_err(Error::io("write", SPOOL))
    }

    /// The records from the first one on.
    fn into_lines(self) -> Result<BufReader<Box<dyn Spool>>> {
        let rewind = || {
            let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(BufReader::new(file))
        };
        rewind().map_err(Error::io("read", SPOOL))
    }

    fn read(self, mut each: impl FnMut(Numbered) -> Result<()>) -> Result<()> {
        let mut lines = self.into_lines()?;
        while let Some(record) = next(&mut lines)? {
            each(record)?;
        }
        Ok(())
    }
}

/// The next record.
fn next(lines: &mut impl BufRead) -> Result<Option<Numbered>> {
    let mut line = Vec::new();
    let mut read = || {
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let tab = line.iter().position(|&byte| byte == b'\t').unwrap_or_default();
        let number = serde_json::from_slice(&line[..tab])?;
        Ok(Some(Numbered { number, rollout: serde_json::from_slice(&line[tab..])? }))
    };
    read().map_err(Error::io("read", SPOOL))
}

/// Problems in the order of their first records.
type Run = BufReader<Box<dyn Spool>>;

/// The problems of one part.
fn run_of(part: Part, folder: Option<&Path>, out: &mut Outcome) -> Result<Run> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut problems: Vec<Numbered> = Vec::new();
    let (mut n_joined, mut n_dropped) = (0, 0);
    part.read(|record| {
        let place = *places.entry(key(&record.rollout)).or_insert(problems.len());
        match problems.get_mut(place) {
            None => problems.push(record),
            Some(problem) => {
                n_joined += 1;
                n_dropped += shapes::join(&mut problem.rollout, record.rollout);
            }
        }
        Ok(())
    })?;
    out.remark("records joined to an earlier one of their problem", n_joined);
    out.remark("columns dropped because they differ within a problem", n_dropped);
    let mut run = Part::new(folder)?;
    problems.iter().try_for_each(|problem| run.add(problem))?;
    run.into_lines()
}

/// The problems of all runs in the order of their first records.
fn merge(mut runs: Vec<Run>, out: &mut Outcome) -> Result<()> {
    let mut heads: Vec<Option<Rollout>> = Vec::new();
    let mut order = BinaryHeap::new();
    for (idx, run) in runs.iter_mut().enumerate() {
        let head = next(run)?;
        order.extend(head.as_ref().map(|head| Reverse((head.number, idx))));
        heads.push(head.map(|head| head.rollout));
    }
    while let Some(Reverse((_, idx))) = order.pop() {
        if let Some(rollout) = heads[idx].take() {
            out.keep(rollout)?;
        }
        if let Some(Numbered { number, rollout }) = next(&mut runs[idx])? {
            order.push(Reverse((number, idx)));
            heads[idx] = Some(rollout);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::operation::DataOperation;
    use super::*;
    use crate::Completion;
    use crate::observer::Silent;
    use crate::operations::apply::{apply, apply_streaming};

    /// One response each of `n_problems` problems, again and again.
    fn scattered(n_problems: usize, n_rounds: usize, n_bytes: usize) -> Vec<Rollout> {
        let record = |idx: usize| {
            let mut rollout = Rollout {
                id: Some(idx.to_string()),
                prompt: format!("problem {}", idx % n_problems),
                reference: "1".to_owned(),
                completions: vec![Completion::graded(
                    format!("{idx} {}", "x".repeat(n_bytes)),
                    idx.is_multiple_of(3),
                )],
                ..Rollout::default()
            };
            rollout.extra.insert("round".to_owned(), json!(idx / n_problems));
            rollout.extra.insert("level".to_owned(), json!(idx % n_problems));
            rollout
        };
        (0..n_problems * n_rounds).map(record).collect()
    }

    fn check(grouped: &[Rollout], n_problems: usize, n_rounds: usize) {
        assert_eq!(grouped.len(), n_problems);
        for (idx, rollout) in grouped.iter().enumerate() {
            assert_eq!(rollout.prompt, format!("problem {idx}"), "where the first record was");
            assert_eq!(rollout.id, Some(idx.to_string()));
            let numbers: Vec<usize> = rollout
                .texts()
                .map(|text| text.split(' ').next().unwrap_or("").parse().expect("a number"))
                .collect();
            let expected: Vec<usize> =
                (0..n_rounds).map(|round| round * n_problems + idx).collect();
            assert_eq!(numbers, expected);
            let labels = rollout.labels("the test").expect("labelled");
            assert!(numbers.iter().zip(labels).all(|(n, label)| n.is_multiple_of(3) == label));
            assert_eq!(rollout.extra.get("round"), None, "it differs");
            assert_eq!(rollout.extra.get("level"), Some(&json!(idx)));
        }
    }

    #[test]
    fn scattered_responses_are_joined_in_order() {
        let operations = [DataOperation::GroupResponses {}];
        let (grouped, reports) =
            apply(&operations, scattered(300, 4, 0), &mut Silent).expect("applied");
        check(&grouped, 300, 4);
        let remarks = &reports[0].remarks;
        assert_eq!(remarks["records joined to an earlier one of their problem"], 900);
        assert_eq!("group_responses".parse::<DataOperation>().expect("known"), operations[0]);
    }

    #[test]
    fn a_part_beyond_the_limit_is_spread_again() {
        // 160 KiB of one problem, which is beyond the limit of a test, and a little of the others.
        let mut rollouts = scattered(5, 8, 4096);
        rollouts.iter_mut().filter(|r| r.prompt != "problem 2").for_each(|rollout| {
            let text = &mut rollout.completions[0].text;
            text.truncate(text.find(' ').unwrap_or(text.len()));
        });
        let long: Vec<Rollout> = rollouts
            .iter()
            .cloned()
            .chain(
                (0..32)
                    .map(|idx| Rollout { id: Some(format!("again-{idx}")), ..rollouts[2].clone() }),
            )
            .collect();
        let operations = [DataOperation::GroupResponses {}];
        let folder = tempfile::tempdir().expect("a folder");
        let open =
            || Ok(Box::new(long.iter().cloned().map(Ok)) as crate::operations::apply::Rollouts<'_>);
        let mut grouped = Vec::new();
        let mut emit = |rollout: Rollout| {
            grouped.push(rollout);
            Ok(())
        };
        apply_streaming(&operations, &open, folder.path(), &mut emit, &mut Silent)
            .expect("applied");
        let sizes: Vec<usize> = grouped.iter().map(|rollout| rollout.completions.len()).collect();
        assert_eq!(sizes, [8, 8, 40, 8, 8]);
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 0, "nothing is left");
    }
}
