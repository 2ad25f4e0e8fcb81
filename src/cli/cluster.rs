//! The cluster itself: `init`, `join`, `leave`, `cluster status`, `cluster rotate-keys`.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::Ipv6Addr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    pin::pin,
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Invocation,
    client::{Client, Route},
    error::CliError,
    output::{ListFormat, Listing},
    tokens::span,
};
use crate::{
    api::wire::{Cluster, Founded, Join, Joined, Node, Rotated},
    model::Millis,
};

/// The port of a member where the address names none.
const PORT: u16 = 7780;

/// The longest token or secret that is read.
const TICKET_BYTES_MAX: u64 = 4096;

/// Where a token is looked for when the command line has none.
const TOKEN_VARIABLE: &str = "FIZZ_TOKEN";

/// How long the daemon may take to answer as what it has become, and how often it is asked.
const ANEW_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);

/// Between two looks at what still has to move before the node leaves.
const PROGRESS: Duration = Duration::from_secs(1);

/// `fizz init`.
#[derive(Args, Debug)]
pub(super) struct InitArgs {
    /// Write the cluster's secret into this new file, for its owner only
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub(super) secret_file: Option<PathBuf>,
    /// Print the cluster's secret
    #[arg(long)]
    pub(super) show_secret: bool,
}

/// `fizz join`.
#[derive(Args, Debug)]
pub(super) struct JoinArgs {
    /// A member of the cluster: HOST, or HOST:PORT where the port is not 7780
    pub(super) address: String,
    /// `-` reads the token from standard input
    #[arg(value_name = "-", value_parser = ["-"])]
    pub(super) stdin: Option<String>,
    /// A token from `fizz token create`, or `-` for standard input (also FIZZ_TOKEN)
    #[arg(long, conflicts_with_all = ["stdin", "token_file", "secret_file"])]
    pub(super) token: Option<String>,
    /// A file with the token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdin", "secret_file"],
          value_hint = clap::ValueHint::FilePath)]
    pub(super) token_file: Option<PathBuf>,
    /// A file with the cluster's secret, as `fizz init --secret-file` wrote it
    #[arg(long, value_name = "FILE", conflicts_with = "stdin",
          value_hint = clap::ValueHint::FilePath)]
    pub(super) secret_file: Option<PathBuf>,
}

/// `fizz leave`.
#[derive(Args, Debug)]
pub(super) struct LeaveArgs {
    /// Leave at once: do not move what runs here, and leave even if no other member can be told
    #[arg(short, long)]
    pub(super) force: bool,
    /// How long what runs here may take to move to other nodes
    #[arg(long, value_name = "SPAN", default_value = "5m", value_parser = span)]
    pub(super) timeout: Millis,
}

/// `fizz cluster`.
#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Show the cluster as this node sees it
    Status(StatusArgs),
    /// Give the cluster another key; members that are away get it when they come back
    RotateKeys(RotateKeysArgs),
}

/// `fizz cluster status`.
#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz cluster rotate-keys`.
#[derive(Args, Debug)]
pub(super) struct RotateKeysArgs {}

/// `fizz init`.
pub(super) async fn init(invocation: &Invocation, args: InitArgs) -> Result<(), CliError> {
    let (client, output) = (&invocation.client, &invocation.output);
    // Before the cluster is made: its secret is told once.
    let file = args.secret_file.as_deref().map(make_secret_file).transpose()?;
    let founded: Founded = match client.post(&route("init"), &json!({})).await {
        Ok(founded) => founded,
        Err(error) => {
            if let Some(path) = &args.secret_file {
                drop(fs::remove_file(path));
            }
            return Err(error);
        }
    };
    let kept = match (file, &args.secret_file) {
        (Some(file), Some(path)) => keep_secret(file, path, &founded.secret),
        (Some(_) | None, _) => Ok(()),
    };
    if args.show_secret || kept.is_err() {
        output.line(&founded.secret)?;
    }
    kept?;
    let cluster = anew(client, |it| it.id.as_ref() == Some(&founded.id)).await?;
    let me: Node = client.get(&Route::to(&["nodes", &cluster.node])).await?;
    let address = me.address.unwrap_or_else(|| "ADDRESS".to_owned());
    output.note(&founded_text(&cluster, &address, args.secret_file.as_deref()));
    Ok(())
}

