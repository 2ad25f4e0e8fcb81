//! What several nodes have a part of: asked of each of them and put together.
//!
//! Whoever asks another member asks for that member's own part, and a member that is asked by another tells
//! only that. A node that does not answer is said aloud, never left out silently.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    io,
    time::Duration,
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};
use futures_util::{
    StreamExt, TryStreamExt,
    future::join_all,
    stream::{self, BoxStream, SelectAll},
};
use http_body_util::BodyExt;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    io::StreamReader,
};

use super::{
    app::App,
    extract,
    lookup::{self, Filter},
    member::{self, Carried},
    problem::{Answer, Failure},
    server::Peer,
    wire,
};
use crate::{
    model::{NodeId, NodeState},
    node::View,
    state::ContainerRecord,
};

/// How long a member may take for a list.
const LIST_MAX: Duration = Duration::from_secs(10);

/// The longest list of one member, and the longest line of a stream.
const LIST_BYTES_MAX: usize = 64 << 20;
const LINE_BYTES_MAX: usize = 16 << 20;

/// How long a member may take for what it is told.
const TELL_MAX: Duration = Duration::from_secs(35);

/// How often a stream that broke off is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// Whether a request is about the whole cluster, or about this node's own part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// A client's: about all nodes.
    Cluster,
    /// Another member's, which asks every node itself.
    Here,
}

impl<S: Sync> FromRequestParts<S> for Reach {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(match parts.extensions.get::<Peer>() {
            Some(Peer::Member(_)) => Self::Here,
            Some(Peer::Local(_)) | None => Self::Cluster,
        })
    }
}

/// Other members that are not known to be gone.
pub(super) fn living(view: &View) -> Vec<NodeId> {
    let standings = view.cluster.iter().flat_map(|it| it.standings.iter());
    let there = standings.filter(|(_, it)| match it.state {
        NodeState::Alive | NodeState::Suspicious => true,
        NodeState::Joining | NodeState::Dead | NodeState::Left | NodeState::Failed => false,
    });
    there.map(|(id, _)| *id).collect()
}

/// Other members that have containers of a kind, and those of them that are members still.
pub(super) fn with_containers(
    view: &View,
    filter: &Filter,
    wanted: impl Fn(&ContainerRecord) -> bool,
) -> BTreeSet<NodeId> {
    let all = view.state.containers();
    let all = all.filter(|it| it.node != view.me && filter.takes(it) && wanted(it));
    all.map(|it| it.node).filter(|it| !view.state.has_left(*it)).collect()
}

/// What a client is told of a part that is missing.
pub(super) fn missing(view: &View, node: NodeId, why: &str) -> String {
    format!("node {} does not tell its part: {why}", lookup::name_of(view, node))
}

