//! Clock skew: against the other members, and whether anything keeps the clock.

use super::{Check, Finding, Looked, Peer};
use crate::model::CLOCK_ERROR_MAX;

const NAME: &str = "clock";

/// From here on a node may soon refuse changes.
const WARNS_MS: u64 = 100;

/// What this machine tells of its clock.
#[derive(Clone, Debug)]
pub struct ClockFacts {
    /// Something keeps it (adjtimex(2): the kernel was told so).
    pub kept: Looked<bool>,
    /// How far it is ahead of the median of the others', as the daemon has heard.
    pub ahead_ms: Option<i64>,
}

pub(super) fn check(facts: &ClockFacts, peers: &Looked<Vec<Peer>>) -> Check {
    let none = vec![];
    let peers = peers.as_ref().unwrap_or(&none);
    let mut findings = vec![];
    let mine = facts.ahead_ms.unwrap_or(0);
    findings.extend(own(mine));
    findings.extend(peers.iter().filter_map(|it| other(it, mine, facts.ahead_ms.is_some())));
    match &facts.kept {
        Ok(true) => {}
        Ok(false) => findings.push(keep(
            Finding::warning("nothing keeps this machine's clock")
                .seen("the kernel was not told the time by NTP (adjtimex(2): STA_UNSYNC)")
                .why("clocks drift apart by seconds in weeks; a node whose clock is half a second off refuses changes, and one ten seconds off can't join"),
        )),
        Err(why) => findings.push(Finding::unchecked(format!("whether NTP keeps the clock: {why}"))),
    }
    let well = match facts.ahead_ms {
        Some(ahead) => format!("NTP keeps it; {} ms from the other members'", ahead.unsigned_abs()),
        None => "NTP keeps it".to_owned(),
    };
    Check::new(NAME, well, findings)
}

fn keep(found: Finding) -> Finding {
    found.cure("`timedatectl set-ntp true`, or install chrony (`apt-get install chrony`, `dnf install chrony`, `pacman -S chrony`) and `systemctl enable --now chrony` (`chronyd` on Fedora and Arch)")
}

/// How far off a clock is, for people.
fn off(ahead_ms: i64) -> String {
    let way = if ahead_ms < 0 { "behind" } else { "ahead of" };
    format!("{:.1} s {way}", ahead_ms.unsigned_abs() as f64 / 1000.0)
}

fn own(ahead_ms: i64) -> Option<Finding> {
    let fault = format!("this node's clock is {} the others'", off(ahead_ms));
    let much = ahead_ms.unsigned_abs();
    let found = if much <= WARNS_MS {
        return None;
    } else if much <= CLOCK_ERROR_MAX.0 {
        Finding::warning(fault)
            .why(format!("beyond {} ms this node refuses changes", CLOCK_ERROR_MAX.0))
    } else {
        Finding::failed(fault).why("this node refuses changes: what it wrote could lose against what is older, or win against what is newer")
    };
    let found = found
        .seen(format!("{ahead_ms} ms, measured against the median of the members that answer"))
        .cure("set it: `chronyc makestep`, or `systemctl restart systemd-timesyncd`");
    Some(keep(found))
}

/// Another's clock. Where this node's own is known to be off, the others' are told relative to what is right;
/// of two clocks alone nobody can tell which is wrong.
fn other(peer: &Peer, mine: i64, is_known: bool) -> Option<Finding> {
    let told = peer.told.as_ref().ok()?;
    let ahead = told.ahead_ms.saturating_add(mine);
    let doubt = told.took.0 / 2;
    let name = &peer.name;
    if ahead.unsigned_abs() <= CLOCK_ERROR_MAX.0 + doubt {
        return None;
    }
    let (fault, at) = if is_known {
        (format!("{name}'s clock is {} the others'", off(ahead)), format!("on {name}"))
    } else {
        let fault = format!("{name}'s clock is {} this node's", off(ahead));
        (
            fault,
            format!(
                "on {name} or here: with two clocks nobody can tell which is wrong; compare both with `date -u`"
            ),
        )
    };
    let found = Finding::failed(fault)
        .seen(format!("{} ms, measured by an answer that took {} ms", told.ahead_ms, told.took.0))
        .why("when two changes meet, the later one stands: a clock that is wrong decides wrongly")
        .cure(format!(
            "set it, {at}: `chronyc makestep`, or `systemctl restart systemd-timesyncd`"
        ));
    Some(keep(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::{Grade, peer::well},
        model::Millis,
    };

    fn judged(kept: bool, ahead_ms: Option<i64>, theirs: &[i64]) -> Check {
        let peer = |ahead: &i64| {
            let mut peer = well("b");
            peer.told.as_mut().unwrap().ahead_ms = *ahead;
            peer
        };
        let facts = ClockFacts { kept: Ok(kept), ahead_ms };
        check(&facts, &Ok(theirs.iter().map(peer).collect()))
    }

    #[test]
    fn an_own_clock_warns_from_a_tenth_of_a_second_and_fails_from_a_half() {
        for (ahead, grade) in [
            (0, Grade::Ok),
            (100, Grade::Ok),
            (-101, Grade::Warning),
            (500, Grade::Warning),
            (-501, Grade::Failed),
            (i64::MIN, Grade::Failed),
        ] {
            assert_eq!(judged(true, Some(ahead), &[]).grade, grade, "{ahead}");
        }
        let late = judged(true, Some(-2_340), &[]);
        assert_eq!(late.summary, "this node's clock is 2.3 s behind the others'");
    }

    #[test]
    fn anothers_clock_is_measured_with_half_of_the_way_as_doubt() {
        assert_eq!(judged(true, None, &[502]).grade, Grade::Ok, "4 ms on the way");
        assert_eq!(judged(true, None, &[503]).grade, Grade::Failed);
        let one = judged(true, None, &[9_000]);
        assert_eq!(one.summary, "b's clock is 9.0 s ahead of this node's");
        assert!(one.findings[0].cure[0].contains("nobody can tell which is wrong"));
        let known = judged(true, Some(20), &[9_000]);
        assert_eq!(known.summary, "b's clock is 9.0 s ahead of the others'");
        // Mine is a minute ahead: theirs seem behind, and are right.
        let mine = judged(true, Some(60_000), &[-60_000, -60_002]);
        assert_eq!((mine.findings.len(), mine.grade), (1, Grade::Failed));
        let mut slow = well("b");
        let told = slow.told.as_mut().unwrap();
        (told.ahead_ms, told.took) = (900, Millis(1_000));
        let facts = ClockFacts { kept: Ok(true), ahead_ms: None };
        assert_eq!(check(&facts, &Ok(vec![slow])).grade, Grade::Ok);
    }

    #[test]
    fn a_clock_that_nothing_keeps_is_a_warning_and_one_that_was_not_asked_is_not_checked() {
        assert_eq!(judged(false, None, &[]).summary, "nothing keeps this machine's clock");
        assert_eq!(judged(false, None, &[]).grade, Grade::Warning);
        let facts = ClockFacts { kept: Err("no".to_owned()), ahead_ms: None };
        assert_eq!(check(&facts, &Err("alone".to_owned())).grade, Grade::Unchecked);
    }
}
