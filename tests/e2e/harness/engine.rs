//! A Docker engine in namespaces of its own.
//!
//! Its network, mount and process namespaces hold everything that it starts: when their first process
//! ends, so does all of it. A keeper waits for the test process to end, however it ends, and clears up.
//! What an interrupted keeper left is cleared by the next run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread::sleep,
    time::Duration,
};

/// How long an engine may take to answer: 1200 looks of 25 ms.
const READY_LOOKS_MAX: u32 = 1200;
const LOOK: Duration = Duration::from_millis(25);

/// The beginning of all names that an engine of ours has: directories and cgroups.
const PREFIX: &str = "fizz-e2e-";

/// Programs that must be there.
const NEEDED: [&str; 8] =
    ["unshare", "nsenter", "ip", "iptables", "docker", "dockerd", "containerd", "docker-registry"];

/// How an engine differs from the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Containers outlive it. Its containerd is not its child then, and outlives it too.
    pub(crate) live_restore: bool,
}

/// A running engine.
pub(crate) struct Dockerd {
    dir: PathBuf,
    options: Options,
    init: u32,
    /// Clears up when its standard input ends, which is when this process does.
    _keeper: Child,
}

impl Dockerd {
    /// The engine that all tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Dockerd> = OnceLock::new();
        SHARED.get_or_init(|| {
            let engine = Self::start(Options::default());
            super::image::load(&engine);
            engine
        })
    }

    /// Starts an engine and waits until it answers.
    #[expect(
        clippy::zombie_processes,
        reason = "it ends when the keeper ends the namespaces, after us"
    )]
    pub(crate) fn start(options: Options) -> Self {
        check();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if COUNT.fetch_add(1, Ordering::Relaxed) == 0 {
            clear_leftovers();
        }
        let count = COUNT.load(Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("data")).unwrap();
        super::image::write_registry(&dir);
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", dir.to_str().unwrap(), &name])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let log = fs::File::create(dir.join("init.log")).unwrap();
        // The namespaces' first process reaps what it inherits, and ends with its namespaces.
        Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", INIT, "init", dir.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the namespaces", &dir, || dir.join("ready").exists());
        let init = find_init(&dir);
        fs::write(dir.join("init.pid"), init.to_string()).unwrap();
        let engine = Self { dir, options, init, _keeper: keeper };
        engine.spawn("registry", &["docker-registry", "serve", &engine.path("registry.yml")]);
        engine.spawn(
            "registry-open",
            &["docker-registry", "serve", &engine.path("registry-open.yml")],
        );
        if options.live_restore {
            engine
                .spawn("containerd", &["containerd", "--config", &engine.path("containerd.toml")]);
        }
        engine.up();
        engine
    }

    /// Starts the engine's daemon and waits until it answers.
    pub(crate) fn up(&self) {
        let host = format!("unix://{}", self.socket().display());
        let (data, cgroup) = (self.path("data"), format!("/{}", self.name()));
        let mut words = vec![
            "dockerd",
            "--data-root",
            &data,
            "--exec-root",
            "/run/docker",
            "--pidfile",
            "/run/docker.pid",
            "-H",
            &host,
            "--bip",
            "172.30.0.1/24",
            "--cgroup-parent",
            &cgroup,
            "--log-level",
            "warn",
        ];
        if self.options.live_restore {
            words.extend(["--live-restore", "--containerd", "/run/containerd.sock"]);
        }
        self.spawn("dockerd", &words);
        wait_for("dockerd", &self.dir, || {
            self.command("docker").arg("version").output().is_ok_and(|it| it.status.success())
        });
    }

    /// Ends the engine's daemon at once, as a crash does.
    pub(crate) fn crash(&self) {
        self.inside("kill -9 $(cat /run/docker.pid); while kill -0 $(cat /run/docker.pid) 2>/dev/null; do sleep 0.01; done; rm /run/docker.pid");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// A directory for a test's own files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a shell script where the engine is, and returns its output.
    pub(crate) fn inside(&self, script: &str) -> String {
        let init = self.init.to_string();
        let output = Command::new("nsenter")
            .args(["-t", &init, "-m", "-n", "-p", "sh", "-c", script])
            .output()
            .unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {} {out}{err}", output.status);
        out.trim_end().to_owned()
    }

    /// Docker's own command line, for this engine.
    pub(crate) fn docker(&self, words: &[&str]) -> String {
        let output = self.command("docker").args(words).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "docker {words:?}: {} {out}{err}", output.status);
        out.trim_end().to_owned()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.dir.join("docker-config"))
            .env("DOCKER_BUILDKIT", "0");
        command
    }

    fn name(&self) -> &str {
        self.dir.file_name().unwrap().to_str().unwrap()
    }

    fn path(&self, file: &str) -> String {
        self.dir.join(file).display().to_string()
    }

    /// Starts a daemon in the namespaces, its output in a file.
    #[expect(
        clippy::zombie_processes,
        reason = "it ends when the keeper ends the namespaces, after us"
    )]
    fn spawn(&self, name: &str, words: &[&str]) {
        let log = fs::File::create(self.dir.join(format!("{name}.log"))).unwrap();
        Command::new("nsenter")
            .args(["-t", &self.init.to_string(), "-m", "-n", "-p", "setsid"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
    }
}

/// The first process in the namespaces: `/run` is its own, loopback is up.
const INIT: &str = r#"
set -e
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
printf 'version = 2\nroot = "%s/containerd"\nstate = "/run/containerd"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "/run/containerd.sock"\n[debug]\nlevel = "warn"\n' "$1" > "$1/containerd.toml"
echo up > "$1/ready"
while :; do sleep 3600 & wait $!; done
"#;

/// Waits for its input to end, then ends the namespaces and clears what outlives them.
const KEEPER: &str = r#"
trap '' INT TERM HUP
cat > /dev/null
init=$(cat "$1/init.pid" 2>/dev/null) && kill -9 "$init" 2>/dev/null
# Whoever entered for an engine that hung has stopped with it, and would never reap it.
for words in /proc/[0-9]*/cmdline; do
  case $(tr '\0' ' ' 2>/dev/null <"$words") in
    "nsenter "*"$1/"*) kill -9 "$(echo "$words" | cut -d/ -f3)" 2>/dev/null ;;
  esac
