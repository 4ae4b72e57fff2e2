//! Everything that is written: what a partial output depends on, formats by name, one writer at a
//! time, what is not a regular file, leftovers of a kill, the cache of the reference.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workspace::{Workspace, ok, stderr, stdout};

const SCORE: [&str; 6] = ["score", "--model", "model", "--reference", "none", "graded.jsonl"];

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never happens");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A job that has reserved its output and waits for its input.
fn waiting(workspace: &Workspace, output: &str) -> Child {
    let arguments = ["score", "--model", "model", "--reference", "none", "-", "-o", output];
    let child = workspace
        .command(&arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let lock = workspace.path(&format!(".{output}.gratis-lock"));
    wait_for(|| fs::read(&lock).is_ok_and(|pid| !pid.is_empty()));
    child
}

/// A benchmark of more solutions than are scored together.
fn write_bench(workspace: &Workspace) {
    fs::create_dir(workspace.path("bench")).expect("a folder");
    let solutions: Vec<Value> = (0..150)
        .map(|idx| {
            let label = if idx % 2 == 0 { -1 } else { 1 };
            serde_json::json!({ "id": format!("g-{idx}"), "generator": "g", "label": label,
                "problem": format!("{idx} + 1"), "final_answer_correct": label == -1,
                "steps": [format!("{idx} + 1"), format!("= {}", idx + idx % 2)] })
        })
        .collect();
    workspace.write("bench/gsm8k.json", &Value::Array(solutions).to_string());
}

/// A job, the flag of its output, the half KiB after which it is killed, what another job has
/// otherwise, and the difference that is named.
#[cfg(unix)]
type Refused<'a> = (&'a [&'a str], &'a str, usize, &'a [&'a str], &'a str);

#[cfg(unix)]
#[test]
fn lines_of_another_job_are_refused_by_every_command_that_resumes() {
    let workspace = Workspace::new();
    write_bench(&workspace);
    let bench = ["evaluate", "processbench", "bench", "--model", "model", "--reference", "none"];
    let sample = ["--model", "model", "graded.jsonl", "--max-tokens", "24"];
    let jobs: [Refused; 8] = [
        (
            &[&SCORE[..], &["--chunk", "1"]].concat(),
            "-o",
            4,
            &["--beta", "2"],
            "beta was `1.0` and is now `2.0`",
        ),
        (
            &[&SCORE[..], &["--chunk", "1"]].concat(),
            "-o",
            4,
            &["--chunk", "2"],
            "`--chunk` was `1` and is now `2`",
        ),
        (
            &[&SCORE[..], &["--chunk", "1"]].concat(),
            "-o",
            4,
            &["--step-split", "whole"],
            "step split was",
        ),
        (
            &[&SCORE[..], &["--chunk", "1"]].concat(),
            "-o",
            4,
            &["--template", "Q {prompt}"],
            "template was",
        ),
        (
            &[&["rollout"], &sample[..], &["-k", "4", "--chunk", "1"]].concat(),
            "-o",
            4,
            &["--seed", "7"],
            "`--seed` was `0` and is now `7`",
        ),
        (
            &[&["rollout"], &sample[..], &["-k", "4", "--chunk", "1"]].concat(),
            "-o",
            4,
            &["--temperature", "0.5"],
            "`--temperature` was `1.0` and is now `0.5`",
        ),
        (
            &[&["annotate", "math-shepherd"], &sample[..], &["-n", "2", "--chunk", "1"]].concat(),
            "-o",
            4,
            &["--labels", "hard"],
            "`--labels` was `soft` and is now `hard`",
        ),
        (&bench, "--save-scores", 24, &["--beta", "3"], "beta was `1.0` and is now `3.0`"),
    ];
    for (nth, (job, flag, n_blocks, other, said)) in jobs.into_iter().enumerate() {
        let name = format!("out-{nth}.jsonl");
        let begun = [job, &[flag, &name]].concat();
        workspace.cut_off(n_blocks, &begun);
        let left = workspace.read(&format!("{name}.partial"));
        // The last of two equal flags counts.
        let job: Vec<&str> = match other {
            ["--chunk", _] => job[..job.len() - 2].to_vec(),
            _ => job.to_vec(),
        };
        let other = [&job[..], &[flag, &name], other].concat();
        let error = workspace.error_of(&other);
        let start = format!("`{name}.partial` was written by another job: ");
        assert!(error.contains(&start) && error.contains(said), "{error}");
        assert!(error.contains("hint: ") && error.contains("`--restart`"), "{error}");
        assert_eq!(workspace.read(&format!("{name}.partial")), left, "nothing was touched");
        // The same job goes on, another one begins anew.
        let whole = format!("whole-{nth}.jsonl");
        ok(&workspace, &begun);
        ok(&workspace, &[&job[..], &begun[job.len()..begun.len() - 2], &[flag, &whole]].concat());
        assert!(workspace.read(&name) == workspace.read(&whole), "{begun:?}");
        workspace.cut_off(n_blocks, &begun);
        ok(&workspace, &[&other[..], &["--restart"]].concat());
        assert!(!workspace.names(".").iter().any(|name| name.contains("partial")));
    }
}

#[cfg(unix)]
#[test]
fn another_model_another_reference_and_another_input_are_seen() {
    let workspace = Workspace::new();
    ok(&workspace, &["init", "other", "--preset", "nano", "--tokenizer", "model", "--seed", "5"]);
    let score = |model, reference, input| {
        [
            "score",
            "--model",
            model,
            "--reference",
            reference,
            input,
            "--chunk",
            "1",
            "-o",
            "s.jsonl",
        ]
    };
    let begun = score("model", "other", "graded.jsonl");
    workspace.cut_off(4, &begun);
    for (other, said) in [
        (score("other", "other", "graded.jsonl"), "weights of the model was `"),
        (score("model", "model", "graded.jsonl"), "weights of the reference was `"),
        (score("model", "none", "graded.jsonl"), "reference was not set and is now `none`"),
    ] {
        let error = workspace.error_of(&other);
        assert!(error.contains(said), "{error}");
    }
    let input = workspace.read("graded.jsonl");
    let other = String::from_utf8(input.clone()).expect("text").replacen("are 3", "are 4", 1);
    workspace.write("graded.jsonl", &other);
    let error = workspace.error_of(&begun);
    assert!(error.contains("input was `"), "{error}");
    fs::write(workspace.path("graded.jsonl"), input).expect("written");
    // A tokenizer that changes, under the same weights.
    let config = String::from_utf8(workspace.read("model/tokenizer.json")).expect("text");
    workspace.write("model/tokenizer.json", &(config.clone() + "\n"));
    let error = workspace.error_of(&begun);
    assert!(error.contains("`tokenizer.json` of the model was `"), "{error}");
    workspace.write("model/tokenizer.json", &config);
    // A partial of an older program, or of somebody else.
    fs::remove_file(workspace.path("s.jsonl.partial.state")).expect("removed");
    let error = workspace.error_of(&begun);
    assert!(error.contains("nothing says what it was begun with"), "{error}");
    ok(&workspace, &[&begun[..], &["--restart"]].concat());
}

#[cfg(unix)]
#[test]
fn a_resumed_score_file_has_the_same_bits_and_the_cost_of_all_runs() {
    let workspace = Workspace::new();
    let score = |output| [&SCORE[..], &["--chunk", "5", "-o", output]].concat();
    ok(&workspace, &score("whole.jsonl"));
    // In the second chunk.
    let n_bytes = workspace.read("whole.jsonl").len();
    workspace.cut_off(n_bytes * 7 / 12 / 512, &score("cut.jsonl"));
    let n_left = workspace.read("cut.jsonl.partial").split(|&byte| byte == b'\n').count() - 1;
    assert!(n_left % 5 != 0, "off a boundary: {n_left}");
    let text = stderr(&workspace.run(&score("cut.jsonl")));
    assert!(text.contains("20 of them by an earlier run"), "{text}");
    assert_eq!(workspace.read("cut.jsonl"), workspace.read("whole.jsonl"));
    let record = |name: &str| -> Value {
        serde_json::from_slice(&workspace.read(&format!("{name}.jsonl.cost.json"))).expect("JSON")
    };
    assert_eq!(record("cut")["phases"], record("whole")["phases"]);

    // The number of threads is recorded, and said when it changes.
    workspace.cut_off(n_bytes * 7 / 12 / 512, &score("threads.jsonl"));
    let more = [&score("threads.jsonl")[..], &["--threads", "2"]].concat();
    let output = workspace.command(&more[..]).output().expect("it runs");
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("the interrupted run had 1 threads and this one has 2"), "{text}");
}

