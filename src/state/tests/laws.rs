//! Merging: any order, any repetition, any path.

use super::*;
use crate::state::{BUCKETS, Buckets, CLOUD_DOTS_MAX, collections::Collections};

/// A state without whose it is and what its clock says.
fn merged(state: &ClusterState) -> ClusterState {
    let mut state = state.clone();
    state.restore_replica(ReplicaId(0));
    state.restore_clock(<_>::default());
    state
}

/// All siblings of all keys. How far the vector says so may differ between two ways to the same: what
/// came out of order and is over is nothing that an exchange tells.
fn siblings(member: &Member) -> Collections {
    member.state.collections.clone()
}

fn join(one: &Member, other: &Member) -> Member {
    let mut both = one.clone();
    both.pull(&other.state, 1_000);
    both
}

fn shuffled() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..60)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_order_and_repetition_of_writes_do_not_matter(
        happenings in happenings(3, 40),
        picks in shuffled(),
    ) {
        let history = History::of(3, &happenings);
        let (mut forwards, mut anyhow) = (Member::new(8), Member::new(9));
        for write in &history.writes {
            forwards.apply(write, 5);
        }
        let picked = picks.iter().filter(|_| !history.writes.is_empty());
        for write in picked.map(|it| it.get(&history.writes)).chain(history.writes.iter().rev()) {
            anyhow.apply(write, 5);
        }
        prop_assert_eq!(merged(&forwards.state), merged(&anyhow.state));
        prop_assert!(!anyhow.state.has_gaps());
    }

    #[test]
    fn a_merge_is_commutative_associative_and_idempotent(happenings in happenings(3, 40)) {
        let history = History::of(3, &happenings);
        let [a, b, c] = &history.members[..] else { unreachable!() };
        prop_assert_eq!(siblings(&join(a, b)), siblings(&join(b, a)));
        let left = join(&join(a, b), c);
        let right = join(a, &join(b, c));
        prop_assert_eq!(siblings(&left), siblings(&right));
        prop_assert_eq!(merged(&join(&left, a).state), merged(&left.state));
        prop_assert_eq!(merged(&join(a, a).state), merged(&a.state));
    }

    #[test]
    fn a_delta_brings_the_same_as_every_single_write(happenings in happenings(3, 40)) {
        let history = History::of(3, &happenings);
        let [a, b, _] = &history.members[..] else { unreachable!() };
        let mut singly = a.clone();
        for write in history.writes.iter().filter(|it| history.taken[1].contains(&it.dot)) {
            singly.apply(write, 1_000);
        }
        let by_delta = join(a, b);
        prop_assert_eq!(siblings(&singly), siblings(&by_delta));
        prop_assert_eq!(siblings(&join(&singly, b)), siblings(&by_delta));
        let none: Vec<Write> = b.state.delta_since(by_delta.state.seen()).collect();
        prop_assert!(none.iter().all(|it| by_delta.state.context.has(it.dot)));
    }

    #[test]
    fn what_was_lost_comes_with_the_next_exchange(
        happenings in happenings(3, 40),
        cut in any::<prop::sample::Index>(),
    ) {
        let history = History::of(3, &happenings);
        let [a, b, _] = &history.members[..] else { unreachable!() };
        let mut member = a.clone();
        let seen = member.state.seen().clone();
        let delta: Vec<Write> = b.state.delta_since(&seen).collect();
        for write in &delta[..cut.index(delta.len() + 1)] {
            member.apply(write, 1_000);
        }
        prop_assert_eq!(merged(&join(&member, b).state), merged(&join(a, b).state));
    }

    #[test]
    fn everything_shows_that_nobody_who_knew_it_has_written_over(happenings in happenings(4, 60)) {
        let mut history = History::new(4, false);
        for it in &happenings {
            history.happens(it);
            for (who, member) in history.members.iter().enumerate() {
                prop_assert_eq!(visible(&member.state), history.expected(who), "member {}", who);
            }
        }
    }

    #[test]
    fn a_writer_beats_what_it_saw_whatever_the_clocks_say(
        happenings in happenings(3, 40),
        key in 0..KEYS,
    ) {
        let mut history = History::of(3, &happenings);
        history.settle();
        history.members[0].commit(change(Key::Secret(key), Some(99)), 0);
        let sender = history.members[0].state.clone();
        history.members[1].pull(&sender, 0);
        let secrets = history.members[1].state.secrets();
        prop_assert_eq!(&secrets.get(&path(key)).unwrap().ciphertext, &[99; 3]);
        prop_assert_eq!(secrets.conflicts(&path(key)).count(), 0);
    }

    #[test]
    fn equal_vectors_mean_equal_contents_and_digests(happenings in happenings(3, 60)) {
        let mut history = History::new(3, true);
        let mut shown: Vec<(VersionVector, [u8; 32], [u8; 16])> = vec![];
        for it in &happenings {
            history.happens(it);
            for member in history.members.iter().filter(|it| !it.state.has_gaps()) {
                let seen = member.state.seen().clone();
                let now = (seen.clone(), member.hash(), member.state.digest());
                for before in shown.iter().filter(|it| it.0 == seen) {
                    prop_assert_eq!(before, &now);
                }
                shown.push(now);
            }
        }
    }

    #[test]
    fn the_parts_that_differ_say_what_the_whole_vector_says(happenings in happenings(3, 40)) {
        let history = History::of(3, &happenings);
        let [a, b, _] = &history.members[..] else { unreachable!() };
        let (mine, theirs) = (a.state.bucket_digests(), b.state.bucket_digests());
        let differing = (0..BUCKETS).filter(|it| mine[*it] != theirs[*it]);
        let differing = Buckets::from_iter(differing);
        let part = b.state.seen().within(differing);
        prop_assert_eq!(&a.state.seen().completed(differing, &part), b.state.seen());
        prop_assert_eq!(differing == Buckets(0), a.state.digest() == b.state.digest());
    }
}

