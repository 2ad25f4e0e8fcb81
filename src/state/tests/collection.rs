//! Removals go, at different times on different members, and nothing comes back.

use super::*;

/// The members that stay in the cluster; the others are forgotten, and come back.
const CORE: usize = 3;
const ALL: usize = 5;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn collecting_changes_nothing_that_shows(happenings in happenings(3, 80)) {
        let mut history = History::new(3, true);
        for it in &happenings {
            history.happens(it);
            for (who, member) in history.members.iter().enumerate() {
                prop_assert_eq!(visible(&member.state), history.expected(who), "member {}", who);
            }
        }
        history.settle();
        for member in &history.members {
            prop_assert_eq!(member.hash(), history.members[0].hash());
        }
    }

    #[test]
    fn once_everyone_has_said_so_no_lone_removal_is_left(happenings in happenings(3, 60)) {
        let mut history = History::new(3, true);
        for it in &happenings {
            history.happens(it);
        }
        history.settle();
        for (who, whom) in pairs(3) {
            history.happens(&Happening::Acknowledge(who, whom));
        }
        for who in 0..3 {
            history.happens(&Happening::Collect(who));
            let state = &history.members[who].state;
            let shown: BTreeSet<Place> = visible(state).into_keys().collect();
            prop_assert!(state.context.live().values().all(|place| shown.contains(place)));
        }
    }

    #[test]
    fn a_forgotten_member_comes_back_and_brings_nothing_back(
        together in happenings(ALL, 50),
        apart in happenings(ALL, 60),
        between in happenings(ALL, 30),
        through in prop::collection::vec(0..CORE, ALL - CORE),
    ) {
        let mut history = History::new(ALL, true);
        for it in &together {
            history.happens(it);
        }
        part(&mut history);
        all_happen(&mut history, &apart);
        all_come_back(&mut history, &between, &through)?;
        for (who, member) in history.members.iter().enumerate() {
            prop_assert_eq!(visible(&member.state), history.expected(who));
        }
    }

    #[test]
    fn a_newcomer_with_a_history_of_its_own_brings_it(
        apart in happenings(ALL, 80),
        between in happenings(ALL, 30),
        through in prop::collection::vec(0..CORE, ALL - CORE),
    ) {
        let mut history = History::new(ALL, true);
        part(&mut history);
        all_happen(&mut history, &apart);
        for outside in CORE..ALL {
            let step = history.members[outside].state.collect(&BTreeMap::new());
            history.members[outside].keep(&step);
        }
        all_come_back(&mut history, &between, &through)?;
        // A removal that only it ever knew, and that it has collected, hides nothing of others.
        let values = |it: BTreeMap<Place, (bool, BTreeSet<Dot>)>| -> BTreeSet<Dot> {
            it.into_values().flat_map(|it| it.1).collect()
        };
        for (who, member) in history.members.iter().enumerate() {
            prop_assert_eq!(values(visible(&member.state)), values(history.expected(who)));
        }
    }
}

fn all_happen(history: &mut History, happenings: &[Happening]) {
    for it in happenings {
        if is_possible(history, it) {
            history.happens(it);
        }
    }
}

/// Those outside enter one by one, with more happening between; in the end all agree.
fn all_come_back(
    history: &mut History,
    between: &[Happening],
    through: &[usize],
) -> Result<(), TestCaseError> {
    for (who, whom) in (CORE..ALL).zip(through) {
        comes_back(history, who, *whom);
        all_happen(history, between);
    }
    history.settle();
    for member in &history.members {
        prop_assert_eq!(member.hash(), history.members[0].hash());
        prop_assert_eq!(member.state.digest(), history.members[0].state.digest());
    }
    Ok(())
}

/// The core knows all that any of it has of the others, and forgets them. They do not know.
fn part(history: &mut History) {
    history.inside = CORE;
    history.settle();
    let core = (1..).take(CORE).map(ReplicaId).collect::<BTreeSet<_>>();
    for acknowledged in &mut history.acknowledged[..CORE] {
        acknowledged.retain(|id, _| core.contains(id));
    }
}

/// Whether something can happen while some are outside.
fn is_possible(history: &History, it: &Happening) -> bool {
    let inside = history.inside;
    match it {
        Happening::Write(..) | Happening::Round => true,
        Happening::Collect(who) => *who < inside,
        Happening::Pull(who, whom) | Happening::Acknowledge(who, whom) => {
            *who < inside && *whom < inside
        }
        Happening::Hear(who, which) => {
            let is_inside = |dot| history.taken[..CORE].iter().any(|it| it.contains(&dot));
            let known = !history.writes.is_empty() && is_inside(which.get(&history.writes).dot);
            known && *who < CORE
        }
    }
}

