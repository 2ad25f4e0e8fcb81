//! Full disks: bytes and inodes of the file systems that the daemon and the runtime write to.

use super::{Check, Finding, Looked};

const NAME: &str = "disk";

/// Below so much, or so many thousandths of all, there is too little; and below so much it may soon be.
const FAILS_BYTES: u64 = 64 << 20;
const FAILS_PERMILLE: u64 = 10;
const WARNS_BYTES: u64 = 1 << 30;
const WARNS_PERMILLE: u64 = 100;

/// The same of inodes, which some file systems do not count.
const FAILS_INODES_PERMILLE: u64 = 10;
const WARNS_INODES_PERMILLE: u64 = 50;

/// A file system that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    /// What is there: `the daemon's data`.
    pub what: &'static str,
    /// Where.
    pub path: String,
    /// The setting that says so, where there is one.
    pub setting: Option<&'static str>,
    /// Bytes that may be written, and all.
    pub bytes: (u64, u64),
    /// Files that may be made, and all; 0: they are not counted.
    pub inodes: (u64, u64),
    /// Nothing can be written.
    pub read_only: bool,
}

pub(super) fn check(disks: &[Looked<Space>]) -> Check {
    let finding = |it: &Looked<Space>| match it {
        Ok(space) => finding(space),
        Err(why) => Some(Finding::unchecked(why.clone())),
    };
    let findings = disks.iter().filter_map(finding).collect();
    let least = disks.iter().flatten().min_by_key(|it| it.bytes.0);
    let well = least.map_or_else(
        || "nothing was looked at".to_owned(),
        |it| format!("{} free where the least is, {}", bytes_text(it.bytes.0), it.path),
    );
    Check::new(NAME, well, findings)
}

/// How much is too little: less than a share of all, and less than so much. A small file system, as of `/run`,
/// is not full because it is small.
fn short((free, all): (u64, u64), least: u64, permille: u64) -> bool {
    let share = u128::from(all) * u128::from(permille) / 1000;
    free == 0 && all != 0 || u128::from(free) < share && free < least
}

fn finding(it: &Space) -> Option<Finding> {
    let (path, what) = (&it.path, it.what);
    let free = format!(
        "{} of {} bytes are free at {path}",
        bytes_text(it.bytes.0),
        bytes_text(it.bytes.1)
    );
    let inodes = format!("{} of {} inodes are free at {path}", it.inodes.0, it.inodes.1);
    let count = |permille| short(it.inodes, u64::MAX, permille);
    let found = if it.read_only {
        Finding::failed(format!("{what} are on a file system that can only be read ({path})"))
            .seen("it is mounted `ro`, as after an error of the disk")
            .cure("look at `dmesg` for errors of the disk; then `mount -o remount,rw` it")
    } else if short(it.bytes, FAILS_BYTES, FAILS_PERMILLE) {
        clear(Finding::failed(format!("the disk with {what} is full ({path})")).seen(free), it)
    } else if count(FAILS_INODES_PERMILLE) {
        files(
            Finding::failed(format!("the disk with {what} has no inodes left ({path})"))
                .seen(inodes),
            it,
        )
    } else if short(it.bytes, WARNS_BYTES, WARNS_PERMILLE) {
        clear(
            Finding::warning(format!("the disk with {what} is nearly full ({path})")).seen(free),
            it,
        )
    } else if count(WARNS_INODES_PERMILLE) {
        files(
            Finding::warning(format!("the disk with {what} has few inodes left ({path})"))
                .seen(inodes),
            it,
        )
    } else {
        return None;
    };
    Some(found.why("no change can be made durable, no image fetched and no container started: the node refuses changes or stops"))
}

fn clear(found: Finding, it: &Space) -> Finding {
    let found = found
        .cure(format!("see what takes it: `du -xh --max-depth=2 {} | sort -h | tail`", it.path));
    moved(
        found.cure(
            "remove unused images and logs: `docker system prune`, `journalctl --vacuum-size=200M`",
        ),
        it,
    )
}

fn files(found: Finding, it: &Space) -> Finding {
    let found = found.cure(format!(
        "see where the many files are: `du -x --inodes --max-depth=2 {} | sort -n | tail`",
        it.path
    ));
    moved(found, it)
}

fn moved(found: Finding, it: &Space) -> Finding {
    match it.setting {
        Some(setting) => found.cure(format!("or give it a larger disk: set `{setting}` in /etc/fizz/config.yaml, with fizz stopped and the directory moved")),
        None => found.cure("or give it a larger disk"),
    }
}

fn bytes_text(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| *unit <= bytes) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    fn judged(change: impl FnOnce(&mut Space)) -> Check {
        let mut space = Space {
            what: "the daemon's data",
            path: "/var/lib/fizz".to_owned(),
            setting: Some("data_dir"),
            bytes: (50 << 30, 100 << 30),
            inodes: (500, 1000),
            read_only: false,
        };
        change(&mut space);
        check(&[Ok(space)])
    }

    #[test]
    fn a_full_disk_fails_and_one_that_may_soon_be_warns() {
        assert_eq!(judged(|_| {}).summary, "50.0 GiB free where the least is, /var/lib/fizz");
        let full = judged(|it| it.bytes.0 = 0);
        let fault = "the disk with the daemon's data is full (/var/lib/fizz)";
        assert_eq!((full.grade, full.summary.as_str()), (Grade::Failed, fault));
        assert!(full.findings[0].cure[2].contains("`data_dir`"));
        for (free, grade) in [
            (FAILS_BYTES - 1, Grade::Failed),
            (FAILS_BYTES, Grade::Warning),
            (WARNS_BYTES - 1, Grade::Warning),
            (WARNS_BYTES, Grade::Ok),
        ] {
            assert_eq!(judged(|it| it.bytes.0 = free).grade, grade, "{free}");
        }
    }

    #[test]
    fn a_small_file_system_is_not_full_because_it_is_small() {
        let mib = |free: u64, all: u64| judged(|it| it.bytes = (free << 20, all << 20)).grade;
        assert_eq!(mib(60, 64), Grade::Ok);
        assert_eq!(mib(6, 64), Grade::Warning);
        assert_eq!(mib(0, 64), Grade::Failed);
        assert_eq!(judged(|it| it.bytes = (0, 0)).grade, Grade::Ok, "nothing is counted there");
    }

    #[test]
    fn inodes_run_out_too_and_a_disk_that_is_only_read_is_told() {
        let inodes = |free| judged(|it| it.inodes = (free, 1000)).grade;
        assert_eq!(
            (inodes(0), inodes(9), inodes(10), inodes(49), inodes(50)),
            (Grade::Failed, Grade::Failed, Grade::Warning, Grade::Warning, Grade::Ok)
        );
        assert_eq!(judged(|it| it.inodes = (0, 0)).grade, Grade::Ok, "as btrfs has it");
        assert_eq!(judged(|it| it.read_only = true).grade, Grade::Failed);
        assert_eq!(check(&[Err("no".to_owned())]).grade, Grade::Unchecked);
    }
}