/// Warnings as headers of an answer.
pub(super) fn warnings(texts: &[String]) -> HeaderMap {
    let name = HeaderName::from_static(wire::header::WARNING);
    let printable = |text: &String| text.replace(|it: char| it.is_control() || !it.is_ascii(), "?");
    let values = texts.iter().filter_map(|it| HeaderValue::from_str(&printable(it)).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// Members' lists, each with its node; and why some are missing.
pub(super) async fn lists<T: DeserializeOwned>(
    app: &App,
    nodes: impl IntoIterator<Item = NodeId>,
    path: &str,
) -> (Vec<(NodeId, Vec<T>)>, Vec<String>) {
    let asked = nodes.into_iter().map(|node| async move {
        let list = timeout(LIST_MAX, list(app, node, path)).await;
        let slow = || Err(format!("no answer within {} s", LIST_MAX.as_secs()));
        (node, list.unwrap_or_else(|_| slow()))
    });
    let view = app.backend.now();
    let (mut lists, mut warnings) = (Vec::new(), Vec::new());
    for (node, list) in join_all(asked).await {
        match list {
            Ok(list) => lists.push((node, list)),
            Err(why) => warnings.push(missing(&view, node, &why)),
        }
    }
    (lists, warnings)
}

async fn list<T: DeserializeOwned>(app: &App, node: NodeId, path: &str) -> Result<T, String> {
    let body = http_body_util::Limited::new(get(app, node, path).await?, LIST_BYTES_MAX);
    let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
    serde_json::from_slice(&body).map_err(|why| format!("its answer is not understood: {why}"))
}

async fn get(app: &App, node: NodeId, path: &str) -> Result<Carried, String> {
    let stream = member::dial(app, node).await?;
    let request = member::plain("GET", path)?;
    let (answer, connection) =
        member::exchange(stream, request, member::over(app, node), None).await?;
    let (head, body) = answer.into_parts();
    let body = connection.carry(body);
    if head.status.is_success() { Ok(body) } else { Err(member::problem(head.status, body).await) }
}

/// Tells a member something, and reads its answer.
pub(super) async fn tell<A: DeserializeOwned>(
    app: &App,
    node: NodeId,
    path: &str,
    body: &(impl Serialize + Sync),
) -> Answer<A> {
    let name = lookup::name_of(&app.backend.now(), node);
    let unreachable = |why| Failure::Unreachable { node: name.clone(), why };
    let render = |why: &dyn std::fmt::Display| Failure::Render(why.to_string());
    let body = serde_json::to_vec(body).map_err(|why| render(&why))?;
    let mut request = member::plain("POST", path).map_err(|why| render(&why))?;
    let kind = HeaderValue::from_static(extract::JSON);
    request.headers_mut().insert(header::CONTENT_TYPE, kind);
    *request.body_mut() = Body::from(body);
    let answered = async {
        let stream = member::dial(app, node).await?;
        let over = member::over(app, node);
        let (answer, connection) = member::exchange(stream, request, over, None).await?;
        let (head, body) = answer.into_parts();
        let body = http_body_util::Limited::new(connection.carry(body), LIST_BYTES_MAX);
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((head.status, body))
    };
    let slow = || Err(format!("no answer within {} s", TELL_MAX.as_secs()));
    let answered: Result<_, String> = timeout(TELL_MAX, answered).await.unwrap_or_else(|_| slow());
    let (status, body) = answered.map_err(unreachable)?;
    let foreign =
        |why: serde_json::Error| unreachable(format!("its answer is not understood: {why}"));
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(foreign);
    }
    Err(serde_json::from_slice(&body).map_or_else(foreign, |it| Failure::Told(Box::new(it))))
}

/// What a member sends as documents, a line each. A failure is the last item.
pub(super) fn lines<T: DeserializeOwned + Send + 'static>(
    app: &App,
    node: NodeId,
    path: String,
) -> BoxStream<'static, Result<T, String>> {
    let app = app.clone();
    let opened = stream::once(async move {
        let body = match get(&app, node, &path).await {
            Ok(body) => body,
            Err(why) => return stream::once(async { Err(why) }).boxed(),
        };
        let bytes = body.into_data_stream().map_err(io::Error::other);
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        let lines = FramedRead::new(StreamReader::new(bytes), codec);
        let documents = lines.map(|line| {
            let line = line.map_err(|error| error.to_string())?;
            serde_json::from_str(&line)
                .map_err(|why| format!("its answer is not understood: {why}"))
        });
        documents.boxed()
    });
    opened.flatten().boxed()
}

/// What is followed at other members.
pub(super) trait Followed: Send + 'static {
    /// A document of it.
    type Out: DeserializeOwned + Send + 'static;

    /// Whether a container has anything to tell.
    fn wants(&self, record: &ContainerRecord) -> bool;

    /// What to ask a member for; `again` after its stream broke off.
    fn path(&self, node: NodeId, again: bool) -> String;

    /// Takes note of a document.
    fn took(&mut self, node: NodeId, out: &Self::Out);

    /// A document that says that a member's part is missing.
    fn warning(&self, node: &str, text: String) -> Self::Out;

    /// Whether it ends once every stream has.
    fn is_bounded(&self) -> bool;
}

