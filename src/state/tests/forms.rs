//! What is stored and sent: the very bytes, and what is made of the wrong ones.

use super::*;
use crate::{
    model::{Millis, NodeState, PublicKey, Tick, TokenId},
    state::{
        Admission, Availability, CodecError, DeploymentRecord, Intent, MeshRecord, NodeRecord,
        Removal, RevisionKey, RevisionRecord, Rollout, ServiceRecord, Stage, Template,
        WRITE_BYTES_MAX, damage::VERSION,
    },
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn write(change: Change) -> Write {
    let replica = ReplicaId(0x0102);
    let dot = Dot { replica, sequence: 3 };
    let stamp = super::super::Stamp { wall: WallTime(1_000), count: 1, replica };
    let past = [Dot { replica: ReplicaId(9), sequence: 4 }].into_iter().collect();
    Write { dot, stamp, past, change }
}

fn node() -> NodeRecord {
    NodeRecord {
        name: "one".parse().unwrap(),
        state: NodeState::Alive,
        since: WallTime(5),
        address: Some(([10, 0, 0, 1], 7780).into()),
        replica: ReplicaId(0x0102),
        incarnation: 300,
        admission: Some(Admission { by: NodeId(8), at: WallTime(4), token: Some((TokenId(9), 2)) }),
        recipient: "age1".to_owned(),
        key_epoch: 1,
        version: "0.1.0".to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), "b".to_owned())]),
        assigned: BTreeMap::new(),
        availability: Availability::Cordoned,
        volumes: ["shop_data".to_owned()].into(),
        cpus: 2,
        memory_bytes: 1 << 30,
        architecture: "x86_64".to_owned(),
        kernel: "6".to_owned(),
        runtime: None,
        mesh: Some(MeshRecord {
            key: PublicKey([7; 32]),
            endpoints: vec![([10, 0, 0, 1], 7781).into()],
            heard: BTreeMap::from([(NodeId(8), ([192, 0, 2, 8], 7781).into())]),
            missed: [NodeId(9)].into(),
            degraded: true,
            claims: BTreeMap::from([("10.100.4.0/24".parse().unwrap(), WallTime(6))]),
        }),
    }
}

fn service() -> ServiceRecord {
    ServiceRecord {
        template: template(2),
        previous: Some(Arc::new(template(1))),
        rollout: Rollout { stage: Stage::Paused, failed: Some((Revision(2), "no".into())) },
        moves: BTreeMap::from([(crate::model::Slot(2), NodeId(1))]),
        ticks_after: Some(Tick(8)),
        done: [crate::model::Slot(1)].into(),
        replicas: 3,
        intent: Intent::Remove { volumes: true },
        restarts: 1,
        starts: 2,
        grace: Some(Millis(7)),
        renew_volumes: false,
    }
}

fn template(revision: u128) -> Template {
    let (base, revision) = (Revision(1), Revision(revision));
    Template { definition: "{}".into(), base, revision, image: None }
}

fn revision() -> Change {
    let key = RevisionKey { project: "shop".parse().unwrap(), version: 4, content: Revision(6) };
    let services = BTreeMap::from([("web".parse().unwrap(), template(2))]);
    let record = RevisionRecord {
        at: WallTime(7),
        by: NodeId(3),
        returns_to: Some(2),
        model: "{}".into(),
        services,
    };
    Change::Revision(key, Some(Arc::new(record)))
}

fn deployment() -> DeploymentRecord {
    let removal = Removal { volumes: true, images: vec!["web".to_owned()], grace: None };
    DeploymentRecord {
        version: 1,
        model: "{}".into(),
        working_dir: "/srv".to_owned(),
        files: vec!["compose.yaml".to_owned()],
        updated: WallTime(8),
        overlay: true,
        removal: Some(removal),
    }
}

