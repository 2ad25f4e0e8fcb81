//! Compose files through the real command line, daemon and engine: what a user writes is what runs,
//! and what goes wrong is said.

mod examples;
mod failures;
mod keys;
mod keys_limits;
mod keys_network;
mod sharing;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

use serde_json::Value;

use crate::{
    daemon::machine::Machine,
    harness::{Dockerd, Kind},
};

/// How long one command may take.
const COMMAND_SECONDS_MAX: &str = "120";

/// The machine that these stories share; each has a project of its own there.
fn machine() -> &'static Machine {
    static SHARED: OnceLock<Machine> = OnceLock::new();
    SHARED.get_or_init(Machine::start)
}

fn engine() -> &'static Dockerd {
    machine().engine()
}

/// Whether the engine is Podman: for what it has otherwise, or not at all.
fn on_podman() -> bool {
    Kind::chosen() == Kind::Podman
}

/// A file without the lines that Podman refuses, by what they begin with.
fn without(file: &str, refused: &[&str]) -> String {
    let is_kept =
        |line: &&str| !on_podman() || !refused.iter().any(|it| line.trim().starts_with(it));
    file.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

/// Places of an account that Podman leaves empty: what they are is then seen from inside.
fn shown<'a>(places: &[(&'a str, Value)]) -> Vec<(&'a str, Value)> {
    if on_podman() { Vec::new() } else { places.to_vec() }
}

/// What a command left.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// It must have succeeded.
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// It must have failed with 1, as all that is no container's own status.
    fn refused(self) -> Self {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        self
    }

    /// Its errors must say all of it.
    fn tells(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not in: {}{}", self.out, self.err);
        }
        self
    }
}

/// A folder with a Compose file, and the project that it becomes. Dropping takes it down.
struct Stack {
    folder: PathBuf,
    project: String,
    variables: BTreeMap<String, String>,
}

impl Stack {
    /// A folder of its own with this file; the project is named so.
    fn new(project: &str, file: &str) -> Self {
        let folder = folder(project);
        fs::create_dir_all(&folder).unwrap();
        let stack = Self { folder, project: project.to_owned(), variables: BTreeMap::new() };
        stack.write("compose.yaml", file);
        stack
    }

    /// A copy of an example; its name is that of its project.
    fn example(name: &str) -> Self {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        static BASE: OnceLock<()> = OnceLock::new();
        BASE.get_or_init(|| {
            let made = engine().command("bash").arg(examples.join("images/build.sh")).output();
            let made = made.unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        });
        let folder = folder(name);
        let copied =
            Command::new("cp").arg("-r").arg(examples.join(name)).arg(&folder).status().unwrap();
        assert!(copied.success());
        Self { folder, project: name.to_owned(), variables: BTreeMap::new() }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    /// Replaces the one place where a file says so.
    fn edit(&self, file: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.folder.join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{old} in {text}");
        self.write(file, &text.replace(old, new));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// `fizz` in the folder.
    fn fizz(&self, words: &[&str]) -> Said {
        self.fizz_at(&machine().socket(), words)
    }

    fn fizz_at(&self, socket: &Path, words: &[&str]) -> Said {
        let output = Command::new("timeout")
            .args([COMMAND_SECONDS_MAX, env!("CARGO_BIN_EXE_fizz")])
            .args(words)
            .current_dir(&self.folder)
            .env("FIZZ_HOST", format!("unix://{}", socket.display()))
            .env("COMPOSE_PROJECT_NAME", &self.project)
            .envs(&self.variables)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code().unwrap(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    fn up(&self) -> Said {
        self.fizz(&["up", "--wait"]).ok()
    }

    /// `ps -o json`.
    fn ps(&self) -> Vec<Value> {
        let said = self.fizz(&["ps", "-a", "-o", "json"]).ok();
        serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {}", said.out))
    }

    /// The engine's account of a container of the project: `web-1`.
    fn inspect(&self, container: &str) -> Value {
        self.inspect_named(&format!("{}-{container}", self.project))
    }

    fn inspect_named(&self, name: &str) -> Value {
        let all = engine().docker(&["inspect", name]);
        let mut all: Vec<Value> = serde_json::from_str(&all).unwrap();
        all.remove(0)
    }

    /// A shell line in a container of the project.
    fn inside(&self, container: &str, line: &str) -> String {
        let name = format!("{}-{container}", self.project);
        engine().docker(&["exec", &name, "sh", "-c", line])
    }

    /// Which container each name is, and since when it runs.
    fn running(&self) -> BTreeMap<String, (String, String)> {
        let running = machine().running(&self.project).into_iter();
        running.map(|(name, id, since)| (name, (id, since))).collect()
    }

    /// The containers that are not what they were, new ones among them.
    fn touched_since(&self, before: &BTreeMap<String, (String, String)>) -> Vec<String> {
        let now = self.running().into_iter();
        now.filter(|(name, it)| before.get(name) != Some(it)).map(|(name, _)| name).collect()
    }

    /// Waits until a look is satisfied.
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..300 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        panic!("{}: it never came that {what}: {}", self.project, self.fizz(&["ps", "-a"]).out);
    }

    /// `down -v`, after which the engine has nothing of the project.
    fn down(&self) {
        self.fizz(&["down", "-v", "-t", "1"]).ok();
        assert_eq!(self.left(), "");
    }

    /// What the engine has of the project, by label and by name.
    fn left(&self) -> String {
        let label = format!("label=fizz.project={}", self.project);
        let label = label.as_str();
        let mut left = String::new();
        for words in [
            ["ps", "-a", "--filter", label, "--format", "{{.Names}}"],
            ["network", "ls", "--filter", label, "--format", "{{.Name}}"],
            ["volume", "ls", "--filter", label, "--format", "{{.Name}}"],
        ] {
            left.push_str(&engine().docker(&words));
        }
        for what in ["network", "volume"] {
            let all = engine().docker(&[what, "ls", "--format", "{{.Name}}"]);
            let prefix = format!("{}_", self.project);
            left.extend(all.lines().filter(|it| it.starts_with(&prefix)));
        }
        left
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.fizz(&["down", "-v", "-t", "0"]);
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn folder(project: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = engine().dir().join("stacks");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{}-{project}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// An HTTP request from the machine itself, in its network namespace.
fn get(words: &[&str]) -> String {
    let wget = ["run", "--rm", "--network", "host", "busybox", "wget", "-q", "-O-"];
    engine().docker(&[&wget, words].concat())
}

/// Every place of an account must hold what the file says.
fn assert_places(account: &Value, places: &[(&str, Value)]) {
    let wrong: Vec<_> = places
        .iter()
        .filter(|(pointer, wanted)| account.pointer(pointer).unwrap_or(&Value::Null) != wanted)
        .map(|(pointer, wanted)| {
            format!("{pointer}: wanted {wanted}, is {:?}", account.pointer(pointer))
        })
        .collect();
    assert!(wrong.is_empty(), "{}:\n{}", account["Name"], wrong.join("\n"));
}
