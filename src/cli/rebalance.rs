//! Gives nodes that came late their share of what runs: `rebalance`.

use clap::Args;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    output::{ListFormat, Listing},
};
use crate::api::wire::{Move, Rebalance};

/// `fizz rebalance`.
#[derive(Args, Debug)]
pub(super) struct RebalanceArgs {
    /// Show what would move, and move nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz rebalance`.
pub(super) async fn rebalance(
    invocation: &Invocation,
    args: RebalanceArgs,
) -> Result<(), CliError> {
    let request = Rebalance { dry_run: args.dry_run };
    let moves: Vec<Move> = invocation.client.post(&Route::to(&["rebalance"]), &request).await?;
    let output = &invocation.output;
    match args.listing.format {
        ListFormat::Json => return output.json(&moves),
        ListFormat::Table => {}
    }
    if moves.is_empty() {
        output.note("Nothing moves: no move would give nodes a fairer share.");
        return Ok(());
    }
    moves.iter().try_for_each(|it| output.line(&line(it)))?;
    if !args.dry_run {
        output.note("They move one after another; `fizz ps` shows how far they are.");
    }
    Ok(())
}

fn line(it: &Move) -> String {
    format!("{}-{}-{} {} -> {}", it.project, it.service, it.slot, it.from_name, it.to_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_says_what_goes_from_where_to_where() {
        let it = Move {
            project: "shop".into(),
            service: "web".into(),
            slot: 3,
            from: "a".into(),
            from_name: "one".into(),
            to: "b".into(),
            to_name: "two".into(),
        };
        assert_eq!(line(&it), "shop-web-3 one -> two");
    }
}