/// One write of each collection, and a removal.
fn every_kind() -> Vec<Write> {
    let key = ServiceKey { project: "shop".parse().unwrap(), service: "web".parse().unwrap() };
    let registry = SecretPath::Registry("docker.io".to_owned());
    let sealed = SealedSecret { ciphertext: vec![1, 2], fingerprint: [9; 16] };
    [
        Change::Node(NodeId(1), Some(Arc::new(node()))),
        Change::Service(key, Some(Arc::new(service()))),
        Change::Deployment("shop".parse().unwrap(), Some(Arc::new(deployment()))),
        Change::Secret(registry, Some(Arc::new(sealed))),
        change(Key::Container(2), Some(4)),
        change(Key::Address(2), Some(1)),
        change(Key::Secret(1), None),
        revision(),
    ]
    .map(write)
    .into()
}

#[test]
fn a_write_has_the_same_bytes_in_every_release() {
    let golden = [
        "010001820203e8070101090401036f6e65010501000a000001e43c8202ac02010804010902046167\
         65310105302e312e3001047a6f6e6501620001010973686f705f6461746102808080800406783836\
         5f363401360001070707070707070707070707070707070707070707070707070707070707070701\
         000a000001e53c010800c0000208e53c010901010a6404001806",
        "01010473686f7003776562820203e8070101090401027b7d01020001027b7d010100030102026e6f\
         010201010801010302010102010700",
        "01020473686f70820203e807010109040101027b7d042f737276010c636f6d706f73652e79616d6c\
         08010101010377656200",
        "010409646f636b65722e696f820203e8070101090401020102090909090909090909090909090909\
         09",
        "010502820203e8070101090401070473686f7003776562040a73686f702d7765622d310300000005\
         736c656570000104020107626563617573650101010000000000000001036e65740831302e302e30\
         2e32",
        "0106000a64000202820203e8070101090401",
        "01030473686f70046b657931820203e8070101090400",
        "01090473686f700406820203e807010109040107030102027b7d0103776562027b7d010200",
    ];
    let bytes: Vec<String> =
        every_kind().iter().map(|it| hex(&encode_write(it).unwrap())).collect();
    assert_eq!(bytes, golden);
}

#[test]
fn rows_vectors_and_inventories_have_the_same_bytes_in_every_release() {
    let mut state = ClusterState::new(ReplicaId(1));
    let mut steps = vec![state.commit(change(Key::Address(1), Some(1)), WallTime(300))];
    let foreign = write(change(Key::Address(1), None));
    let foreigner = [foreign.dot].into_iter().collect();
    steps.extend(state.apply(foreign, WallTime(300)).step());
    assert_eq!(
        hex(&state.content_hash().unwrap()),
        "0c4f04bafdf4756638502abe520e07caf26eabbff8bfe125a6abee2bbf3dabb1"
    );
    steps.push(state.commit(change(Key::Address(1), None), WallTime(301)));
    steps.push(state.join(&foreigner));
    steps.push(state.join(&[Dot { replica: ReplicaId(9), sequence: 4 }].into_iter().collect()));
    steps.push(state.collect(&BTreeMap::new()));
    steps.push(state.take_new_replica(ReplicaId(2)));
    let rows = steps.iter().flat_map(|it| encode(it).unwrap());
    let line = |row: super::super::Row| {
        format!("{} {}", hex(&row.key), row.value.map_or("-".to_owned(), |it| hex(&it)))
    };
    let lines: Vec<String> = rows.map(line).collect();
    let golden = [
        "0101 01ac0200",
        "010506000a640001010101 01ac02000001",
        "010201 0101",
        "010506000a64000101820203 01e8070101090400",
        "0101 01ad0200",
        "010506000a640001010102 01ad020002090482020300",
        "010506000a640001010101 -",
        "010506000a64000101820203 -",
        "010201 0102",
        "0103820203 01",
        "01028202 0103",
        "0103820203 -",
        "010209 0104",
        "010506000a640001010102 -",
        "01040501 0102",
        "01040509 0104",
        "0104058202 0103",
        "0100 0102",
    ];
    assert_eq!(lines, golden);
    assert_eq!(hex(&encode_vector(state.seen()).unwrap()), "010301020904820203");
    let _ = state.commit(change(Key::Address(1), Some(1)), WallTime(400));
    assert_eq!(
        hex(&encode_inventory(&state.inventory()).unwrap()),
        "01040102020109048202030102010101050301020904820203"
    );
}

