//! What names lead to, as the node's DNS server answers them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::wire::{NameAnswer, NameRecord, NodeMesh};
use crate::{
    model::NodeId,
    node::View,
    state::{ContainerRecord, NodeRecord},
    topology::{
        Blocks, Known, Place, Plan, decided, heard, places, relays,
        zone::{Answer, Data, DnsName, Kind, Order, Question, Resolvers, TTL_SECONDS, Zone},
    },
};

/// The types of records that can be asked for.
const KINDS: [(&str, Kind); 5] = [
    ("A", Kind::A),
    ("AAAA", Kind::Aaaa),
    ("SRV", Kind::Srv),
    ("PTR", Kind::Ptr),
    ("ANY", Kind::Any),
];

/// What is asked: a name, or an address about its name.
#[derive(Clone, Debug)]
pub(super) struct NameQuestion {
    name: DnsName,
    kind: (&'static str, Kind),
}

impl NameQuestion {
    /// From text; without a type, addresses of IPv4 or the name of an address.
    pub(super) fn of(text: &str, kind: Option<&str>) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { name: DnsName::of_address(address), kind: ("PTR", Kind::Ptr) });
        }
        let kind = kind.unwrap_or("A");
        let found = KINDS.into_iter().find(|it| it.0.eq_ignore_ascii_case(kind));
        let known = KINDS.map(|it| it.0).join(", ");
        let kind = found.ok_or_else(|| format!("type: `{kind}` is not known; use {known}"))?;
        Ok(Self { name: DnsName::of_text(text), kind })
    }
}

/// The answer, for a container or, without one, for the node itself.
pub(super) fn answer(
    view: &View,
    plan: Plan,
    asker: Option<&ContainerRecord>,
    question: &NameQuestion,
    order: Order,
) -> NameAnswer {
    let unreachable: BTreeSet<NodeId> = view.unreachable().collect();
    let known = Known::new(plan, view.me, &view.state, &view.projects, &unreachable);
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let from =
        asker.map_or(Some(loopback), |it| known.addresses().get(&it.id).copied().map(IpAddr::V4));
    let me = || view.state.nodes().get(&view.me).map(|it| it.name.to_string());
    let (name, kind) = (question.name.as_str(), question.kind);
    let mut told = NameAnswer {
        name: name.to_owned(),
        kind: kind.0.to_owned(),
        asker: asker.map_or_else(|| me().unwrap_or_default(), |it| it.name.to_string()),
        outcome: "stranger".to_owned(),
        records: vec![],
        resolvers: vec![],
    };
    let Some(from) = from else { return told };
    let zone = Zone::new(&known.facts(order));
    let asked = Question { name: question.name.clone(), kind: kind.1 };
    let outcome = match zone.answer(from, &asked, 0) {
        Answer::Found { records, further } => {
            let own = records.iter().map(|it| record(name, it));
            let further = further.iter().map(|(name, it)| record(name, it));
            told.records = own.chain(further).collect();
            "found"
        }
        Answer::NoData(_) => "no-data",
        Answer::NoName(_) => "no-name",
        Answer::Forward(Resolvers::Hosts) => "forwarded",
        Answer::Forward(Resolvers::Own(own)) => {
            told.resolvers = own.iter().map(ToString::to_string).collect();
            "forwarded"
        }
        Answer::Stranger => "stranger",
    };
    outcome.clone_into(&mut told.outcome);
    told
}

fn record(name: &str, data: &Data) -> NameRecord {
    let (kind, data) = match data {
        Data::A(it) => ("A", it.to_string()),
        Data::Aaaa(it) => ("AAAA", it.to_string()),
        Data::Srv { priority, port, target } => ("SRV", format!("{priority} 0 {port} {target}.")),
        Data::Ptr(it) => ("PTR", format!("{it}.")),
        Data::Soa => ("SOA", "the cluster's own zone".to_owned()),
        Data::Minimal => ("HINFO", "\"RFC8482\" \"\"".to_owned()),
    };
    NameRecord { name: name.to_owned(), kind: kind.to_owned(), ttl_seconds: TTL_SECONDS, data }
}

/// The mesh as it is decided, for nodes' places in it.
pub(super) struct Decided<'a> {
    view: &'a View,
    plan: Plan,
    places: Vec<Place>,
    heard: BTreeMap<NodeId, BTreeSet<SocketAddr>>,
    unreachable: BTreeSet<NodeId>,
    blocks: Blocks,
}

impl<'a> Decided<'a> {
    pub(super) fn of(view: &'a View) -> Option<Self> {
        let (plan, places) = (view.overlay?, places(&view.state));
        let (blocks, heard) = (decided(&plan, &places), heard(&places));
        let unreachable = view.unreachable().collect();
        Some(Self { view, plan, places, heard, unreachable, blocks })
    }

    fn name(&self, id: NodeId) -> String {
        let record = self.view.state.nodes().get(&id);
        record.map_or_else(|| id.to_string(), |it| it.name.to_string())
    }
}

/// A node's place in the mesh, if it has one.
pub(super) fn place(all: &Decided<'_>, id: NodeId, record: &NodeRecord) -> Option<NodeMesh> {
    let (Decided { plan, blocks, .. }, mesh) = (all, record.mesh.as_ref()?);
    let heard_at = all.heard.get(&id).into_iter().flatten();
    let relays = relays(id, &all.places, &all.unreachable).into_iter();
    Some(NodeMesh {
        driver: if mesh.degraded { "userspace" } else { "wireguard" }.to_owned(),
        key: BASE64.encode(mesh.key.0),
        endpoints: mesh.endpoints.iter().map(ToString::to_string).collect(),
        heard_at: heard_at.map(ToString::to_string).collect(),
        relayed: relays.map(|(to, by)| (all.name(to), all.name(by))).collect(),
        address: plan.of_node(id).to_string(),
        blocks: blocks.of_node(id).map(|it| it.to_string()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_asked_about_by_its_reverse_name_and_types_are_taken_in_any_case() {
        let asked = NameQuestion::of("10.100.4.7", Some("A")).unwrap();
        assert_eq!((asked.name.as_str(), asked.kind.0), ("7.4.100.10.in-addr.arpa", "PTR"));
        let asked = NameQuestion::of("fd00::1", None).unwrap();
        assert_eq!(
            asked.name.as_str(),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa"
        );
        assert_eq!(NameQuestion::of("db", Some("aaaa")).unwrap().kind.0, "AAAA");
        let wrong = NameQuestion::of("db", Some("MX")).unwrap_err();
        assert_eq!(wrong, "type: `MX` is not known; use A, AAAA, SRV, PTR, ANY");
    }
}