/// A document of a member, why its stream broke off, or its end.
type Piece<T> = (NodeId, Option<Result<T, String>>);

/// Streams of other members as one, which members join when they get containers, and rejoin after they
/// broke off.
pub(super) struct Follow<F: Followed> {
    app: App,
    followed: F,
    filter: Filter,
    changes: watch::Receiver<std::sync::Arc<View>>,
    members: BTreeMap<NodeId, Stage>,
    open: SelectAll<BoxStream<'static, Piece<F::Out>>>,
    again: Interval,
}

/// How the stream of a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open { said: bool },
    Ended,
    Broken,
}

impl<F: Followed> Follow<F> {
    pub(super) fn new(app: &App, filter: Filter, followed: F) -> Self {
        let mut again = interval(REOPEN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut follow = Self {
            app: app.clone(),
            followed,
            filter,
            changes: app.backend.view.clone(),
            members: BTreeMap::new(),
            open: SelectAll::new(),
            again,
        };
        follow.join();
        follow
    }

    /// The next document; `None` when no more can come.
    pub(super) async fn next(&mut self) -> Option<F::Out> {
        while !self.is_over() {
            tokio::select! {
                Some((node, piece)) = self.open.next(), if !self.open.is_empty() => {
                    if let Some(out) = self.take(node, piece) {
                        return Some(out);
                    }
                }
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.join();
                }
                _ = self.again.tick() => self.rejoin(),
            }
        }
        None
    }

    fn take(&mut self, node: NodeId, piece: Option<Result<F::Out, String>>) -> Option<F::Out> {
        let stage = self.members.get_mut(&node)?;
        match piece {
            Some(Ok(out)) => {
                *stage = Stage::Open { said: false };
                self.followed.took(node, &out);
                Some(out)
            }
            Some(Err(why)) => {
                // Once for each outage.
                let said = *stage == Stage::Open { said: true };
                *stage = Stage::Broken;
                let view = self.app.backend.now();
                let (name, text) = (lookup::name_of(&view, node), missing(&view, node, &why));
                (!said).then(|| self.followed.warning(&name, text))
            }
            None => {
                if matches!(stage, Stage::Open { .. }) {
                    *stage = Stage::Ended;
                }
                None
            }
        }
    }

    /// Opens the streams of members that are new to it.
    fn join(&mut self) {
        let view = self.changes.borrow_and_update().clone();
        for node in with_containers(&view, &self.filter, |it| self.followed.wants(it)) {
            if !self.members.contains_key(&node) {
                self.open(node, false);
            }
        }
    }

    /// Opens the streams again that broke off, of members that are there.
    fn rejoin(&mut self) {
        let view = self.app.backend.now();
        for node in living(&view) {
            if self.members.get(&node) == Some(&Stage::Broken) {
                self.open(node, true);
            }
        }
    }

    fn open(&mut self, node: NodeId, again: bool) {
        let lines = lines(&self.app, node, self.followed.path(node, again)).map(Some);
        let pieces = lines.chain(stream::once(async { None })).map(move |it| (node, it));
        self.open.push(pieces.boxed());
        self.members.insert(node, Stage::Open { said: again });
    }

    fn is_over(&self) -> bool {
        if !self.open.is_empty() {
            return false;
        }
        let view = self.changes.borrow();
        let gone = |id| view.state.container(id).is_none_or(|it| it.state.is_over());
        self.followed.is_bounded()
            || self.filter.container.is_some_and(gone)
            || !self.filter.project_is_there(&view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_fits_into_a_header_whatever_is_in_it() {
        let headers = warnings(&["node b: größer\r\nX: 1".to_owned(), "two".to_owned()]);
        let values: Vec<_> = headers.get_all(wire::header::WARNING).iter().collect();
        assert_eq!(values, ["node b: gr??er??X: 1", "two"]);
    }
}