#[test]
fn what_is_sent_is_read_as_it_was() {
    for write in every_kind() {
        assert_eq!(decode_write(&encode_write(&write).unwrap()), Ok(write));
    }
}

#[test]
fn what_a_later_fizz_wrote_is_refused_with_what_to_do() {
    let error = decode(&mut ClusterState::default(), &[9, 0], &[VERSION]).unwrap_err();
    assert!(error.to_string().contains("upgrade fizz"), "{error}");
    assert_eq!(decode_write(&[2, 0]), Err(CodecError::Version(2)));
}

#[test]
fn what_is_too_long_is_refused_unread_and_unsent() {
    let long = vec![VERSION; WRITE_BYTES_MAX + 1];
    assert!(matches!(decode_write(&long), Err(CodecError::TooLong { .. })));
    let sealed = SealedSecret { ciphertext: long, fingerprint: [0; 16] };
    let large = write(Change::Secret(path(0), Some(Arc::new(sealed))));
    assert!(matches!(encode_write(&large), Err(CodecError::TooLong { .. })));
}

#[test]
fn a_write_that_nobody_can_have_made_is_refused() {
    let right = write(change(Key::Secret(1), None));
    let own = [Dot { sequence: 1, ..right.dot }].into_iter().collect();
    let none = Dot { sequence: 0, ..right.dot };
    let last = Dot { sequence: u64::MAX, ..right.dot };
    for wrong in [
        Write { past: own, ..right.clone() },
        Write { dot: none, ..right.clone() },
        Write { dot: last, ..right.clone() },
    ] {
        assert!(matches!(
            decode_write(&encode_write(&wrong).unwrap()),
            Err(CodecError::Damaged(_))
        ));
    }
    let mut more = encode_write(&right).unwrap();
    more.push(0);
    assert!(decode_write(&more).is_err());
    assert!(decode_vector(&[VERSION, 2, 5, 1, 4, 1]).is_err(), "it is not sorted");
    assert!(decode_vector(&[VERSION, 2, 4, 1, 4, 1]).is_err(), "a writer is there twice");
}

proptest! {
    #[test]
    fn damaged_rows_are_refused_and_never_panic(
        key in prop::collection::vec(any::<u8>(), 0..40),
        value in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let key: Vec<u8> = [VERSION].into_iter().chain(key).collect();
        let value: Vec<u8> = [VERSION].into_iter().chain(value).collect();
        let mut state = ClusterState::default();
        if decode(&mut state, &key, &value).is_err() {
            prop_assert_eq!(state, ClusterState::default());
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_mean_what_they_say(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        spoiled in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let random: Vec<u8> = [VERSION].into_iter().chain(bytes).collect();
        let mut messages = vec![random];
        for write in every_kind() {
            let mut message = encode_write(&write).unwrap();
            for (at, byte) in &spoiled {
                let at = at.index(message.len());
                message[at] = *byte;
            }
            messages.push(message[..=cut.index(message.len())].to_vec());
            messages.push(message);
        }
        for message in messages {
            let _ = (decode_vector(&message), decode_inventory(&message));
            if let Ok(write) = decode_write(&message) {
                let again = encode_write(&write).unwrap();
                prop_assert_eq!(decode_write(&again), Ok(write.clone()));
                let mut state = ClusterState::new(ReplicaId(1));
                let _ = state.apply(write, WallTime(1));
                let _ = state.commit(change(Key::Secret(0), None), WallTime(1));
            }
        }
    }
}
