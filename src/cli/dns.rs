//! What names lead to: `dns query`.

use clap::{Args, Subcommand};

use super::{
    Invocation,
    client::Route,
    containers,
    error::CliError,
    output::{ListFormat, Listing},
};
use crate::api::wire::NameAnswer;

/// `fizz dns`.
#[derive(Debug, Subcommand)]
pub(super) enum DnsCommand {
    /// Show what a name leads to, as a container or a node is answered
    Query(QueryArgs),
}

/// `fizz dns query`.
#[derive(Args, Debug)]
pub(super) struct QueryArgs {
    /// The name; or an address, to be told its name
    pub(super) name: String,
    /// The type of record: A, AAAA, SRV, PTR or ANY [default: A]
    #[arg(value_name = "TYPE")]
    pub(super) kind: Option<String>,
    /// Ask as a container of this service does; the node itself asks by default, which knows whole names only
    #[arg(long, value_name = "SERVICE")]
    pub(super) from: Option<String>,
    /// Index of the container that asks if the service has multiple replicas
    #[arg(long, requires = "from")]
    pub(super) index: Option<u32>,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz dns`.
pub(super) async fn dns(invocation: &Invocation, command: DnsCommand) -> Result<(), CliError> {
    match command {
        DnsCommand::Query(args) => query(invocation, &args).await,
    }
}

async fn query(invocation: &Invocation, args: &QueryArgs) -> Result<(), CliError> {
    let mut route = Route::to(&["names", &args.name]);
    if let Some(kind) = &args.kind {
        route = route.with("kind", kind);
    }
    if let Some(service) = &args.from {
        let project = invocation.project_name()?;
        let container = containers::one(&invocation.client, &project, service, args.index).await?;
        route = route.with("container", &container.id);
    }
    let answer: NameAnswer = invocation.client.get(&route).await?;
    match args.listing.format {
        ListFormat::Json => invocation.output.json(&answer)?,
        ListFormat::Table => {
            for it in &answer.records {
                invocation
                    .output
                    .line(&format!("{}. {} IN {} {}", it.name, it.ttl_seconds, it.kind, it.data))?;
            }
        }
    }
    match outcome(&answer) {
        None => Ok(()),
        Some((why, true)) => {
            invocation.output.note(&why);
            Ok(())
        }
        Some((why, false)) => Err(CliError::Failed(why)),
    }
}

/// Why there are no records, and whether that is as it should be.
fn outcome(answer: &NameAnswer) -> Option<(String, bool)> {
    let NameAnswer { name, kind, asker, .. } = answer;
    let text = match answer.outcome.as_str() {
        "found" => return None,
        "no-data" => {
            format!(
                "{name} exists, and has no {kind} record: no replica is ready, or it is of another type"
            )
        }
        "no-name" => format!(
            "{name} does not exist for {asker}\n  hint: short names are of the asker's own project and networks; \
             `fizz dns query SERVICE.PROJECT.fizz.internal` asks as the node, which sees all"
        ),
        "forwarded" => {
            let of = match answer.resolvers.as_slice() {
                [] => "the resolvers of its host".to_owned(),
                own => own.join(", "),
            };
            return Some((
                format!("{name} is none of the cluster's: {of} are asked for {asker}"),
                true,
            ));
        }
        _ => format!("{asker} has no address of the mesh yet, and is told to ask again"),
    };
    Some((text, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_records_says_why() {
        let answer = |outcome: &str, resolvers: &[&str]| NameAnswer {
            name: "db".into(),
            kind: "A".into(),
            asker: "shop-web-1".into(),
            outcome: outcome.into(),
            records: vec![],
            resolvers: resolvers.iter().map(|&it| it.to_owned()).collect(),
        };
        assert_eq!(outcome(&answer("found", &[])), None);
        let (why, fine) = outcome(&answer("no-name", &[])).unwrap();
        assert!(why.starts_with("db does not exist for shop-web-1") && !fine, "{why}");
        let (why, fine) = outcome(&answer("forwarded", &["10.0.0.1", "10.0.0.2"])).unwrap();
        assert!(why.contains("10.0.0.1, 10.0.0.2 are asked for shop-web-1") && fine, "{why}");
        assert!(!outcome(&answer("no-data", &[])).unwrap().1);
        assert!(outcome(&answer("stranger", &[])).unwrap().0.contains("no address"));
    }
}
