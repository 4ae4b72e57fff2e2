//! How the process behaves: signals, unwritable streams, progress off a terminal, control characters
//! from data, limits of the system.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::{Workspace, gratis, ok, stderr, stdout};

/// Longer than any test runs, were it not stopped.
const LONG_RUN: [&str; 10] = [
    "--model",
    "model",
    "--data",
    "graded.jsonl",
    "--epochs",
    "100000",
    "--batch-size",
    "8",
    "--checkpoint-every",
    "1",
];

/// Sends a signal by name.
#[cfg(unix)]
fn signal(child: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.to_string()]).status();
    assert!(status.expect("`kill` runs").success());
}

/// What a command line prints on stderr and how it ends, run by a shell in the folder.
#[cfg(unix)]
fn shell(workspace: &Workspace, script: &str) -> (Option<i32>, String, String) {
    let output = Command::new("sh")
        .args(["-c", &script.replace("gratis", env!("CARGO_BIN_EXE_gratis"))])
        .current_dir(workspace.path("."))
        .env_remove("RUST_LOG")
        .output()
        .expect("a shell runs");
    (output.status.code(), stdout(&output), stderr(&output))
}

#[cfg(unix)]
#[test]
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
fn signals_say_how_to_continue_remove_temporary_files_and_set_the_exit_code() {
    use std::os::unix::process::ExitStatusExt;
    let workspace = Workspace::new();
    for (name, number) in [("TERM", 15), ("HUP", 1), ("INT", 2)] {
        if is_ignored(number) {
            eprintln!("skipped: SIG{name} is ignored here, and what a test starts inherits that");
            continue;
        }
        let run = format!("run-{name}");
        let mut child = workspace
            .command(&[&["train", "--run", &run][..], &LONG_RUN].concat())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        wait_for(|| workspace.path(&run).join("checkpoints/step-00000002").exists());
        signal(child.id(), name);
        let mut text = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut text).expect("text");
        let status = child.wait().expect("it ends");
        if name == "INT" {
            // By the signal itself, so that a shell stops its script too.
            assert_eq!(status.signal(), Some(number), "{text}");
        } else {
            assert_eq!(status.code(), Some(128 + number), "{text}");
        }
        let line = text.lines().last().expect("a line");
        let said = format!("interrupted by SIG{name}: checkpoints are kept; to continue: gratis ");
        assert!(line.starts_with(&said) && line.ends_with(" --resume"), "{text}");
        for folder in [".", &run, &format!("{run}/checkpoints")] {
            let names = workspace.names(folder);
            assert!(!names.iter().any(|name| name.starts_with('.')), "{folder}: {names:?}");
        }
    }
}

/// Whether this process ignores a signal, as under `nohup` or in the background of a script.
fn is_ignored(number: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (number - 1) & 1 == 1)
}

