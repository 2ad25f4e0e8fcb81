//! A daemon's store is killed again and again while it writes, and loses nothing that it acknowledged.
//!
//! This test has a `main` of its own (`harness = false`): with the argument `write` it is the process
//! that writes, without it is the one that kills.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "without a harness, the test itself says what it is")]

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use fizz::{
    daemon::store::Store,
    model::WallTime,
    state::{Change, SealedSecret, SecretPath},
};

/// How often the writer is killed.
const KILLS: u64 = 40;

/// Writes that one commit makes durable together.
const GROUP: u64 = 3;

/// Keys that are written over and over.
const KEYS: u64 = 17;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("write") {
        write_for_ever(&PathBuf::from(arguments.next().unwrap()));
    }
    what_was_acknowledged_survives_sigkill();
    println!("test what_was_acknowledged_survives_sigkill ... ok\n");
    println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
}

fn what_was_acknowledged_survives_sigkill() {
    let directory = std::env::temp_dir().join(format!("fizz-durability-{}", std::process::id()));
    std::fs::create_dir(&directory).unwrap();
    let (mut last, mut killed_while_writing) = (0, 0);
    for round in 0..KILLS {
        let acknowledged = write_until_killed(&directory, Duration::from_millis(5 + round * 3));
        killed_while_writing += u64::from(last < acknowledged);
        last = last.max(acknowledged);
        let found = highest(&directory);
        assert!(last <= found, "round {round}: {last} was acknowledged, and {found} is there");
        assert_eq!(found % GROUP, 0, "round {round}: half of a commit is there");
        last = found;
    }
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(killed_while_writing > KILLS / 2, "only {killed_while_writing} kills met a writer");
}

/// Starts a writer, lets it acknowledge for a while, kills it, and returns what it said last.
fn write_until_killed(directory: &Path, span: Duration) -> u64 {
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .arg("write")
        .arg(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
    let mut last = lines.next().map_or(0, |line| line.unwrap().parse().unwrap());
    thread::sleep(span);
    writer.kill().unwrap();
    for line in lines {
        last = line.unwrap().parse().unwrap_or(last);
    }
    assert_eq!(writer.wait().unwrap().signal(), Some(9));
    last
}

/// Goes on from what is there, and says each number once it is durable.
fn write_for_ever(directory: &Path) -> ! {
    let (store, mut state) = Store::open(directory, Some("test")).unwrap();
    let mut number = numbers(&state).max().unwrap_or(0);
    let mut out = std::io::stdout();
    loop {
        let mut steps = vec![];
        for _ in 0..GROUP {
            number += 1;
            let sealed =
                SealedSecret { ciphertext: number.to_be_bytes().to_vec(), fingerprint: [0; 16] };
            let change = Change::Secret(place(number % KEYS), Some(Arc::new(sealed)));
            steps.push(state.commit(change, WallTime(number)));
        }
        store.commit(&steps).unwrap();
        writeln!(out, "{number}").unwrap();
    }
}

fn highest(directory: &Path) -> u64 {
    let (_, state) = Store::open(directory, Some("test")).unwrap();
    let highest = numbers(&state).max().unwrap_or(0);
    for key in 0..KEYS {
        let wanted = (highest.saturating_sub(KEYS - 1)..=highest).find(|it| it % KEYS == key);
        let found = state.secrets().get(&place(key)).map(|it| number(&it.ciphertext));
        assert_eq!(found, wanted.filter(|it| *it != 0), "key {key} is not as last written");
    }
    highest
}

fn numbers(state: &fizz::state::ClusterState) -> impl Iterator<Item = u64> {
    state.secrets().iter().map(|(_, sealed)| number(&sealed.ciphertext))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn place(key: u64) -> SecretPath {
    SecretPath::Project("shop".parse().unwrap(), format!("key{key}"))
}
