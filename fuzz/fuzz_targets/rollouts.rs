//! No file of lines makes the readers of rollouts, scores and cases panic; what is read as a rollout
//! is written and read back the same: `cargo +nightly fuzz run rollouts`.
#![no_main]

use gratis::data::{
    Case, OnInvalid, ProblemScores, RecordReader, RecordWriter, Rollout,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rollouts.jsonl");
    std::fs::write(&path, bytes).expect("written");
    for on_invalid in [OnInvalid::Stop, OnInvalid::Skip] {
        RecordReader::<ProblemScores>::open(&path, on_invalid).expect("a file").for_each(drop);
        RecordReader::<Case>::open(&path, on_invalid).expect("a file").for_each(drop);
        RecordReader::<Rollout>::open(&path, on_invalid).expect("a file").for_each(drop);
    }
    let read = |path| -> Vec<Rollout> {
        RecordReader::<Rollout>::open(path, OnInvalid::Skip).expect("a file").flatten().collect()
    };
    let rollouts = read(&path);
    let again = folder.path().join("again.jsonl");
    let mut writer = RecordWriter::create(&again).expect("a file");
    for rollout in &rollouts {
        let _ = rollout.step_labels();
        writer.write(rollout).expect("written");
    }
    writer.finish().expect("written");
    assert_eq!(read(&again), rollouts);
});