fn route(what: &str) -> Route {
    Route::to(&["cluster", what])
}

fn make_secret_file(path: &Path) -> Result<File, CliError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(CliError::io(format!("can't make {} for the secret", path.display())))
}

fn keep_secret(mut file: File, path: &Path, secret: &str) -> Result<(), CliError> {
    let kept = writeln!(file, "{secret}").and_then(|()| file.sync_all());
    kept.map_err(CliError::io(format!(
        "the cluster is made, but its secret could not be written to {}, so it is printed",
        path.display()
    )))
}

fn founded_text(cluster: &Cluster, address: &str, secret_file: Option<&Path>) -> String {
    let secret = match secret_file {
        Some(path) => format!(
            "The cluster's secret is in {}. Keep it safe: who has it can join without a token.\n",
            path.display()
        ),
        None => String::new(),
    };
    format!(
        "Cluster `{}` is made, and node `{}` is its first member.\n{secret}\n\
         To let another machine in, make a token here:\n    fizz token create\n\
         and there, where `fizz daemon` runs:\n    fizz join {address} --token TOKEN",
        cluster.name, cluster.node
    )
}

/// `fizz join`.
pub(super) async fn join(invocation: &Invocation, args: JoinArgs) -> Result<(), CliError> {
    let client = &invocation.client;
    let address = with_port(&args.address);
    let ticket = ticket(&args)?;
    let joined: Joined = client.post(&route("join"), &Join { address, ticket }).await?;
    let cluster = anew(client, |it| it.id.is_some() && it.synced).await?;
    let members: u32 = cluster.members.values().sum();
    let nodes = if members == 1 { "1 node".to_owned() } else { format!("{members} nodes") };
    invocation.output.note(&format!(
        "Node `{}` is a member of cluster `{}`, which has {nodes}.",
        cluster.node, joined.cluster
    ));
    Ok(())
}

/// The address with a port. More than one colon is an IPv6 address, which is bracketed before a port.
fn with_port(address: &str) -> String {
    if address.parse::<Ipv6Addr>().is_ok() {
        return format!("[{address}]:{PORT}");
    }
    let has_port = match address.strip_prefix('[') {
        Some(rest) => rest.contains("]:"),
        None => address.contains(':'),
    };
    if has_port { address.to_owned() } else { format!("{address}:{PORT}") }
}

/// The token or secret, from wherever it is said to be.
fn ticket(args: &JoinArgs) -> Result<String, CliError> {
    let file = args.token_file.as_ref().or(args.secret_file.as_ref());
    if let Some(path) = file {
        let file =
            File::open(path).map_err(CliError::io(format!("can't read {}", path.display())))?;
        return read_ticket(file, &path.display().to_string());
    }
    if args.stdin.is_some() || args.token.as_deref() == Some("-") {
        return read_ticket(std::io::stdin(), "standard input");
    }
    let variable = || std::env::var(TOKEN_VARIABLE).ok().filter(|it| !it.is_empty());
    args.token.clone().or_else(variable).ok_or_else(|| {
        CliError::Usage(format!(
            "a token is needed to join: get one from `fizz token create` on a member, and give it with \
             --token, --token-file, {TOKEN_VARIABLE}, or `-` for standard input; or use --secret-file"
        ))
    })
}

fn read_ticket(from: impl Read, name: &str) -> Result<String, CliError> {
    let mut text = String::new();
    let read = from.take(TICKET_BYTES_MAX).read_to_string(&mut text);
    read.map_err(CliError::io(format!("can't read {name}")))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(CliError::Usage(format!("{name} is empty: a token should be in it")));
    }
    Ok(text.to_owned())
}

