//! The same histories through `crdts`, a library of another hand.

use crdts::{CmRDT, CvRDT, MVReg, Orswot};

use super::*;

/// What a member does: writes a value, removes, or merges with another.
#[derive(Clone, Debug)]
enum Act {
    Add(usize, u8),
    Remove(usize, u8),
    Merge(usize, usize),
}

fn acts(members: usize) -> impl Strategy<Value = Vec<Act>> {
    let who = move || 0..members;
    let act = prop_oneof![
        3 => (who(), 0..KEYS).prop_map(|(who, key)| Act::Add(who, key)),
        2 => (who(), 0..KEYS).prop_map(|(who, key)| Act::Remove(who, key)),
        3 => (who(), who()).prop_map(|(who, whom)| Act::Merge(who, whom)),
    ];
    prop::collection::vec(act, 0..60)
}

fn merge(members: &mut [Member], who: usize, whom: usize) {
    let sender = members[whom].state.clone();
    members[who].pull(&sender, 1);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_siblings_of_a_key_are_those_of_a_multi_value_register(acts in acts(4)) {
        let mut ours: Vec<Member> = (1..=4).map(Member::new).collect();
        let mut theirs: Vec<MVReg<Option<usize>, usize>> = vec![MVReg::new(); 4];
        let mut dots: BTreeMap<Dot, usize> = BTreeMap::new();
        for (number, act) in acts.iter().enumerate() {
            let (who, value) = match *act {
                Act::Add(who, _) => (who, Some(number)),
                Act::Remove(who, _) => (who, None),
                Act::Merge(who, whom) => {
                    merge(&mut ours, who, whom);
                    let sender = theirs[whom].clone();
                    theirs[who].merge(sender);
                    continue;
                }
            };
            let write = ours[who].commit(change(Key::Secret(0), value.map(|_| 1)), 1);
            dots.insert(write.dot, number);
            let context = theirs[who].read_ctx().derive_add_ctx(who);
            let op = theirs[who].write(value, context);
            theirs[who].apply(op);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let writes = ours.state.collections.writes_of(&Place::Secret(path(0)));
                let value = |it: &Write| (!it.change.is_removal()).then(|| dots[&it.dot]);
                let mut ours: Vec<Option<usize>> = writes.iter().map(value).collect();
                let mut theirs = theirs.read().val;
                ours.sort_unstable();
                theirs.sort_unstable();
                prop_assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn the_elements_of_a_set_are_those_of_an_orswot(acts in acts(4)) {
        let mut ours: Vec<Member> = (1..=4).map(Member::new).collect();
        let mut theirs: Vec<Orswot<u8, usize>> = vec![Orswot::new(); 4];
        for act in &acts {
            match *act {
                Act::Add(who, key) => {
                    ours[who].commit(change(Key::Address(key), Some(1)), 1);
                    let context = theirs[who].read_ctx().derive_add_ctx(who);
                    let op = theirs[who].add(key, context);
                    theirs[who].apply(op);
                }
                Act::Remove(who, key) => {
                    ours[who].commit(change(Key::Address(key), None), 1);
                    let context = theirs[who].contains(&key).derive_rm_ctx();
                    let op = theirs[who].rm(key, context);
                    theirs[who].apply(op);
                }
                Act::Merge(who, whom) => {
                    merge(&mut ours, who, whom);
                    let sender = theirs[whom].clone();
                    theirs[who].merge(sender);
                }
            }
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let key = |it: IpAllocation| u8::try_from(it.container.0).unwrap();
                let ours: BTreeSet<u8> = ours.state.ip_allocations().map(key).collect();
                prop_assert_eq!(ours, theirs.read().val.into_iter().collect());
            }
        }
    }
}