/// One from outside enters through one of the cluster.
fn comes_back(history: &mut History, who: usize, whom: usize) {
    history.inside = who + 1;
    let ids: Vec<ReplicaId> = history.members.iter().map(|it| it.state.replica()).collect();
    for member in 0..who {
        history.acknowledged[member].insert(ids[who], Arc::default());
    }
    let others = ids[..who].iter().map(|it| (*it, Arc::default()));
    history.acknowledged[who] = others.collect();
    let theirs = history.taken[whom].clone();
    history.taken[who].extend(theirs);
    let sender = history.members[whom].state.clone();
    for write in history.members[who].enter(&sender, 1_000) {
        history.note(who, write);
    }
}

fn removed_everywhere() -> [Member; 2] {
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Secret(0), Some(1)), 10);
    one.commit(change(Key::Secret(0), None), 9_000);
    other.pull(&one.state, 10);
    [one, other]
}

#[test]
fn a_removal_stays_until_every_member_has_it() {
    let [mut one, mut other] = removed_everywhere();
    let mut members = BTreeMap::from([(ReplicaId(2), Arc::default())]);
    assert!(one.state.collect(&members).is_empty());
    members.insert(ReplicaId(2), other.state.seen_shared());
    members.insert(ReplicaId(3), Arc::default());
    assert!(one.state.collect(&members).is_empty());
    members.insert(ReplicaId(3), other.state.seen_shared());
    let step = one.state.collect(&members);
    one.keep(&step);
    assert!(one.state.context.live().is_empty());
    assert!(one.state.can_serve(other.state.seen()));
    assert!(!one.state.can_serve(&VersionVector::default()));
    other.pull(&one.state, 10);
    assert_eq!(one.hash(), other.hash());
}

#[test]
fn a_removal_stays_while_a_member_may_have_written_without_knowing_of_it() {
    let [mut one, mut other] = removed_everywhere();
    other.commit(change(Key::Secret(1), Some(1)), 10);
    let members = BTreeMap::from([(ReplicaId(2), other.state.seen_shared())]);
    assert!(one.state.collect(&members).is_empty());
    one.pull(&other.state, 10);
    assert!(!one.state.collect(&members).is_empty());
}

#[test]
fn a_write_after_a_collected_removal_beats_it_where_it_is_still_held() {
    let [mut one, mut other] = removed_everywhere();
    let members = BTreeMap::from([(ReplicaId(1), one.state.seen_shared())]);
    let step = other.state.collect(&members);
    other.keep(&step);
    let again = other.commit(change(Key::Secret(0), Some(2)), 20);
    assert!(again.stamp.wall < WallTime(9_000), "its clock is behind that of the removal");
    one.apply(&again, 20);
    assert_eq!(one.state.secrets().get(&path(0)).unwrap().ciphertext, [2; 3]);
}

#[test]
fn a_removal_that_hides_a_conflict_is_kept() {
    let [mut one, mut other] = removed_everywhere();
    let mut third = Member::new(3);
    third.commit(change(Key::Secret(0), Some(3)), 20);
    one.pull(&third.state, 20);
    other.pull(&one.state, 20);
    third.pull(&one.state, 20);
    let seen = [&other, &third].map(|it| (it.state.replica(), it.state.seen_shared()));
    assert!(one.state.collect(&seen.into()).is_empty());
    assert!(one.state.secrets().get(&path(0)).is_none());
    assert_eq!(one.state.secrets().conflicts(&path(0)).count(), 1);
}

#[test]
fn what_a_forgotten_member_holds_of_a_collected_key_is_dropped_and_what_it_wrote_is_kept() {
    let (mut one, mut away) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Secret(0), Some(1)), 10);
    one.commit(change(Key::Container(0), Some(1)), 10);
    away.pull(&one.state, 10);
    one.commit(change(Key::Secret(0), None), 20);
    one.commit(change(Key::Container(0), None), 20);
    let step = one.state.collect(&BTreeMap::new());
    one.keep(&step);
    away.commit(change(Key::Secret(1), Some(7)), 15);
    away.enter(&one.state, 30);
    one.pull(&away.state, 30);
    assert_eq!(one.hash(), away.hash());
    assert_eq!(away.state.secrets().iter().count(), 1);
    assert!(away.state.container(ContainerId(0)).is_none());
    assert_eq!(one.state.secrets().get(&path(1)).unwrap().ciphertext, [7; 3]);
}

#[test]
fn nobody_acknowledges_while_they_hold_what_only_a_stranger_could_complete() {
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Secret(0), Some(1)), 10);
    let second = one.commit(change(Key::Secret(1), Some(1)), 10);
    other.apply(&second, 10);
    let (both, alone) = (|_| true, |it| it == ReplicaId(2));
    assert_eq!(other.state.acknowledgement(both), Some(other.state.seen()));
    assert_eq!(other.state.acknowledgement(alone), None);
    other.commit(change(Key::Secret(1), Some(2)), 10);
    assert_eq!(other.state.acknowledgement(alone), Some(other.state.seen()));
}