#[test]
fn the_name_of_an_output_decides_its_format() {
    let workspace = Workspace::new();
    ok(&workspace, &[&SCORE[..], &["-o", "s.jsonl"]].concat());
    let table = |scores: &str| {
        let files = ["select", "--rollouts", "graded.jsonl", "--scores", scores, "--json"];
        ok(&workspace, &files)
    };
    let expected = table("s.jsonl");
    for name in ["s.parquet", "s.jsonl.zst"] {
        ok(&workspace, &[&SCORE[..], &["--tokens", "-o", name]].concat());
        assert_eq!(table(name), expected, "{name}");
    }
    let is = |name: &str, magic: &[u8]| {
        let bytes = workspace.read(name);
        assert!(bytes.starts_with(magic), "{name}: {:?}", &bytes[..8]);
    };
    let zstd = [0x28, 0xb5, 0x2f, 0xfd];
    is("s.parquet", b"PAR1");
    is("s.jsonl.zst", &zstd);
    let rollout = ["rollout", "--model", "model", "graded.jsonl", "-k", "2", "--max-tokens", "4"];
    ok(&workspace, &[&rollout[..], &["-o", "r.jsonl"]].concat());
    for name in ["r.parquet", "r.jsonl.zst"] {
        ok(&workspace, &[&rollout[..], &["-o", name]].concat());
        ok(&workspace, &["data", "convert", name, "-o", "back.jsonl"]);
        ok(&workspace, &["data", "convert", "r.jsonl", "-o", "same.jsonl"]);
        assert_eq!(workspace.read("back.jsonl"), workspace.read("same.jsonl"), "{name}");
    }
    is("r.parquet", b"PAR1");
    workspace.write("cases.jsonl", "{\"gold\": \"1\", \"pred\": \"2\"}\n");
    ok(&workspace, &["grade", "--cases", "cases.jsonl", "-o", "v.parquet"]);
    is("v.parquet", b"PAR1");
    let select = ["select", "--rollouts", "graded.jsonl", "--scores", "s.jsonl", "-o"];
    ok(&workspace, &[&select[..], &["best.parquet"]].concat());
    is("best.parquet", b"PAR1");
    ok(&workspace, &[&select[..], &["best.jsonl.zst"]].concat());
    is("best.jsonl.zst", &zstd);
    let error = workspace.error_of(&[&SCORE[..], &["-o", "s.txt"]].concat());
    assert!(error.contains("`s.txt` should be named `.jsonl`"), "{error}");
}

