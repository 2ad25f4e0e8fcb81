//! An engine in namespaces of its own: Docker, or Podman where `FIZZ_E2E_RUNTIME=podman` asks for it.
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

use super::{REGISTRY, REGISTRY_OPEN};

/// How long an engine may take to answer: 4800 looks of 25 ms.
const READY_LOOKS_MAX: u32 = 4800;
const LOOK: Duration = Duration::from_millis(25);

/// The beginning of all names that an engine of ours has: directories and cgroups.
const PREFIX: &str = "fizz-e2e-";

/// Where the engine's own first process is on record, in its namespaces.
const PID_FILE: &str = "/run/engine.pid";

/// Programs that must be there, whichever engine it is. Docker's command line speaks to both.
const NEEDED: [&str; 6] = ["unshare", "nsenter", "ip", "iptables", "docker", "docker-registry"];

/// Which engine the stories run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// dockerd.
    Docker,
    /// `podman system service`.
    Podman,
    /// containerd by itself. Fizz opens the same pipes and files as it does, so that the tests' own
    /// process is in its namespaces.
    Containerd,
}

impl Kind {
    /// The one that `FIZZ_E2E_RUNTIME` names, or Docker.
    pub(crate) fn chosen() -> Self {
        match std::env::var("FIZZ_E2E_RUNTIME").as_deref() {
            Err(_) | Ok("" | "docker") => Self::Docker,
            Ok("podman") => Self::Podman,
            Ok("containerd") => Self::Containerd,
            Ok(other) => {
                panic!("FIZZ_E2E_RUNTIME is `{other}`; use `docker`, `podman` or `containerd`")
            }
        }
    }

    /// As the daemon's `runtime.kind` has it, and as its answers name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Docker => &["dockerd", "containerd"],
            Self::Podman => &["podman", "runc"],
            Self::Containerd => {
                &["containerd", "ctr", "runc", "catatonit", "ps", "openssl", "busybox"]
            }
        }
    }
}

/// How an engine differs from the usual.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Containers outlive it. Docker's containerd is not its child then, and outlives it too; Podman's
    /// containers do so anyway.
    pub(crate) live_restore: bool,
    /// It is the one that all tests share. On containerd it has the one pair of registries, as all engines
    /// share a network there.
    pub(crate) shared: bool,
}

/// A running engine.
pub(crate) struct Dockerd {
    dir: PathBuf,
    kind: Kind,
    options: Options,
    init: u32,
    /// Clears up when its standard input ends, which is when this process does.
    _keeper: Option<Child>,
}

