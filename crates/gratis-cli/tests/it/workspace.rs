//! A folder with a small model and a few graded solutions, and the binary to run in it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A folder in which commands run.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    /// `graded.jsonl`, 12 sums with four solutions each, and a fresh `model`.
    pub(crate) fn new() -> Self {
        let workspace = Self { folder: tempfile::tempdir().expect("a folder") };
        let mut graded = String::new();
        for problem in 0..12 {
            let (a, b) = (problem % 5 + 1, problem / 3 + 2);
            let solution = |sum: usize| format!("{a} and {b} are {sum}.\\nAnswer: {sum}");
            let completions: Vec<_> = (0..4).map(|idx| solution(a + b + idx % 3)).collect();
            writeln!(
                graded,
                r#"{{"prompt": "How much are {a} and {b}? ", "reference": "{}", "completions": ["{}"], "correctness": [true, false, false, true]}}"#,
                a + b,
                completions.join(r#"", ""#),
            )
            .expect("a line");
        }
        workspace.write("graded.jsonl", &graded);
        let made = workspace.run(&[
            "init",
            "model",
            "--preset",
            "nano",
            "--train-tokenizer",
            "graded.jsonl",
            "--vocab",
            "300",
            "--context-length",
            "64",
        ]);
        assert!(made.status.success(), "{}", stderr(&made));
        workspace
    }

    /// The path of a file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// Reads a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    /// The metrics of a run without the time they carry, which no two runs share.
    pub(crate) fn metrics(&self, run: &str) -> String {
        let text = String::from_utf8(self.read(&format!("{run}/metrics.jsonl"))).expect("text");
        let without_time = |line: &str| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let fields = line.as_object_mut().expect("an object");
            let time = fields.remove("wall_seconds");
            fields.remove("processor_seconds");
            assert!(time.is_some_and(|seconds| seconds.is_f64()), "{line}");
            line.to_string() + "\n"
        };
        text.lines().map(without_time).collect()
    }

    /// The binary with these arguments, to run in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = gratis();
        command.args(arguments).current_dir(self.folder.path());
        command.env("GRATIS_CACHE", self.path("cache"));
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Starts the binary and kills it after a while, unless it has ended by then.
    pub(crate) fn kill_after(&self, moment: Duration, arguments: &[&str]) {
        let mut child = self.command(arguments).spawn().expect("it starts");
        std::thread::sleep(moment.max(Duration::from_millis(1)));
        // SIGKILL on Unix; an error means that it had ended.
        let _ = child.kill();
        child.wait().expect("it ends");
    }

    /// What a browser makes of a page in the folder.
    pub(crate) fn browse(&self, browser: &str, page: &str) -> Output {
        let page = format!("file://{}", self.path(page).display());
        let profile = format!("--user-data-dir={}", self.path("profile").display());
        Command::new(browser)
            .args(["--headless", "--no-sandbox", "--disable-gpu", &profile, "--dump-dom", &page])
            .output()
            .expect("it runs")
    }

    /// Runs the binary until a file that it writes has grown to so many half KiB, at which the system
    /// kills it: what is left is that of a kill in the middle of a line.
    #[cfg(unix)]
    pub(crate) fn cut_off(&self, n_blocks: usize, arguments: &[&str]) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -f {n_blocks}; exec \"$0\" \"$@\"")]);
        let gratis = self.command(arguments);
        command.arg(gratis.get_program()).args(gratis.get_args());
        for (name, value) in gratis.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.current_dir(self.folder.path()).output().expect("a shell runs");
        assert!(output.status.signal().is_some(), "{}", stderr(&output));
        output
    }

    /// Runs the binary with `input` on its standard input.
    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let input_path = self.path("stdin");
        fs::write(&input_path, input).expect("written");
        let file = fs::File::open(&input_path).expect("there");
        self.command(arguments).stdin(Stdio::from(file)).output().expect("it runs")
    }

    /// The error of a command that must fail with exit code 1, the folder's name left out.
    pub(crate) fn error_of(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let start = text.find("error: ").unwrap_or_else(|| panic!("no error in {text}"));
        text[start..].replace(&self.folder.path().display().to_string(), "FOLDER")
    }

    /// Names in a folder, the ones that begin with a dot as well.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        names
    }
}

/// The binary under test, without a log on stderr beyond its own default.
pub(crate) fn gratis() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_gratis")));
    for name in ["RUST_LOG", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"] {
        command.env_remove(name);
    }
    // No test may reach for the network; those of the hub have one of their own.
    command.env("HF_HUB_OFFLINE", "1").args(["--threads", "1"]);
    command
}

/// The browser of this machine; says so if there is none.
#[expect(clippy::print_stderr, reason = "a skipped test must say so")]
pub(crate) fn browser() -> Option<&'static str> {
    let is_there = |name: &&str| {
        let mut found = Command::new(name);
        found.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        found.status().is_ok_and(|status| status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there);
    if found.is_none() {
        eprintln!("skipped: no Chromium is installed");
    }
    found
}

/// Runs a command that must succeed; what it printed.
pub(crate) fn ok(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = workspace.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// What a command said on stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command printed.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}
