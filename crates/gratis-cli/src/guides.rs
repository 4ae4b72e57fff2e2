//! A test of the guides: the parser accepts every command in `docs/`, in `README.md` and in the examples of
//! `--help`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Cli, with_negative_numbers};
use clap::CommandFactory;

/// The commands of a text, whose continued lines are joined: those in `sh` blocks, and code within
/// sentences that names a model and is therefore a whole command.
fn commands_of(markdown: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let (mut is_shell, mut prose) = (false, String::new());
    for line in markdown.replace("\\\n", " ").lines() {
        let line = line.trim();
        if line.starts_with("```") {
            is_shell = line == "```sh";
        } else if is_shell {
            commands.push(line.to_owned());
        } else {
            prose.push_str(line);
            prose.push(' ');
        }
    }
    let code = prose.split('`').skip(1).step_by(2).map(str::trim);
    commands.extend(code.filter(|code| code.contains(" --model ")).map(str::to_owned));
    commands.retain(|command| command.starts_with("gratis "));
    commands
}

/// The examples in the help of a command and of its subcommands.
fn examples_of(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.replace("\\\n", " ");
    let lines = lines.lines().map(|line| line.trim().to_owned());
    let mut examples: Vec<String> = lines.filter(|line| line.starts_with("gratis ")).collect();
    examples.extend(command.get_subcommands().flat_map(examples_of));
    examples
}

/// The words of a command up to a pipe or a redirection; what the shell puts in is one word.
fn words_of(command: &str) -> Vec<String> {
    let mut command = command.replace("$'", "'");
    while let Some((before, rest)) = command.split_once("$(") {
        let after = rest.split_once(')').map_or("", |(_, after)| after);
        command = format!("{before}x{after}");
    }
    let words = shlex::split(&command).expect("closed quotes");
    words.into_iter().take_while(|word| !["|", ">", "<", "&&"].contains(&&word[..])).collect()
}

#[test]
fn every_command_in_the_guides_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).expect("a folder");
    let mut paths: Vec<PathBuf> = docs.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.push(root.join("README.md"));

    let mut commands = examples_of(&Cli::command());
    let n_examples = commands.len();
    for path in paths {
        commands.extend(commands_of(&fs::read_to_string(path).expect("text")));
    }
    let refused: Vec<String> = commands
        .iter()
        .filter_map(|command| {
            let parsed =
                with_negative_numbers(Cli::command()).try_get_matches_from(words_of(command));
            parsed.err().map(|error| format!("{command}\n{error}"))
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(n_examples > 20 && commands.len() > n_examples + 20, "they are found");
}

#[test]
fn a_missing_flag_in_a_guide_is_found() {
    let guide = "One round is `gratis train\n  --model prm --data x` on it.\n\n```sh\ngratis grade \\\n x | y\n```\n";
    let commands = commands_of(guide);
    assert_eq!(commands, ["gratis grade   x | y", "gratis train --model prm --data x"]);
    assert_eq!(words_of(&commands[0]), ["gratis", "grade", "x"]);
    let parsed = Cli::command().try_get_matches_from(words_of(&commands[1]));
    assert!(parsed.expect_err("no `--run`").to_string().contains("--run <FOLDER>"));
}