#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_nohup_ignores_stays_ignored() {
    let workspace = Workspace::new();
    let script = "nohup gratis train --run run --model model --data graded.jsonl --epochs 20 \
                  --batch-size 4 -q >/dev/null 2>&1 & pid=$!; \
                  while ! [ -e run/metrics.jsonl ]; do sleep 0.02; done; kill -HUP $pid; wait $pid";
    let (code, _, text) = shell(&workspace, script);
    assert_eq!(code, Some(0), "{text}");
    assert!(workspace.path("run/model").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_stderr_that_cannot_be_written_is_silence() {
    let workspace = Workspace::new();
    let train = |run: &str| {
        format!(
            "gratis train --run {run} --model model --data graded.jsonl -vv --progress-every 0.01"
        )
    };
    let (code, ..) = shell(&workspace, &format!("{} 2>/dev/full", train("full")));
    assert_eq!(code, Some(0));
    let (code, ..) = shell(&workspace, &format!("{} 2>&-", train("closed")));
    assert_eq!(code, Some(0));
    // A log pipe whose reader goes away after the first line.
    let piped = format!("{{ {}; echo $? > code; }} 2>&1 | head -n 1", train("piped"));
    let (_, said, _) = shell(&workspace, &piped);
    assert!(!said.is_empty());
    assert_eq!(workspace.read("code"), b"0\n");
    for run in ["full", "closed", "piped"] {
        assert!(workspace.path(run).join("model/model.safetensors").exists(), "{run}");
    }
    // An error keeps its exit code, wherever its text goes.
    assert_eq!(shell(&workspace, "gratis inspect absent 2>/dev/full").0, Some(1));
    assert_eq!(shell(&workspace, "gratis --no-such-flag 2>/dev/full").0, Some(1));
}

#[cfg(unix)]
#[test]
fn a_reader_of_stdout_that_has_enough_is_no_error() {
    let workspace = Workspace::new();
    let mut lines = String::new();
    let line = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    for _ in 0..200 {
        lines.push_str(&line);
    }
    workspace.write("many.jsonl", &lines);
    for command in ["grade many.jsonl", "--help", "train --help", "data summary many.jsonl"] {
        let script = format!("{{ gratis {command} -q 2>said; echo $? > code; }} | head -c 1");
        let (..) = shell(&workspace, &script);
        assert_eq!(workspace.read("code"), b"0\n", "{command}");
        let said = String::from_utf8(workspace.read("said")).expect("text");
        assert!(said.is_empty(), "{command}: {said}");
    }
}

#[test]
fn off_a_terminal_lines_tell_how_far_a_job_is() {
    let workspace = Workspace::new();
    let mut child = workspace
        .command(&[&["train", "--run", "run", "--progress-every", "0.05"][..], &LONG_RUN].concat())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let line = lines
        .map(|line| line.expect("text"))
        .find(|line| line.contains("train: ") && !line.contains("train: 0 of"));
    child.kill().expect("it is running");
    child.wait().expect("it ends");
    let line = line.expect("a line of progress");
    // `train: 12 of 600000 (0 %), 31/s, 0.4 s so far, 310 min left, 812 tokens/s, loss 0.69, ...`
    for part in [" of 600000 (0 %), ", "/s, ", " so far, ", " left, ", " tokens/s, ", "loss "] {
        assert!(line.contains(part), "`{part}` is missing in `{line}`");
    }
    assert!(!line.contains("learning rate 0.0000"), "{line}");
}

#[cfg(unix)]
#[test]
fn a_resumed_job_counts_what_was_done_before() {
    let workspace = Workspace::new();
    let score = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];
    let score = [&score[..], &["-o", "scores.jsonl", "--chunk", "3"]].concat();
    workspace.cut_off(10, &score);
    let state = String::from_utf8(workspace.read("scores.jsonl.partial.state")).expect("text");
    let n_done = 12 * (state.lines().count() - 1);
    assert!((12..48).contains(&n_done), "{state}");
    let text = stderr(&workspace.run(&score));
    assert!(text.contains("score: 48 done in 0."), "{text}");
    assert!(text.contains(&format!(" s, {n_done} of them by an earlier run, ")), "{text}");
    assert!(
        text.contains("next: gratis select --rollouts graded.jsonl --scores scores.jsonl"),
        "{text}"
    );
}

#[test]
fn counts_are_not_shown_as_rates() {
    let workspace = Workspace::new();
    let rollout = ["rollout", "--model", "model", "graded.jsonl", "-k", "2", "--max-tokens", "2"];
    let text = stderr(&workspace.run(&[&rollout[..], &["-o", "new.jsonl"]].concat()));
    assert!(text.contains(" tokens/s") && text.contains(" cut short"), "{text}");
    assert!(!text.contains("cut short/"), "{text}");
    assert!(text.contains("next: gratis grade new.jsonl -o graded.jsonl"), "{text}");
}

#[test]
fn a_training_ends_with_its_figures_and_metrics_carry_the_time() {
    let workspace = Workspace::new();
    let train = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "run"];
    let more = ["--validation-share", "0.25", "--max-steps", "3", "--batch-size", "4"];
    let text = stderr(&workspace.run(&[&train[..], &more].concat()));
    assert!(text.contains("step 3 of 3: loss ") && text.contains("validation: loss "), "{text}");
    assert!(text.contains("next: gratis score --model run ROLLOUTS -o scores.jsonl"), "{text}");
    let metrics = String::from_utf8(workspace.read("run/metrics.jsonl")).expect("text");
    let seconds: Vec<f64> = metrics
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .map(|line| line["wall_seconds"].as_f64().expect("a time"))
        .collect();
    // Three steps, a validation and its rewards.
    assert_eq!(seconds.len(), 5);
    assert!(seconds.is_sorted() && seconds[0] > 0.0 && seconds[4] < 60.0, "{seconds:?}");
}

