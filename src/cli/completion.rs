//! Completions for shells and man pages, made from the command line's own description.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{error::CliError, output::Output};

/// `fizz completion`.
#[derive(Args, Debug)]
pub(super) struct CompletionArgs {
    /// The shell
    pub(super) shell: Shell,
}

/// `fizz man`.
#[derive(Args, Debug)]
pub(super) struct ManArgs {
    /// Where to write them
    pub(super) directory: PathBuf,
}

/// `fizz completion`.
pub(super) fn completion(
    output: &Output,
    mut command: clap::Command,
    args: &CompletionArgs,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "fizz", &mut script);
    output.bytes(&script)
}

/// `fizz man`.
pub(super) fn man(command: clap::Command, args: &ManArgs) -> Result<(), CliError> {
    let failed = || CliError::io(format!("can't write man pages to {}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed())?;
    clap_mangen::generate_to(command, &args.directory).map_err(failed())
}
