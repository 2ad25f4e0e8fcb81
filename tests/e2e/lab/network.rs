//! The switch: who hears whom, and what is lost.

use super::made::Made;

#[test]
fn nodes_reach_each_other_until_they_are_parted() {
    let lab = Made::up(3, "none");
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "a")] {
        assert_eq!(lab.pings(from, to, 3), 3, "{from} to {to}");
    }
    assert_eq!(lab.on("a", "busybox ip route | grep -c default || true"), "0", "a way out");

    lab.ok(&["partition", "a/b,c"]);
    assert_eq!(lab.pings("a", "b", 2), 0);
    assert_eq!(lab.pings("c", "a", 2), 0);
    assert_eq!(lab.pings("b", "c", 2), 2);
    // Power and partitions are two things.
    lab.ok(&["kill", "a"]);
    lab.ok(&["start", "a"]);
    assert_eq!(lab.pings("a", "b", 2), 0);
    // Not `a` alone: another partition takes the place of the first.
    lab.ok(&["partition", "c"]);
    assert_eq!((lab.pings("a", "b", 2), lab.pings("a", "c", 2)), (2, 0));

    lab.ok(&["heal"]);
    assert_eq!(lab.pings("a", "b", 3) + lab.pings("c", "a", 3), 6);
    let wrong = lab.refused(&["partition", "a,d"]);
    assert_eq!(wrong, "error: `a,d`: the lab has no node d, only a to c");
}

#[test]
fn an_arrow_drops_packets_one_way_only() {
    let lab = Made::up(2, "none");
    lab.ok(&["partition", "b>a"]);
    let before = lab.heard("b");
    assert_eq!(lab.pings("a", "b", 3), 0, "the answers came back");
    assert_eq!(lab.heard("b") - before, 3, "the questions did not arrive");
    lab.ok(&["partition", "a>b"]);
    let before = lab.heard("b");
    assert_eq!(lab.pings("a", "b", 3), 0);
    assert_eq!(lab.heard("b"), before, "the questions arrived");
}

#[test]
fn a_share_of_the_packets_is_lost() {
    let lab = Made::up(3, "none");
    lab.ok(&["loss", "50%"]);
    // A ping is answered if neither way loses it: a quarter of 200 is. Fewer than 10 or more than 120
    // come about less often than the machine breaks.
    let answered = lab.pings("a", "b", 200);
    assert!((10..=120).contains(&answered), "{answered} of 200");
    lab.ok(&["loss", "100%", "c"]);
    assert_eq!((lab.pings("a", "b", 20), lab.pings("a", "c", 3)), (20, 0));
    assert!(lab.ok(&["status"]).ends_with("\nloss: 100% at c"));
    lab.ok(&["loss", "0%"]);
    assert_eq!(lab.pings("c", "a", 20), 20);
    let wrong = lab.command(&["loss", "half"]).output().unwrap();
    let wrong = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.contains("`half` is not a share of packets: write 0% to 100%"), "{wrong}");
}

#[test]
fn fifty_nodes_and_another_lab_beside_them_do_not_clash() {
    let (many, few) = (Made::up(50, "none"), Made::up(2, "none"));
    assert_eq!(many.pings("a", "n50", 3), 3);
    // What nodes had to find out of one another would be more than a kernel keeps for all its networks.
    assert_eq!(
        many.on("n50", "grep -c ' 0x6 .* eth0$' /proc/net/arp"),
        "49",
        "permanent neighbours"
    );
    assert_eq!(few.pings("a", "b", 3), 3);
    assert_ne!(many.address("a"), few.address("a"));
    let across = format!("busybox ping -q -c 1 -W 1 {} 2>&1 || true", few.address("a"));
    assert!(many.on("a", &across).contains("unreachable"), "a way from one lab to another");
    few.ok(&["down"]);
    assert_eq!(many.pings("n27", "z", 3), 3);
    many.ok(&["down"]);
    assert_eq!(many.traces(), [""; 0]);
}
