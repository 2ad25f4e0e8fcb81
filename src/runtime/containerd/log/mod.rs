//! A container's output, kept in files.
//!
//! containerd keeps no logs: it starts a program for each container and hands it the output (its
//! documentation of runtime v2, "binary"). That program is Fizz itself, so that output is written on
//! while the daemon is away. The files have the form that Kubernetes's runtimes write too (CRI: time,
//! stream, tag, text), with a tag of our own for the end of what a process wrote.

mod entry;
mod reader;
mod writer;

use std::{fs, io, path::Path};

use nix::sys::stat::Mode;

pub(super) use self::writer::{write_log, write_log_beside};
pub(super) use self::{
    entry::Ending,
    reader::{Follower, is_written, logs},
};

use super::{
    errors::unsupported,
    record::{LogSettings, Record},
};
use crate::{model::spec::LoggingSpec, runtime::RuntimeError};

/// The hidden words by which Fizz is the program that writes a log, and by which it starts that one.
pub(super) const WRITE: &str = "container-log";
pub(super) const WRITE_BESIDE: &str = "container-log-beside";

/// The files in a container's directory: the log, how it is kept, who writes it, and pipes.
pub(super) const LOG: &str = "log";
const SETTINGS: &str = "log.json";
const LOCK: &str = "log.lock";
pub(super) const STDIN: &str = "stdin";
/// Is there where input ends with the first conversation.
const STDIN_ONCE: &str = "stdin.once";
pub(super) const STDOUT: &str = "stdout";
pub(super) const STDERR: &str = "stderr";

/// The longest line that is not cut.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Where output is to go.
pub(super) fn settings(logging: Option<&LoggingSpec>) -> Result<LogSettings, RuntimeError> {
    let mut settings = LogSettings::default();
    let Some(logging) = logging else { return Ok(settings) };
    match logging.driver.as_deref() {
        None | Some("" | "json-file") => {}
        Some("local") => {
            settings = LogSettings { bytes_max: Some(20 << 20), files_max: 5, ..settings };
        }
        Some("none") => settings.kept = false,
        Some(other) => {
            let instead = "use `json-file`, `local` or `none`, or run this on a node with Docker";
            return Err(unsupported(format!("logging driver `{other}`"), instead));
        }
    }
    for (name, value) in &logging.options {
        let wrong = |form: &str| RuntimeError::Failed {
            doing: format!("read `logging.options.{name}: {value}`"),
            why: format!("write it as `{form}`"),
        };
        match name.as_str() {
            "max-size" if value == "-1" => settings.bytes_max = None,
            "max-size" => settings.bytes_max = Some(bytes(value).ok_or_else(|| wrong("10m"))?),
            "max-file" => {
                let count = value.parse().ok().filter(|it| (1..=1000).contains(it));
                settings.files_max = count.ok_or_else(|| wrong("3"))?;
            }
            _ => {
                let instead = "use `max-size` and `max-file`";
                return Err(unsupported(format!("logging option `{name}`"), instead));
            }
        }
    }
    Ok(settings)
}

/// `10m`, `512k`, `1g`, `4096`.
fn bytes(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let lower = lower.strip_suffix('b').unwrap_or(&lower);
    let (number, shift) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 10),
        b'm' => (&lower[..lower.len() - 1], 20),
        b'g' => (&lower[..lower.len() - 1], 30),
        _ => (lower, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|it| *it > 0)
}

/// Makes the files that a container's output needs.
pub(super) fn prepare(directory: &Path, record: &Record) -> io::Result<()> {
    fs::write(directory.join(SETTINGS), serde_json::to_vec(&record.log)?)?;
    if record.stdin_once {
        fs::write(directory.join(STDIN_ONCE), "")?;
    }
    fs::write(directory.join(LOCK), "")?;
    fs::write(directory.join(LOG), "")?;
    for pipe in [STDIN, STDOUT, STDERR] {
        nix::unistd::mkfifo(&directory.join(pipe), Mode::S_IRUSR | Mode::S_IWUSR)?;
    }
    Ok(())
}

/// Where a process's input comes from and its output goes to, as containerd takes it.
pub(super) struct Ends {
    pub(super) stdin: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// containerd gives a program of ours output, and no input to the container unless it has a terminal
/// (`binary` in its shim). Where both are wanted without one, they are pipes, and the program is started
/// beside the container.
pub(super) fn is_beside(record: &Record) -> bool {
    record.stdin && !record.terminal
}

pub(super) fn ends(directory: &Path, program: &Path, record: &Record) -> Ends {
    let path = |name: &str| directory.join(name).display().to_string();
    let stdin = if record.stdin { path(STDIN) } else { String::new() };
    if is_beside(record) {
        return Ends { stdin, stdout: path(STDOUT), stderr: path(STDERR) };
    }
    let own = format!(
        "binary://{}?{WRITE}={}",
        encoded(&program.display().to_string()),
        encoded(&directory.display().to_string())
    );
    let stderr = if record.terminal { String::new() } else { own.clone() };
    Ends { stdin, stdout: own, stderr }
}

/// `hooks` of the runtime specification: what is run when the container is made, and starts the program
/// that writes its log beside it.
pub(super) fn hooks(directory: &Path, program: &Path) -> serde_json::Value {
    let args = ["fizz", WRITE_BESIDE, &directory.display().to_string()];
    serde_json::json!({ "createRuntime": [{ "path": program, "args": args, "timeout": 10 }] })
}

/// A text as part of an address.
pub(super) fn encoded(path: &str) -> String {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"/-_.~".contains(&it);
    path.bytes()
        .map(|it| if plain(it) { char::from(it).to_string() } else { format!("%{it:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, size) in
            [("10m", Some(10 << 20)), ("1kb", Some(1024)), ("7", Some(7)), ("x", None), ("0", None)]
        {
            assert_eq!(bytes(text), size, "{text}");
        }
    }

    #[test]
    fn what_would_not_be_heeded_is_refused() {
        let logging = |driver: &str, option: &str| LoggingSpec {
            driver: Some(driver.to_owned()),
            options: [(option.to_owned(), "3".to_owned())].into(),
        };
        assert_eq!(settings(Some(&logging("json-file", "max-file"))).unwrap().files_max, 3);
        assert!(settings(Some(&logging("syslog", "max-file"))).is_err());
        assert!(
            settings(Some(&logging("json-file", "tag"))).unwrap_err().to_string().contains("`tag`")
        );
    }
}
