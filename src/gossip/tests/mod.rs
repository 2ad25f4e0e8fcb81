//! Stories of a few members that talk, without the network between them.

mod talk;

use proptest::prelude::*;

use super::{News, Packet, Span, cut};
use crate::swim::{Claim, Incarnation, Rumour};
use crate::{
    model::NodeId,
    state::{Dot, ReplicaId},
};
use talk::Talk;

const IS_SPREAD: fn(&Packet) -> bool = |it| matches!(it, Packet::Spread(..));

#[test]
fn what_one_writes_reaches_all_at_once() {
    let mut talk = Talk::of(3);
    talk.write(0, "a", 16);
    talk.pass(5);
    assert!(talk.all_have("a"));
    assert_eq!(talk.count(|it| matches!(it, Packet::Writes { .. })), 0);
}

#[test]
fn a_lost_spread_is_found_by_the_digest() {
    let mut talk = Talk::of(3);
    talk.lose(IS_SPREAD);
    talk.write(0, "a", 16);
    talk.pass(50);
    assert!(!talk.all_have("a"), "the fault happened");
    talk.pass(4_000);
    assert!(talk.all_have("a"));
    assert!(talk.agree());
}

#[test]
fn a_comparison_brings_just_the_difference() {
    let mut talk = Talk::of(2);
    (0..40).for_each(|it| talk.write(0, &format!("old-{it}"), 16));
    talk.pass(3_000);
    talk.lose(IS_SPREAD);
    talk.write(0, "a", 16);
    talk.write(1, "b", 16);
    talk.pass(4_000);
    assert!(talk.agree() && talk.all_have("a") && talk.all_have("b"));
    let told: usize = talk.said.iter().map(talk::writes_in).sum();
    assert_eq!(told, 2);
    assert_eq!(talk.fetched, 0);
}

#[test]
fn what_is_too_long_for_a_packet_goes_by_hint_and_fetch() {
    let mut talk = Talk::of(3);
    talk.write(0, "long", 5_000);
    talk.pass(5);
    assert!(talk.all_have("long"));
    assert!(1 <= talk.count(|it| matches!(it, Packet::Spread(_, news) if !news.hints.is_empty())));
    assert!(2 <= talk.fetched, "each of the others fetches it");
}

#[test]
fn a_peer_that_lacks_much_is_referred_to_a_stream() {
    let mut talk = Talk::of(2);
    talk.lose(IS_SPREAD);
    (0..60).for_each(|it| talk.write(0, &format!("much-{it}"), 600));
    talk.pass(4_000);
    assert!(talk.agree() && talk.all_have("much-59"));
    assert!(1 <= talk.count(|it| matches!(it, Packet::Refer { .. })));
    assert_eq!(talk.fetched, 1);
}

#[test]
fn a_lost_packet_of_a_comparison_keeps_what_came_and_claims_no_more() {
    let mut talk = Talk::of(2);
    talk.lose(|it| matches!(it, Packet::Spread(..) | Packet::Writes { index: 1, .. }));
    (0..4).for_each(|it| talk.write(0, &format!("w-{it}"), 700));
    talk.pass(1_500);
    assert!(1 <= talk.count(|it| matches!(it, Packet::Writes { index: 1, .. })), "it happened");
    talk.lose(IS_SPREAD);
    talk.pass(4_000);
    assert!(talk.agree() && (0..4).all(|it| talk.all_have(&format!("w-{it}"))));
}

#[test]
fn all_that_begin_at_once_are_ready_at_once() {
    let mut talk = Talk::of(3);
    talk.write(0, "a", 16);
    talk.pass(3_000);
    talk.restart_all();
    talk.pass(500);
    assert!((0..3).all(|it| talk.is_ready(it)));
}

