//! Files of rollouts, written and read whole.

use std::path::Path;

use gratis_data::{OnInvalid, RecordReader, RecordWriter, Rollout};

pub(crate) fn write(path: &Path, rollouts: &[Rollout]) {
    let mut writer = RecordWriter::create(path).expect("a writable folder");
    for rollout in rollouts {
        writer.write(rollout.clone()).expect("written");
    }
    writer.finish().expect("finished");
}

pub(crate) fn read(path: &Path) -> Vec<Rollout> {
    let reader = RecordReader::<Rollout>::open(path, OnInvalid::Stop).expect("opens");
    reader.collect::<Result<_, _>>().expect("valid")
}
