//! The command line: commands, tables, progress. It knows only the daemon's HTTP interface, the
//! model's nouns and Compose files.

mod actions;
mod args;
mod attached;
mod board;
mod build;
mod client;
mod cluster;
mod completion;
mod config;
mod containers;
mod context;
mod cp;
mod credentials;
mod deploy;
mod deployments;
mod disk;
mod doctor;
mod dockerignore;
mod down;
mod drain;
mod error;
mod events;
mod exec;
mod dns;
mod explain;
mod follow;
mod foreground;
mod format;
mod history;
mod images;
mod ingress;
mod lab;
mod logs;
mod network;
mod nodes;
mod output;
mod plan;
mod progress;
mod project;
mod rebalance;
mod rollout;
mod run;
mod screen;
mod stats;
mod subject;
mod table;
mod terminal;
mod tokens;
mod up;
mod version;
mod volumes;
mod watch;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use args::{Command, Globals};
use client::Client;
pub use doctor::Examine;
use error::CliError;
use output::Output;

/// What `main` does next.
#[derive(Debug)]
pub enum Invoked<D> {
    /// The command is done.
    Done(ExitCode),
    /// Be the daemon, with these arguments.
    Daemon(D),
    /// Be a WireGuard device.
    WireguardDevice {
        /// Its name.
        name: String,
        /// The socket on which it is spoken to.
        control: PathBuf,
    },
}

/// One run of the command: its options, where it speaks, and whom it asks.
#[derive(Debug)]
struct Invocation {
    globals: Globals,
    output: Output,
    client: Client,
    /// The command line as clap knows it, for completions and man pages.
    description: clap::Command,
}

impl Invocation {
    /// The name of the project that the command is about.
    fn project_name(&self) -> Result<String, CliError> {
        project::name(&self.globals)
    }
}

/// Reads the command line and does what it says, unless that is to be the daemon, whose arguments
/// are `D`. `examine` looks at this machine where there is no daemon to ask.
#[must_use]
pub fn invoke<D: clap::Args>(
    arguments: impl IntoIterator<Item = OsString>,
    examine: Examine<D>,
) -> Invoked<D> {
    let description = args::command::<D>();
    let parsed = description.clone().try_get_matches_from(arguments);
    let cli = match parsed.and_then(|it| args::parse::<D>(&it)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is not an error; what cannot be printed cannot be reported either.
            drop(error.print());
            return Invoked::Done(ExitCode::from(u8::from(error.use_stderr())));
        }
    };
    if let Command::Daemon(daemon) = cli.command {
        return Invoked::Daemon(daemon);
    }
    if let Command::WireguardDevice(args::WireguardDeviceArgs { name, control }) = cli.command {
        return Invoked::WireguardDevice { name, control };
    }
    let globals = cli.globals;
    let output =
        Output::new(globals.ansi.unwrap_or_default(), globals.progress.unwrap_or_default());
    let status = match block_on(description, globals, output, cli.command, examine) {
        Ok(()) => 0,
        Err(error) => {
            output.error(&error);
            error.status()
        }
    };
    Invoked::Done(ExitCode::from(status))
}

fn block_on<D: clap::Args>(
    description: clap::Command,
    globals: Globals,
    output: Output,
    command: Command<D>,
    examine: Examine<D>,
) -> Result<(), CliError> {
    let host = std::env::var("FIZZ_HOST").ok().filter(|it| !it.is_empty());
    let client = Client::new(globals.host.as_deref().or(host.as_deref()))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(CliError::io("can't start"))?;
    let invocation = Invocation { globals, output, client, description };
    let result = runtime.block_on(dispatch(&invocation, command, examine));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    result
}

async fn dispatch<D: clap::Args>(
    invocation: &Invocation,
    command: Command<D>,
    examine: Examine<D>,
) -> Result<(), CliError> {
    let it = invocation;
    match command {
        Command::Up(args) => up::up(it, args).await,
        Command::Down(args) => down::down(it, args).await,
        Command::Create(args) => up::create(it, args).await,
        Command::Ps(args) => containers::ps(it, args).await,
        Command::Ls(args) => deployments::ls(it, args).await,
        Command::Logs(args) => logs::logs(it, args).await,
        Command::Exec(args) => exec::exec(it, args).await,
        Command::Run(args) => run::run(it, args).await,
        Command::Start(args) => actions::start(it, args).await,
        Command::Stop(args) => actions::stop(it, args).await,
        Command::Restart(args) => actions::restart(it, args).await,
        Command::Kill(args) => actions::kill(it, args).await,
        Command::Rm(args) => actions::rm(it, args).await,
        Command::Scale(args) => actions::scale(it, args).await,
        Command::Pull(args) => images::pull(it, args).await,
        Command::Build(args) => images::build(it, args).await,
        Command::Images(args) => images::images(it, args).await,
        Command::Port(args) => containers::port(it, args).await,
        Command::Stats(args) => stats::stats(it, args).await,
        Command::Top(args) => containers::top(it, args).await,
        Command::Events(args) => events::events(it, args).await,
        Command::Inspect(args) => containers::inspect(it, args).await,
        Command::Wait(args) => containers::wait(it, args).await,
        Command::Cp(args) => cp::cp(it, args).await,
        Command::Explain(args) => explain::explain(it, args).await,
        Command::Dns(command) => dns::dns(it, command).await,
        Command::Ingress(command) => ingress::ingress(it, command).await,
        Command::History(args) => history::history(it, args).await,
        Command::Network(command) => network::network(it, command).await,
        Command::Rollback(args) => rollout::rollback(it, args).await,
        Command::Rollout(command) => rollout::rollout(it, command).await,
        Command::Watch(args) => rollout::watch(it, args).await,
        Command::Volume(command) => volumes::volume(it, command).await,
        Command::Config(args) => config::config(it, &args),
        Command::Init(args) => cluster::init(it, args).await,
        Command::Join(args) => cluster::join(it, args).await,
        Command::Leave(args) => cluster::leave(it, args).await,
        Command::Cluster(command) => cluster::cluster(it, command).await,
        Command::Token(command) => tokens::token(it, command).await,
        Command::Nodes(args) => nodes::nodes(it, args).await,
        Command::Node(command) => nodes::node(it, command).await,
        Command::Drain(args) => drain::drain(it, args).await,
        Command::Cordon(args) => drain::cordon(it, args).await,
        Command::Uncordon(args) => drain::uncordon(it, args).await,
        Command::Rebalance(args) => rebalance::rebalance(it, args).await,
        Command::Doctor(args) => doctor::doctor(it, *args, examine).await,
        Command::Lab(command) => lab::lab(it, command).await,
        Command::Version(args) => version::version(it, args).await,
        Command::Completion(args) => completion::completion(it, &args),
        Command::Man(args) => completion::man(it, &args),
        // It was handed to `main`.
        Command::Daemon(_) | Command::WireguardDevice(_) => Ok(()),
    }
}
