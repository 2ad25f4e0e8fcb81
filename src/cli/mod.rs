//! The command line: arguments in, text and an exit status out.

mod config;
mod disk;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::compose::{LoadRequest, problem::Problems, problem::Severity};

/// A leaderless container orchestrator that runs your Compose files on all your machines.
#[derive(Debug, Parser)]
#[command(name = "fizz", version, propagate_version = true, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    project: ProjectArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a project and print it in its canonical form
    #[command(visible_alias = "convert")]
    Config(config::ConfigArgs),
}

/// Which project a command is about.
#[derive(Clone, Debug, Args)]
pub struct ProjectArgs {
    /// A Compose file, `-` for standard input; later ones are laid over earlier ones
    #[arg(short, long = "file", value_name = "FILE", global = true)]
    file: Vec<String>,
    /// The project's name
    #[arg(short, long, value_name = "NAME", global = true)]
    project_name: Option<String>,
    /// A profile to turn on, `*` for all
    #[arg(long, value_name = "NAME", global = true)]
    profile: Vec<String>,
    /// A file of variables instead of `.env`
    #[arg(long, value_name = "FILE", global = true)]
    env_file: Vec<String>,
    /// The project's folder [default: that of the first Compose file]
    #[arg(long, value_name = "DIRECTORY", global = true)]
    project_directory: Option<String>,
    /// Treat warnings as errors
    #[arg(long, global = true)]
    strict: bool,
}

impl ProjectArgs {
    /// What to load, as far as these arguments, the environment and the working directory say.
    fn request(&self) -> io::Result<LoadRequest> {
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Ok(LoadRequest {
            files: self.file.clone(),
            env_files: self.env_file.clone(),
            profiles: self.profile.clone(),
            project_name: self.project_name.clone(),
            project_directory: self.project_directory.clone(),
            working_dir: working_dir()?,
            environment,
            ..LoadRequest::default()
        })
    }
}

/// Where we are, by the name that the shell uses for it if that is right.
fn working_dir() -> io::Result<PathBuf> {
    let real = std::env::current_dir()?;
    let shown = std::env::var_os("PWD").map(PathBuf::from).filter(|it| it.is_absolute());
    let same = |it: &PathBuf| {
        it.canonicalize().is_ok_and(|it| Ok(it) == real.canonicalize().map_err(drop))
    };
    Ok(shown.filter(same).unwrap_or(real))
}

/// What ends a command early. Its text has been chosen for the user.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The project has problems.
    #[error("{}", listed(.0))]
    Project(Problems),
    /// Something that is asked for does not exist here.
    #[error("{0}")]
    Unsupported(String),
    /// A file or stream cannot be used.
    #[error("{what}: {error}")]
    Io {
        /// Which.
        what: String,
        /// Why.
        error: io::Error,
    },
}

/// Runs a command.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let outcome = match cli.command {
        Command::Config(args) => config::run(&args, &cli.project),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error.to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. A reader that has gone away has seen enough.
fn say(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Io { what: "standard output".into(), error })
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, where nothing can be done if that fails.
fn complain(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Problems as lines, warnings marked as such.
fn listed(problems: &Problems) -> String {
    let lines = problems.sorted().into_iter().map(|it| match it.severity {
        Severity::Error => problems.line(it),
        Severity::Warning => format!("warning: {}", problems.line(it)),
    });
    let mut lines: Vec<String> = lines.collect();
    lines.extend(problems.unlisted().map(|it| format!("and {it} more problems")));
    lines.join("\n")
}
