//! What users ask for.

use std::{collections::BTreeMap, sync::Arc};

use fizz::{
    model::{NodeId, Random},
    node::{DeployRequest, DownRequest, Request},
    state::{Change, ReplicaId, SealedSecret, SecretPath, Write},
};
use serde_json::json;

/// What becomes of a request once it is answered.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A user's write of this key.
    Write { key: String },
    /// A member that fetches is let in again.
    Readmit { client: usize, run: u64, stream: u64, seen: Arc<fizz::state::VersionVector> },
    /// A newcomer is let in.
    Admit { newcomer: usize, replica: ReplicaId },
    /// A member is put out, perhaps because it wants to.
    Remove { node: usize, leaves: bool },
    /// Nothing.
    Nothing,
}

/// A request that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) purpose: Purpose,
    /// The write that it came to.
    pub(crate) wrote: Option<Write>,
}

fn sealed(random: &mut Random, bytes: usize) -> SealedSecret {
    let ciphertext = (0..bytes.div_ceil(8)).flat_map(|_| random.bits().to_be_bytes()).collect();
    SealedSecret { ciphertext, fingerprint: [0; 16] }
}

/// Something that a user wants of a node, and the key of what is written then.
pub(crate) fn wish(me: NodeId, random: &mut Random) -> (Request, String) {
    let number = random.below(5);
    let path = SecretPath::Registry(format!("r{number}"));
    let name = format!("p{}", random.below(3));
    match random.below(12) {
        0..=3 => {
            let bytes = 8 + random.below(64);
            let key = format!("secret {path:?}");
            (Request::Keep(path, Some(sealed(random, bytes))), key)
        }
        4 => {
            let bytes = 1_100 + random.below(4_000);
            let key = format!("secret {path:?}");
            (Request::Keep(path, Some(sealed(random, bytes))), key)
        }
        5 | 6 => {
            let key = format!("secret {path:?}");
            (Request::Keep(path, None), key)
        }
        7 | 8 => {
            let value = Some(random.below(1_000).to_string());
            let labels = BTreeMap::from([(format!("l{number}"), value)]);
            (Request::Label(labels), format!("node {me}"))
        }
        9 | 10 => {
            let long = if random.below(3) == 0 { 2_000 } else { 1 };
            let hue = format!("{}", random.bits()).repeat(long / 20 + 1);
            let model = json!({
                "name": name,
                "services": {"web": {"image": "web", "environment": {"HUE": hue}}},
                "networks": {"default": {"name": format!("{name}_default")}},
            });
            let request = DeployRequest { model, ..DeployRequest::default() };
            (Request::Deploy(Box::new(request)), format!("deployment {name}"))
        }
        _ => {
            let request = DownRequest {
                project: name.parse().unwrap(),
                services: vec![],
                volumes: false,
                images: None,
                grace: None,
            };
            (Request::Down(request), format!("deployment {name}"))
        }
    }
}

/// Whether a write is of a key.
pub(crate) fn is_of(write: &Write, key: &str) -> bool {
    let change: &Change = &write.change;
    crate::ledger::key_of(change).0 == key
}
