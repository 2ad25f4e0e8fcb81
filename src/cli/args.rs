//! The command line as `docker compose` users know it.
//!
//! The options of the project may stand before or after the command: [`command`] gives each command
//! those whose letters it does not use itself (`logs -f` follows, `run -p` publishes).

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::{
    actions, cluster, completion, containers, cp, deployments, dns, doctor, down, drain, events,
    exec, explain, history, images, ingress, lab, logs, network, nodes,
    output::{Ansi, ProgressMode},
    rebalance, rollout, run, stats, tokens, up, version, volumes,
};

/// Run Compose projects on your machines.
#[derive(Debug, Parser)]
#[command(name = "fizz", version, propagate_version = false, max_term_width = 100)]
pub(super) struct Cli<D: Args> {
    /// Options of all commands.
    #[command(flatten)]
    pub(super) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command<D>,
}

/// Options of all commands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Compose file; several are merged, `-` is standard input
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) file: Vec<String>,
    /// Project name
    #[arg(short, long, value_name = "NAME")]
    pub(super) project_name: Option<String>,
    /// Profile to enable
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Vec<String>,
    /// File of variables instead of `.env`
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) env_file: Vec<String>,
    /// Project folder instead of that of the first Compose file
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) project_directory: Option<String>,
    /// The daemon's socket (also FIZZ_HOST) [default: unix:///run/fizz/fizz.sock]
    #[arg(long, value_name = "unix://PATH")]
    pub(super) host: Option<String>,
    /// Take warnings about Compose files for errors
    #[arg(long)]
    pub(super) strict: bool,
    /// When to use colours and moving lines [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub(super) ansi: Option<Ansi>,
    /// How to show progress [default: auto]
    #[arg(long, value_name = "TYPE")]
    pub(super) progress: Option<ProgressMode>,
}

impl Globals {
    /// Options after the command beat, or add to, those before it.
    fn merge(&mut self, later: Self) {
        self.file.extend(later.file);
        self.profile.extend(later.profile);
        self.env_file.extend(later.env_file);
        self.project_name = later.project_name.or(self.project_name.take());
        self.project_directory = later.project_directory.or(self.project_directory.take());
        self.host = later.host.or(self.host.take());
        self.strict |= later.strict;
        self.ansi = later.ansi.or(self.ansi);
        self.progress = later.progress.or(self.progress);
    }
}

