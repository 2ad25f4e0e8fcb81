//! What a container uses, reckoned as `docker stats` does.

use std::sync::Arc;

use bollard::{
    models::{ContainerCpuStats, ContainerMemoryStats, ContainerStatsResponse},
    query_parameters::StatsOptions,
};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};

use super::{
    connect::Connection,
    errors::{Refusal, about},
};
use crate::runtime::{ContainerStats, RuntimeError, RuntimeId};

pub(super) fn stats(
    connection: Arc<Connection>,
    id: RuntimeId,
) -> BoxStream<'static, Result<ContainerStats, RuntimeError>> {
    let begin = async move {
        let engine = connection.engine().await?;
        let options = StatsOptions { stream: true, one_shot: false };
        let readings = engine.client.stats(&id.0, Some(options));
        Ok(readings.map(move |reading| match reading {
            Ok(reading) => Ok(reckoned(&reading)),
            Err(error) => {
                Err(engine.error(Refusal::from(error), about("measure", "container", &*id.0)))
            }
        }))
    };
    stream::once(begin)
        .flat_map(|begun: Result<_, RuntimeError>| match begun {
            Ok(readings) => readings.boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .boxed()
}

fn reckoned(reading: &ContainerStatsResponse) -> ContainerStats {
    let memory = reading.memory_stats.clone().unwrap_or_default();
    let networks = reading.networks.iter().flatten();
    let (rx, tx) = networks.fold((0, 0), |(rx, tx), (_, it)| {
        (rx + it.rx_bytes.unwrap_or(0), tx + it.tx_bytes.unwrap_or(0))
    });
    let blocks = reading.blkio_stats.as_ref().and_then(|it| it.io_service_bytes_recursive.as_ref());
    let moved = |direction: &str| {
        let entries = blocks.into_iter().flatten();
        let entries = entries
            .filter(|it| it.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(direction)));
        entries.filter_map(|it| it.value).sum()
    };
    ContainerStats {
        cpu_hundredths_percent: cpu(reading.cpu_stats.as_ref(), reading.precpu_stats.as_ref()),
        memory_bytes: used(&memory),
        memory_limit_bytes: memory.limit.unwrap_or(0),
        network_rx_bytes: rx,
        network_tx_bytes: tx,
        block_read_bytes: moved("read"),
        block_write_bytes: moved("write"),
        pids: reading.pids_stats.as_ref().and_then(|it| it.current).unwrap_or(0),
    }
}

/// The container's share of the time that all cores had since the last reading, times the cores.
/// The first reading has none before it.
fn cpu(now: Option<&ContainerCpuStats>, before: Option<&ContainerCpuStats>) -> u64 {
    let (Some(now), Some(before)) = (now, before) else { return 0 };
    let total = |it: &ContainerCpuStats| it.cpu_usage.as_ref().and_then(|it| it.total_usage);
    let (Some(system), Some(system_before)) = (now.system_cpu_usage, before.system_cpu_usage)
    else {
        return 0;
    };
    let used = total(now).unwrap_or(0).saturating_sub(total(before).unwrap_or(0));
    let system = system.saturating_sub(system_before);
    let listed = now.cpu_usage.as_ref().and_then(|it| it.percpu_usage.as_ref()).map_or(1, Vec::len);
    let cores = now.online_cpus.filter(|it| *it > 0).map_or(listed as u64, u64::from);
    let share = u128::from(used) * u128::from(cores) * 10_000;
    share.checked_div(u128::from(system)).and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
}

/// Memory without the page cache that nobody has used lately: `total_inactive_file` under cgroup v1,
/// `inactive_file` under v2.
fn used(memory: &ContainerMemoryStats) -> u64 {
    let usage = memory.usage.unwrap_or(0);
    let detail = |name: &str| memory.stats.as_ref().and_then(|it| it.get(name)).copied();
    let cache = detail("total_inactive_file").or_else(|| detail("inactive_file")).unwrap_or(0);
    if cache < usage { usage - cache } else { usage }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> ContainerStatsResponse {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_container_that_fills_one_of_two_cores_has_a_hundred_percent() {
        let stats = reckoned(&reading(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":1500},"system_cpu_usage":5000,"online_cpus":2},
                "precpu_stats":{"cpu_usage":{"total_usage":500},"system_cpu_usage":3000},
                "networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},"eth1":{"rx_bytes":3,"tx_bytes":4}},
                "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":7},{"op":"write","value":8},{"op":"read","value":1}]},
                "pids_stats":{"current":3}}"#,
        ));
        assert_eq!(stats.cpu_hundredths_percent, 10_000);
        assert_eq!((stats.network_rx_bytes, stats.network_tx_bytes), (4, 6));
        assert_eq!((stats.block_read_bytes, stats.block_write_bytes, stats.pids), (8, 8, 3));
    }

    #[test]
    fn the_first_reading_has_no_cpu() {
        let stats = reckoned(&reading(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":1500},"system_cpu_usage":5000,"online_cpus":2},
                "precpu_stats":{"cpu_usage":{"total_usage":0}}}"#,
        ));
        assert_eq!(stats.cpu_hundredths_percent, 0);
    }

    #[test]
    fn memory_is_without_cache_under_both_kinds_of_cgroups() {
        for (stats, wanted) in [
            (r#"{"total_inactive_file":40,"inactive_file":1}"#, 60),
            (r#"{"inactive_file":30}"#, 70),
            (r#"{"inactive_file":300}"#, 100),
        ] {
            let text =
                format!(r#"{{"memory_stats":{{"usage":100,"limit":1000,"stats":{stats}}}}}"#);
            assert_eq!(reckoned(&reading(&text)).memory_bytes, wanted, "{stats}");
        }
    }
}
