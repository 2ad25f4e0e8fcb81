//! What happens: `events`.

use clap::Args;

use super::{
    Invocation,
    attached::Stop,
    error::{CliError, EXIT_INTERRUPTED},
    format::{now, parse_time, rfc3339_ms},
};
use crate::api::wire::Event;

/// `fizz events`.
#[derive(Args, Debug)]
pub(super) struct EventsArgs {
    /// Services; all by default
    pub(super) services: Vec<String>,
    /// Output events as a stream of json objects
    #[arg(long)]
    pub(super) json: bool,
    /// Show events since a time
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Stream events until a time
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// Of all projects
    #[arg(short, long)]
    pub(super) all: bool,
}

/// `fizz events`.
pub(super) async fn events(invocation: &Invocation, args: EventsArgs) -> Result<(), CliError> {
    let project = if args.all { None } else { Some(invocation.project_name()?) };
    let time = |text: &Option<String>| text.as_deref().map(|it| parse_time(it, now())).transpose();
    let (since, until) = (time(&args.since)?, time(&args.until)?);
    // Ids grow from one: what the daemon still has comes first.
    let mut events = invocation.client.events(project.as_deref(), since.map(|_| 0));
    events.connect().await?;
    let mut stop = Stop::new()?;
    let end = until.map_or(u64::MAX, |it| it.0.saturating_sub(now().0));
    let end =
        tokio::time::sleep(std::time::Duration::from_millis(end.min(u64::from(u32::MAX) * 1000)));
    tokio::pin!(end);
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            () = &mut end, if until.is_some() => return Ok(()),
            status = stop.next() => return match status {
                EXIT_INTERRUPTED => Ok(()),
                status => Err(CliError::Exit(status)),
            },
        };
        let wanted = args.services.is_empty()
            || event.service.as_ref().is_some_and(|it| args.services.contains(it));
        let in_time = since.is_none_or(|it| event.at_ms >= it.0)
            && until.is_none_or(|it| event.at_ms <= it.0);
        if wanted && in_time {
            let text = if args.json {
                serde_json::to_string(&event).unwrap_or_default()
            } else {
                event_text(&event)
            };
            invocation.output.line(&text)?;
        }
    }
}

/// An event as a line: when, what, of which, and how it is now.
fn event_text(event: &Event) -> String {
    let mut text = format!("{} {}", rfc3339_ms(event.at_ms), event.kind);
    for part in [&event.name, &event.state].into_iter().flatten() {
        text.push_str(&format!(" {part}"));
    }
    let mut facts = Vec::new();
    for (name, value) in [
        ("project", &event.project),
        ("service", &event.service),
        ("container", &event.container),
        ("reason", &event.reason),
    ] {
        let value = value.as_ref().filter(|it| !it.is_empty());
        facts.extend(value.map(|value| format!("{name}={value}")));
    }
    facts.extend(event.exit_code.map(|code| format!("exit_code={code}")));
    if !facts.is_empty() {
        text.push_str(&format!(" ({})", facts.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line_with_its_facts() {
        let event: Event = serde_json::from_value(json!({
            "id": 7, "at_ms": 1000, "kind": "container.state", "project": "shop", "service": "web",
            "container": "c", "name": "shop-web-1", "state": "failed", "exit_code": 1,
        }))
        .unwrap();
        assert_eq!(
            event_text(&event),
            "1970-01-01T00:00:01.000Z container.state shop-web-1 failed (project=shop, service=web, \
             container=c, exit_code=1)"
        );
    }
}
