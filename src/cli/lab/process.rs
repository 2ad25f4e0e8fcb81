//! A lab's processes, found by their command lines: those that hold a node's or the switch's namespaces
//! name the lab and the node, so there is no moment at which one runs and is not on record.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::plan::{LabName, Role};

/// A process, told from a later one of the same number by when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// In ticks since the machine booted: field 22 of proc_pid_stat(5).
    began: u64,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// It runs, or waits.
    Lives,
    /// Stopped by a signal.
    Stopped,
    /// It has ended; nobody has taken note yet.
    Ended,
}

/// A process and what it was told.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) process: Process,
    pub(super) parent: i32,
    pub(super) activity: Activity,
    /// Its command line.
    pub(super) words: Vec<String>,
}

impl Process {
    /// Sends a signal, unless the process has ended.
    pub(super) fn signal(self, signal: Signal) -> io::Result<()> {
        if !self.lives() {
            return Ok(());
        }
        match kill(Pid::from_raw(self.pid), signal) {
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(why) => Err(why.into()),
        }
    }

    /// Whether it has not ended.
    pub(super) fn lives(self) -> bool {
        stat(self.pid).is_some_and(|it| it.0 == self && it.2 != Activity::Ended)
    }
}

/// All of root's processes.
pub(super) fn all() -> io::Result<Vec<Seen>> {
    let entries = fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(look).collect())
}

/// Those among them that hold a lab's namespaces.
pub(super) fn holders(all: &[Seen], lab: &LabName) -> BTreeMap<Role, Process> {
    let ours = all.iter().filter(|it| it.activity != Activity::Ended);
    let ours: Vec<_> = ours.filter_map(|it| Some((role(&it.words, lab)?, it))).collect();
    // A child has its parent's words until it runs a program of its own.
    let is_child = |it: &Seen| ours.iter().any(|(_, other)| other.process.pid == it.parent);
    let first = ours.iter().filter(|(_, it)| !is_child(it));
    first.map(|(role, it)| (*role, it.process)).collect()
}

/// What a process is to a lab, by its words: `fizz lab machine LAB ROLE`.
fn role(words: &[String], lab: &LabName) -> Option<Role> {
    match words {
        [_, command, machine, name, role]
            if command == "lab" && machine == "machine" && name == lab.as_str() =>
        {
            role.parse().ok()
        }
        _ => None,
    }
}

fn look(pid: i32) -> Option<Seen> {
    let dir = format!("/proc/{pid}");
    // Anybody may give a process any words; only root's are believed.
    if fs::metadata(&dir).ok()?.uid() != 0 {
        return None;
    }
    let (process, parent, activity) = stat(pid)?;
    let words = fs::read(Path::new(&dir).join("cmdline")).ok()?;
    let words = words.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned());
    let mut words: Vec<String> = words.collect();
    words.pop();
    Some(Seen { process, parent, activity, words })
}

fn stat(pid: i32) -> Option<(Process, i32, Activity)> {
    parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// A program's name may hold spaces and brackets; the numbers follow its last bracket.
fn parse_stat(pid: i32, text: &str) -> Option<(Process, i32, Activity)> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // The first of several threads may have ended before the last one has, with which everything in the
    // process's namespaces ends.
    let threads: u32 = fields.get(17)?.parse().ok()?;
    let activity = match *fields.first()? {
        "T" | "t" => Activity::Stopped,
        "Z" | "X" | "x" if threads <= 1 => Activity::Ended,
        _ => Activity::Lives,
    };
    let began = fields.get(19)?.parse().ok()?;
    Some((Process { pid, began }, fields.get(1)?.parse().ok()?, activity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_when_it_began() {
        let text = "7 (a) (b) T 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 10 18446744073709551615\n";
        let (process, parent, activity) = parse_stat(7, text).unwrap();
        assert_eq!((process.began, parent, activity), (4711, 3, Activity::Stopped));
        assert_eq!(parse_stat(7, &text.replace(" T ", " Z ")).unwrap().2, Activity::Ended);
        let others = text.replace(" T ", " Z ").replace(" 20 0 1 0 ", " 20 0 3 0 ");
        assert_eq!(parse_stat(7, &others).unwrap().2, Activity::Lives, "its threads go on");
        let me = i32::try_from(std::process::id()).unwrap();
        let me = stat(me).unwrap().0;
        assert!(me.lives());
        assert!(!Process { began: me.began + 1, ..me }.lives(), "a later process of that number");
    }

    #[test]
    fn a_child_that_has_its_parents_words_yet_is_not_taken_for_it() {
        let seen = |pid, parent| Seen {
            process: Process { pid, began: 1 },
            parent,
            activity: Activity::Lives,
            words: ["fizz", "lab", "machine", "lab", "b"].map(str::to_owned).to_vec(),
        };
        let found = holders(&[seen(7, 1), seen(9, 7)], &"lab".parse().unwrap());
        assert_eq!(found.values().map(|it| it.pid).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn only_the_labs_own_words_make_a_holder() {
        let lab: LabName = "lab".parse().unwrap();
        let role = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            role(&words, &lab)
        };
        assert_eq!(role("fizz lab machine lab switch"), Some(Role::Switch));
        assert_eq!(role("/x/fizz lab machine lab b"), Some(Role::Node("b".parse().unwrap())));
        for other in [
            "fizz lab machine lab2 b",
            "sudo fizz lab machine lab b",
            "fizz lab machine lab b c",
            "fizz lab machine lab",
            "fizz lab exec lab b",
        ] {
            assert_eq!(role(other), None, "{other}");
        }
    }
}