#[test]
fn a_member_that_was_set_back_writes_nothing_before_it_has_entered() {
    let mut talk = Talk::of(2);
    let backup = talk.state(0);
    talk.write(0, "a", 16);
    talk.pass(3_000);
    talk.set_back(0, backup);
    let lost = talk.state(0).replica();
    talk.streams_work = false;
    talk.pass(8_000);
    assert!(!talk.is_ready(0), "however long it takes");
    assert_ne!(talk.state(0).replica(), lost);
    // It does not forget that across a restart.
    talk.restart_all();
    talk.pass(8_000);
    assert!(!talk.is_ready(0));
    talk.streams_work = true;
    talk.pass(2_000);
    assert!(talk.is_ready(0) && talk.agree() && talk.all_have("a"));
}

#[test]
fn a_member_that_was_set_back_hears_of_what_came_out_of_order() {
    for is_over in [false, true] {
        let mut talk = Talk::of(2);
        let backup = talk.state(0);
        talk.lose(|_| true);
        talk.write(0, "a", 16);
        talk.lose(|it| !IS_SPREAD(it));
        talk.write(0, "b", 16);
        assert!(talk.state(1).has_gaps(), "it happened");
        if is_over {
            talk.lose(|_| true);
            talk.write(1, "b", 16);
        }
        talk.lose(|_| false);
        let lost = backup.replica();
        talk.set_back(0, backup);
        talk.pass(4_000);
        assert!(talk.is_ready(0));
        assert_ne!(talk.state(0).replica(), lost, "over: {is_over}");
    }
}

#[test]
fn what_a_member_had_before_it_was_set_back_nobody_relies_on() {
    let mut talk = Talk::of(2);
    let backup = talk.state(0);
    // The other hears how far it is, and not what it wrote.
    talk.lose(|it| matches!(it, Packet::Spread(..) | Packet::Writes { .. }));
    (0..4).for_each(|it| talk.write(0, &format!("w-{it}"), 16));
    talk.pass(4_000);
    assert_eq!(talk.relied_on(1, 0), 5, "it happened");
    talk.lose(|_| false);
    talk.set_back(0, backup);
    talk.pass(4_000);
    talk.introduce(0);
    talk.pass(4_000);
    assert!(talk.is_ready(0) && talk.agree());
    assert_eq!(talk.relied_on(1, 0), 2);
}

#[test]
fn who_does_not_vouch_is_compared_with_all_the_same() {
    let mut talk = Talk::of(2);
    talk.vouches = false;
    talk.lose(IS_SPREAD);
    talk.write(0, "a", 16);
    talk.pass(4_000);
    assert!(talk.agree());
    assert!(!talk.knows_that_it_has(0, 1, "a"), "nobody may rely on it");
    talk.vouches = true;
    talk.write(0, "b", 16);
    talk.pass(4_000);
    assert!(talk.knows_that_it_has(0, 1, "b"));
}

proptest! {
    #[test]
    fn a_cut_keeps_everything_and_every_piece_within_a_packet(
        rumours in 0..100_usize,
        hints in 0..200_usize,
        writes in proptest::collection::vec(0..super::packet::WRITE_BYTES_MAX, 0..40),
    ) {
        let missed = Claim::Missed { by: NodeId(u128::MAX), seconded: 255 };
        let about = NodeId(u128::MAX);
        let rumour = Rumour { about, incarnation: Incarnation(u32::MAX), claim: missed };
        let dot = Dot { replica: ReplicaId(u64::MAX), sequence: u64::MAX };
        let writes: Vec<Vec<u8>> = writes.into_iter().map(|it| vec![0; it]).collect();
        let news = News { rumours: vec![rumour; rumours], hints: vec![dot; hints], writes };
        let mut whole = News::default();
        for piece in cut(news.clone()) {
            let span = Span { after: u32::MAX, length: u32::MAX };
            prop_assert!(Packet::Spread(span, piece.clone()).encode().is_ok());
            whole.rumours.extend(piece.rumours);
            whole.hints.extend(piece.hints);
            whole.writes.extend(piece.writes);
        }
        prop_assert_eq!(whole, news);
    }
}
