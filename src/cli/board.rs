//! Progress as a fold: what the daemon reports becomes rows, one for each image, network, volume and
//! container, and only what changed comes out.

use std::collections::BTreeMap;

use super::{format::decimal_bytes, progress};
use crate::api::wire::{Container, Event, Progress, Service};

/// How a row is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// On its way.
    Working,
    /// Where it should be.
    Done,
    /// Somewhere that deserves a look.
    Warning,
    /// Failed.
    Failed,
}

/// One thing and how it is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `Container`, `Service`, `Network`, `Volume`, `Image`.
    pub(super) kind: &'static str,
    /// Its name.
    pub(super) name: String,
    /// What it does, or where it is: `Starting`, `Healthy`, `Exited (0)`.
    pub(super) status: String,
    /// How it is doing.
    pub(super) mood: Mood,
}

impl Row {
    /// The row as a plain line.
    #[must_use]
    pub(super) fn text(&self) -> String {
        format!(" {} {}  {}", self.kind, self.name, self.status)
    }
}

/// Everything that is watched, and how it was last seen.
#[derive(Debug, Default)]
pub(super) struct Board {
    rows: BTreeMap<String, Row>,
}

impl Board {
    /// Takes a container as it is without speaking of it: it was there before.
    pub(super) fn know(&mut self, container: &Container) {
        drop(self.see(container));
    }

    /// Takes a container as it is; gives its row if that is news.
    pub(super) fn see(&mut self, container: &Container) -> Option<Row> {
        if container.one_off {
            return None;
        }
        let (status, mood) = container_status(
            container.doing.as_deref(),
            &container.state,
            container.reason.as_deref(),
            container.exit_code,
        );
        self.put(
            &container.id,
            Row { kind: "Container", name: container.name.clone(), status, mood },
        )
    }

    /// Takes a service as it is; gives its row if that is news. One whose change is not worth a line has
    /// one only where it had one before.
    pub(super) fn change(&mut self, service: &Service) -> Option<Row> {
        let key = format!("service {}", service.name);
        if !self.rows.contains_key(&key) && !progress::is_worth_showing(service) {
            return None;
        }
        let (status, mood) = progress::status(service);
        self.put(&key, Row { kind: "Service", name: service.name.clone(), status, mood })
    }

    /// Takes an event; gives the row that it changes.
    pub(super) fn happened(&mut self, event: &Event) -> Option<Row> {
        match event.kind.as_str() {
            "container.state" | "container.doing" => self.container(event),
            "container.removed" => {
                let key = event.container.clone().or_else(|| event.name.clone())?;
                let name =
                    event.name.clone().or_else(|| Some(self.rows.get(&key)?.name.clone()))?;
                let row =
                    Row { kind: "Container", name, status: "Removed".into(), mood: Mood::Done };
                self.put(&key, row)
            }
            "resource.created" => self.resource(event, "Created", Mood::Done),
            "resource.removed" => self.resource(event, "Removed", Mood::Done),
            "resource.failed" => {
                let why = event.reason.as_deref().unwrap_or("see the daemon's log");
                self.resource(event, &format!("Failed: {why}"), Mood::Failed)
            }
            "image.progress" => {
                let name = event.name.clone()?;
                let (status, mood) = match event.progress.as_ref()? {
                    Progress { error: Some(error), .. } => (error.detail.clone(), Mood::Failed),
                    Progress { image: Some(_), .. } => ("Pulled".into(), Mood::Done),
                    _ => ("Pulling".into(), Mood::Working),
                };
                self.put(&format!("image {name}"), Row { kind: "Image", name, status, mood })
            }
            _ => None,
        }
    }

    fn container(&mut self, event: &Event) -> Option<Row> {
        let key = event.container.clone()?;
        let known = self.rows.get(&key);
        let name = event.name.clone().or_else(|| known.map(|row| row.name.clone()))?;
        let state = event.state.as_deref().unwrap_or_default();
        let doing = event.kind == "container.doing";
        // An activity that is over says nothing; the state that it led to has its own event.
        if state.is_empty() {
            return None;
        }
        let (doing, state) = if doing { (Some(state), "") } else { (None, state) };
        let (status, mood) =
            container_status(doing, state, event.reason.as_deref(), event.exit_code);
        self.put(&key, Row { kind: "Container", name, status, mood })
    }

    fn resource(&mut self, event: &Event, status: &str, mood: Mood) -> Option<Row> {
        let (kind, name) = match (event.state.as_deref(), &event.name, &event.project) {
            (Some("network"), Some(name), _) => ("Network", name),
            (Some("volume"), Some(name), _) => ("Volume", name),
            (_, Some(name), _) => ("Resource", name),
            (_, None, project) => ("Project", project.as_ref()?),
        };
        self.put(
            &format!("{kind} {name}"),
            Row { kind, name: name.clone(), status: status.into(), mood },
        )
    }

    /// Keeps the row; gives it back if it is news.
    fn put(&mut self, key: &str, row: Row) -> Option<Row> {
        let old = self.rows.insert(key.to_owned(), row.clone());
        (old.as_ref() != Some(&row)).then_some(row)
    }
}

