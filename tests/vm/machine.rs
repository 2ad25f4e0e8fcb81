//! A virtual machine: a process of QEMU, and commands in it by Debian's qemu-guest-agent.
//!
//! QEMU translates every instruction (TCG), so that no virtualization is needed. The agent listens on a serial line
//! of its own (QEMU Guest Agent Protocol Reference): the machine's network is nothing but the cluster's.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread::sleep,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::time::Instant;

/// How long a machine that boots may add nothing to its console, and how long it may take in all.
const SILENCE_MAX: Duration = Duration::from_secs(180);
const BOOT_MAX: Duration = Duration::from_secs(900);

/// How long a command may take: the processor that it has may be a fiftieth of a real one.
const COMMAND_MAX: Duration = Duration::from_secs(1200);

/// How long the agent may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// How wrong a machine's clock may be, in seconds. Fizz allows half a second.
const CLOCK_ERROR_MAX: f64 = 0.1;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

const MEMORY_MIB: &str = "1536";

/// What was made once for all machines.
pub(crate) struct Image(pub(crate) PathBuf);

/// One of them.
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Its address at the switch.
    pub(crate) address: String,
    number: u8,
    folder: PathBuf,
    running: Option<Running>,
}

struct Running {
    qemu: Child,
    agent: Mutex<Agent>,
}

