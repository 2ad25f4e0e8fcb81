//! Versions: `version`.

use clap::Args;
use serde_json::json;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    output::{ListFormat, Listing},
};
use crate::api::wire::Version;

/// `fizz version`.
#[derive(Args, Debug)]
pub(super) struct VersionArgs {
    /// Show only this command's version number
    #[arg(long)]
    pub(super) short: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz version`: this command's version is told even if no daemon answers.
pub(super) async fn version(invocation: &Invocation, args: VersionArgs) -> Result<(), CliError> {
    let own = env!("CARGO_PKG_VERSION");
    let output = &invocation.output;
    if args.short {
        return output.line(own);
    }
    let daemon = invocation.client.get::<Version>(&Route::to(&["version"])).await;
    match args.listing.format {
        ListFormat::Json => output.json(&json!({"client": own, "daemon": daemon.as_ref().ok()}))?,
        ListFormat::Table => {
            output.line(&format!("Fizz     {own}"))?;
            if let Ok(daemon) = &daemon {
                output.line(&version_text(daemon))?;
            }
        }
    }
    daemon.map(|_| ())
}

fn version_text(daemon: &Version) -> String {
    let runtime = daemon.runtime.as_deref().unwrap_or("unreachable");
    format!(
        "Daemon   {} (API {})\nRuntime  {runtime}\nKernel   {} {}",
        daemon.version, daemon.api, daemon.kernel, daemon.architecture
    )
}
