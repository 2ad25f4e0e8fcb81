//! Completions for shells and man pages, made from the command line's own description.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{Invocation, args, error::CliError};

/// `fizz completion`.
#[derive(Args, Debug)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// `fizz man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Where to write them
    pub directory: PathBuf,
}

/// `fizz completion`.
pub fn completion(invocation: &Invocation, args: &CompletionArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "fizz", &mut script);
    invocation.output.bytes(&script)
}

/// `fizz man`.
pub fn man(args: &ManArgs) -> Result<(), CliError> {
    let failed = || CliError::io(format!("can't write man pages to {}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed())?;
    clap_mangen::generate_to(args::command(), &args.directory).map_err(failed())
}
