//! What holds whatever the cluster is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::world::{World, node};
use crate::{
    model::{ContainerId, NodeId, Random, WallTime},
    scheduler::{Count, Holder, Placement, Sites, Standing, Unit, place, rebalance},
};

/// A world in which some things run, and then some nodes changed.
fn troubled(seed: u64) -> World {
    let mut world = World::random(seed);
    let mut random = Random::new(seed ^ 1);
    world.settle();
    for node in world.nodes.values_mut() {
        node.standing = match random.below(8) {
            0 => Standing::Cordoned,
            1 => Standing::Draining,
            2 => Standing::Unreachable,
            3 => Standing::Dead,
            _ => Standing::Open,
        };
    }
    world
}

fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for it in (1..list.len()).rev() {
        list.swap(it, random.below(it + 1));
    }
}

/// Every slot has one place or none, and the rules hold for all that run together.
fn hold_rules(world: &World) -> Result<(), TestCaseError> {
    let mut ports = BTreeSet::new();
    let mut reserved: BTreeMap<NodeId, (u64, u64)> = BTreeMap::new();
    for (key, service) in &world.services {
        let mut counts: BTreeMap<NodeId, u32> = BTreeMap::new();
        for holder in &service.holders {
            let site = &world.nodes[&holder.node];
            prop_assert_ne!(site.standing, Standing::Dead);
            *counts.entry(site.id).or_default() += 1;
            let charge = service.rules.charge();
            let sum = reserved.entry(site.id).or_default();
            *sum = (sum.0 + charge.cpus_milli, sum.1 + charge.memory_bytes);
            prop_assert!(sum.0 == 0 || sum.0 <= site.cpus_milli, "{key}: {sum:?}");
            prop_assert!(sum.1 <= site.memory_bytes);
            for port in &charge.ports {
                prop_assert!(ports.insert((site.id, port.port)), "{key}: {port:?}");
            }
            for it in &service.rules.constraints {
                let zone = site.labels.get("zone");
                prop_assert_eq!(zone.is_some_and(|zone| *zone == it.value), it.equal);
            }
        }
        if let Some(most) = service.rules.per_node_max {
            prop_assert!(counts.values().all(|it| *it <= most));
        }
    }
    Ok(())
}

/// Whether each slot is either placed or pending, once.
fn hold_slots(world: &World, name: &str) -> Result<(), TestCaseError> {
    let Placement { posts, pending } = world.place(name);
    let slots: BTreeSet<u32> =
        posts.iter().map(|it| it.slot.0).chain(pending.iter().map(|it| it.slot.0)).collect();
    let Count::Slots(count) = world.services[&super::world::key(name)].count else {
        return Ok(());
    };
    prop_assert_eq!(slots, (1..=count).collect());
    prop_assert_eq!(posts.len() + pending.len(), count as usize);
    prop_assert!(pending.iter().all(|it| it.why.len() == world.nodes.len()));
    Ok(())
}

