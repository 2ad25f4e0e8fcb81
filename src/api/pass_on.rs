//! A request about what only another node can tell or do is passed on to that node, whole, and its answer
//! comes back as it is: bodies stream both ways, and a session's bytes are carried until both ends close.
//!
//! What comes from another member is never passed on again: two nodes that disagree about who has a
//! container would send it back and forth.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, time::timeout};
use tracing::debug;

use super::{
    app::App,
    lookup,
    member::{self, Connection},
    problem::{Answer, Failure},
    server::{Afterwards, Peer},
};
use crate::{model::NodeId, node::View};

/// Headers that are about one connection only (RFC 9110, section 7.6.1), and those that a member has no
/// use for.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// How long both sides may take to become a session once that was agreed.
const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// What a request is about, and the node that has it.
struct Place {
    what: String,
    node: NodeId,
}

/// Passes on what another node has; everything else is answered here.
pub(super) async fn pass_on(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let view = app.backend.now();
    let place = place(&view, &mut parts).await.filter(|it| it.node != view.me);
    let Some(place) = place else { return next.run(Request::from_parts(parts, body)).await };
    let answer = match parts.extensions.get::<Peer>() {
        Some(Peer::Member(_)) => {
            Err(Failure::Elsewhere { what: place.what, node: lookup::name_of(&view, place.node) })
        }
        Some(Peer::Local(_)) | None => forward(&app, &view, place.node, parts, body).await,
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}

/// Where what a request is about is. What is not found, or not unique, the route itself says.
async fn place(view: &View, parts: &mut Parts) -> Option<Place> {
    let route = parts.extensions.get::<MatchedPath>()?.as_str().to_owned();
    let method = parts.method.clone();
    let params = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let id = params.iter().find(|(name, _)| *name == "id").map(|(_, value)| value)?;
    if let Some(rest) = route.strip_prefix("/v1/containers/{id}") {
        // What every node knows of a container, any node tells.
        if rest.is_empty() && method != Method::DELETE {
            return None;
        }
        let record = lookup::container(view, id).ok()?;
        return Some(Place { what: record.name.to_string(), node: record.node });
    }
    // Only a node itself writes its labels, and what it takes, and looks at its machine.
    let own = matches!(
        route.as_str(),
        "/v1/nodes/{id}/labels" | "/v1/nodes/{id}/availability" | "/v1/nodes/{id}/doctor"
    );
    let (node, record) = own.then(|| lookup::node(view, id).ok())??;
    Some(Place { what: record.name.to_string(), node })
}

async fn forward(
    app: &App,
    view: &View,
    node: NodeId,
    mut parts: Parts,
    body: Body,
) -> Answer<Response> {
    let place = app.place()?;
    let unreachable = |why| Failure::Unreachable { node: lookup::name_of(view, node), why };
    let upgrade = parts.headers.get(header::UPGRADE).cloned();
    let ours = upgrade.as_ref().and_then(|_| parts.extensions.remove::<OnUpgrade>());
    let afterwards = parts.extensions.remove::<Afterwards>();
    let request = request_for(parts, body, upgrade.filter(|_| ours.is_some()));
    let request = request.map_err(|why| Failure::Render(why.to_string()))?;
    let stream = member::dial(app, node).await.map_err(unreachable)?;
    let over = member::over(app, node);
    let (mut answer, connection) =
        member::exchange(stream, request, over, Some(place)).await.map_err(unreachable)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let theirs = hyper::upgrade::on(&mut answer);
        let (Some(ours), Some(afterwards)) = (ours, afterwards) else {
            return Err(Failure::NeedsUpgrade);
        };
        afterwards.set(Box::pin(carry(connection, ours, theirs)));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let upgrade = HeaderValue::from_static("Upgrade");
        response.headers_mut().insert(header::CONNECTION, upgrade);
        if let Some(protocol) = answer.headers().get(header::UPGRADE) {
            response.headers_mut().insert(header::UPGRADE, protocol.clone());
        }
        return Ok(response);
    }
    let (mut head, body) = answer.into_parts();
    head.headers = kept(&head.headers);
    head.extensions.clear();
    Ok(Response::from_parts(head, Body::new(connection.carry(body))))
}

/// The request as the other node gets it.
fn request_for(
    parts: Parts,
    body: Body,
    upgrade: Option<HeaderValue>,
) -> Result<hyper::Request<Body>, axum::http::Error> {
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let mut request = hyper::Request::builder().method(parts.method).uri(path).body(body)?;
    let headers = request.headers_mut();
    *headers = kept(&parts.headers);
    headers.insert(header::HOST, HeaderValue::from_static(member::HOST));
    let connection = if upgrade.is_some() { "Upgrade" } else { "close" };
    headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
    if let Some(protocol) = upgrade {
        headers.insert(header::UPGRADE, protocol);
    }
    Ok(request)
}

/// Headers without those that are about one connection: the known ones, and those that it names itself.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|it| it.to_str().ok());
    let named: Vec<String> =
        named.flat_map(|it| it.split(',')).map(|it| it.trim().to_ascii_lowercase()).collect();
    let stays = |name: &HeaderName| {
        !OF_THE_CONNECTION.contains(name) && !named.iter().any(|it| it == name.as_str())
    };
    let all = headers.iter().filter(|(name, _)| stays(name));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Carries a session's bytes both ways until both sides have closed, or the other node is lost.
async fn carry(mut connection: Connection, ours: OnUpgrade, theirs: OnUpgrade) {
    let both = async { tokio::join!(ours, theirs) };
    let (ours, theirs) = match timeout(UPGRADE_MAX, connection.until(both)).await {
        Ok(Ok((Ok(ours), Ok(theirs)))) => (ours, theirs),
        Ok(Ok((Err(why), _) | (_, Err(why)))) => {
            return debug!(%why, "a session's connection was not upgraded");
        }
        Ok(Err(why)) => return debug!(why, "a session's node is lost"),
        Err(_) => return debug!("a session's connection was not upgraded in time"),
    };
    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
    match connection.until(copy_bidirectional(&mut ours, &mut theirs)).await {
        Ok(Ok(_)) => {}
        Ok(Err(why)) => debug!(%why, "a session broke off"),
        Err(why) => debug!(why, "a session's node is lost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_stay_with_it() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Odd"),
            ("host", "fizz"),
            ("x-odd", "1"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "fizz-session"),
            ("content-type", "application/json"),
            ("content-length", "2"),
        ] {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_static(value));
        }
        let kept = kept(&headers);
        let names: Vec<&str> = kept.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "content-length"]);
    }

    #[test]
    fn a_request_goes_on_with_its_query_and_asks_for_the_upgrade_anew() {
        let request = Request::post("/v1/containers/a%2Fb/exec?x=1&y=%20").body(()).unwrap();
        let (parts, ()) = request.into_parts();
        let protocol = HeaderValue::from_static("fizz-session");
        let passed = request_for(parts, Body::empty(), Some(protocol.clone())).unwrap();
        assert_eq!(passed.uri(), "/v1/containers/a%2Fb/exec?x=1&y=%20");
        assert_eq!(passed.headers()[header::CONNECTION], "Upgrade");
        assert_eq!(passed.headers()[header::UPGRADE], protocol);
        assert_eq!(passed.headers()[header::HOST], member::HOST);
    }
}
