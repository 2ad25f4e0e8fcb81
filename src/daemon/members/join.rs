//! How a node comes into a cluster: both sides.
//!
//! The newcomer says who it is. The member that it asks, its introducer, lets it in by a write, so that it
//! counts for everyone, and only then tells it the cluster's keys and the whole state. The newcomer puts all
//! of that onto its disk at once, and begins anew as a member.

use std::net::SocketAddr;

use rand_core::{OsRng, RngCore};

use super::{Line, Office, sync};
use crate::{
    daemon::{
        store::{Credentials, Store},
        stream::{self, Credential, Peer, Prelude, Purpose, SecureStream},
    },
    gossip::{Answer, ClusterSecret, Fetched, Hello, Key, Next, Token, Welcome},
    model::{ClusterId, NodeName, WallTime},
    node::{AdmitRequest, Request},
    state::{Admission, Applied, ClusterState, ReplicaId, Step},
};

/// How far two clocks may be apart when one joins. Less is for the members' own watch over their clocks.
const CLOCK_ERROR_MS_MAX: u64 = 10_000;

/// What a newcomer shows.
pub(super) enum Ticket {
    /// A token.
    Token(Token),
    /// The cluster's secret.
    Secret(ClusterSecret),
}

/// A member lets a newcomer in.
pub(super) async fn introduce(
    line: &Line,
    mut stream: SecureStream,
    peer: &Peer,
    prelude: &Prelude,
) -> Result<(), String> {
    let hello: Hello = sync::receive(&mut stream).await?;
    let from = stream.peer_address().map_err(|error| error.to_string())?;
    let address = if hello.address.ip().is_unspecified() {
        SocketAddr::new(from.ip(), hello.address.port())
    } else {
        hello.address
    };
    match admit(line, peer, prelude, &hello, address).await {
        Ok(()) => {}
        Err(why) => return sync::send(&mut stream, &Answer::Refused(why)).await,
    }
    let office = &line.office;
    let credentials = office.credentials().ok_or("this node is in no cluster")?;
    let (id, name) = (credentials.id.0, credentials.name.clone());
    let welcome = Welcome::new(id, name, &office.keys(), &office.vault_identity());
    sync::send(&mut stream, &Answer::Welcome(welcome)).await?;
    // The picture has the write that let it in: that was answered.
    sync::tell(&mut stream, &office.state(), &Default::default(), true).await?;
    // It says that it has all.
    sync::receive::<()>(&mut stream).await
}

async fn admit(
    line: &Line,
    peer: &Peer,
    prelude: &Prelude,
    hello: &Hello,
    address: SocketAddr,
) -> Result<(), String> {
    let office = &line.office;
    let now = office.clock().now().wall;
    let token = match prelude.credential {
        Credential::Token(fields) => {
            let apart = now.0.abs_diff(hello.clock);
            if fields.expired(now) {
                let skew = if CLOCK_ERROR_MS_MAX < apart { clocks(apart) } else { String::new() };
                return Err(format!(
                    "the token has expired: get a new one from `fizz token create`{skew}"
                ));
            }
            office.check_token(&fields)?;
            Some((fields.id, fields.uses))
        }
        Credential::Secret { .. } => None,
        Credential::Member { .. } => return Err("a member need not join".to_owned()),
    };
    let apart = now.0.abs_diff(hello.clock);
    if CLOCK_ERROR_MS_MAX < apart {
        return Err(format!("the clocks do not agree{}", clocks(apart)));
    }
    let name: NodeName = hello.name.parse().map_err(|error| format!("{error}"))?;
    let admission = Admission { by: office.identity().id(), at: now, token };
    let request = AdmitRequest {
        node: peer.id,
        name,
        version: peer.version.clone(),
        replica: ReplicaId(hello.replica),
        recipient: hello.recipient.clone(),
        address,
        admission,
    };
    match office.ask(Request::Admit(Box::new(request))).await {
        Ok(_) => Ok(()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

fn clocks(apart: u64) -> String {
    let seconds = apart / 1000;
    format!(
        "; this node's clock and that of the cluster are {seconds} s apart: set them (`timedatectl`, \
         chrony)"
    )
}

/// Joins: what the cluster gave is on the disk when this returns, and takes effect when the daemon begins
/// anew. The name of the cluster.
pub(super) async fn join(office: &Office, address: &str, ticket: Ticket) -> Result<String, String> {
    let (credential, psk): (Credential, Key) = match &ticket {
        Ticket::Token(token) => (Credential::Token(*token.fields()), token.psk()),
        Ticket::Secret(secret) => {
            let (cluster, epoch) = (secret.cluster_hash(), secret.epoch);
            (Credential::Secret { cluster, epoch }, secret.psk())
        }
    };
    let prelude = Prelude { purpose: Purpose::Join, credential };
    let identity = office.identity();
    let opened = stream::connect(address, prelude, &psk, identity, None).await;
    let (mut stream, _) = opened.map_err(|error| error.to_string())?;
    let replica = ReplicaId(OsRng.next_u64());
    let hello = Hello {
        name: office.config().node.name.to_string(),
        replica: replica.0,
        recipient: office.recipient(),
        address: office.config().cluster.advertise.unwrap_or(office.config().cluster.listen),
        clock: office.clock().now().wall.0,
    };
    sync::send(&mut stream, &hello).await?;
    let welcome = match sync::receive(&mut stream).await? {
        Answer::Refused(why) => return Err(why),
        Answer::Welcome(welcome) => welcome,
    };
    let keys = welcome.keys().ok_or("the cluster told no keys")?;
    let name = welcome.name.clone();
    if office.config().cluster.name.as_deref().is_some_and(|it| it != name) {
        return Err(format!(
            "the cluster is named `{name}`, and `cluster.name` here says otherwise: leave that out of \
             this node's configuration"
        ));
    }
    let steps = take_all(&mut stream, replica, office.clock().now().wall).await?;
    let (id, vault) = (ClusterId(welcome.cluster), Some(welcome.vault()));
    let credentials = Credentials { id, name: name.clone(), keys, vault };
    let data_dir = office.config().data_dir.clone();
    let put = move || Store::make_joined(&data_dir, &credentials, replica, &steps);
    let put = crate::daemon::tasks::blocking(put).await;
    put.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    // Whoever let it in may hang up now.
    let _ = sync::send(&mut stream, &()).await;
    Ok(name)
}

/// The cluster's state, as steps of an empty one.
async fn take_all(
    stream: &mut SecureStream,
    replica: ReplicaId,
    now: WallTime,
) -> Result<Vec<Step>, String> {
    let mut state = ClusterState::new(replica);
    let mut steps = vec![];
    let mut refused = false;
    let ended = loop {
        let writes = match sync::next(stream).await? {
            Next::Writes(writes) => writes,
            Next::Ended(ended) => break ended,
            Next::Refused(why) => return Err(why),
        };
        for write in writes {
            match state.apply(write, now) {
                Applied::New(step) => steps.push(step),
                Applied::Known => {}
                Applied::Refused => refused = true,
            }
        }
    };
    match ended {
        Fetched::Full(inventory) if !refused => {
            steps.push(state.enter(&inventory, now));
            Ok(steps)
        }
        Fetched::Full(_) | Fetched::Delta(_) => {
            Err("the state did not come whole: try again".to_owned())
        }
    }
}