/// What a command in a machine came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i64,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Machine {
    /// A machine that does not run yet, with a disk of its own over the image's. `folder` is for all of them; what
    /// is in its `share` they have at /mnt/share.
    pub(crate) fn new(image: &Image, folder: &Path, name: &'static str, number: u8) -> Self {
        let address = format!("192.0.2.{number}");
        let machine = Self { name, address, number, folder: folder.to_owned(), running: None };
        let base = image.0.join("root.ext4");
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
            .args([&base, &machine.file("disk")])
            .status();
        assert!(made.unwrap().success(), "no disk for {name}");
        machine
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.name))
    }

    /// Switches it on. Its network is the TAP device of its name.
    pub(crate) fn switch_on(&mut self, image: &Image) {
        let (disk, console) = (self.file("disk"), self.file("console"));
        let (share, agent) = (self.folder.join("share"), self.file("agent"));
        let _ = fs::remove_file(&agent);
        // The processor's counter is measured while the machine boots, and wrongly where that is slow: by a hundredth.
        let kernel = format!(
            "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=1 systemd.hostname={} net.ifnames=0 \
             clocksource=hpet ip={}::192.0.2.254:255.255.255.0::eth0:off mitigations=off apparmor=0 selinux=0",
            self.name, self.address
        );
        let path = |it: &Path| it.to_str().unwrap().to_owned();
        let words = [
            // Whatever becomes of this process, the machine goes with it.
            "--pdeathsig=KILL qemu-system-x86_64 -accel tcg,thread=multi,tb-size=256 -cpu max,-la57".to_owned(),
            format!("-smp 1 -m {MEMORY_MIB} -display none -nodefaults -no-user-config"),
            format!("-serial file:{}", path(&console)),
            format!("-kernel {} -initrd {}", path(&image.0.join("vmlinuz")), path(&image.0.join("initrd"))),
            format!("-drive file={},if=virtio,cache=unsafe -device virtio-rng-pci", path(&disk)),
            format!("-netdev tap,id=lan,ifname={},script=no,downscript=no", self.name),
            format!("-device virtio-net-pci,netdev=lan,mac=52:54:00:00:00:{:02x},romfile=", self.number),
            format!("-virtfs local,path={},mount_tag=share,security_model=none", path(&share)),
            format!("-device virtio-serial -chardev socket,id=agent,path={},server=on,wait=off", path(&agent)),
            "-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0".to_owned(),
        ];
        let errors = fs::File::create(self.file("qemu")).unwrap();
        let mut command = Command::new("setpriv");
        command.args(words.iter().flat_map(|it| it.split(' '))).args(["-append", &kernel]);
        let qemu = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
        let mut qemu = qemu.unwrap();
        let began = Instant::now();
        let line = loop {
            if let Ok(line) = UnixStream::connect(&agent) {
                break line;
            }
            let gone = qemu.try_wait().unwrap();
            assert!(gone.is_none(), "QEMU: {}", fs::read_to_string(self.file("qemu")).unwrap());
            assert!(began.elapsed() < ANSWER_MAX, "QEMU does not begin");
            sleep(LOOK);
        };
        self.running = Some(Running { qemu, agent: Mutex::new(Agent::new(line)) });
    }

    /// Waits until it can be spoken to, and sets its clock.
    pub(crate) fn until_it_answers(&mut self) {
        let console = self.file("console");
        let size = || fs::metadata(&console).map_or(0, |it| it.len());
        let running = self.running.as_mut().unwrap();
        let began = Instant::now();
        let (mut last, mut moved) = (size(), began);
        loop {
            let gone = running.qemu.try_wait().unwrap();
            assert!(gone.is_none(), "{} went off: {gone:?}", self.name);
            if running.agent.get_mut().unwrap().begins(Duration::from_secs(1)) {
                break;
            }
            if size() != last {
                (last, moved) = (size(), Instant::now());
            }
            assert!(moved.elapsed() < SILENCE_MAX, "{} boots no further", self.name);
            assert!(began.elapsed() < BOOT_MAX, "{} does not come to an end of booting", self.name);
        }
        self.set_clock();
    }

    /// Sets its clock by this machine's, as its hardware tells the second only.
    fn set_clock(&self) {
        let began = Instant::now();
        // What the programs take that set it.
        let mut takes = None;
        loop {
            let behind = self.clock_behind();
            if behind.abs() < CLOCK_ERROR_MAX {
                return;
            }
            assert!(began.elapsed() < ANSWER_MAX, "{}'s clock is {behind} s behind", self.name);
            // By a difference, so that it does not matter when this is done.
            takes = Some(takes.map_or(0.0, |it: f64| it + behind));
            let ahead = behind + takes.unwrap_or_default();
            let now = format!("awk \"BEGIN {{ printf \\\"%.6f\\\", $EPOCHREALTIME + {ahead} }}\"");
            self.ok(&format!("date -s @$({now})"));
        }
    }

    /// By how many seconds its clock is behind: of some answers, what the one says that came soonest.
    fn clock_behind(&self) -> f64 {
        let mut agent = self.running.as_ref().unwrap().agent.lock().unwrap();
        let ask = |_| {
            let (asked, before) = (Instant::now(), now());
            let theirs = agent.ask("guest-get-time", &json!({})).as_f64().unwrap() / 1e9;
            let took = asked.elapsed();
            (took, before + took.as_secs_f64() / 2.0 - theirs)
        };
        let all = (0..5).map(ask);
        all.min_by(|a, b| a.0.cmp(&b.0)).unwrap().1
    }

    /// Takes its power away.
    pub(crate) fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.qemu.kill().unwrap();
        let status = running.qemu.wait().unwrap();
        assert!(!status.success(), "it had ended by itself: {status}");
    }

    /// Runs a script in it.
    pub(crate) fn run(&self, script: &str) -> Said {
        let agent = &self.running.as_ref().unwrap().agent;
        let ask = |command: &str, words: Value| agent.lock().unwrap().ask(command, &words);
        let script = json!({"path": "/bin/bash", "arg": ["-c", script], "capture-output": true});
        let pid = ask("guest-exec", script.clone())["pid"].clone();
        let began = Instant::now();
        loop {
            let status = ask("guest-exec-status", json!({"pid": pid}));
            if status["exited"] == true {
                let text = |key: &str| {
                    let text = STANDARD.decode(status[key].as_str().unwrap_or_default()).unwrap();
                    String::from_utf8_lossy(&text).trim_end().to_owned()
                };
                let code = status["exitcode"].as_i64().unwrap_or(-1);
                return Said { code, out: text("out-data"), err: text("err-data") };
            }
            assert!(began.elapsed() < COMMAND_MAX, "{} does not end: {script}", self.name);
            sleep(LOOK);
        }
    }

    /// What a script prints; it must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, script: &str) -> String {
        let said = self.run(script);
        assert_eq!(said.code, 0, "{}: {script}\n{}\n{}", self.name, said.out, said.err);
        said.out
    }

    /// What a command of Fizz prints there; it must succeed.
    #[track_caller]
    pub(crate) fn fizz(&self, words: &str) -> String {
        self.ok(&format!("cd /mnt/share && fizz {words}"))
    }

    /// The same, as a document.
    #[track_caller]
    pub(crate) fn json(&self, words: &str) -> Value {
        serde_json::from_str(&self.fizz(&format!("{words} -o json"))).unwrap()
    }

    /// What it said last, for whoever has to find out why.
    pub(crate) fn last_words(&mut self) -> String {
        let console = fs::read(self.file("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console).replace('\r', "");
        // Without those that only say that there is more to wait for.
        let lines: Vec<&str> = console.lines().filter(|it| !it.contains("\u{1b}M")).collect();
        let mut told = format!("--- the console of {}\n", self.name);
        told += &lines[lines.len().saturating_sub(20)..].join("\n");
        let ended = self.running.as_mut().and_then(|it| it.qemu.try_wait().ok().flatten());
        if let Some(status) = ended {
            let errors = fs::read_to_string(self.file("qemu")).unwrap_or_default();
            told += &format!("\n--- QEMU ended by itself: {status}\n{errors}");
        }
        let answers = self.running.as_ref().is_some_and(|it| {
            it.agent.lock().is_ok_and(|mut agent| agent.begins(Duration::from_secs(10)))
        });
        if answers {
            let log = self.run(
                "journalctl -u fizz -o cat -n 25 --no-pager; free -m; fizz nodes; fizz ls -a;
                 for project in $(fizz ls -q); do fizz -p $project ps -a; done",
            );
            told += &format!("\n--- fizz on {}\n{}{}", self.name, log.out, log.err);
        }
        told
    }
}

#[expect(clippy::disallowed_methods, reason = "a clock is set by another")]
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Lines of JSON to and from the agent.
struct Agent {
    line: BufReader<UnixStream>,
    /// Tells what answers now from what answers late.
    syncs: u32,
    /// What is read of an answer so far.
    partial: Vec<u8>,
}

impl Agent {
    fn new(line: UnixStream) -> Self {
        Self { line: BufReader::new(line), syncs: 0, partial: Vec::new() }
    }

    /// Whether it answers within a time.
    fn begins(&mut self, within: Duration) -> bool {
        self.syncs += 1;
        let sync = json!({"execute": "guest-sync", "arguments": {"id": self.syncs}});
        if writeln!(self.line.get_mut(), "{sync}").is_err() {
            return false;
        }
        let began = Instant::now();
        while began.elapsed() < within {
            let Some(answer) = self.answer(within) else { continue };
            if answer["return"] == self.syncs {
                return true;
            }
        }
        false
    }

    fn ask(&mut self, command: &str, words: &Value) -> Value {
        let request = json!({"execute": command, "arguments": words});
        writeln!(self.line.get_mut(), "{request}").expect("the machine has gone off");
        let mut answer = self.answer(ANSWER_MAX).expect("the agent does not answer");
        assert!(answer.get("return").is_some(), "{request}: {answer}");
        answer["return"].take()
    }

    /// The next answer, if one comes within a time.
    fn answer(&mut self, within: Duration) -> Option<Value> {
        self.line.get_ref().set_read_timeout(Some(within)).unwrap();
        let read = self.line.read_until(b'\n', &mut self.partial);
        if !matches!(read, Ok(1..)) || !self.partial.ends_with(b"\n") {
            return None;
        }
        serde_json::from_slice(&std::mem::take(&mut self.partial)).ok()
    }
}