#[test]
fn each_level_of_verbosity_says_more() {
    let workspace = Workspace::new();
    let said = |level: &str| {
        let train = ["train", "--model", "model", "--data", "graded.jsonl", "--max-steps", "2"];
        let run = format!("run{level}");
        let arguments = [&train[..], &["--run", &run]].concat();
        let level = if level.is_empty() { None } else { Some(level) };
        stderr(&workspace.run(&[&arguments[..], level.as_slice()].concat()))
    };
    let levels = ["-q", "", "-v", "-vv"].map(said);
    assert!(levels[0].is_empty(), "{}", levels[0]);
    assert!(!levels[1].contains("DEBUG") && levels[1].contains(" INFO train: "), "{}", levels[1]);
    assert!(levels[2].contains("DEBUG train 1, loss ") && !levels[2].contains("TRACE"));
    let debug = &levels[3];
    assert!(
        debug.contains("TRACE gratis::progress: ") && debug.contains(" MiB at most"),
        "{debug}"
    );
    assert!(debug.trim_start().starts_with("0."), "times: {debug}");
}

#[test]
fn control_characters_from_data_never_reach_stderr_or_a_table() {
    let workspace = Workspace::new();
    let steering = "\u{1b}]0;title\u{7}\u{9b}2J\u{202e}x";
    let is_bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
    let is_clean = |text: &str| {
        assert!(!text.contains(is_bad), "{text:?}");
        assert!(text.contains(r"\u{1b}]0;title\u{7}\u{9b}2J\u{202e}x"), "{text}");
    };
    // In an error.
    workspace.write("bad.jsonl", &format!("{{\"prompt\": \"a\", \"{steering}\": ]}}\n"));
    let name = format!("{steering}.jsonl");
    is_clean(&stderr(&workspace.run(&["data", "summary", &name])));
    let usage = stderr(&workspace.run(&["train", "--objective", steering]));
    assert!(!usage.contains(is_bad) && usage.contains("\\u{202e}x"), "{usage:?}");
    // In the log.
    let prompt = serde_json::json!({
        "prompt": "p", "reference": format!("1{steering}"), "completions": ["2"], "dataset": steering,
    });
    workspace.write("steering.jsonl", &format!("{prompt}\n"));
    is_clean(&stderr(&workspace.run(&["grade", "steering.jsonl", "-o", "graded-again.jsonl"])));
    // In a table, and in JSON for people.
    let output = workspace.run(&["-q", "data", "summary", "steering.jsonl"]);
    is_clean(&stdout(&output));
    let output = workspace.run(&["-q", "data", "summary", "steering.jsonl", "--json"]);
    let text = stdout(&output);
    assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert!(value["datasets"].get(steering).is_some(), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn grade_uses_the_threads_it_is_given_and_says_when_they_cannot_be_started() {
    let workspace = Workspace::new();
    let grade = |n: usize| {
        // Each thread has a stack of 2 MiB.
        let script = format!("ulimit -v 1000000; gratis grade graded.jsonl --threads {n} -q");
        shell(&workspace, &script)
    };
    let (code, lines, text) = grade(1);
    assert_eq!((code, lines.lines().count()), (Some(0), 12), "{text}");
    let (code, _, text) = grade(4096);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("error: cannot start 4096 threads"), "{text}");
    assert!(text.contains("hint: use fewer threads (`--threads`)"), "{text}");
}

#[test]
fn a_missing_folder_for_temporary_files_is_named() {
    let workspace = Workspace::new();
    let output = workspace
        .command(&["train", "--model", "model", "--data", "graded.jsonl", "--run", "run"])
        .env("TMPDIR", "/no/such/folder")
        .output()
        .expect("it runs");
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("temporary folder in `/no/such/folder`, the value of `TMPDIR`"),
        "{text}"
    );
    assert!(text.contains("hint: set `TMPDIR`"), "{text}");
}