impl Dockerd {
    /// The engine that all tests of this process share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Dockerd> = OnceLock::new();
        SHARED.get_or_init(|| {
            let engine = Self::start(Options { shared: true, ..Options::default() });
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
        let kind = Kind::chosen();
        check(kind);
        if kind == Kind::Containerd && !super::inside::is_inside() {
            clear_leftovers();
            super::inside::enter(&format!("{PREFIX}{}-1", std::process::id()), GROUPS, KEEPER);
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        if count == 1 && kind != Kind::Containerd {
            clear_leftovers();
        }
        if kind == Kind::Containerd {
            return Self::start_here(options, count);
        }
        let name = format!("{PREFIX}{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(dir.join("data")).unwrap();
        super::image::write_registry(&dir);
        write_podman_settings(&dir);
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", dir.to_str().unwrap(), &name])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let log = fs::File::create(dir.join("init.log")).unwrap();
        // The namespaces' first process reaps what it inherits, and ends with its namespaces.
        let mut namespaces = match kind {
            Kind::Docker => Command::new("unshare"),
            Kind::Podman => {
                let mut groups = Command::new("sh");
                groups.args(["-c", GROUPS, "groups", &name, "unshare"]);
                groups
            }
            Kind::Containerd => unreachable!("it is started where the tests are"),
        };
        namespaces
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--mount-proc",
                "--propagation",
                "private",
            ])
            .args(["sh", "-c", INIT, "init", dir.to_str().unwrap(), &name, kind.name()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        wait_for("the namespaces", &dir, || dir.join("ready").exists());
        let init = find_init(&dir);
        fs::write(dir.join("init.pid"), init.to_string()).unwrap();
        let engine = Self { dir, kind, options, init, _keeper: Some(keeper) };
        engine.serve();
        if options.live_restore && kind == Kind::Docker {
            engine
                .spawn("containerd", &["containerd", "--config", &engine.path("containerd.toml")]);
        }
        engine.up();
        wait_for("the registries", &engine.dir, || {
            let listening = engine.inside("cat /proc/net/tcp");
            [REGISTRY, REGISTRY_OPEN].iter().all(|it| {
                let port: u16 = it.rsplit(':').next().unwrap().parse().unwrap();
                listening.contains(&format!("0100007F:{port:04X} 00000000:0000 0A"))
            })
        });
        engine
    }

    /// Starts containerd where the tests are: in namespaces of their own.
    fn start_here(options: Options, count: u32) -> Self {
        let dir = super::inside::directory().join(count.to_string());
        fs::create_dir_all(dir.join("data")).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let settings = format!(
            "version = 2\nroot = \"{}\"\nstate = \"/run/containerd-{count}\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{}\"\n[debug]\nlevel = \"warn\"\n",
            path("root"),
            path("engine.sock"),
        );
        fs::write(dir.join("containerd.toml"), settings).unwrap();
        if options.shared {
            super::image::write_registry(&dir);
        }
        let engine =
            Self { dir, kind: Kind::Containerd, options, init: std::process::id(), _keeper: None };
        if engine.has_registries() {
            engine.serve();
        }
        engine.up();
        engine
    }

    /// Starts the engine's daemon and waits until it answers.
    pub(crate) fn up(&self) {
        match self.kind {
            Kind::Docker => self.dockerd(),
            Kind::Podman => self.podman(),
            Kind::Containerd => {
                let (pid, settings) = (self.pid_file(), self.path("containerd.toml"));
                let script = format!("echo $$ > {pid}; exec containerd --config {settings}");
                self.spawn("engine", &["sh", "-c", &script]);
            }
        }
        wait_for("the engine", &self.dir, || {
            let mut look = match self.kind {
                Kind::Docker | Kind::Podman => self.command("docker"),
                Kind::Containerd => self.ctr(&[]),
            };
            look.arg("version").output().is_ok_and(|it| it.status.success())
        });
    }

    /// Starts its registries.
    fn serve(&self) {
        for name in ["registry", "registry-open"] {
            let settings = self.path(&format!("{name}.yml"));
            self.spawn(name, &["docker-registry", "serve", &settings]);
        }
    }

    /// Whether the registries are this engine's own.
    pub(super) fn has_registries(&self) -> bool {
        self.dir.join("registry.yml").exists()
    }

    /// containerd's own command line, in Fizz's namespace.
    pub(crate) fn ctr(&self, words: &[&str]) -> Command {
        let mut ctr = Command::new("ctr");
        ctr.arg("--address").arg(self.socket()).args(["--namespace", "fizz"]).args(words);
        ctr
    }

    fn pid_file(&self) -> String {
        match self.kind {
            Kind::Docker | Kind::Podman => PID_FILE.to_owned(),
            Kind::Containerd => self.path("engine.pid"),
        }
    }

    /// Holds a container's processes, or lets them go on, by somebody else's hand.
    pub(crate) fn pause(&self, id: &str, held: bool) {
        match self.kind {
            Kind::Docker | Kind::Podman => {
                self.docker(&[if held { "pause" } else { "unpause" }, id]);
            }
            Kind::Containerd => {
                let word = if held { "pause" } else { "resume" };
                assert!(self.ctr(&["task", word, id]).status().unwrap().success());
            }
        }
    }

    fn dockerd(&self) {
        let host = format!("unix://{}", self.socket().display());
        let (data, cgroup) = (self.path("data"), format!("/{}", self.name()));
        let mut words = vec![
            "dockerd",
            "--data-root",
            &data,
            "--exec-root",
            "/run/docker",
            "--pidfile",
            PID_FILE,
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
        self.spawn("engine", &words);
    }

    /// crun refuses machines that have both versions of control groups; runc takes them.
    fn podman(&self) {
        let script = format!(
            "echo $$ > {PID_FILE}; exec podman --root {data} --runroot /run/podman \
             --tmpdir /run/libpod --network-config-dir {networks} --cgroup-manager cgroupfs \
             --events-backend file --runtime $(command -v runc) system service --time 0 unix://{socket}",
            data = self.path("data"),
            networks = self.path("networks"),
            socket = self.socket().display(),
        );
        self.spawn("engine", &["sh", "-c", &script]);
    }

    /// Ends the engine's daemon at once, as a crash does.
    pub(crate) fn crash(&self) {
        self.inside(&format!(
            "pid=$(cat {file}); kill -9 $pid; while [ -d /proc/$pid ] && ! grep -q '^State:.Z' /proc/$pid/status 2>/dev/null; do sleep 0.01; done; rm {file}",
            file = self.pid_file()
        ));
    }

    /// Stops the engine's daemon in place, so that it neither answers nor ends, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { "STOP" } else { "CONT" };
        self.inside(&format!("kill -{signal} $(cat {})", self.pid_file()));
    }

    /// Which engine it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.join("engine.sock")
    }

    /// A directory for a test's own files.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs a shell script where the engine is, and returns its output.
    pub(crate) fn inside(&self, script: &str) -> String {
        let init = self.init.to_string();
        let output = match self.kind {
            Kind::Docker | Kind::Podman => Command::new("nsenter")
                .args(["-t", &init, "-m", "-n", "-p", "-C", "sh", "-c", script])
                .output()
                .unwrap(),
            Kind::Containerd => Command::new("sh").args(["-c", script]).output().unwrap(),
        };
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
        let mut command = match self.kind {
            Kind::Docker | Kind::Podman => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &self.init.to_string(), "-m", "-n", "-p", "-C", "setsid"]);
                command
            }
            Kind::Containerd => Command::new("setsid"),
        };
        command
            .args(words)
            .env("CONTAINERS_CONF", self.dir.join("containers.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.dir.join("registries.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
    }
}

/// What Podman is told by files only: limits that this machine allows (it would ask for more than root
/// has in a container), and registries without TLS, which Docker takes on loopback by itself.
fn write_podman_settings(dir: &Path) {
    let limits = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=8192:8192\"]\n";
    fs::write(dir.join("containers.conf"), limits).unwrap();
    let plain = [REGISTRY, REGISTRY_OPEN]
        .map(|it| format!("[[registry]]\nlocation = \"{it}\"\ninsecure = true\n"));
    let registries = format!("unqualified-search-registries = [\"docker.io\"]\n{}", plain.concat());
    fs::write(dir.join("registries.conf"), registries).unwrap();
}

/// Podman takes no parent for its control groups, so that all that it makes is put below one of ours:
/// a group in each hierarchy, which the namespaces see as the whole.
const GROUPS: &str = r#"
set -e
export NAME="$1"
shift
for at in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do
  mkdir -p "$at/$NAME"
  for file in cpuset.cpus cpuset.mems; do
    [ -e "$at/cgroup.controllers" ] || [ ! -e "$at/$file" ] || cat "$at/$file" > "$at/$NAME/$file"
  done
  echo $$ > "$at/$NAME/cgroup.procs"
done
# A group of version 2 that passes controllers on holds no process itself.
exec unshare --cgroup sh -c '
  for at in $(awk "\$3 == \"cgroup2\" {print \$2}" /proc/mounts); do
    mkdir -p "$at/$NAME/machine"
    echo $$ > "$at/$NAME/machine/cgroup.procs"
    for controller in $(cat "$at/cgroup.controllers"); do
      for group in "$at" "$at/$NAME"; do
        { echo "+$controller" > "$group/cgroup.subtree_control"; } 2>/dev/null || true
      done
    done
  done
  exec "$@"' groups "$@"
"#;

/// The first process in the namespaces: `/run` is its own, loopback is up. Podman has its control groups
/// for itself, and a place of its own for what it knows of registries.
const INIT: &str = r#"
set -e
mount --make-rshared /
if [ "$3" = podman ]; then
  for at in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do
    mount --bind "$at/$2" "$at"
  done
  mkdir -p "$1/containers" /var/lib/containers
  mount --bind "$1/containers" /var/lib/containers
  # Its locks are there: 2,048 for all Podmans of a machine, and those of containers that went unnoticed stay taken.
  mount -t tmpfs -o mode=1777 tmpfs /dev/shm
fi
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

fn check(kind: Kind) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "these tests start engines in namespaces of their own: run them as root (sudo -E cargo test --test e2e)"
    );
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    let needed = NEEDED.iter().chain(kind.programs());
    let missing: Vec<_> = needed.filter(|it| !found(it)).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} are not in $PATH: apt-get install docker.io docker-registry podman netavark aardvark-dns containerd catatonit runc procps openssl busybox-static iproute2 iptables"
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
        ["init.log", "engine.log"].map(|it| fs::read_to_string(dir.join(it)).unwrap_or_default());
    panic!("{what} did not come up: {}", logs.join("\n"));
}
