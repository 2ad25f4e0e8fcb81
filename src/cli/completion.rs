//! Completions for shells and man pages, made from the command line's own description.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use super::{Invocation, error::CliError};

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
pub(super) fn completion(invocation: &Invocation, args: &CompletionArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut invocation.description.clone(), "fizz", &mut script);
    invocation.output.bytes(&script)
}

/// `fizz man`.
pub(super) fn man(invocation: &Invocation, args: &ManArgs) -> Result<(), CliError> {
    let failed = || CliError::io(format!("can't write man pages to {}", args.directory.display()));
    std::fs::create_dir_all(&args.directory).map_err(failed())?;
    clap_mangen::generate_to(invocation.description.clone(), &args.directory).map_err(failed())
}
