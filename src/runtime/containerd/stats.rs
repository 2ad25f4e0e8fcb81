//! What a container uses, reckoned as `docker stats` does, from both versions of control groups.

use std::{fs, sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use prost::Message;

use super::{
    connect::Connection,
    errors::{Refusal, about},
    messages::{GetMetrics, Group1, Group2},
    record,
};
use crate::runtime::{ContainerStats, RuntimeError, RuntimeId, memory_bytes};

/// Between readings.
const EVERY: Duration = Duration::from_secs(1);

/// One reading.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    cpu_ns: u64,
    at_ns: u64,
    memory: u64,
    inactive_file: u64,
    limit: u64,
    read: u64,
    written: u64,
    pids: u64,
    oom_kills: u64,
}

async fn read(connection: &Connection, id: &str) -> Result<Option<Reading>, Refusal> {
    let answer = connection.ask(GetMetrics { filters: vec![format!("id=={id}")] }).await?;
    let Some(data) = answer.metrics.into_iter().find(|it| it.id == id).and_then(|it| it.data)
    else {
        return Ok(None);
    };
    let unknown = |error| Refusal::Said(format!("what it uses is not understood: {error}"));
    let mut reading = if data.type_url.contains("cgroups.v2") {
        version_2(&Group2::decode(&*data.value).map_err(unknown)?)
    } else {
        version_1(&Group1::decode(&*data.value).map_err(unknown)?)
    };
    reading.at_ns = u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0);
    Ok(Some(reading))
}

fn version_1(group: &Group1) -> Reading {
    let memory = group.memory.unwrap_or_default();
    let usage = memory.usage.unwrap_or_default();
    let entries = group.blkio.iter().flat_map(|it| &it.bytes);
    let moved = |direction: &str| {
        entries.clone().filter(|it| it.op.eq_ignore_ascii_case(direction)).map(|it| it.value).sum()
    };
    Reading {
        cpu_ns: group.cpu.unwrap_or_default().usage.unwrap_or_default().total,
        at_ns: 0,
        memory: usage.usage,
        inactive_file: memory.total_inactive_file,
        limit: usage.limit,
        read: moved("read"),
        written: moved("write"),
        pids: group.pids.unwrap_or_default().current,
        oom_kills: group.memory_oom_control.unwrap_or_default().oom_kill,
    }
}

fn version_2(group: &Group2) -> Reading {
    let memory = group.memory.unwrap_or_default();
    let devices = group.io.iter().flat_map(|it| &it.usage);
    Reading {
        cpu_ns: group.cpu.unwrap_or_default().usage_usec.saturating_mul(1000),
        at_ns: 0,
        memory: memory.usage,
        inactive_file: memory.inactive_file,
        limit: memory.usage_limit,
        read: devices.clone().map(|it| it.rbytes).sum(),
        written: devices.map(|it| it.wbytes).sum(),
        pids: group.pids.unwrap_or_default().current,
        oom_kills: group.memory_events.unwrap_or_default().oom_kill,
    }
}

/// Whether the kernel ended a process of a container for want of memory. Its control group is there as
/// long as its process is not cleared away.
pub(super) async fn was_out_of_memory(connection: &Connection, id: &str) -> bool {
    let reading = read(connection, id).await;
    reading.ok().flatten().is_some_and(|it| it.oom_kills > 0)
}

pub(super) fn stats(
    connection: Arc<Connection>,
    id: RuntimeId,
) -> BoxStream<'static, Result<ContainerStats, RuntimeError>> {
    let begun = (connection, id, None::<Reading>, false);
    stream::unfold(begun, async |(connection, id, before, ended)| {
        if ended {
            return None;
        }
        match next(&connection, &id, before).await {
            Ok(Some((stats, reading))) => Some((Ok(stats), (connection, id, Some(reading), false))),
            Ok(None) => None,
            Err(error) => Some((Err(error), (connection, id, before, true))),
        }
    })
    .boxed()
}

/// The next reading, against the one before it; `None` once it does not run.
async fn next(
    connection: &Connection,
    id: &RuntimeId,
    before: Option<Reading>,
) -> Result<Option<(ContainerStats, Reading)>, RuntimeError> {
    let what = about("measure", "container", &*id.0);
    let before = match before {
        Some(before) => before,
        None => {
            record::must_find(connection, &id.0, "measure").await?;
            let first = read(connection, &id.0).await;
            let first = first.map_err(|it| connection.error(it, &what))?;
            let Some(first) = first else { return Ok(None) };
            first
        }
    };
    tokio::time::sleep(EVERY).await;
    let now = read(connection, &id.0).await.map_err(|it| connection.error(it, &what))?;
    let Some(now) = now else { return Ok(None) };
    let Some(pid) = record::pid(connection, &id.0).await? else { return Ok(None) };
    let (rx, tx) = network(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default());
    let (busy, passed) =
        (now.cpu_ns.saturating_sub(before.cpu_ns), now.at_ns.saturating_sub(before.at_ns).max(1));
    let share = u128::from(busy) * 10_000 / u128::from(passed);
    let stats = ContainerStats {
        cpu_hundredths_percent: u64::try_from(share).unwrap_or(0),
        memory_bytes: now.memory.saturating_sub(now.inactive_file),
        memory_limit_bytes: now.limit.min(memory_bytes().unwrap_or(0)),
        network_rx_bytes: rx,
        network_tx_bytes: tx,
        block_read_bytes: now.read,
        block_write_bytes: now.written,
        pids: now.pids,
    };
    Ok(Some((stats, now)))
}

/// Bytes received and sent by all devices but loopback (proc(5), `/proc/net/dev`).
fn network(text: &str) -> (u64, u64) {
    let devices = text.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> =
            numbers.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        (name.trim() != "lo").then_some((*numbers.first()?, *numbers.get(8)?))
    });
    devices.fold((0, 0), |(rx, tx), (received, sent)| (rx + received, tx + sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_not_counted() {
        let text = "Inter-| Receive\n face |bytes\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 7 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n";
        assert_eq!(network(text), (7, 9));
    }
}
