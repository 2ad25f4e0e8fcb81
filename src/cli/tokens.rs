//! Tokens for newcomers: `token create`, `token ls`, `token revoke`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Invocation,
    client::Route,
    error::CliError,
    format::{ago, now, parse_span, rough_span},
    output::{ListFormat, Listing},
    table::columns,
};
use crate::{
    api::wire::{CreateToken, NewToken, Token},
    model::{Millis, WallTime},
};

/// `fizz token`.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token, and print it
    Create(CreateArgs),
    /// List tokens
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Make tokens useless
    #[command(visible_alias = "rm")]
    Revoke(RevokeArgs),
}

/// `fizz token create`.
#[derive(Args, Debug)]
pub(super) struct CreateArgs {
    /// How long it is good: 30m, 12h, 7d
    #[arg(long, value_name = "SPAN", default_value = "1h", value_parser = span)]
    pub(super) ttl: Millis,
    /// How many nodes may come with it; 0 is any number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) uses: u16,
}

/// `fizz token ls`.
#[derive(Args, Debug)]
pub(super) struct LsArgs {
    /// Only display ids
    #[arg(short, long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) listing: Listing,
}

/// `fizz token revoke`.
#[derive(Args, Debug)]
pub(super) struct RevokeArgs {
    /// Ids of tokens, as `fizz token ls` shows them
    #[arg(required = true, value_name = "ID")]
    pub(super) ids: Vec<String>,
}

pub(super) fn span(text: &str) -> Result<Millis, String> {
    parse_span(text)
        .filter(|it| it.0 > 0)
        .ok_or_else(|| format!("`{text}` is no span of time: write 30m, 12h or 7d"))
}

/// `fizz token`.
pub(super) async fn token(invocation: &Invocation, command: TokenCommand) -> Result<(), CliError> {
    match command {
        TokenCommand::Create(args) => create(invocation, &args).await,
        TokenCommand::Ls(args) => ls(invocation, &args).await,
        TokenCommand::Revoke(args) => revoke(invocation, &args).await,
    }
}

/// Prints the token and nothing else, for `fizz join ADDRESS -`.
async fn create(invocation: &Invocation, args: &CreateArgs) -> Result<(), CliError> {
    let request = CreateToken { ttl_ms: args.ttl.0, uses: args.uses };
    let made: NewToken = invocation.client.post(&Route::to(&["tokens"]), &request).await?;
    invocation.output.line(&made.token)
}

async fn ls(invocation: &Invocation, args: &LsArgs) -> Result<(), CliError> {
    let list: Vec<Token> = invocation.client.get(&Route::to(&["tokens"])).await?;
    let output = &invocation.output;
    if args.quiet {
        return list.iter().try_for_each(|it| output.line(&it.id));
    }
    match args.listing.format {
        ListFormat::Json => output.json(&list),
        ListFormat::Table => output.line(&tokens_table(&list, now())),
    }
}

fn tokens_table(list: &[Token], now: WallTime) -> String {
    let rows = list.iter().map(|it| {
        let uses = if it.uses == 0 { "any".to_owned() } else { it.uses.to_string() };
        let expires = match it.expires_ms.checked_sub(now.0).filter(|left| *left > 0) {
            Some(left) => format!("in {}", rough_span(Millis(left)).to_lowercase()),
            None => ago(now, it.expires_ms),
        };
        let by = if it.by_name.is_empty() { it.by.clone() } else { it.by_name.clone() };
        [
            it.id.clone(),
            it.state.clone(),
            format!("{} of {uses}", it.used),
            ago(now, it.created_ms),
            expires,
            by,
        ]
    });
    columns(["ID", "STATE", "USED", "CREATED", "EXPIRES", "BY"], rows)
}

/// Revokes all that can be revoked, and fails if one could not.
async fn revoke(invocation: &Invocation, args: &RevokeArgs) -> Result<(), CliError> {
    let mut failure = None;
    for id in &args.ids {
        match invocation.client.delete::<Value>(&Route::to(&["tokens", id])).await {
            Ok(_) => invocation.output.line(id)?,
            Err(error @ CliError::Refused(_)) => {
                if let Some(before) = failure.replace(error) {
                    invocation.output.error(&before);
                }
            }
            Err(error) => return Err(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_time_is_a_span() {
        assert_eq!(span("90m"), Ok(Millis(5_400_000)));
        assert_eq!(span("7d"), Ok(Millis(604_800_000)));
        for wrong in ["", "0s", "soon", "1"] {
            assert!(span(wrong).unwrap_err().contains("write 30m"), "{wrong}");
        }
    }

    #[test]
    fn tokens_are_listed_with_what_is_left_of_them() {
        let token = |state: &str, uses, used, expires_ms| Token {
            id: "00ff".into(),
            state: state.into(),
            created_ms: 0,
            by: "n".into(),
            by_name: "a".into(),
            expires_ms,
            uses,
            used,
        };
        let list = [token("good", 0, 3, 3_600_000), token("expired", 1, 0, 60_000)];
        let expected = "\
ID     STATE     USED       CREATED         EXPIRES         BY
00ff   good      3 of any   2 minutes ago   in 58 minutes   a
00ff   expired   0 of 1     2 minutes ago   1 minute ago    a";
        let expected = expected.replace("1 minute ago ", "About a minute ago ");
        let shown = tokens_table(&list, WallTime(120_000));
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(words(&shown), words(&expected));
    }
}
