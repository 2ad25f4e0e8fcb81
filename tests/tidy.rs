//! House rules that neither rustc nor clippy can hold: the order of the rooms, purity above the
//! line, and files that fit in one sitting. Run with `cargo tidy`.
//!
//! Each rule is a function from a file's text to complaints. The tests below feed it the whole tree,
//! and a wrong line too, so that a rule that has gone blind is noticed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

#[path = "tidy/source.rs"]
mod source;

use source::{Named, Source};

/// The rooms of `src/` in the order of `docs/ARCHITECTURE.md`. A room may use only rooms before it, and
/// is in `src/lib.rs` once its first line exists.
const ROOMS: &[&str] = &[
    "model",
    "compose",
    "state",
    "swim",
    "gossip",
    "scheduler",
    "health",
    "topology",
    "doctor",
    "reconcile",
    "secrets",
    LAST_PURE_ROOM,
    "runtime",
    "network",
    "storage",
    "api",
    "daemon",
    "cli",
];
const LAST_PURE_ROOM: &str = "node";

/// In `src/lib.rs`, the comment between the pure rooms and the rest.
const THE_LINE: &str = "// Rooms that touch the world.";

/// All that the command line may use of the crate: it is a client of the API like any other.
const CLI_USES: &[&[&str]] = &[&["api", "wire"], &["model"], &["compose"], &["cli"]];

/// What pure rooms must not name, by how the path begins.
const WORLD_PATHS: &[&[&str]] = &[
    &["std", "env"],
    &["std", "fs"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["axum"],
    &["bollard"],
    &["clap"],
    &["hyper"],
    &["hyper_util"],
    &["indicatif"],
    &["nix"],
    &["rand_core", "OsRng"],
    &["redb"],
    &["sd_notify"],
    &["tokio"],
    &["tokio_stream"],
    &["tokio_util"],
];

/// What pure rooms must not name anywhere in a path.
const WORLD_NAMES: &[&str] = &[
    "eprint!",
    "eprintln!",
    "print!",
    "println!",
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "canonicalize",
    "read_dir",
    "read_link",
    "symlink_metadata",
    "thread_rng",
];

/// Lines of code in a file, without comments, blank lines and tests.
const CODE_LINES_MAX: usize = 500;

/// All that may stand at the top level, besides dotfiles and what git ignores.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "docs",
    "ebpf",
    "examples",
    "packaging",
    "src",
    "target",
    "tests",
    "vagrant",
];

#[test]
fn the_rooms_stand_in_lib_rs_in_their_order_and_each_has_its_folder() {
    let listed = rooms_in_lib(&fs::read_to_string("src/lib.rs").unwrap());
    let mut built: Vec<String> = fs::read_dir("src")
        .unwrap()
        .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|it| it != "lib" && it != "main")
        .collect();
    built.sort();
    pass(room_table(&listed, &built));
}

#[test]
fn a_room_uses_only_the_rooms_above_it() {
    hold(Path::new("src"), room_order);
}

#[test]
fn pure_rooms_do_not_touch_the_world() {
    hold(Path::new("src"), purity);
}

#[test]
fn every_file_says_what_it_is_and_fits_in_one_sitting() {
    hold(Path::new("src"), size);
    hold(Path::new("src"), opening);
    hold(Path::new("tests"), opening);
}

#[test]
fn nothing_is_left_for_later_and_nothing_names_this_machine() {
    let here = checkout();
    pass(texts(Path::new(".")).iter().flat_map(|it| leftovers(it, &here)).collect());
}

#[test]
fn the_top_level_holds_only_what_it_should() {
    let names = fs::read_dir(".").unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    pass(names.filter_map(|it| stray(&it)).collect());
}

/// What a rule has to say about a place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    place: String,
    message: String,
}

