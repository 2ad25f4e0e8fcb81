//! Stops and removes what was deployed: `down`.

use clap::Args;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    watch::{self, Wanted, Watch},
};
use crate::api::wire::{Accepted, RemoveDeployment};

/// Which images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RemoveImages {
    /// Those that were built and have no name of their own.
    Local,
    /// All that services use.
    All,
}

/// `fizz down`.
#[derive(Args, Debug, Default)]
pub(super) struct DownArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Remove named volumes declared in the Compose file and anonymous volumes of containers
    #[arg(short, long)]
    pub(super) volumes: bool,
    /// Remove images used by services; `local` only those without a custom tag
    #[arg(long, value_name = "WHICH")]
    pub(super) rmi: Option<RemoveImages>,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    pub(super) remove_orphans: bool,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "SECONDS")]
    pub(super) timeout: Option<u64>,
}

/// `fizz down`. What is not there is already down.
pub(super) async fn down(invocation: &Invocation, args: DownArgs) -> Result<(), CliError> {
    let project = invocation.project_name()?;
    let mut watch = Watch::begin(invocation, &project).await?;
    let accepted = invocation.client.delete::<Accepted>(&down_route(&args, &project)).await;
    let event = match accepted {
        Ok(accepted) => accepted.event,
        Err(error) if error.is_not_found() && args.services.is_empty() => {
            invocation
                .output
                .warn(&format!("no resource found to remove for project \"{project}\""));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let wanted: Wanted = args.services.into_iter().collect();
    watch.until(event, None, |now| watch::gone(now, &wanted)).await.map(|_| ())
}

fn down_route(args: &DownArgs, project: &str) -> Route {
    let request = RemoveDeployment {
        volumes: args.volumes,
        images: args.rmi.map(|it| match it {
            RemoveImages::Local => "local".to_owned(),
            RemoveImages::All => "all".to_owned(),
        }),
        timeout_ms: args.timeout.map(|it| it.saturating_mul(1000)),
        services: args.services.join(","),
        remove_orphans: args.remove_orphans,
    };
    let services = (!request.services.is_empty()).then_some(&request.services);
    Route::to(&["deployments", project])
        .with_flag("volumes", request.volumes)
        .with_some("images", request.images.as_ref())
        .with_some("timeout_ms", request.timeout_ms)
        .with_some("services", services)
        .with_flag("remove_orphans", request.remove_orphans)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_query() {
        let args = DownArgs {
            services: vec!["a".into(), "b".into()],
            volumes: true,
            rmi: Some(RemoveImages::Local),
            remove_orphans: true,
            timeout: Some(3),
        };
        assert_eq!(
            down_route(&args, "shop").as_str(),
            "/v1/deployments/shop?volumes=true&images=local&timeout_ms=3000&services=a%2Cb\
             &remove_orphans=true"
        );
        assert_eq!(down_route(&DownArgs::default(), "shop").as_str(), "/v1/deployments/shop");
    }
}
