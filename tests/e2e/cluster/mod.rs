//! Clusters of real daemons, by the command line: coming, going, keys, labels, and using from one node what
//! runs on another.

mod containers;
mod engines;
mod faults;
mod keys;
mod meshed;
pub(crate) mod nodes;
mod replicas;
mod staying;

use std::{fs, os::unix::fs::PermissionsExt, thread::sleep, time::Duration};

use fizz::gossip::{Epoch, Key, Keyring, Token};
use nodes::Nodes;

const THREE: [(&str, &str); 3] = [("a", "alive"), ("b", "alive"), ("c", "alive")];

/// A file of a test's own, which goes with it.
struct Scratch(String);

impl Scratch {
    fn new(name: &str) -> Self {
        let file = format!("fizz-e2e-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(file).to_str().unwrap().to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn three_machines_become_a_cluster_whose_members_agree_and_come_back_without_a_token() {
    let nodes = Nodes::apart(3);
    let (secret, token) = (Scratch::new("secret"), Scratch::new("token"));
    let output = nodes.fizz("a", &["init", "--secret-file", &secret.0]).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("Cluster `fizz` is made, and node `a` is its first member."),
        "{told}"
    );
    let address = nodes.address("a");
    assert!(told.contains(&format!("fizz join {address} --token TOKEN")), "{told}");
    assert_eq!(fs::metadata(&secret.0).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&secret.0).unwrap();
    assert!(text.starts_with("fizz-secret-") && !told.contains(text.trim()));

    fs::write(&token.0, nodes.ok("a", &["token", "create"])).unwrap();
    let joined = nodes.note("b", &["join", &address, "--token-file", &token.0]);
    assert_eq!(joined, "Node `b` is a member of cluster `fizz`, which has 2 nodes.");
    // By the other member, with the secret; the port is the usual one.
    let other = nodes.address("b").replace(":7780", "");
    let joined = nodes.note("c", &["join", &other, "--secret-file", &secret.0]);
    assert_eq!(joined, "Node `c` is a member of cluster `fizz`, which has 3 nodes.");
    for node in ["a", "b", "c"] {
        nodes.until_seen(node, &THREE);
    }
    let id = |node| nodes.json(node, &["cluster", "status"])["id"].as_str().unwrap().to_owned();
    assert!(id("a") == id("b") && id("b") == id("c"));
    let b = nodes.ok("c", &["node", "inspect", "b"]);
    let b: serde_json::Value = serde_json::from_str(&b).unwrap();
    let used = nodes.ok("c", &["token", "ls", "-q"]);
    let admission = &b[0]["admission"];
    assert_eq!((&admission["by_name"], &admission["token"]), (&"a".into(), &used.into()));
    assert_eq!(admission["token_overused"], false);

    nodes.lab("kill", &["b"]);
    nodes.until_seen("a", &[("a", "alive"), ("b", "suspicious"), ("c", "alive")]);
    nodes.lab("start", &["b"]);
    for node in ["a", "b", "c"] {
        nodes.until_seen(node, &THREE);
    }
}

#[test]
fn whoever_may_not_come_is_told_why_and_what_to_do() {
    let nodes = Nodes::apart(3);
    nodes.ok("a", &["init"]);
    nodes.ok("c", &["init"]);
    let (address, foreign) = (nodes.address("a"), nodes.address("c"));
    let token = |words: &[&str]| nodes.ok("a", &[&["token", "create"], words].concat());
    let join = |at: &str, token: &str| nodes.refused("b", &["join", at, "--token", token]);
    let get = "get a new one from `fizz token create`";

    let expired = token(&["--ttl", "1s"]);
    let revoked = token(&["--uses", "0"]);
    let id = nodes.ok("a", &["token", "ls", "-q"]).lines().last().unwrap().to_owned();
    nodes.ok("a", &["token", "revoke", &id]);
    assert_eq!(join(&address, &revoked), format!("the token was revoked: {get}"));
    let good = token(&[]);
    let mistyped = "a token is mistyped: compare it with the output of `fizz token create`";
    let (last, rest) = (good.chars().last().unwrap(), &good[..good.len() - 1]);
    let other = if last == 'a' { 'b' } else { 'a' };
    assert_eq!(join(&address, &format!("{rest}{other}")), mistyped);
    let nobody = address.replace(":7780", ":1");
    assert_eq!(
        join(&nobody, &good),
        format!(
            "can't open a stream to {nobody}: nothing listens there: check address and port, and that \
             `fizz daemon` runs there"
        )
    );
    assert_eq!(
        join(&foreign, &good),
        format!(
            "can't open a stream to {foreign}: the node there is of another cluster: check the address, or \
             get a token of that cluster"
        )
    );
    let forged = Token::mint(
        &Keyring::new(Epoch(0), Key::new([1; 32])),
        *good.parse::<Token>().unwrap().fields(),
    );
    assert_eq!(
        join(&address, &forged.unwrap().text()),
        format!(
            "can't open a stream to {address}: it hung up on the first message: the token or secret is not \
             that cluster's, or what listens there is not a fizz; check the address, and get a new token \
             from `fizz token create`"
        )
    );
    sleep(Duration::from_secs(1));
    assert_eq!(join(&address, &expired), format!("the token has expired: {get}"));

    nodes.fed("b", &["join", &address, "-"], &good);
    let again = join(&address, &good);
    assert_eq!(again, "this node is in the cluster `fizz` already: `fizz leave` it first");
    nodes.ok("c", &["leave", "--force"]);
    assert_eq!(
        nodes.refused("c", &["join", &address, "--token", &good]),
        format!("the token was good for 1 node(s), and they have come: {get}")
    );
    let none = nodes.refused("c", &["join", &address]);
    assert!(
        none.starts_with("a token is needed to join: get one from `fizz token create`"),
        "{none}"
    );
    let states = nodes.json("a", &["token", "ls"]);
    let states: Vec<_> = states.as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["expired", "revoked", "used"]);
}