/// What a container's state reads as.
fn container_status(
    doing: Option<&str>,
    state: &str,
    reason: Option<&str>,
    exit_code: Option<i64>,
) -> (String, Mood) {
    if let Some(doing) = doing.filter(|it| !it.is_empty()) {
        let mood = if doing.starts_with("restarting") { Mood::Warning } else { Mood::Working };
        return (capitalised(doing), mood);
    }
    let because = reason.map(|it| format!(": {it}")).unwrap_or_default();
    match state {
        "pending" => (format!("Pending{because}"), Mood::Working),
        "running" => ("Started".into(), Mood::Done),
        "healthy" => ("Healthy".into(), Mood::Done),
        "unhealthy" => (format!("Unhealthy{because}"), Mood::Warning),
        "stopped" => match exit_code {
            Some(code @ 1..) => (format!("Exited ({code})"), Mood::Warning),
            Some(code) => (format!("Exited ({code})"), Mood::Done),
            None => ("Stopped".into(), Mood::Done),
        },
        "failed" => {
            let code = exit_code.map(|it| format!(" ({it})")).unwrap_or_default();
            (format!("Failed{code}{because}"), Mood::Failed)
        }
        other => (capitalised(other), Mood::Working),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A pull as a fold over its layers.
#[derive(Debug, Default)]
pub(super) struct PullBoard {
    layers: BTreeMap<String, Layer>,
}

#[derive(Debug, Default)]
struct Layer {
    current: u64,
    total: u64,
    done: bool,
}

/// The heights of a layer's bar, from nothing to done.
const HEIGHTS: [char; 9] = [' ', '⡀', '⣀', '⣄', '⣤', '⣦', '⣶', '⣷', '⣿'];

impl PullBoard {
    /// Takes a step; gives what the line says now: a bar for each layer, then bytes.
    pub(super) fn step(&mut self, progress: &Progress) -> String {
        if let Some(id) = &progress.layer {
            let layer = self.layers.entry(id.clone()).or_default();
            let status = progress.status.as_str();
            // Extracting counts anew: what is downloaded stays downloaded.
            if status == "Downloading" || status.is_empty() {
                layer.current = progress.current_bytes.unwrap_or(layer.current);
                layer.total = progress.total_bytes.unwrap_or(layer.total);
            }
            if matches!(status, "Pull complete" | "Already exists" | "Download complete") {
                (layer.current, layer.done) = (layer.total, true);
            }
        }
        let bar: String = self.layers.values().map(Layer::height).collect();
        let current: u64 = self.layers.values().map(|it| it.current).sum();
        let total: u64 = self.layers.values().map(|it| it.total).sum();
        match (bar.is_empty(), total) {
            (true, _) => "Pulling".into(),
            (false, 0) => format!("[{bar}] Pulling"),
            (false, _) => {
                format!("[{bar}] {} / {} Pulling", decimal_bytes(current), decimal_bytes(total))
            }
        }
    }
}

impl Layer {
    fn height(&self) -> char {
        let top = HEIGHTS.len() - 1;
        let eighths = self.current.saturating_mul(top as u64).checked_div(self.total).unwrap_or(0);
        let height = if self.done { top } else { usize::try_from(eighths).unwrap_or(top).min(top) };
        HEIGHTS.get(height).copied().unwrap_or(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: serde_json::Value) -> Event {
        let mut all = json!({"id": 1, "at_ms": 0});
        all.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn state(state: &str) -> Event {
        event(
            json!({"kind": "container.state", "container": "c", "name": "shop-web-1", "state": state}),
        )
    }

    #[test]
    fn a_containers_way_to_health_is_told_step_by_step_and_never_twice() {
        let mut board = Board::default();
        let mut lines = Vec::new();
        let doing = |what: &str| {
            event(
                json!({"kind": "container.doing", "container": "c", "name": "shop-web-1", "state": what}),
            )
        };
        for event in [
            state("pending"),
            doing("pulling"),
            doing("pulling"),
            doing("starting"),
            state("running"),
            doing(""),
            state("running"),
            state("healthy"),
        ] {
            lines.extend(board.happened(&event).map(|row| row.text()));
        }
        assert_eq!(
            lines,
            [
                " Container shop-web-1  Pending",
                " Container shop-web-1  Pulling",
                " Container shop-web-1  Starting",
                " Container shop-web-1  Started",
                " Container shop-web-1  Healthy",
            ]
        );
    }

    #[test]
    fn an_end_says_its_status_and_why() {
        let mut board = Board::default();
        let failed = event(json!({"kind": "container.state", "container": "c", "name": "a",
            "state": "failed", "exit_code": 3, "reason": "it crashed 5 times"}));
        let row = board.happened(&failed).unwrap();
        assert_eq!(
            (row.text(), row.mood),
            (" Container a  Failed (3): it crashed 5 times".into(), Mood::Failed)
        );
        let removed = event(json!({"kind": "container.removed", "container": "c"}));
        assert_eq!(board.happened(&removed).unwrap().text(), " Container a  Removed");
    }

    #[test]
    fn resources_have_their_kind_and_foreign_events_no_row() {
        let mut board = Board::default();
        let made =
            event(json!({"kind": "resource.created", "name": "shop_default", "state": "network"}));
        assert_eq!(board.happened(&made).unwrap().text(), " Network shop_default  Created");
        assert_eq!(board.happened(&event(json!({"kind": "node.state", "name": "n"}))), None);
    }

    #[test]
    fn a_pull_shows_each_layer_and_the_bytes_of_all() {
        let mut board = PullBoard::default();
        let step = |layer: &str, status: &str, current, total| Progress {
            layer: Some(layer.into()),
            status: status.into(),
            current_bytes: Some(current),
            total_bytes: Some(total),
            ..Progress::default()
        };
        assert_eq!(board.step(&Progress::default()), "Pulling");
        board.step(&step("a", "Downloading", 500, 1000));
        board.step(&step("b", "Downloading", 0, 3000));
        assert_eq!(board.step(&step("b", "Downloading", 3000, 3000)), "[⣤⣿] 3.50kB / 4kB Pulling");
        assert_eq!(board.step(&step("a", "Pull complete", 0, 0)), "[⣿⣿] 4kB / 4kB Pulling");
        assert_eq!(board.step(&step("a", "Extracting", 10, 900)), "[⣿⣿] 4kB / 4kB Pulling");
    }
}