#[test]
fn tables_fit_eighty_columns() {
    let workspace = Workspace::new();
    let score = ["-q", "score", "--model", "model", "--reference", "none", "graded.jsonl"];
    ok(&workspace, &[&score[..], &["-o", "scores.jsonl"]].concat());
    let several: Vec<String> = ["weak", "medium", "strong", "strongest of them all"]
        .iter()
        .map(|name| format!("{name}=graded.jsonl,scores.jsonl"))
        .collect();
    let mut bon = vec!["evaluate", "bon", "-n", "1,2,4"];
    bon.extend(several.iter().map(String::as_str));
    let select =
        ["select", "--rollouts", "graded.jsonl", "--scores", "scores.jsonl", "-n", "1,2,3,4"];
    let theory = ["theory", "--exact", "--vocab", "2", "--length", "3", "--models", "1"];
    let paper = ["cost", "--paper"];
    let cost = ["cost", "scores.jsonl.cost.json"];
    for command in [&bon[..], &select, &theory, &paper, &cost] {
        let text = ok(&workspace, command);
        let widest = text.lines().map(|line| line.chars().count()).max().expect("a line");
        assert!(widest <= 80, "{command:?} is {widest} wide:\n{text}");
        // Under headings only.
        let n_rules = text.lines().filter(|line| line.starts_with(['─', '═'])).count();
        let n_rows = text.lines().count();
        assert!(n_rules * 4 <= n_rows, "{command:?}: {n_rules} rules in {n_rows} lines:\n{text}");
    }
}

#[test]
fn the_version_is_told() {
    let output = gratis().arg("--version").output().expect("it runs");
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("gratis {}", env!("CARGO_PKG_VERSION")));
    assert!(lines[1].starts_with("commit: ") && lines[2] == "features: serve", "{text}");
    assert!(lines[3].starts_with("target: ") && lines.len() == 4, "{text}");
    let output = gratis().arg("-V").output().expect("it runs");
    assert_eq!(stdout(&output), format!("gratis {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn shells_complete_commands_and_man_describes_them() {
    for (shell, mark) in [
        ("bash", "complete -F _gratis"),
        ("zsh", "#compdef gratis"),
        ("fish", "complete -c gratis"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let output = gratis().args(["completions", shell]).output().expect("it runs");
        let text = stdout(&output);
        assert!(output.status.success() && text.contains(mark), "{shell}: {text}");
        assert!(text.contains("processbench") && text.contains("reference"), "{shell}");
    }
    let output = gratis().arg("man").output().expect("it runs");
    let text = stdout(&output);
    assert!(text.contains(".TH gratis 1") && text.contains("gratis\\-train(1)"), "{text}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("man1");
    let output = gratis().arg("man").arg("--folder").arg(&path).output().expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
    for name in ["gratis.1", "gratis-train.1", "gratis-evaluate-processbench.1"] {
        let page = std::fs::read_to_string(path.join(name)).expect(name);
        assert!(page.contains(".SH NAME") && page.contains(".SH OPTIONS"), "{name}: {page}");
    }
    assert!(!path.join("gratis-help.1").exists());
}

fn wait_for(is_there: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_there() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_log_is_filtered_by_the_environment_which_may_be_unreadable() {
    let workspace = Workspace::new();
    let said = |log: &str| {
        let mut command =
            workspace.command(&["score", "--model", "model", "graded.jsonl", "-o", "-"]);
        let output = command.args(["--reference", "none"]).env("RUST_LOG", log).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    assert!(said("").contains("INFO"), "{}", said(""));
    assert!(!said("gratis=error").contains("INFO"), "{}", said("gratis=error"));
    assert!(said("gratis=debug,info").contains("INFO"), "{}", said("gratis=debug,info"));
    let unreadable = said("gratis=loud");
    assert!(unreadable.contains("WARN `RUST_LOG` is ignored"), "{unreadable}");
    assert!(unreadable.contains("INFO"), "the flags hold: {unreadable}");
}
