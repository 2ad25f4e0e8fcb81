//! The program that writes a container's log: started by containerd for each container, it ends with the
//! container's output.
//!
//! It is a process of its own with two threads and no runtime: there is one for each container.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        unix::{fs::OpenOptionsExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::{Mutex, PoisonError},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{SigSet, Signal},
};

use super::{
    LOCK, LOG, SETTINGS, STDERR, STDIN, STDOUT, WRITE,
    entry::{Ending, written},
};
use crate::runtime::{StreamKind, containerd::record::LogSettings};

/// Where containerd's shim puts output, and what it waits on until the program is ready.
const OUT: RawFd = 3;
const ERR: RawFd = 4;
const READY: RawFd = 5;

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// By which the program knows that it reads from pipes of the container's directory.
const BESIDE: &str = "beside";

/// Writes a container's log until its output ends. `arguments` are what follows the hidden word.
#[must_use]
pub(in super::super) fn write_log(arguments: &[String]) -> ExitCode {
    let Some(directory) = arguments.first().map(PathBuf::from) else { return ExitCode::from(2) };
    let beside = arguments.get(1).is_some_and(|it| it == BESIDE);
    match run(&directory, beside) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // containerd keeps nobody's complaints: beside the log is where they are looked for.
            let _ = fs::write(directory.join("log.error"), format!("{error}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Starts the program that writes a container's log from pipes, and ends: what runs a container waits
/// for this.
#[must_use]
pub(in super::super) fn write_log_beside(arguments: &[String]) -> ExitCode {
    let (Some(directory), Ok(program)) = (arguments.first(), std::env::current_exe()) else {
        return ExitCode::from(2);
    };
    let mut command = Command::new(program);
    command.args([WRITE, directory, BESIDE]).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(directory: &Path, beside: bool) -> io::Result<()> {
    // Who asks it to end means to end it with the container, whose last words are still to be written.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let settings = serde_json::from_slice(&fs::read(directory.join(SETTINGS))?)?;
    let lock = File::open(directory.join(LOCK))?;
    let _held = Flock::lock(lock, FlockArg::LockShared).map_err(|(_, error)| error)?;
    // Input that several conversations share ends with none of them.
    let shared = !directory.join(super::STDIN_ONCE).exists();
    let _stdin = shared.then(|| {
        let mut open = OpenOptions::new();
        open.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK);
        open.open(directory.join(STDIN))
    });
    let log = Mutex::new(Log::open(directory, settings)?);
    let (out, err) = if beside {
        (File::open(directory.join(STDOUT))?, File::open(directory.join(STDERR))?)
    } else {
        let (out, err) = (inherited(OUT)?, inherited(ERR)?);
        drop(inherited(READY)?);
        (out, err)
    };
    std::thread::scope(|scope| {
        let errors = scope.spawn(|| copy(err, StreamKind::Stderr, &log));
        let copied = copy(out, StreamKind::Stdout, &log);
        let errors = errors.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
        copied.and(errors)
    })
}

/// A file that this process was started with.
fn inherited(number: RawFd) -> io::Result<File> {
    if !Path::new(&format!("/proc/self/fd/{number}")).exists() {
        let why = format!("file {number} is not there: this is started by containerd only");
        return Err(io::Error::other(why));
    }
    // SAFETY: it is open, as was just seen, and nothing in this process has it: it was inherited, and
    // each number is taken once, before there are other threads.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(number) }))
}

fn copy(mut from: File, stream: StreamKind, log: &Mutex<Log>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut is_open = false;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // A terminal that is gone says so.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => break,
            Err(error) => return Err(error),
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        // What cannot be written, as on a full disk, is lost: the container must not wait for it.
        let _ = log.write(stream, &buffer[..read]);
        is_open = buffer[read - 1] != b'\n';
    }
    if is_open {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        let end = written(jiff::Timestamp::now(), stream, Ending::Output, b"");
        let _ = log.file.write_all(&end);
    }
    Ok(())
}

/// The files of a log: `log`, and before it `log.1` and so on.
struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
    settings: LogSettings,
}

impl Log {
    fn open(directory: &Path, settings: LogSettings) -> io::Result<Self> {
        let path = directory.join(LOG);
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, settings })
    }

    fn write(&mut self, stream: StreamKind, bytes: &[u8]) -> io::Result<()> {
        let at = jiff::Timestamp::now();
        let mut entries = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => entries.extend(written(at, stream, Ending::Line, line)),
                None => entries.extend(written(at, stream, Ending::Part, line)),
            }
        }
        if self
            .settings
            .bytes_max
            .is_some_and(|max| self.bytes > 0 && self.bytes + entries.len() as u64 > max)
        {
            self.rotate()?;
        }
        self.file.write_all(&entries)?;
        self.bytes += entries.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let at = |number: u32| match number {
            0 => self.path.clone(),
            number => self.path.with_extension(number.to_string()),
        };
        let last = self.settings.files_max.max(1) - 1;
        for number in (0..last).rev() {
            if at(number).exists() {
                fs::rename(at(number), at(number + 1))?;
            }
        }
        if last == 0 {
            fs::remove_file(&self.path)?;
        }
        self.file = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_bounded_in_length_and_number() {
        let directory = std::env::temp_dir().join(format!("fizz-log-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let settings = LogSettings { kept: true, bytes_max: Some(200), files_max: 3 };
        let mut log = Log::open(&directory, settings).unwrap();
        for number in 0..20 {
            log.write(StreamKind::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(read("log").contains("line 19") && !read("log.2").is_empty());
        assert!(["log", "log.1", "log.2"].iter().all(|it| read(it).len() <= 200));
        assert!(!directory.join("log.3").exists());
        fs::remove_dir_all(&directory).unwrap();
    }
}