/// `fizz leave`.
pub(super) async fn leave(invocation: &Invocation, args: LeaveArgs) -> Result<(), CliError> {
    let client = &invocation.client;
    let before: Cluster = client.get(&Route::to(&["cluster"])).await?;
    let timeout = (!args.force).then_some(args.timeout.0);
    let route = route("leave").with_flag("force", args.force).with_some("timeout_ms", timeout);
    let body = json!({});
    let mut left = pin!(client.post::<Value>(&route, &body));
    let mut waits_for = None;
    loop {
        match tokio::time::timeout(PROGRESS, &mut left).await {
            Ok(answer) => break drop(answer?),
            Err(_) => {
                // A daemon that is just beginning anew tells nothing.
                let me = client.get::<Node>(&Route::to(&["nodes", &before.node])).await;
                let Ok(me) = me else { continue };
                if 0 < me.containers && waits_for.replace(me.containers) != Some(me.containers) {
                    invocation.output.note(&moving_text(me.containers));
                }
            }
        }
    }
    let cluster = anew(client, |it| it.id.is_none()).await?;
    invocation.output.note(&format!(
        "Node `{}` has left cluster `{}`, and is on its own.",
        cluster.node, before.name
    ));
    Ok(())
}

fn moving_text(containers: u32) -> String {
    match containers {
        1 => "Waiting for 1 container to move to another node.".to_owned(),
        more => format!("Waiting for {more} containers to move to other nodes."),
    }
}

/// Waits until the daemon answers as what it has become. While it begins anew nobody answers.
async fn anew(client: &Client, is_so: impl Fn(&Cluster) -> bool) -> Result<Cluster, CliError> {
    let end = Instant::now() + ANEW_MAX;
    loop {
        let answer = client.get::<Cluster>(&Route::to(&["cluster"])).await;
        match answer {
            Ok(cluster) if is_so(&cluster) => return Ok(cluster),
            Ok(_) | Err(_) if Instant::now() < end => sleep(LOOK).await,
            Err(error) => return Err(error),
            Ok(cluster) => {
                return Err(CliError::Failed(format!(
                    "it is done, but the daemon is not ready after {} s: {}\n  hint: see `fizz cluster \
                     status`, and the daemon's log (`journalctl -u fizz`)",
                    ANEW_MAX.as_secs(),
                    cluster.problems.join("; ")
                )));
            }
        }
    }
}

/// `fizz cluster`.
pub(super) async fn cluster(
    invocation: &Invocation,
    command: ClusterCommand,
) -> Result<(), CliError> {
    match command {
        ClusterCommand::Status(args) => status(invocation, &args).await,
        ClusterCommand::RotateKeys(RotateKeysArgs {}) => {
            let rotated: Rotated = invocation.client.post(&route("rotate"), &json!({})).await?;
            invocation.output.note(&format!(
                "The cluster has key number {} now. Tokens from before are of no use any more.",
                rotated.key_epoch
            ));
            Ok(())
        }
    }
}

async fn status(invocation: &Invocation, args: &StatusArgs) -> Result<(), CliError> {
    let cluster: Cluster = invocation.client.get(&Route::to(&["cluster"])).await?;
    match args.listing.format {
        ListFormat::Json => invocation.output.json(&cluster),
        ListFormat::Table => invocation.output.line(&status_text(&cluster)),
    }
}