done
for look in $(seq 200); do [ -n "$init" ] && [ -d "/proc/$init" ] || break; sleep 0.05; done
for look in $(seq 100); do rm -rf "$1" 2>/dev/null && break; sleep 0.05; done
for look in $(seq 40); do
  left=0
  for root in /sys/fs/cgroup/*/"$2" /sys/fs/cgroup/"$2"; do
    [ -d "$root" ] || continue
    find "$root" -depth -type d -exec rmdir {} \; 2>/dev/null
    [ -d "$root" ] && left=1
  done
  [ $left = 0 ] && break; sleep 0.05
done
"#;

fn check() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests start Docker engines in namespaces of their own: run them as root (sudo -E cargo test --test e2e)"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let missing: Vec<_> = NEEDED.into_iter().filter(|it| !found(it)).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} are not in $PATH: apt-get install docker.io docker-registry busybox-static iproute2 iptables"
    );
}

/// Clears up after runs whose process is gone.
fn clear_leftovers() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let owner = rest.split('-').next().unwrap_or_default();
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        // The keeper of that run may still be at it; what it does can be done twice.
        let init = fs::read_to_string(entry.path().join("init.pid")).unwrap_or_default();
        let ours = fs::read_to_string(format!("/proc/{init}/cmdline"));
        if !init.is_empty() && !ours.is_ok_and(|it| it.contains(&name)) {
            let _ = fs::remove_file(entry.path().join("init.pid"));
        }
        let path = entry.path().display().to_string();
        let _ = Command::new("sh")
            .args(["-c", KEEPER, "keeper", &path, &name])
            .stdin(Stdio::null())
            .status();
    }
}

/// The namespaces' first process, as this process's namespace numbers it.
fn find_init(dir: &Path) -> u32 {
    let marker = dir.display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
    let mut found = numbers.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).collect();
        words.first() == Some(&&b"sh"[..])
            && words.get(3) == Some(&&b"init"[..])
            && words.get(4) == Some(&marker.as_bytes())
    });
    found.next().expect("the namespaces have ended")
}

fn wait_for(what: &str, dir: &Path, ready: impl Fn() -> bool) {
    for _ in 0..READY_LOOKS_MAX {
        if ready() {
            return;
        }
        sleep(LOOK);
    }
    let logs =
        ["init.log", "dockerd.log"].map(|it| fs::read_to_string(dir.join(it)).unwrap_or_default());
    panic!("{what} did not come up: {}", logs.join("\n"));
}
