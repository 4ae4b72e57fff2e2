//! `gratis completions` and `gratis man`: the command line in the formats of shells and of `man`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use gratis::data::Error as DataError;
use gratis_model::atomic;

use crate::failure::CliError;

/// Print the completions of a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis completions bash > ~/.local/share/bash-completion/completions/gratis
  gratis completions zsh > ~/.zfunc/_gratis
  gratis completions fish > ~/.config/fish/completions/gratis.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Print the manual page, or write one page per command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis man | man -l -
  gratis man --folder ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write the pages of all commands to this folder: `gratis.1`, `gratis-train.1` and so on.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "gratis", &mut text);
    print(&text)
}

pub(crate) fn man(args: &ManArgs, mut command: Command) -> Result<()> {
    // Names of subcommands with that of the program, as their pages are called.
    command.build();
    let Some(folder) = &args.folder else {
        return print(&page(&command)?);
    };
    fs::create_dir_all(folder).map_err(|source| DataError::Io {
        action: "create",
        path: folder.clone(),
        source,
    })?;
    write_pages(&command, folder)
}

fn write_pages(command: &Command, folder: &Path) -> Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    atomic::write(&folder.join(format!("{name}.1")), &page(command)?)?;
    let is_own = |command: &&Command| command.get_name() != "help" && !command.is_hide_set();
    command.get_subcommands().filter(is_own).try_for_each(|own| write_pages(own, folder))
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text)?;
    Ok(text)
}

fn print(text: &[u8]) -> Result<()> {
    let written = std::io::stdout().lock().write_all(text);
    Ok(written.map_err(|source| CliError::Stdout { source })?)
}
