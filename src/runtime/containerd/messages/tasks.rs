//! `containerd.services.tasks.v1`: the processes of containers.

use prost::Message;

use super::{Any, Empty, MountPoint, Timestamp, calls};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(in super::super) enum Status {
    /// Not told.
    Unknown = 0,
    /// Made, and waits to begin.
    Created = 1,
    /// Runs.
    Running = 2,
    /// Ended.
    Stopped = 3,
    /// Is held.
    Paused = 4,
    /// Is about to be held.
    Pausing = 5,
}

/// A process.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Process {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) id: String,
    #[prost(uint32, tag = "3")]
    pub(in super::super) pid: u32,
    #[prost(enumeration = "Status", tag = "4")]
    pub(in super::super) status: i32,
    #[prost(uint32, tag = "9")]
    pub(in super::super) exit_status: u32,
    #[prost(message, optional, tag = "10")]
    pub(in super::super) exited_at: Option<Timestamp>,
}

/// Makes a container's process, which then waits.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CreateTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(message, repeated, tag = "3")]
    pub(in super::super) rootfs: Vec<MountPoint>,
    #[prost(string, tag = "4")]
    pub(in super::super) stdin: String,
    #[prost(string, tag = "5")]
    pub(in super::super) stdout: String,
    #[prost(string, tag = "6")]
    pub(in super::super) stderr: String,
    #[prost(bool, tag = "7")]
    pub(in super::super) terminal: bool,
    #[prost(message, optional, tag = "9")]
    pub(in super::super) options: Option<Any>,
}

/// A process that was made or began.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct TaskMade {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(uint32, tag = "2")]
    pub(in super::super) pid: u32,
}

/// Lets a process begin.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct StartTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
}

/// Its id on the node.
#[derive(Clone, Copy, PartialEq, Message)]
pub(in super::super) struct TaskStarted {
    #[prost(uint32, tag = "1")]
    pub(in super::super) pid: u32,
}

/// Clears away what an ended process left.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
}

/// The same of a process that was run in the container.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteProcess {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
}

/// How it ended.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct TaskEnd {
    #[prost(uint32, tag = "3")]
    pub(in super::super) exit_status: u32,
    #[prost(message, optional, tag = "4")]
    pub(in super::super) exited_at: Option<Timestamp>,
}

/// Looks at a process.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct GetTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OneTask {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) process: Option<Process>,
}

/// Sends a signal.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct KillTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(in super::super) signal: u32,
    #[prost(bool, tag = "4")]
    pub(in super::super) all: bool,
}

/// Makes a further process in a container, which then waits.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ExecProcess {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) stdin: String,
    #[prost(string, tag = "3")]
    pub(in super::super) stdout: String,
    #[prost(string, tag = "4")]
    pub(in super::super) stderr: String,
    #[prost(bool, tag = "5")]
    pub(in super::super) terminal: bool,
    #[prost(message, optional, tag = "6")]
    pub(in super::super) spec: Option<Any>,
    #[prost(string, tag = "7")]
    pub(in super::super) exec_id: String,
}

/// A terminal's size.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ResizePty {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(in super::super) width: u32,
    #[prost(uint32, tag = "4")]
    pub(in super::super) height: u32,
}

/// Ends a process's input.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct CloseIo {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
    #[prost(bool, tag = "3")]
    pub(in super::super) stdin: bool,
}

/// Lets a container go on that was held.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ResumeTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
}

/// Every process in a container.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct ListPids {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
}

/// The answer to it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Pids {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) processes: Vec<TaskStarted>,
}

/// Waits for a process's end.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WaitTask {
    #[prost(string, tag = "1")]
    pub(in super::super) container_id: String,
    #[prost(string, tag = "2")]
    pub(in super::super) exec_id: String,
}

/// How it ended.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Ended {
    #[prost(uint32, tag = "1")]
    pub(in super::super) exit_status: u32,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) exited_at: Option<Timestamp>,
}

calls! { "tasks.v1.Tasks":
    CreateTask => "Create" TaskMade;
    StartTask => "Start" TaskStarted;
    DeleteTask => "Delete" TaskEnd;
    DeleteProcess => "DeleteProcess" TaskEnd;
    GetTask => "Get" OneTask;
    KillTask => "Kill" Empty;
    ExecProcess => "Exec" Empty;
    ResizePty => "ResizePty" Empty;
    CloseIo => "CloseIO" Empty;
    ResumeTask => "Resume" Empty;
    ListPids => "ListPids" Pids;
    WaitTask => "Wait" Ended;
}