proptest! {
    #[test]
    fn no_rule_is_broken_and_no_slot_forgotten(seed: u64) {
        let mut world = World::random(seed);
        world.settle();
        hold_rules(&world)?;
        let mut world = troubled(seed);
        world.settle();
        hold_rules(&world)?;
        let names: Vec<_> = world.services.keys().map(|it| it.service.to_string()).collect();
        for name in names {
            hold_slots(&world, &name)?;
        }
    }

    #[test]
    fn the_order_of_things_decides_nothing(seed: u64, together: bool) {
        let mut world = troubled(seed);
        let mut random = Random::new(seed);
        for service in world.services.values_mut() {
            // Some slots have two holders.
            let more: Vec<_> = service.holders.iter().take(2).cloned().collect();
            for mut it in more {
                it.node = NodeId(1 + random.below(8) as u128);
                it.id.0 += 1000;
                it.rank = random.below(3) as u8;
                service.holders.push(it);
            }
        }
        let place_all = |world: &World, sites: &Sites| -> Vec<Placement> {
            world.units(together).iter().map(|it| place(it, sites, &world.usage)).collect()
        };
        let right = place_all(&world, &world.sites());
        for service in world.services.values_mut() {
            shuffle(&mut service.holders, &mut random);
        }
        let mut nodes: Vec<_> = world.nodes.values().cloned().collect();
        shuffle(&mut nodes, &mut random);
        prop_assert_eq!(&place_all(&world, &Sites::new(nodes)), &right);
        if together {
            let mut demands = world.units(true).remove(0).demands;
            shuffle(&mut demands, &mut random);
            let unit = Unit { demands, together };
            prop_assert_eq!(&place(&unit, &world.sites(), &world.usage), &right[0]);
        }
    }

    #[test]
    fn what_others_placed_already_does_not_change_where_the_rest_goes(seed: u64) {
        let world = World::random(seed);
        let names: Vec<_> = world.services.keys().map(|it| it.service.to_string()).collect();
        for name in names {
            let whole = world.place(&name);
            let mut random = Random::new(seed);
            let mut partly = world.clone();
            let holders = whole.posts.iter().filter(|_| random.below(2) == 0);
            partly.service(&name).holders = holders
                .map(|it| Holder {
                    slot: it.slot,
                    node: it.node,
                    rank: 0,
                    created: WallTime(1),
                    id: ContainerId(u128::from(it.slot.0)),
                })
                .collect();
            let nodes = |it: &Placement| -> Vec<_> {
                it.posts.iter().map(|it| (it.slot, it.node)).collect()
            };
            prop_assert_eq!(nodes(&partly.place(&name)), nodes(&whole), "{}", name);
        }
    }

    #[test]
    fn only_what_a_dead_node_had_moves(seed: u64, dead in 1..=8_u128) {
        let mut world = World::random(seed);
        world.settle();
        world.settle();
        let before = world.posts();
        if let Some(node) = world.nodes.get_mut(&NodeId(dead)) {
            node.standing = Standing::Dead;
        }
        world.settle();
        let after = world.posts();
        for (slot, node) in before.iter().filter(|it| it.1.0 != dead) {
            prop_assert_eq!(after.get(slot), Some(node));
        }
        prop_assert!(after.values().all(|it| it.0 != dead));
    }

    #[test]
    fn a_newcomer_moves_nothing_and_leaves_nothing_more_waiting(seed: u64) {
        let mut world = World::random(seed);
        world.settle();
        let (before, waiting) = (world.posts(), world.settle());
        let mut newcomer = node(9);
        newcomer.labels = [("zone".to_owned(), "a".to_owned())].into();
        world.nodes.insert(NodeId(9), newcomer);
        prop_assert!(world.settle() <= waiting);
        let after = world.posts();
        prop_assert!(before.iter().all(|(slot, node)| after[slot] == *node));
    }

    #[test]
    fn one_service_alone_never_waits_for_more_nodes(seed: u64) {
        let mut world = World::random(seed);
        world.services.retain(|it, _| it.service.as_str() == "a");
        let waiting = world.place("a").pending.len();
        world.nodes.insert(NodeId(9), node(9));
        prop_assert!(world.place("a").pending.len() <= waiting);
    }

    #[test]
    fn a_rebalance_leaves_nothing_waiting_and_nothing_to_gain(seed: u64) {
        let mut world = World::random(seed);
        world.settle();
        world.nodes.insert(NodeId(9), node(9));
        let waiting = world.settle();
        let count = world.posts().len();
        let moves = rebalance(&world.units(false), &world.sites(), &world.usage);
        for it in &moves {
            let service = world.services.get_mut(&it.service).unwrap();
            service.wishes.insert(it.slot, it.to);
        }
        let moved = world.posts();
        let waiting_now = world.settle();
        prop_assert!(waiting_now <= waiting);
        prop_assert!(world.posts().len() >= count);
        for it in &moves {
            let slot = (it.service.service.clone(), it.slot);
            // What waited goes first: where one moves away, it may take more than that leaves.
            let wanted = [Some(it.to), (waiting_now < waiting).then_some(it.from)];
            prop_assert_eq!(moved[&slot], it.from);
            prop_assert!(wanted.contains(&Some(world.posts()[&slot])), "{:?}", it);
        }
        hold_rules(&world)?;
    }

    #[test]
    fn what_was_added_and_removed_leaves_no_trace(seed: u64) {
        let mut world = World::random(seed);
        world.settle();
        for service in world.services.values_mut() {
            service.count = Count::Slots(0);
        }
        world.settle();
        prop_assert_eq!(world.usage, crate::scheduler::Usage::default());
    }
}