/// Every command. `D` are the daemon's own arguments: the command line hands them on unseen.
#[derive(Debug, Subcommand)]
pub(super) enum Command<D: Args> {
    /// Create and start containers
    Up(up::UpArgs),
    /// Stop and remove containers and networks
    Down(down::DownArgs),
    /// Create containers, without starting them
    Create(up::CreateArgs),
    /// List containers
    Ps(containers::PsArgs),
    /// List deployed projects
    Ls(deployments::LsArgs),
    /// View output from containers
    Logs(logs::LogsArgs),
    /// Execute a command in a running container
    Exec(exec::ExecArgs),
    /// Run a one-off command on a service
    Run(run::RunArgs),
    /// Start services
    Start(actions::StartArgs),
    /// Stop services
    Stop(actions::StopArgs),
    /// Restart service containers
    Restart(actions::RestartArgs),
    /// Force stop service containers
    Kill(actions::KillArgs),
    /// Removes stopped service containers
    Rm(actions::RmArgs),
    /// Scale services
    Scale(actions::ScaleArgs),
    /// Pull service images
    Pull(images::PullArgs),
    /// Build or rebuild services
    Build(images::BuildArgs),
    /// List images used by the created containers
    Images(images::ImagesArgs),
    /// Print the public port for a port binding
    Port(containers::PortArgs),
    /// Display a live stream of container resource usage statistics
    Stats(stats::StatsArgs),
    /// Display the running processes
    Top(containers::TopArgs),
    /// Receive real time events from containers
    Events(events::EventsArgs),
    /// Show everything about containers
    Inspect(containers::InspectArgs),
    /// Block until containers of all (or specified) services stop
    Wait(containers::WaitArgs),
    /// Copy files/folders between a service container and the local filesystem
    Cp(cp::CpArgs),
    /// Say why a service's replicas are where they are, or have no place
    Explain(explain::ExplainArgs),
    /// Look names up, as containers do
    #[command(subcommand)]
    Dns(dns::DnsCommand),
    /// Look into what comes to published ports
    #[command(subcommand)]
    Ingress(ingress::IngressCommand),
    /// Manage networks
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// List the versions of a project, newest first
    History(history::HistoryArgs),
    /// Go back to what a project, or a service of it, was
    Rollback(rollout::RollbackArgs),
    /// Look at changes that go on; pause, resume, promote and abort them
    #[command(subcommand)]
    Rollout(rollout::RolloutCommand),
    /// Show what goes on in a project until it is done
    Watch(rollout::WatchArgs),
    /// Manage volumes
    #[command(subcommand, visible_alias = "volumes")]
    Volume(volumes::VolumeCommand),
    /// Parse, resolve and render the Compose file in canonical format
    Config(super::config::ConfigArgs),
    /// Make a cluster of this node, for others to join
    Init(cluster::InitArgs),
    /// Join this node to a cluster, by one of its members
    Join(cluster::JoinArgs),
    /// Take this node out of its cluster
    Leave(cluster::LeaveArgs),
    /// Look after the cluster itself
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Manage tokens, with which nodes join
    #[command(subcommand, visible_alias = "tokens")]
    Token(tokens::TokenCommand),
    /// List nodes
    Nodes(nodes::NodesArgs),
    /// Manage nodes
    #[command(subcommand)]
    Node(nodes::NodeCommand),
    /// Take all containers off a node, and give it no new ones
    Drain(drain::DrainArgs),
    /// Give a node no new containers; what runs on it stays
    Cordon(drain::NodeArgs),
    /// Give a node containers again, after `cordon` or `drain`
    Uncordon(drain::NodeArgs),
    /// Give nodes that came late their share of what runs
    Rebalance(rebalance::RebalanceArgs),
    /// Look what is wrong with a node or a machine, and say what to do about it
    Doctor(Box<doctor::DoctorArgs<D>>),
    /// Run a cluster on this machine, to try Fizz and to test it
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Show the versions of Fizz and of what is under it
    Version(version::VersionArgs),
    /// Print a completion script for a shell
    #[command(visible_alias = "completions")]
    Completion(completion::CompletionArgs),
    /// Write man pages into a directory
    #[command(hide = true)]
    Man(completion::ManArgs),
    /// Run this machine's part of the cluster
    Daemon(D),
    /// Be a WireGuard device, where the kernel has none; the daemon starts it
    #[command(hide = true)]
    WireguardDevice(WireguardDeviceArgs),
}

/// `fizz wireguard-device`.
#[derive(Args, Debug)]
pub(super) struct WireguardDeviceArgs {
    /// The device's name
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,
    /// The socket on which it is spoken to
    #[arg(long, value_name = "PATH")]
    pub(super) control: PathBuf,
}

/// The whole command line, with the options of all commands in each.
#[must_use]
pub(super) fn command<D: Args>() -> clap::Command {
    let root = Cli::<D>::command();
    let globals: Vec<Arg> =
        Globals::augment_args(clap::Command::new("globals")).get_arguments().cloned().collect();
    root.mut_subcommands(
        |it| if it.get_name() == "daemon" { it } else { with_globals(it, &globals) },
    )
}