#[test]
fn a_removal_that_lost_hides_nothing_and_one_that_won_hides_a_conflict() {
    for (removed_at, stands) in [(10, true), (30, false)] {
        let (mut one, mut other) = (Member::new(1), Member::new(2));
        one.commit(change(Key::Secret(0), None), removed_at);
        other.commit(change(Key::Secret(0), Some(5)), 20);
        one.pull(&other.state, 40);
        let secrets = one.state.secrets();
        assert_eq!(secrets.get(&path(0)).is_some(), stands);
        assert_eq!(secrets.conflicts(&path(0)).count(), usize::from(!stands));
        one.commit(change(Key::Secret(0), Some(6)), 0);
        assert_eq!(one.state.secrets().conflicts(&path(0)).count(), 0);
    }
}

#[test]
fn a_container_of_two_accounts_is_shown_by_its_latest() {
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Container(1), Some(5)), 20);
    other.commit(change(Key::Container(1), Some(6)), 10);
    one.pull(&other.state, 30);
    assert_eq!(one.state.container(ContainerId(1)).unwrap().slot, Slot(5));
    assert_eq!(one.state.containers().count(), 1);
    assert_eq!(one.state.collections.containers.elements().count(), 2);
}

#[test]
fn a_full_cloud_refuses_what_it_cannot_hold_and_the_exchange_brings_it() {
    let mut writer = Member::new(1).state;
    let most = u64::try_from(CLOUD_DOTS_MAX).unwrap();
    let mut writes = vec![];
    for number in 0..most + 4 {
        let step = writer.commit(change(Key::Secret(0), Some(1)), WallTime(number));
        writes.extend(step.writes().to_vec());
    }
    let mut reader = Member::new(2).state;
    // Everything but the first, so that all is out of order, and each ends the one before.
    let refused = |state: &mut ClusterState, writes: &[Write]| {
        let each = writes.iter().cloned().map(|it| state.apply(it, WallTime(0)));
        each.filter(|it| *it == Applied::Refused).count()
    };
    assert_eq!(refused(&mut reader, &writes[1..]), 2);
    let seen = reader.seen().clone();
    let delta: Vec<Write> = writer.delta_since(&seen).collect();
    assert_eq!(delta.len(), 1);
    assert_eq!(refused(&mut reader, &writes[..1]), 0);
    assert!(!reader.has_gaps());
    assert_eq!(refused(&mut reader, &delta), 0);
    let _ = reader.join(writer.seen());
    assert_eq!(reader.content_hash(), writer.content_hash());
}

#[test]
fn a_directory_that_was_set_back_is_recognised_and_numbers_no_write_twice() {
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Secret(0), Some(1)), 1);
    let backup = one.clone();
    one.commit(change(Key::Secret(0), Some(2)), 2);
    other.pull(&one.state, 2);
    one = backup;
    assert!(one.state.knows_less_of_itself(other.state.seen()));
    let step = one.state.take_new_replica(ReplicaId(3));
    one.keep(&step);
    assert!(!one.state.knows_less_of_itself(other.state.seen()));
    one.enter(&other.state, 3);
    let write = one.commit(change(Key::Secret(1), Some(3)), 3);
    assert_eq!(write.dot, Dot { replica: ReplicaId(3), sequence: 1 });
    other.pull(&one.state, 3);
    assert_eq!(one.hash(), other.hash());
    assert_eq!(other.state.secrets().get(&path(0)).unwrap().ciphertext, [2; 3]);
}

#[test]
fn a_stamp_of_a_far_future_is_taken_in_and_moves_no_clock() {
    let (mut one, mut other) = (Member::new(1), Member::new(2));
    one.commit(change(Key::Secret(0), Some(1)), 1_000_000);
    other.pull(&one.state, 10);
    let write = other.commit(change(Key::Secret(0), Some(2)), 11);
    assert_eq!(write.stamp.wall, WallTime(11));
    one.pull(&other.state, 12);
    assert_eq!(one.state.secrets().get(&path(0)).unwrap().ciphertext, [2; 3]);
}
