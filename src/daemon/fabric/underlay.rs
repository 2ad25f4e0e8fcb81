//! What is under the mesh: where this machine is, where its device finds the others, and the device's key. The node
//! is told what changes, and tells the others.

use std::{collections::BTreeSet, time::Duration};

use tracing::warn;

use super::{
    Inner,
    endpoints::{self, Endpoints, Found},
};
use crate::{
    daemon::members,
    model::NodeId,
    network::{Namespace, host::AddressChanges},
    node::{Underlay, View},
    topology::Mesh,
};

/// Between two looks at peers: at some that were not heard yet, and at those that were.
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(5);

/// A machine that comes into another network loses an address and gains one.
const MOVES: Duration = Duration::from_millis(200);

/// What is known of it.
pub(super) struct Watch {
    endpoints: Endpoints,
    changes: Option<AddressChanges>,
    /// They have changed, and it was not told yet.
    moving: bool,
    found: Option<Found>,
    told: Option<Underlay>,
}

impl Watch {
    pub(super) fn new(host: &Namespace) -> Self {
        let changes = AddressChanges::new(host)
            .inspect_err(|error| warn!(%error, "addresses that change are seen later"));
        let (changes, endpoints) = (changes.ok(), Endpoints::default());
        Self { endpoints, changes, moving: false, found: None, told: None }
    }

    /// Waits until the machine's addresses have changed. Whoever stops waiting is told the next time.
    pub(super) async fn moved(&mut self) {
        match &mut self.changes {
            Some(changes) if !self.moving => changes.next().await,
            Some(_) => {}
            None => std::future::pending().await,
        }
        self.moving = true;
        tokio::time::sleep(MOVES).await;
        self.moving = false;
    }

    /// How long until the next look.
    pub(super) fn until_next(&self) -> Duration {
        if self.endpoints.are_settled() { LATER } else { SOON }
    }

    /// Looks at it all, and tries endpoints of peers that are not heard. What the node was not told yet.
    pub(super) async fn look(
        &mut self,
        fabric: &Inner,
        mesh: &Mesh,
        view: &View,
        unreachable: &BTreeSet<NodeId>,
    ) -> Option<Underlay> {
        let key = fabric.key();
        let record = view.state.nodes().get(&fabric.me);
        let known = self.found.take().or_else(|| {
            let it = record?.mesh.clone()?;
            Some(Found { heard: it.heard, missed: it.missed })
        });
        let known = known.unwrap_or_default();
        let tended = self.endpoints.tend(fabric, mesh, &known, unreachable).await;
        let found = tended.unwrap_or(known);
        let address = members::advertised(&fabric.settings, &view.state, fabric.me);
        // One that has no way out for now comes back where it was, more often than not.
        let address = address.or_else(|| record?.address);
        let now = Underlay {
            address,
            key: key.secret.public(),
            endpoints: endpoints::own(address.map(|it| it.ip()), fabric.port, &fabric.plan),
            heard: found.heard.clone(),
            missed: found.missed.clone(),
        };
        self.found = Some(found);
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        self.told = Some(now.clone());
        Some(now)
    }
}
