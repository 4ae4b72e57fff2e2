//! A run killed at random moments and resumed ends with the bits of one that was not.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::workspace::{Workspace, stderr};

const N_KILLS: u32 = 4;

fn arguments(run: &str) -> Vec<&str> {
    let settings = "--epochs 12 --batch-size 8 --learning-rate 1e-3 --validation-share 0.25 \
                    --checkpoint-every 3 --validate-every 4 --quiet --resume";
    ["train", "--model", "model", "--data", "graded.jsonl", "--run", run]
        .into_iter()
        .chain(settings.split_whitespace())
        .collect()
}

#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_bits() {
    let workspace = Workspace::new();
    let started = Instant::now();
    let whole = workspace.run(&arguments("whole"));
    assert!(whole.status.success(), "{}", stderr(&whole));
    let takes = started.elapsed();

    let mut moments = Vec::new();
    for kill in 0..N_KILLS {
        let share = RandomState::new().hash_one(kill) as f64 / u64::MAX as f64;
        // Later kills find less left to do.
        let moment = takes.mul_f64(share / f64::from(kill + 1));
        moments.push(moment);
        workspace.kill_after(moment, &arguments("killed"));
    }
    let last = workspace.run(&arguments("killed"));
    assert!(last.status.success(), "killed after {moments:?}: {}", stderr(&last));

    let metrics = ["whole", "killed"].map(|run| workspace.metrics(run));
    assert!(metrics[0] == metrics[1], "the metrics differ after kills at {moments:?} of {takes:?}");
    for file in ["model/model.safetensors", "best/model.safetensors", "config.toml"] {
        let same =
            workspace.read(&format!("whole/{file}")) == workspace.read(&format!("killed/{file}"));
        assert!(same, "{file} differs after kills at {moments:?} of {takes:?}");
    }
    for folder in ["", "checkpoints", "model", "best"] {
        let names = |run: &str| workspace.names(&format!("{run}/{folder}"));
        assert_eq!(names("whole"), names("killed"), "`{folder}` after kills at {moments:?}");
    }
}
