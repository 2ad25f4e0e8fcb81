//! The tests' own process in namespaces of its own, for a runtime that it shares files and pipes with.
//!
//! A process with threads cannot move there, so that it is begun anew: the first test that wants an
//! engine replaces the process, and what had been told is told once more.

use std::{io::Write, os::unix::process::CommandExt, path::PathBuf, process::Command};

use super::excused::ON_CONTAINERD;

/// Where its directory is, for the process in the namespaces.
const DIRECTORY: &str = "FIZZ_E2E_INSIDE";

pub(super) fn is_inside() -> bool {
    std::env::var_os(DIRECTORY).is_some()
}

pub(super) fn directory() -> PathBuf {
    PathBuf::from(std::env::var_os(DIRECTORY).expect("this is not in namespaces of its own"))
}

/// Begins this process anew in namespaces of its own, without the stories that cannot be told there.
pub(super) fn enter(name: &str, groups: &str, keeper: &str) -> ! {
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", OUTSIDE, "outside"]).arg(&directory).arg(name);
    command.arg(std::env::current_exe().unwrap()).args(std::env::args_os().skip(1));
    for (story, why) in ON_CONTAINERD {
        // Past what keeps a test's output until its end, which does not come.
        let said = format!("left out on containerd: {story} ({why})\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        command.args(["--skip", story]);
    }
    command.env(DIRECTORY, &directory);
    command.env("GROUPS_SCRIPT", groups).env("KEEPER_SCRIPT", keeper).env("INSIDE_SCRIPT", INSIDE);
    let error = command.exec();
    panic!("the tests do not begin anew: {error}");
}

/// Runs the tests in new namespaces, and clears up after them.
const OUTSIDE: &str = r#"
trap '' INT TERM HUP
dir="$1"
name="$2"
shift 2
sh -c "$GROUPS_SCRIPT" groups "$name" unshare --net --mount --pid --fork --kill-child --mount-proc \
  --propagation private sh -c "$INSIDE_SCRIPT" inside "$name" "$@"
code=$?
sh -c "$KEEPER_SCRIPT" keeper "$dir" "$name" </dev/null
exit $code
"#;

/// The first process in the namespaces: it reaps what it inherits, and ends with the tests.
const INSIDE: &str = r#"
set -e
trap - INT TERM HUP
mount --make-rshared /
for at in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do
  mount --bind "$at/$1" "$at"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
ip link set lo up
shift
"$@" &
wait $!
"#;
