//! What one mebibyte of Compose file costs at most: hostile and wide inputs, each decided in a
//! process of its own, whose processor time and peak memory are printed beside the bounds.
//!
//! `cargo bench --bench compose [-- WORD]` runs the inputs whose names contain the word, and fails
//! when one is over. Processor time, not the clock's: the machine may be busy. An unoptimised build
//! is held to the bound of memory only.
#![expect(clippy::print_stdout, reason = "a bench is run for what it prints")]

#[path = "compose/inputs.rs"]
mod inputs;

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use fizz::compose::{LoadRequest, decode, files::MemoryFiles, load, problem::Problems, support};
use inputs::{Input, Verdict};
use nix::sys::resource::{UsageWho, getrusage};

const CPU_MAX: Duration = Duration::from_millis(100);
const PEAK_BYTES_MAX: u64 = 64 << 20;

/// The least of several is nearest to what the work itself takes.
const ROUNDS: usize = 3;

/// Says to this program that it is to decide what is on its standard input.
const DECIDE: &str = "--decide";

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|it| it == DECIDE) {
        return decide().map(|()| ExitCode::SUCCESS);
    }
    let word = words.iter().find(|it| !it.starts_with('-')).map_or("", String::as_str);
    println!("{:<24} {:>9} {:>8} {:>9}  verdict", "input", "bytes", "CPU ms", "peak MiB");
    let mut over = Vec::new();
    for input in inputs::all().into_iter().filter(|it| it.name.contains(word)) {
        if !within(&input)? {
            over.push(input.name);
        }
    }
    if over.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "over {} ms or {} MiB, or decided otherwise: {}",
        CPU_MAX.as_millis(),
        PEAK_BYTES_MAX >> 20,
        over.join(", ")
    );
    Ok(ExitCode::FAILURE)
}

/// What deciding one input took.
struct Cost {
    cpu: Duration,
    peak_bytes: u64,
    taken: bool,
    said: String,
}

/// Whether an input is decided as it should be, within the bounds.
fn within(input: &Input) -> Result<bool, Box<dyn Error>> {
    let bytes = (input.make)();
    let mut least = cost(&bytes)?;
    for _ in 1..ROUNDS {
        let next = cost(&bytes)?;
        least.cpu = least.cpu.min(next.cpu);
        least.peak_bytes = least.peak_bytes.max(next.peak_bytes);
    }
    let slow = least.cpu > CPU_MAX && !cfg!(debug_assertions);
    let large = least.peak_bytes > PEAK_BYTES_MAX;
    let wrong = least.taken != (input.verdict == Verdict::Taken);
    let mark = if slow || large || wrong { "!" } else { " " };
    println!(
        "{:<24} {:>9} {:>8.1} {:>9.1} {mark} {}",
        input.name,
        bytes.len(),
        least.cpu.as_secs_f64() * 1e3,
        least.peak_bytes as f64 / f64::from(1 << 20),
        least.said,
    );
    Ok(!(slow || large || wrong))
}

/// Has a process of its own decide an input.
fn cost(bytes: &[u8]) -> Result<Cost, Box<dyn Error>> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(DECIDE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().ok_or("no standard input")?.write_all(bytes)?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the process ended with {}", output.status).into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let mut words = said.splitn(4, ' ');
    let mut next = || words.next().ok_or("too few words");
    Ok(Cost {
        cpu: Duration::from_micros(next()?.parse()?),
        peak_bytes: next()?.parse()?,
        taken: next()?.parse()?,
        said: next()?.trim_end().into(),
    })
}

/// Does all that decides whether a file is taken, as `fizz up` does, and prints what it took.
fn decide() -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let before = cpu()?;
    let folder = PathBuf::from("/project");
    let files = MemoryFiles(BTreeMap::from([(folder.join("compose.yaml"), bytes)]));
    let request = LoadRequest { working_dir: folder, ..LoadRequest::default() };
    let problems = match load(&request, &files) {
        Ok(loaded) => {
            let mut problems = loaded.problems;
            support::check(&loaded.model, &mut problems);
            decode::project(&loaded.model, &mut problems);
            problems
        }
        Err(problems) => problems,
    };
    let text = problems.to_string();
    let cpu = cpu()? - before;
    let first: String = text.lines().next().unwrap_or("taken").chars().take(100).collect();
    let taken = !Problems::has_errors(&problems);
    println!("{} {} {taken} {first}", cpu.as_micros(), peak_bytes()?);
    Ok(())
}

fn cpu() -> Result<Duration, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros =
        [usage.user_time(), usage.system_time()].map(|it| it.tv_sec() * 1_000_000 + it.tv_usec());
    Ok(Duration::from_micros(u64::try_from(micros.iter().sum::<i64>())?))
}

/// The most memory that this process has held at once.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim_end_matches("kB").trim().parse::<u64>()? << 10)
}
