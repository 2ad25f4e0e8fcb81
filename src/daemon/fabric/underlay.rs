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
    found: Option<Found>,
    told: Option<Underlay>,
}

impl Watch {
    pub(super) fn new(host: &Namespace) -> Self {
        let changes = AddressChanges::new(host)
            .inspect_err(|error| warn!(%error, "addresses that change are seen later"));
        Self { endpoints: Endpoints::default(), changes: changes.ok(), found: None, told: None }
    }

    /// Waits until the machine's addresses have changed.
    pub(super) async fn moved(&mut self) {
        match &mut self.changes {
            Some(changes) => changes.next().await,
            None => std::future::pending().await,
        }
        tokio::time::sleep(MOVES).await;
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
