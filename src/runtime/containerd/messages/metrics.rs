//! What containers use, as the two versions of control groups count it.

use prost::Message;

use super::{Any, calls};

/// What the tasks that any of the filters lets through use.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetMetrics {
    #[prost(string, repeated, tag = "1")]
    pub(in super::super) filters: Vec<String>,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Metrics {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) metrics: Vec<Metric>,
}

/// What one task uses: a [`Group1`] or a [`Group2`].
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Metric {
    #[prost(string, tag = "2")]
    pub(in super::super) id: String,
    #[prost(message, optional, tag = "3")]
    pub(in super::super) data: Option<Any>,
}

/// `io.containerd.cgroups.v1.Metrics`.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Group1 {
    #[prost(message, optional, tag = "2")]
    pub(in super::super) pids: Option<Pids1>,
    #[prost(message, optional, tag = "3")]
    pub(in super::super) cpu: Option<Cpu1>,
    #[prost(message, optional, tag = "4")]
    pub(in super::super) memory: Option<Memory1>,
    #[prost(message, optional, tag = "5")]
    pub(in super::super) blkio: Option<Blkio1>,
    #[prost(message, optional, tag = "9")]
    pub(in super::super) memory_oom_control: Option<OomControl>,
}

/// Processes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct Pids1 {
    #[prost(uint64, tag = "1")]
    pub(in super::super) current: u64,
}

/// Time of cores.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct Cpu1 {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) usage: Option<CpuUsage1>,
}

/// In nanoseconds.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct CpuUsage1 {
    #[prost(uint64, tag = "1")]
    pub(in super::super) total: u64,
}

/// In bytes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct Memory1 {
    #[prost(uint64, tag = "30")]
    pub(in super::super) total_inactive_file: u64,
    #[prost(message, optional, tag = "33")]
    pub(in super::super) usage: Option<MemoryEntry>,
}

/// In bytes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct MemoryEntry {
    #[prost(uint64, tag = "1")]
    pub(in super::super) limit: u64,
    #[prost(uint64, tag = "2")]
    pub(in super::super) usage: u64,
}

/// What devices moved.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Blkio1 {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) bytes: Vec<BlkioEntry>,
}

/// One device, one direction.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct BlkioEntry {
    #[prost(string, tag = "1")]
    pub(in super::super) op: String,
    #[prost(uint64, tag = "5")]
    pub(in super::super) value: u64,
}

/// How often the kernel killed for want of memory.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct OomControl {
    #[prost(uint64, tag = "3")]
    pub(in super::super) oom_kill: u64,
}

/// `io.containerd.cgroups.v2.Metrics`.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Group2 {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) pids: Option<Pids1>,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) cpu: Option<Cpu2>,
    #[prost(message, optional, tag = "4")]
    pub(in super::super) memory: Option<Memory2>,
    #[prost(message, optional, tag = "6")]
    pub(in super::super) io: Option<Io2>,
    #[prost(message, optional, tag = "8")]
    pub(in super::super) memory_events: Option<MemoryEvents>,
}

/// In microseconds.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct Cpu2 {
    #[prost(uint64, tag = "1")]
    pub(in super::super) usage_usec: u64,
}

/// In bytes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct Memory2 {
    #[prost(uint64, tag = "13")]
    pub(in super::super) inactive_file: u64,
    #[prost(uint64, tag = "32")]
    pub(in super::super) usage: u64,
    #[prost(uint64, tag = "33")]
    pub(in super::super) usage_limit: u64,
}

/// What devices moved.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Io2 {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) usage: Vec<IoEntry>,
}

/// One device, in bytes.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct IoEntry {
    #[prost(uint64, tag = "3")]
    pub(in super::super) rbytes: u64,
    #[prost(uint64, tag = "4")]
    pub(in super::super) wbytes: u64,
}

/// How often the kernel killed for want of memory.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct MemoryEvents {
    #[prost(uint64, tag = "5")]
    pub(in super::super) oom_kill: u64,
}

calls! { "tasks.v1.Tasks": GetMetrics => "Metrics" Metrics; }