impl Complaint {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    fn at(source: &Source, line: usize, message: String) -> Self {
        Self::new(format!("{}:{line}", source.file.display()), message)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Holds a rule against every Rust file of a folder.
fn hold(folder: &Path, rule: impl Fn(&Source) -> Vec<Complaint>) {
    let sources = texts(folder).into_iter().filter(|it| it.file.extension() == Some("rs".as_ref()));
    pass(sources.flat_map(|it| rule(&it)).collect());
}

fn pass(mut complaints: Vec<Complaint>) {
    complaints.sort();
    let lines: Vec<String> = complaints.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n\n{}\n", lines.join("\n"));
}

fn position(room: &str) -> Option<usize> {
    ROOMS.iter().position(|it| *it == room)
}

fn is_pure(room: &str) -> bool {
    position(room) <= position(LAST_PURE_ROOM)
}

/// The rooms that `src/lib.rs` lists, and whether each stands above the line.
fn rooms_in_lib(text: &str) -> Vec<(String, bool)> {
    let line = text.find(THE_LINE).unwrap_or(text.len());
    text.match_indices("\npub mod ")
        .filter_map(|(at, words)| {
            let name = text[at + words.len()..].split(';').next()?;
            Some((name.to_owned(), at < line))
        })
        .collect()
}

fn room_table(listed: &[(String, bool)], built: &[String]) -> Vec<Complaint> {
    let say = |message: String| Complaint::new("src/lib.rs", message);
    let mut complaints = vec![];
    for pair in listed.windows(2) {
        let (above, below) = (&pair[0].0, &pair[1].0);
        if position(below) < position(above) {
            complaints.push(say(format!("`{below}` comes before `{above}`; swap them")));
        }
    }
    for (room, above_the_line) in listed {
        if position(room).is_none() {
            complaints.push(say(format!(
                "`{room}` is a new room; add it to ROOMS in tests/tidy.rs and to docs/ARCHITECTURE.md"
            )));
        } else if is_pure(room) != *above_the_line {
            complaints.push(say(format!("`{room}` is on the wrong side of `{THE_LINE}`; move it")));
        }
        if !built.contains(room) {
            complaints
                .push(say(format!("`{room}` is not in src/; list a room with its first line")));
        }
    }
    for room in built.iter().filter(|room| !listed.iter().any(|it| it.0 == **room)) {
        complaints.push(say(format!("src/{room} is not listed; add `pub mod {room};`")));
    }
    complaints
}

fn room_order(source: &Source) -> Vec<Complaint> {
    let Some(room) = source.room() else { return vec![] };
    let wrong = |named: &Named| {
        let path = named.under_crate(source.depth())?;
        let other = path.first()?.as_str();
        if other == "*" {
            return Some(format!("`{named}` hides which rooms are used; name them"));
        }
        if room == "cli" && position(other).is_some() {
            let may = CLI_USES.iter().any(|it| begins(path, it));
            return (!may).then(|| {
                format!("`cli` uses `{}`, but only `api::wire`, `model` and `compose` are its to use; ask the daemon over the API", path.join("::"))
            });
        }
        (position(room) < position(other)).then(|| {
            format!("`{room}` uses `{other}`, which is below it; move what both need up, or hand it in as an argument")
        })
    };
    complain(source, &source.named, wrong)
}

fn purity(source: &Source) -> Vec<Complaint> {
    if !source.room().is_some_and(is_pure) {
        return vec![];
    }
    let wrong = |named: &Named| {
        let world = WORLD_PATHS.iter().any(|it| begins(&named.path, it))
            || named.path.iter().any(|it| WORLD_NAMES.contains(&it.as_str()));
        world.then(|| {
            format!("`{named}` touches the world in a pure room; take it as an argument, or return an effect")
        })
    };
    let code: Vec<Named> =
        source.named.iter().filter(|it| it.line <= source.code_ends).cloned().collect();
    complain(source, &code, wrong)
}

fn complain(
    source: &Source,
    named: &[Named],
    wrong: impl Fn(&Named) -> Option<String>,
) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> =
        named.iter().filter_map(|it| Some(Complaint::at(source, it.line, wrong(it)?))).collect();
    complaints.dedup();
    complaints
}

fn begins(path: &[String], with: &[&str]) -> bool {
    path.len() >= with.len() && path.iter().zip(with).all(|(a, b)| a == b)
}

fn opening(source: &Source) -> Vec<Complaint> {
    let opens = source.text.starts_with("//! ");
    let message = "begin with `//!`: what this file does and where it comes from";
    (!opens).then(|| Complaint::at(source, 1, message.to_owned())).into_iter().collect()
}

fn size(source: &Source) -> Vec<Complaint> {
    let lines = source.code_lines();
    if lines <= CODE_LINES_MAX || source.is_test() {
        return vec![];
    }
    let message = format!("{lines} lines of code, {CODE_LINES_MAX} at most; split it by noun");
    vec![Complaint::at(source, source.code_ends, message)]
}

/// `here` is the checkout's own path, and its parent's where that says something.
fn leftovers(source: &Source, here: &[String]) -> Vec<Complaint> {
    let mut complaints = vec![];
    for (number, line) in (1..).zip(source.text.lines()) {
        let words = || line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!');
        for later in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
            if words().any(|it| it == later) {
                let message = format!("`{later}`: do it now, or file an issue");
                complaints.push(Complaint::at(source, number, message));
            }
        }
        for absent in [concat!("to", "do!"), concat!("unimple", "mented!")] {
            if words().any(|it| it == absent) {
                let message = format!("`{absent}` panics later; write it now, or leave it out");
                complaints.push(Complaint::at(source, number, message));
            }
        }
        if line.trim_start().starts_with(concat!("#[", "ignore")) {
            let message = "a test that nothing runs; make it run, or delete it".to_owned();
            complaints.push(Complaint::at(source, number, message));
        }
        if here.iter().any(|it| line.contains(it)) {
            let message = "a path of this machine; make it relative, or an argument".to_owned();
            complaints.push(Complaint::at(source, number, message));
        }
    }
    complaints
}