fn status_text(cluster: &Cluster) -> String {
    let Some(id) = &cluster.id else {
        return format!(
            "Node `{}` is in no cluster: make one with `fizz init`, or come into one with `fizz join`",
            cluster.node
        );
    };
    let members = cluster.members.iter().map(|(state, number)| format!("{number} {state}"));
    let clock = match cluster.clock_error_ms {
        None => "not known: too few others have told theirs".to_owned(),
        Some(0) => "as the others'".to_owned(),
        Some(ms) if ms < 0 => format!("{} ms behind the others'", ms.unsigned_abs()),
        Some(ms) => format!("{ms} ms ahead of the others'"),
    };
    let ready = match cluster.problems.as_slice() {
        [] => "yes".to_owned(),
        problems => format!("no: {}", problems.join("; ")),
    };
    let key = cluster.key_epoch.map_or_else(|| "-".to_owned(), |it| format!("number {it}"));
    format!(
        "Cluster   {} ({id})\nMembers   {}\nKey       {key}\nNode      {}\nClock     {clock}\nReady     {ready}",
        cluster.name,
        members.collect::<Vec<_>>().join(", "),
        cluster.node,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: JoinArgs,
    }

    fn args(line: &str) -> Result<JoinArgs, clap::Error> {
        Line::try_parse_from(line.split_whitespace()).map(|it| it.args)
    }

    #[test]
    fn a_member_is_at_the_usual_port_unless_told_otherwise() {
        for (text, address) in [
            ("10.0.0.5", "10.0.0.5:7780"),
            ("10.0.0.5:1", "10.0.0.5:1"),
            ("kitchen", "kitchen:7780"),
            ("kitchen.lan:1", "kitchen.lan:1"),
            ("fd00::5", "[fd00::5]:7780"),
            ("[fd00::5]", "[fd00::5]:7780"),
            ("[fd00::5]:1", "[fd00::5]:1"),
        ] {
            assert_eq!(with_port(text), address);
        }
    }

    #[test]
    fn a_token_comes_from_one_place() {
        assert_eq!(ticket(&args("join a --token T").unwrap()).unwrap(), "T");
        assert!(args("join a -").unwrap().stdin.is_some());
        assert_eq!(args("join a --token -").unwrap().token.as_deref(), Some("-"));
        for line in [
            "join a - --token T",
            "join a --token T --token-file F",
            "join a --token-file F --secret-file S",
            "join a T",
            "join",
        ] {
            assert!(args(line).is_err(), "{line}");
        }
        assert_eq!(read_ticket(" T\n".as_bytes(), "it").unwrap(), "T");
        let empty = read_ticket("\n".as_bytes(), "token.txt").unwrap_err().to_string();
        assert_eq!(empty, "token.txt is empty: a token should be in it");
        let missing = ticket(&args("join a --token-file /no/such/file").unwrap()).unwrap_err();
        assert!(missing.to_string().starts_with("can't read /no/such/file: "), "{missing}");
    }

    #[test]
    fn the_first_node_is_told_how_others_come() {
        let cluster = Cluster { name: "fizz".into(), node: "a".into(), ..Cluster::default() };
        let expected = "\
Cluster `fizz` is made, and node `a` is its first member.
The cluster's secret is in /root/s. Keep it safe: who has it can join without a token.

To let another machine in, make a token here:
    fizz token create
and there, where `fizz daemon` runs:
    fizz join 10.0.0.5:7780 --token TOKEN";
        assert_eq!(founded_text(&cluster, "10.0.0.5:7780", Some(Path::new("/root/s"))), expected);
    }

    #[test]
    fn a_status_says_what_is_wrong() {
        let alone = Cluster { node: "a".into(), ..Cluster::default() };
        assert!(status_text(&alone).contains("is in no cluster: make one with `fizz init`"));
        let cluster = Cluster {
            name: "fizz".into(),
            id: Some("00ff".into()),
            node: "a".into(),
            key_epoch: Some(2),
            members: [("alive".into(), 2), ("dead".into(), 1)].into(),
            clock_error_ms: Some(-30),
            synced: true,
            state: String::new(),
            ready: false,
            problems: vec!["the container runtime: no socket".into()],
        };
        let expected = "\
Cluster   fizz (00ff)
Members   2 alive, 1 dead
Key       number 2
Node      a
Clock     30 ms behind the others'
Ready     no: the container runtime: no socket";
        assert_eq!(status_text(&cluster), expected);
    }
}