#[test]
fn a_member_leaves_a_dead_one_is_put_out_and_both_can_come_back() {
    let nodes = Nodes::together(3, "none");
    let two = [("a", "alive"), ("b", "alive")];
    let token = || nodes.ok("a", &["token", "create"]);
    let address = nodes.address("b");
    let left = nodes.note("c", &["leave"]);
    assert_eq!(left, "Node `c` has left cluster `fizz`, and is on its own.");
    nodes.until_seen("c", &[("c", "alive")]);
    for node in ["a", "b"] {
        nodes.until_seen(node, &two);
    }
    let nothing = nodes.refused("c", &["leave"]);
    assert!(
        nothing.starts_with("this node is in no cluster: make one with `fizz init`"),
        "{nothing}"
    );
    nodes.ok("c", &["join", &address, "--token", &token()]);
    for node in ["a", "b", "c"] {
        nodes.until_seen(node, &THREE);
    }

    let alive = nodes.refused("a", &["node", "rm", "c"]);
    assert_eq!(alive, "`c` is alive: run `fizz leave` on it, or remove it with --force");
    let epoch = |node| nodes.json(node, &["cluster", "status"])["key_epoch"].as_u64();
    assert_eq!((epoch("a"), epoch("b")), (Some(0), Some(0)));
    nodes.lab("kill", &["c"]);
    nodes.until_seen("a", &[("a", "alive"), ("b", "alive"), ("c", "dead")]);
    assert_eq!(nodes.ok("a", &["node", "rm", "c"]), "c");
    nodes.until("the others have another key", || (epoch("a"), epoch("b")) == (Some(1), Some(1)));
    nodes.until_seen("b", &two);
    let rotated = nodes.note("b", &["cluster", "rotate-keys"]);
    assert!(rotated.starts_with("The cluster has key number 2 now."), "{rotated}");
    nodes.until("the other has it, too", || epoch("a") == Some(2));

    nodes.lab("start", &["c"]);
    nodes.ok("c", &["leave", "--force"]);
    nodes.ok("c", &["join", &address, "--token", &token()]);
    for node in ["a", "b", "c"] {
        nodes.until_seen(node, &THREE);
    }
    assert_eq!(epoch("c"), Some(2));
}

#[test]
fn a_node_is_labelled_from_any_other_and_all_know() {
    let nodes = Nodes::together(3, "none");
    let said = nodes.note("a", &["node", "label", "b", "zone=cellar", "disk=ssd"]);
    assert_eq!(said, "Node `b` has disk=ssd,zone=cellar.");
    let said = nodes.note("c", &["node", "label", "b", "disk-"]);
    assert_eq!(said, "Node `b` has zone=cellar.");
    nodes.until("all know", || {
        ["a", "b", "c"].iter().all(|it| nodes.ok(it, &["nodes"]).contains("zone=cellar"))
    });
    assert_eq!(nodes.refused("a", &["node", "label", "b", "disk-"]), "label `disk` is not there");
    assert_eq!(nodes.refused("a", &["node", "label", "x", "k=v"]), "there is no node `x`");
    let wrong = nodes.refused("a", &["node", "label", "b", "a b=c"]);
    assert!(wrong.contains("`a b` can't be a label's key: use 1 to 128 letters"), "{wrong}");
    nodes.lab("kill", &["b"]);
    nodes.until_seen("a", &[("a", "alive"), ("b", "dead"), ("c", "alive")]);
    let away = nodes.refused("a", &["node", "label", "b", "k=v"]);
    assert_eq!(away, "node `b`, which has it, does not answer: it is dead");
}