#[test]
fn one_job_at_a_time_writes_an_output() {
    let workspace = Workspace::new();
    let mut first = waiting(&workspace, "out.jsonl");
    let pid = first.id();
    for command in [
        &[&SCORE[..], &["-o", "out.jsonl"]].concat()[..],
        &["grade", "graded.jsonl", "-o", "out.jsonl"],
        &["data", "convert", "graded.jsonl", "-o", "out.jsonl"],
        &["rollout", "--model", "model", "graded.jsonl", "-o", "out.jsonl"],
    ] {
        let error = workspace.error_of(command);
        let said = format!("`out.jsonl` is being written by process {pid} since 20");
        assert!(error.contains(&said) && error.contains(" UTC"), "{error}");
        assert!(error.contains("hint: wait until that process has ended"), "{error}");
    }
    // A lock ends with its process.
    first.kill().expect("it is running");
    first.wait().expect("it ends");
    ok(&workspace, &[&SCORE[..], &["-o", "out.jsonl"]].concat());
    assert!(!workspace.names(".").iter().any(|name| name.starts_with('.')));
}

#[test]
fn one_training_at_a_time_writes_a_run() {
    let workspace = Workspace::new();
    let train = ["train", "--model", "model", "--data", "graded.jsonl", "--run", "run"];
    let long = [&train[..], &["--epochs", "100000", "--batch-size", "8", "-q"]].concat();
    let mut first = workspace.command(&long).spawn().expect("it starts");
    wait_for(|| workspace.path("run/metrics.jsonl").exists());
    let error = workspace.error_of(&[&long[..], &["--resume"]].concat());
    assert!(
        error.contains(&format!("`run` is being written by process {}", first.id())),
        "{error}"
    );
    first.kill().expect("it is running");
    first.wait().expect("it ends");
    let text = String::from_utf8(workspace.read("run/metrics.jsonl")).expect("text");
    let steps: Vec<_> = text.lines().filter(|line| line.contains(r#""step":1,"#)).collect();
    assert_eq!(steps.len(), 1, "one run wrote");
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_written_through() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let workspace = Workspace::new();
    let expected = ok(&workspace, &["grade", "graded.jsonl"]);
    let scores = ok(&workspace, &SCORE);
    let shell = |script: &str| {
        let script = script.replace("gratis", env!("CARGO_BIN_EXE_gratis"));
        let mut command = std::process::Command::new("sh");
        let output = command.args(["-c", &script]).current_dir(workspace.path(".")).output();
        let output = output.expect("a shell runs");
        assert!(output.status.success(), "{script}: {}", stderr(&output));
        stdout(&output)
    };
    let score = format!("gratis -q {} --threads 1", SCORE.join(" "));
    for (command, expected) in [("gratis -q grade graded.jsonl", &expected), (&score, &scores)] {
        shell(&format!("{command} -o /dev/null"));
        assert_eq!(&shell(&format!("{command} -o /dev/stdout")), expected);
        assert_eq!(&shell(&format!("{command} -o /dev/stdout | cat")), expected);
        let piped = "mkfifo pipe; cat pipe > copy & COMMAND -o pipe && wait; cat copy";
        assert_eq!(&shell(&piped.replace("COMMAND", command)), expected);
        let kind = fs::symlink_metadata(workspace.path("pipe")).expect("there").file_type();
        assert!(kind.is_fifo(), "the pipe is still one");
        fs::remove_file(workspace.path("pipe")).expect("removed");

        fs::create_dir_all(workspace.path("there")).expect("made");
        symlink("there/out.jsonl", workspace.path("link.jsonl")).expect("a link");
        shell(&format!("{command} -o link.jsonl"));
        let link = fs::symlink_metadata(workspace.path("link.jsonl")).expect("there");
        assert!(link.is_symlink(), "the link is still one");
        assert_eq!(workspace.read("there/out.jsonl"), expected.as_bytes());
        let names = workspace.names("there");
        assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
        fs::remove_file(workspace.path("link.jsonl")).expect("removed");
    }
    assert!(fs::metadata("/dev/null").expect("there").file_type().is_char_device());
    let names = workspace.names("/dev");
    assert!(
        !names.iter().any(|name| name.contains("gratis") || name.contains("cost")),
        "{names:?}"
    );
}

#[cfg(unix)]
#[test]
fn an_output_that_is_an_input_or_a_folder_is_refused_at_the_start_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let workspace = Workspace::new();
    let input = workspace.read("graded.jsonl");
    ok(&workspace, &[&SCORE[..], &["-o", "scores.jsonl"]].concat());
    symlink("graded.jsonl", workspace.path("link.jsonl")).expect("a link");
    fs::hard_link(workspace.path("graded.jsonl"), workspace.path("same.jsonl")).expect("a link");
    fs::create_dir(workspace.path("folder.jsonl")).expect("made");
    write_bench(&workspace);
    // A model that is not there: whatever is refused is refused before it is looked for.
    let commands: [&[&str]; 12] = [
        &["score", "--model", "absent", "--reference", "none", "graded.jsonl"],
        &["rollout", "--model", "absent", "graded.jsonl"],
        &["annotate", "math-shepherd", "--model", "absent", "graded.jsonl"],
        &["annotate", "autopsv", "--model", "absent", "graded.jsonl"],
        &["annotate", "import", "graded.jsonl"],
        &["grade", "graded.jsonl"],
        &["grade", "--cases", "graded.jsonl"],
        &["select", "--rollouts", "graded.jsonl", "--scores", "scores.jsonl"],
        &["data", "convert", "graded.jsonl"],
        &["data", "pairs", "graded.jsonl"],
        &["data", "mix", "scores.jsonl", "--with", "graded.jsonl"],
        &["data", "split", "graded.jsonl", "--share", "0.5", "--rest", "rest.jsonl"],
    ];
    for command in commands {
        for output in ["graded.jsonl", "./graded.jsonl", "link.jsonl", "same.jsonl"] {
            let error = workspace.error_of(&[command, &["-o", output]].concat());
            let said = format!("the output `{output}` is its input `graded.jsonl`");
            assert!(error.contains(&said), "{command:?} -o {output}: {error}");
        }
        let error = workspace.error_of(&[command, &["-o", "folder.jsonl"]].concat());
        assert!(error.contains("`folder.jsonl` is a folder"), "{command:?}: {error}");
    }
    let bench = ["evaluate", "processbench", "bench", "--model", "absent", "--save-scores"];
    let error = workspace.error_of(&[&bench[..], &["bench/gsm8k.json"]].concat());
    assert!(error.contains("is its input"), "{error}");
    assert_eq!(workspace.read("graded.jsonl"), input);
    symlink("graded.jsonl", workspace.path("new.jsonl.partial")).expect("a link");
    let error = workspace.error_of(&[&SCORE[..], &["-o", "new.jsonl"]].concat());
    assert!(
        error.contains("`new.jsonl.partial` should be a file that a stopped job left"),
        "{error}"
    );
    assert_eq!(workspace.read("graded.jsonl"), input);

    for command in [&SCORE[..], &["grade", "graded.jsonl"]] {
        workspace.write("secret.jsonl", "");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(workspace.path("secret.jsonl"), private).expect("set");
        ok(&workspace, &[command, &["-o", "secret.jsonl"]].concat());
        let mode =
            fs::metadata(workspace.path("secret.jsonl")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{command:?}");
    }
}

#[test]
fn what_a_kill_left_is_removed_and_what_is_the_users_stays() {
    let workspace = Workspace::new();
    let kept = [".out.jsonl.Ab12cd", ".out.jsonl.backup", ".gratis-notes", ".new.Ab12cd"];
    let left = [".out.jsonl.gratis-draft-Ab12cd", ".new.gratis-draft-Ab12cd"];
    for name in kept.iter().chain(&left) {
        workspace.write(name, "x");
    }
    fs::create_dir(workspace.path(".scratch.gratis-draft-Ab12cd")).expect("made");
    workspace.write(".out.jsonl.gratis-lock", "1\n");
    ok(&workspace, &["grade", "graded.jsonl", "-o", "out.jsonl"]);
    let init = ["init", "new", "--preset", "nano", "--tokenizer", "model"];
    ok(&workspace, &init);
    ok(&workspace, &["data", "balance", "graded.jsonl", "--by", "instruction", "-o", "b.jsonl"]);
    let hidden = |workspace: &Workspace| {
        let mut names = workspace.names(".");
        names.retain(|name| name.starts_with('.'));
        names
    };
    let mut expected: Vec<String> = kept.iter().map(ToString::to_string).collect();
    expected.sort();
    let mut found = hidden(&workspace);
    // Made only by an operation that puts rollouts aside.
    found.retain(|name| name != ".scratch.gratis-draft-Ab12cd");
    assert_eq!(found, expected);
    ok(&workspace, &["data", "replace", "graded.jsonl", "--with", "graded.jsonl", "-o", "r.jsonl"]);
    assert_eq!(hidden(&workspace), expected);
    // Killed after its last rename, the same command finds its own result.
    let text = stderr(&workspace.run(&init));
    assert!(text.contains("`new` already contained the same model"), "{text}");
}

#[test]
fn the_reference_stands_in_the_cache_folder() {
    let workspace = Workspace::new();
    let train = |run: &str, more: &[&str]| {
        let train = ["train", "--model", "model", "--data", "graded.jsonl", "--run", run];
        let small = ["--batch-size", "4", "--micro-batch-tokens", "64"];
        let output = workspace.run(&[&train[..], &small, more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        stderr(&output)
    };
    let before = workspace.names(".");
    train("short", &["--max-steps", "2"]);
    let caches = workspace.names("cache/reference");
    assert_eq!(caches.len(), 1, "{caches:?}");
    let names = workspace.names(".");
    let new: Vec<_> = names.iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(new, ["cache", "short"], "nothing beside the data");
    let text = train("long", &[]);
    assert!(!text.contains("log-probabilities of the reference from"), "not all were there");
    assert_eq!(workspace.names("cache/reference"), caches, "one file for both");
    let again = train("again", &[]);
    assert!(again.contains("log-probabilities of the reference from `"), "{again}");
    assert_eq!(workspace.metrics("again"), workspace.metrics("long"));

    // Flipped bits are seen, said once, and mended.
    let path = format!("cache/reference/{}", caches[0]);
    let mut bytes = workspace.read(&path);
    let at = bytes.len() - 20;
    bytes[at] ^= 0x40;
    fs::write(workspace.path(&path), &bytes).expect("written");
    let text = train("mended", &[]);
    assert_eq!(text.matches("is damaged in 1 of its").count(), 1, "{text}");
    assert_eq!(workspace.metrics("mended"), workspace.metrics("long"));
    train("elsewhere", &["--cache", "mine"]);
    assert_eq!(workspace.names("mine/reference"), caches);
    assert_eq!(workspace.read(&format!("mine/reference/{}", caches[0])), workspace.read(&path));
}

#[test]
fn a_line_of_standard_input_is_answered_before_the_next_comes() {
    let workspace = Workspace::new();
    let arguments = ["score", "--model", "model", "--reference", "none", "-", "-q"];
    let mut child = workspace
        .command(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped"));
    let input = String::from_utf8(workspace.read("graded.jsonl")).expect("text");
    // An answer that does not come makes this wait for ever.
    for line in input.split_inclusive('\n').take(3) {
        stdin.write_all(line.as_bytes()).expect("read");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("an answer");
        assert!(answer.contains("\"scores\":[{"), "{answer}");
    }
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_request_that_cannot_fit_is_refused_before_it_starts() {
    let workspace = Workspace::new();
    let rollout = ["rollout", "--model", "model", "graded.jsonl", "-o", "out.jsonl", "-k"];
    let started = Instant::now();
    let error = workspace.error_of(&[&rollout[..], &["4294967296"]].concat());
    // The context holds 64 tokens.
    let said =
        "12 problems x 4294967296 samples of up to 64 tokens: at most 3,298,534,883,328 tokens";
    assert!(error.contains(said), "{error}");
    assert!(error.contains("hint: lower `--samples`"), "{error}");
    let annotate = ["annotate", "math-shepherd", "--model", "model", "graded.jsonl"];
    let more = ["-o", "out.jsonl", "--continuations", "4294967296"];
    let error = workspace.error_of(&[&annotate[..], &more].concat());
    assert!(error.contains("48 step prefixes x 4294967296 samples"), "{error}");
    let policy = ["evaluate", "policy", "--model", "model", "graded.jsonl", "-k", "4294967296"];
    let error = workspace.error_of(&policy);
    assert!(error.contains("12 problems x 4294967296 samples"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(!workspace.names(".").iter().any(|name| name.contains("out.jsonl")));
    let text = stderr(&workspace.run(&[&rollout[..], &["2", "--max-tokens", "8"]].concat()));
    let said = "12 problems x 2 samples of up to 8 tokens: at most 192 tokens, 768 B of text";
    assert!(text.contains(said), "{text}");
}
