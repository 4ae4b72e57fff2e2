//! `cost.json`: the cost record of a job, in its run folder or beside its output.

use std::path::Path;

use gratis_model::atomic;
use serde::{Deserialize, Serialize};

use super::flops::{Architecture, Flops, Pass};
use super::work::Work;
use crate::data::Error as DataError;
use crate::error::{Error, Result};

/// Name of the file in a run folder; beside an output file it is `OUTPUT.cost.json`.
pub const COST_FILE: &str = "cost.json";
/// Version of the format.
const VERSION: u32 = 1;

/// The cost of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostRecord {
    /// Version of the format.
    pub version: u32,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// Processor seconds of the process that wrote this, if known; earlier interrupted processes
    /// are not included.
    pub cpu_seconds: Option<f64>,
}

/// A part of a job with one model and one kind of pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What was done: `training`, `reference`, `sampling`, `continuations`, `scoring`.
    pub name: String,
    /// Which passes.
    pub pass: Pass,
    /// The model.
    pub architecture: Architecture,
    /// With shared prompts, copies and caches.
    pub as_run: Work,
    /// Every sequence on its own, as the paper counts.
    pub as_counted: Work,
    /// Operations of `as_run`.
    pub flops_as_run: Flops,
    /// Operations of `as_counted`.
    pub flops_as_counted: Flops,
}

impl Phase {
    /// A phase and its operations.
    pub fn new(
        name: &str,
        pass: Pass,
        architecture: Architecture,
        as_run: Work,
        as_counted: Work,
    ) -> Self {
        Self {
            name: name.to_owned(),
            pass,
            architecture,
            as_run,
            as_counted,
            flops_as_run: architecture.flops(&as_run, pass),
            flops_as_counted: architecture.flops(&as_counted, pass),
        }
    }
}

impl CostRecord {
    /// A record of these phases.
    pub fn new(phases: Vec<Phase>, cpu_seconds: Option<f64>) -> Self {
        Self { version: VERSION, phases, cpu_seconds }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Io`](crate::data::Error::Io); [`InvalidFile`](crate::data::Error::InvalidFile) for another format or version.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let invalid = |got: String| DataError::InvalidFile {
            path: path.to_owned(),
            expected: format!("a cost record of version {VERSION}"),
            got,
        };
        let record: Self =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if record.version == VERSION {
            Ok(record)
        } else {
            Err(invalid(format!("version {}", record.version)).into())
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// [`Io`](crate::data::Error::Io).
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = format!("{:#}\n", serde_json::json!(self));
        Ok(atomic::write(path, text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_written_and_a_later_version_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(COST_FILE);
        let work = Work::of_response(3, 4);
        let architecture = Architecture::LLAMA_3_1_8B;
        let phase =
            Phase::new("training", Pass::ForwardBackward, architecture, work, work.times(2));
        assert_eq!(2.0 * phase.flops_as_run.total(), phase.flops_as_counted.total());
        let record = CostRecord::new(vec![phase], Some(1.5));
        record.write(&path).expect("written");
        assert_eq!(CostRecord::read(&path).expect("read"), record);
        CostRecord { version: 2, ..record }.write(&path).expect("written");
        let error = CostRecord::read(&path).expect_err("later").to_string();
        assert!(error.ends_with("of version 1, got version 2"), "{error}");
    }
}