fn with_globals(command: clap::Command, globals: &[Arg]) -> clap::Command {
    if command.has_subcommands() {
        return command.mut_subcommands(|it| with_globals(it, globals));
    }
    let mut command = command;
    for global in globals {
        let taken = |other: &Arg| {
            other.get_id() == global.get_id() || other.get_long() == global.get_long()
        };
        if command.get_arguments().any(taken) {
            continue;
        }
        let letter = global.get_short();
        let letter_taken = command.get_arguments().any(|it| it.get_short() == letter);
        let arg = if letter_taken { global.clone().short(None) } else { global.clone() };
        command = command.arg(arg);
    }
    command
}

/// Takes the parsed command line apart.
pub(super) fn parse<D: Args>(matches: &ArgMatches) -> Result<Cli<D>, clap::Error> {
    let mut cli = Cli::from_arg_matches(matches)?;
    let mut innermost = matches;
    while let Some((name, inner)) = innermost.subcommand() {
        innermost = inner;
        if name == "daemon" {
            return Ok(cli);
        }
    }
    cli.globals.merge(later_globals(innermost));
    Ok(cli)
}

/// The options of all commands among those of one; a command may have its own of the same name.
fn later_globals(matches: &ArgMatches) -> Globals {
    let many = |id| match matches.try_get_many::<String>(id) {
        Ok(values) => values.into_iter().flatten().cloned().collect(),
        Err(_) => Vec::new(),
    };
    let one = |id| matches.try_get_one::<String>(id).ok().flatten().cloned();
    Globals {
        file: many("file"),
        project_name: one("project_name"),
        profile: many("profile"),
        env_file: many("env_file"),
        project_directory: one("project_directory"),
        host: one("host"),
        strict: matches.try_get_one("strict").ok().flatten().copied().unwrap_or_default(),
        ansi: matches.try_get_one("ansi").ok().flatten().copied(),
        progress: matches.try_get_one("progress").ok().flatten().copied(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Args, Debug)]
    struct DaemonArgs {
        #[arg(long)]
        config: Option<String>,
    }

    fn parsed(line: &str) -> Cli<DaemonArgs> {
        parse(&command::<DaemonArgs>().get_matches_from(line.split_whitespace())).unwrap()
    }

    #[test]
    fn the_command_line_holds_together() {
        command::<DaemonArgs>().debug_assert();
    }

    #[test]
    fn project_options_stand_before_or_after_the_command() {
        let cli = parsed("fizz -f a.yaml -p one up -f b.yaml -p two -d --strict");
        assert_eq!(cli.globals.file, ["a.yaml", "b.yaml"]);
        assert_eq!(cli.globals.project_name.as_deref(), Some("two"));
        assert!(cli.globals.strict);
        assert!(matches!(cli.command, Command::Up(args) if args.detach));
        assert_eq!(parsed("fizz volume ls -p shop").globals.project_name.as_deref(), Some("shop"));
    }

    #[test]
    fn a_command_keeps_its_own_letters() {
        let cli = parsed("fizz -f a.yaml logs -f --file b.yaml web");
        assert_eq!(cli.globals.file, ["a.yaml", "b.yaml"]);
        assert!(
            matches!(cli.command, Command::Logs(args) if args.follow && args.services == ["web"])
        );
        let cli = parsed("fizz -p shop run -p 80:80 web sh -c -p");
        assert_eq!(cli.globals.project_name.as_deref(), Some("shop"));
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.publish, ["80:80"]);
        assert_eq!(run.command, ["sh", "-c", "-p"]);
    }

    #[test]
    fn a_command_in_a_container_keeps_its_options() {
        let cli = parsed("fizz exec -T web ls -l --host x");
        assert_eq!(cli.globals.host, None);
        let Command::Exec(exec) = cli.command else { panic!("not exec") };
        assert_eq!(exec.command, ["ls", "-l", "--host", "x"]);
    }

    #[test]
    fn the_daemon_gets_its_arguments_untouched() {
        let cli = parsed("fizz daemon --config /x");
        let Command::Daemon(daemon) = cli.command else { panic!("not daemon") };
        assert_eq!(daemon.config.as_deref(), Some("/x"));
    }
}