fn stray(name: &str) -> Option<Complaint> {
    let known = name.starts_with('.') || TOP_LEVEL.contains(&name);
    (!known).then(|| Complaint::new(name, "does not belong at the top level; put it in a folder"))
}

fn checkout() -> Vec<String> {
    let root = fs::canonicalize(".").unwrap();
    let deep = |it: &&Path| 2 < it.components().count();
    let parents = [Some(root.as_path()), root.parent()];
    parents.into_iter().flatten().filter(deep).map(|it| it.display().to_string()).collect()
}

/// Every file of ours that people write, below a folder.
fn texts(folder: &Path) -> Vec<Source> {
    const KINDS: &[&str] = &["rs", "sh", "md", "toml", "yaml", "yml", "py", "c", "h", "service"];
    let mut files = vec![];
    walk(folder, &mut files);
    files.sort();
    let ours = files.into_iter().filter(|file| match file.extension() {
        Some(kind) => KINDS.iter().any(|it| kind == *it),
        None => file.parent().is_some_and(|it| it.file_name().is_some_and(|name| name == ".ci")),
    });
    ours.map(|file| {
        let text = fs::read_to_string(&file).unwrap();
        Source::read(file.strip_prefix(".").unwrap_or(&file), text)
    })
    .collect()
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let skipped = entry.file_name() == "target" || entry.file_name() == ".git";
        if kind.is_dir() && !skipped {
            walk(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source::read(Path::new(path), text.to_owned())
    }

    fn messages(complaints: &[Complaint]) -> String {
        complaints.iter().map(|it| format!("{it}\n")).collect()
    }

    #[test]
    fn a_pure_room_that_uses_a_later_room_is_told_so_with_its_line() {
        let wrong = file("src/model/id.rs", "//! Ids.\n\nuse crate::node::Node;\n");
        assert_eq!(
            messages(&room_order(&wrong)),
            "src/model/id.rs:3: `model` uses `node`, which is below it; move what both need up, or \
             hand it in as an argument\n"
        );
    }

    #[test]
    fn every_way_to_name_a_later_room_is_seen() {
        for line in [
            "use crate::runtime::Runtime;",
            "use crate::{model::{self, NodeId}, runtime::{Runtime, labels}};",
            "use crate::{\n    model::NodeId, // ids\n    runtime as engine,\n};",
            "pub(crate) fn f(it: &crate::runtime::Runtime) {}",
            "fn f() { let it = crate::runtime::labels(); }",
            "use super::super::runtime::Runtime;",
            "#[cfg(test)]\nmod tests {\n    use crate::runtime::Runtime;\n}",
            "use crate::*;",
        ] {
            let source = file("src/state/records.rs", &format!("//! Records.\n{line}\n"));
            assert_eq!(room_order(&source).len(), 1, "{line}");
        }
    }

    #[test]
    fn what_only_looks_like_a_later_room_is_let_be() {
        for line in [
            "use crate::{model::NodeId, state::node};",
            "// as crate::runtime does",
            "const IT: &str = \"crate::runtime\";",
            "const IT: &str = r#\"a \" crate::runtime\"#;",
            "fn f<'a>(it: &'a str) -> char { '\"' } // crate::runtime \"",
            "use super::runtime::Version;",
            "use bollard::crate_::runtime;",
        ] {
            let source = file("src/state/records.rs", &format!("//! Records.\n{line}\n"));
            assert_eq!(messages(&room_order(&source)), "", "{line}");
        }
    }

    #[test]
    fn the_command_line_uses_only_what_a_client_needs() {
        let cli = |line: &str| room_order(&file("src/cli/up.rs", line)).len();
        assert_eq!(cli("use crate::{api::wire::Deploy, compose::load, model::NodeId};"), 0);
        assert_eq!(cli("use crate::{api::{wire, wire::Plan}, cli::progress};"), 0);
        assert_eq!(cli("use crate::daemon::run;"), 1);
        assert_eq!(cli("use crate::api::{wire, backend::Backend};"), 1);
        assert_eq!(cli("use crate::state::ClusterState;"), 1);
    }

    #[test]
    fn the_world_is_seen_in_pure_rooms_and_let_be_below_the_line() {
        for line in [
            "use std::fs;",
            "use std::{collections::BTreeMap, env, fmt};",
            "fn f() { std::process::exit(1) }",
            "use std::time::{Duration, Instant};",
            "use std::{net::{IpAddr, UdpSocket}};",
            "use tokio::sync::mpsc;",
            "fn f() { println!(\"it\"); }",
            "fn f() { eprint!(\"it\"); }",
            "fn f(it: &Path) { it.canonicalize(); }",
        ] {
            let text = format!("//! It.\n{line}\n");
            assert_eq!(purity(&file("src/health/it.rs", &text)).len(), 1, "{line}");
            assert_eq!(purity(&file("src/daemon/it.rs", &text)).len(), 0, "{line}");
        }
        for line in [
            "use std::{net::IpAddr, time::Duration};",
            "use crate::compose::env;",
            "fn f() { fingerprint!(1); }",
            "#[cfg(test)]\nmod tests {\n    use std::fs;\n}",
        ] {
            let text = format!("//! It.\n{line}\n");
            assert_eq!(messages(&purity(&file("src/health/it.rs", &text))), "", "{line}");
        }
    }

    #[test]
    fn rooms_in_another_order_or_on_the_wrong_side_are_named() {
        let lib = format!(
            "\npub mod state;\npub mod compose;\npub mod api;\n{THE_LINE}\npub mod cli;\npub mod shed;\n"
        );
        let built = ["api", "compose", "shed", "state", "swim"].map(str::to_owned);
        let said = messages(&room_table(&rooms_in_lib(&lib), &built));
        for expected in [
            "`compose` comes before `state`; swap them",
            "`api` is on the wrong side",
            "`cli` is not in src/",
            "`shed` is a new room",
            "src/swim is not listed; add `pub mod swim;`",
        ] {
            assert!(said.contains(expected), "no `{expected}` in\n{said}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_told_so_but_not_for_its_words_and_tests() {
        let code = "fn f() {}\n".repeat(CODE_LINES_MAX);
        let tests = "#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
        let just = file("src/model/id.rs", &format!("//! It.\n\n/// Why.\n{code}{tests}"));
        assert_eq!(size(&just), []);
        let long = file("src/model/id.rs", &format!("//! It.\n{code}fn g() {{}}\n{tests}"));
        assert_eq!(size(&long).len(), 1);
        assert_eq!(opening(&long), []);
        assert_eq!(opening(&file("src/model/id.rs", "use std::fmt;\n")).len(), 1);
    }

    #[test]
    fn words_left_for_later_and_paths_of_this_machine_are_seen() {
        let here = ["/srv/build/fizz".to_owned()];
        for line in [
            concat!("// TO", "DO: later"),
            concat!("    to", "do!()"),
            concat!("#[", "ignore = \"slow\"]"),
            "cp /srv/build/fizz/target .",
        ] {
            assert_eq!(leftovers(&file("src/x.rs", line), &here).len(), 1, "{line}");
        }
        assert_eq!(leftovers(&file("x.sh", "mktemp -d /tmp/fizz.XXXXXX"), &here), []);
        assert!(stray("Makefile").is_some() && stray(".ci").is_none());
    }
}
