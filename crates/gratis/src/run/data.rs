//! From rollout files to tokens: the validation split, the data operations, and nothing kept of the
//! texts.

use std::path::{Path, PathBuf};

use super::TrainSettings;
use crate::data::{
    Error as DataError, OnInvalid, Reading, RecordReader, Rollout, RolloutFiles, apply_streaming,
};
use crate::encoding::Encoder;
use crate::error::{Error, Result};
use crate::observer::Observer;
use crate::training::{HeldOut, RewardData};

/// What is learnt from and what it is measured on.
pub(super) struct TrainData {
    /// After the data operations.
    pub(super) train: RewardData,
    /// As it was given.
    pub(super) validation: RewardData,
}

/// Reads the files of `settings`. Problems held out for validation see no data operation, the
/// others go through all of them in order.
pub(super) fn read(
    settings: &TrainSettings,
    encoder: &Encoder,
    scratch: &Path,
    observer: &mut dyn Observer,
) -> Result<TrainData> {
    let on_invalid = if settings.skip_invalid { OnInvalid::Skip } else { OnInvalid::Stop };
    let reading = Reading { on_invalid, shape: settings.shape.clone(), ..Reading::default() };
    let mut n_skipped = 0;
    let mut paths: Vec<PathBuf> = settings.data.clone();
    for path in paths.iter_mut().filter(|path| path.as_path() == Path::new("-")) {
        // The data are read more than once.
        let answered = RecordReader::answered(&*path, reading.clone())?;
        let (copy, n) = answered.spool(scratch)?;
        *path = copy;
        n_skipped += n;
    }
    for path in &paths {
        let mut reader = RecordReader::<Rollout>::open(path, reading.clone())?;
        let _ = reader.next();
        if let Some(notice) = reader.notice() {
            observer.note(&format!("`{}`: {notice}", path.display()));
        }
    }
    let files = RolloutFiles::new(paths, reading.clone()).answered();
    let held_out = hold_out(settings, &files)?;

    let (mut train, mut validation) = (RewardData::default(), RewardData::default());
    let is_held_out = |rollout: &Result<Rollout, DataError>| {
        rollout.as_ref().is_ok_and(|rollout| held_out.contains(rollout))
    };
    let rest = || {
        let rest = files.read().filter(move |rollout| !is_held_out(rollout));
        Ok(Box::new(rest) as Box<dyn Iterator<Item = _>>)
    };
    let mut add = |rollout: Rollout| {
        train.add(&rollout, encoder).map_err(|error| DataError::Caller(Box::new(error)))
    };
    let reports = apply_streaming(&settings.operations, &rest, scratch, &mut add, observer)?;
    n_skipped += files.n_skipped();
    for report in &reports {
        observer.note(&format!("{}: {} -> {}", report.operation, report.before, report.after));
        for (what, n) in &report.remarks {
            observer.note(&format!("  {what}: {n}"));
        }
    }

    if let Some(path) = &settings.validation {
        let files = RolloutFiles::new(vec![path.clone()], reading).answered();
        for rollout in files.read() {
            validation.add(&rollout?, encoder)?;
        }
        n_skipped += files.n_skipped();
    } else if held_out != HeldOut::default() {
        for rollout in files.read().filter(is_held_out) {
            validation.add(&rollout?, encoder)?;
        }
    }
    let n_left_out = (train.n_left_out + validation.n_left_out) as u64;
    for (n, what) in [(n_skipped, "malformed lines"), (n_left_out, "completions")] {
        if n > 0 {
            observer.note(&format!("left out {n} {what}"));
        }
    }
    if train.examples.is_empty() && n_skipped + n_left_out > 0 {
        return Err(Error::NoExamples { purpose: "train on", n_left_out: n_skipped + n_left_out });
    }
    Ok(TrainData { train, validation })
}

/// The problems to hold out where no validation file is given.
fn hold_out(settings: &TrainSettings, files: &RolloutFiles) -> Result<HeldOut> {
    if settings.validation.is_some() || settings.validation_share <= 0.0 {
        return Ok(HeldOut::default());
    }
    let prompts = files.read().map(|rollout| Ok(rollout?.prompt));
    let prompts = prompts.collect::<Result<std::collections::BTreeSet<String>>>()?;
    Ok(HeldOut::draw(prompts, settings.validation_share, settings.optimization.seed))
}
