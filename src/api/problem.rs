//! Every way in which the API says no, and the one place that turns it into a [`wire::Problem`]
//! (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::wire::{self, Problem};
use crate::{node::Refusal, runtime::RuntimeError};

/// What the name of a kind of problem begins with.
const KIND_PREFIX: &str = "urn:fizz:";

/// An answer, or why there is none.
pub(super) type Answer<T> = Result<T, Failure>;

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The node's reason.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node's reason, about the cluster itself.
    #[error(transparent)]
    Cluster(Refusal),
    /// The runtime's reason.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Another node's reason.
    #[error("{}", .0.detail)]
    Told(Box<Problem>),
    /// No such thing.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// `container`.
        what: &'static str,
        /// As asked for.
        name: String,
    },
    /// Several such things.
    #[error("`{text}` may be any of these {what}s: {}", candidates.join(", "))]
    Ambiguous {
        /// `container`.
        what: &'static str,
        /// As asked for.
        text: String,
        /// All of them.
        candidates: Vec<String>,
    },
    /// Another node has it.
    #[error("`{what}` is node `{node}`'s, and only that node can do this")]
    Elsewhere {
        /// Its name.
        what: String,
        /// The node's name.
        node: String,
    },
    /// Another node has it, and does not answer.
    #[error("node `{node}`, which has it, does not answer: {why}")]
    Unreachable {
        /// The node's name.
        node: String,
        /// Why.
        why: String,
    },
    /// The container is not in a state for it.
    #[error("{0}")]
    Unfit(String),
    /// There is no other node.
    #[error("this node is in no cluster: what runs here can run nowhere else")]
    Alone,
    /// The node's networks are each of one node.
    #[error("this node is in no mesh: its runtime answers names")]
    NoMesh,
    /// The API has no such path.
    #[error("the API has nothing at `{0}`")]
    NoRoute(String),
    /// The path has no such method.
    #[error("`{method}` is not possible at `{path}`")]
    WrongMethod {
        /// The method.
        method: String,
        /// The path.
        path: String,
    },
    /// The path or the query cannot be read.
    #[error("the request's address can't be understood: {0}")]
    Address(String),
    /// The body cannot be read.
    #[error("the request's body can't be understood: {0}")]
    Body(String),
    /// The body's content is wrong.
    #[error("the request has {} problem(s)", .0.len())]
    Invalid(Vec<String>),
    /// The body is of another kind.
    #[error("the body must be `{wanted}`, and the request says {found}")]
    ContentType {
        /// What is wanted.
        wanted: &'static str,
        /// What the header says.
        found: String,
    },
    /// The body is too long.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// The body does not come.
    #[error("the rest of the body did not come within {0} s")]
    TooSlow(u64),
    /// The client went away, or broke off.
    #[error("the body broke off: {0}")]
    BrokenOff(String),
    /// A browser sends it for a page.
    #[error("the request comes from the web page `{0}`")]
    Origin(String),
    /// A session needs an upgrade.
    #[error(
        "this is a session: the request must ask for the upgrade to `{}`",
        wire::frame::PROTOCOL
    )]
    NeedsUpgrade,
    /// The client's frames make no sense.
    #[error("the session was ended: {0}")]
    Frame(String),
    /// Too many at once.
    #[error("{0} streams are open already, the most at a time")]
    TooManyStreams(usize),
    /// A secret was not sealed.
    #[error("`{name}` could not be sealed: {why}")]
    Seal {
        /// The secret's key.
        name: String,
        /// Why.
        why: String,
    },
    /// The node does not answer in time.
    #[error("the node did not answer within {0} s")]
    NodeSlow(u64),
    /// The node answers otherwise than it must, or is gone.
    #[error("the node is stopping")]
    NodeGone,
    /// It cannot serve yet.
    #[error("the node is not ready: {}", .0.join("; "))]
    NotReady(Vec<String>),
    /// The daemon is stopping.
    #[error("the daemon is stopping")]
    Closing,
    /// Ours.
    #[error("the answer could not be put together: {0}")]
    Render(String),
}

/// A kind of problem: its status, its stable name, its title and what to do next.
type Kind = (StatusCode, &'static str, &'static str, String);

impl Failure {
    /// As clients get it.
    pub(super) fn problem(&self) -> Problem {
        if let Self::Told(problem) = self {
            return Problem::clone(problem);
        }
        let (status, name, title, hint) = self.kind();
        let problems = if let Self::Refused(Refusal::Invalid(list))
        | Self::Invalid(list)
        | Self::NotReady(list)
        | Self::Ambiguous { candidates: list, .. } = self
        {
            list.clone()
        } else {
            Vec::new()
        };
        Problem {
            kind: format!("{KIND_PREFIX}{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.to_string(),
            hint,
            problems,
        }
    }

    fn kind(&self) -> Kind {
        use StatusCode as S;
        let (status, name, title, hint) = match self {
            Self::Refused(refusal) => return refusal_kind(refusal),
            Self::Cluster(refusal) => return cluster_kind(refusal),
            Self::Runtime(error) => return runtime_kind(error),
            Self::Told(problem) => {
                let status = S::from_u16(problem.status).unwrap_or(S::BAD_GATEWAY);
                (status, "told", "another node refused", problem.hint.clone())
            }
            Self::NotFound { what, .. } => (
                S::NOT_FOUND,
                "not-found",
                "not there",
                format!("list what there is: GET /v1/{what}s"),
            ),
            Self::Ambiguous { what, .. } => {
                let hint = if *what == "volume" { NAME_NODE } else { NAME_MORE };
                (S::CONFLICT, "ambiguous", "not unique", hint.into())
            }
            Self::Elsewhere { node, .. } => {
                let hint = format!("ask node `{node}`");
                (S::MISDIRECTED_REQUEST, "elsewhere", "on another node", hint)
            }
            Self::Unreachable { .. } => {
                (S::BAD_GATEWAY, "node-unreachable", "its node does not answer", SEE_NODES.into())
            }
            Self::Unfit(_) => (S::CONFLICT, "conflict", "not in its state", CHECK_STATE.into()),
            Self::Alone => (S::CONFLICT, "conflict", "no other node", MAKE_CLUSTER.into()),
            Self::NoMesh => (S::CONFLICT, "conflict", "no mesh", JOIN_MESH.into()),
            Self::NoRoute(_) => (S::NOT_FOUND, "no-route", "no such path", SEE_DOCUMENT.into()),
            Self::WrongMethod { .. } => {
                (S::METHOD_NOT_ALLOWED, "method", "no such method", SEE_DOCUMENT.into())
            }
            Self::Address(_) => (S::BAD_REQUEST, "query", "bad query", SEE_DOCUMENT.into()),
            Self::Body(_) => (S::BAD_REQUEST, "body", "bad body", SEE_DOCUMENT.into()),
            Self::Invalid(_) => (S::UNPROCESSABLE_ENTITY, "invalid", "invalid request", FIX.into()),
            Self::ContentType { wanted, .. } => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "content-type",
                "wrong content type",
                format!("send `Content-Type: {wanted}`"),
            ),
            Self::TooLarge(_) => (S::PAYLOAD_TOO_LARGE, "too-large", "too large", SMALLER.into()),
            Self::TooSlow(_) => (S::REQUEST_TIMEOUT, "too-slow", "too slow", AGAIN.into()),
            Self::BrokenOff(_) => (S::BAD_REQUEST, "broken-off", "incomplete", AGAIN.into()),
            Self::Origin(_) => (S::FORBIDDEN, "origin", "from a web page", NO_ORIGIN.into()),
            Self::NeedsUpgrade => (
                S::UPGRADE_REQUIRED,
                "upgrade",
                "needs an upgrade",
                format!("send `Connection: Upgrade` and `Upgrade: {}`", wire::frame::PROTOCOL),
            ),
            Self::Frame(_) => (S::BAD_REQUEST, "frame", "bad frame", SEE_DOCUMENT.into()),
            Self::TooManyStreams(_) => {
                (S::SERVICE_UNAVAILABLE, "too-many-streams", "busy", CLOSE_STREAMS.into())
            }
            Self::Seal { .. } => (S::INTERNAL_SERVER_ERROR, "seal", "not sealed", SEE_LOG.into()),
            Self::NodeSlow(_) => {
                (S::GATEWAY_TIMEOUT, "node-slow", "no answer", MAY_HAVE_HAPPENED.into())
            }
            Self::NodeGone | Self::Closing => {
                (S::SERVICE_UNAVAILABLE, "stopping", "stopping", AFTER_START.into())
            }
            Self::NotReady(_) => (S::SERVICE_UNAVAILABLE, "not-ready", "not ready", WAIT.into()),
            Self::Render(_) => {
                (S::INTERNAL_SERVER_ERROR, "internal", "internal error", SEE_LOG.into())
            }
        };
        (status, name, title, hint)
    }
}

const SEE_DOCUMENT: &str = "see /v1/openapi.json for what can be asked";
const NAME_MORE: &str = "write more of the id, or the whole name";
const NAME_NODE: &str = "say which node's, with `--node` or `?node=`";
const SEE_NODES: &str = "see how the nodes are with `fizz nodes`, and ask again";
const SEE_CLUSTER: &str = "`fizz cluster status` shows how this node stands";
const JOIN_MESH: &str = "make a cluster with `fizz init`; in one, take `network.driver: bridge` out of all \
                         nodes' settings";
const MAKE_CLUSTER: &str = "make a cluster with `fizz init`, and let other nodes join";
const SEE_LOG: &str = "see the daemon's log, and report it";
const FIX: &str = "correct what is listed and ask again";
const SMALLER: &str = "send less in one request";
const AGAIN: &str = "send the request again";
const NO_ORIGIN: &str = "use the command line or a tool; pages in browsers may not use this socket";
const CLOSE_STREAMS: &str = "close a stream (logs, events, stats, exec) and ask again";
const MAY_HAVE_HAPPENED: &str =
    "it may still be carried out: look at the state before asking again";
const AFTER_START: &str = "ask again once the daemon runs";
const WAIT: &str = "wait, or repair what is listed";
const CHECK_STATE: &str = "look at the container with `fizz ps --all`";

/// What to do about the cluster itself is in the reason.
fn cluster_kind(refusal: &Refusal) -> Kind {
    let (status, name, title, hint) = refusal_kind(refusal);
    let hint = if status == StatusCode::CONFLICT { SEE_CLUSTER.to_owned() } else { hint };
    (status, name, title, hint)
}

fn refusal_kind(refusal: &Refusal) -> Kind {
    use StatusCode as S;
    match refusal {
        Refusal::NotFound { what, .. } => {
            let hint = match *what {
                "label" => "list what there is: `fizz node inspect`".to_owned(),
                "version" => "list what there is: `fizz history`".to_owned(),
                what => format!("list what there is: GET /v1/{what}s"),
            };
            (S::NOT_FOUND, "not-found", "not there", hint)
        }
        Refusal::Invalid(_) => (S::UNPROCESSABLE_ENTITY, "invalid", "invalid model", FIX.into()),
        Refusal::Overtaken { .. } => (
            S::PRECONDITION_FAILED,
            "overtaken",
            "another change came first",
            "plan again and look at what changed".into(),
        ),
        Refusal::Elsewhere(_) => {
            (S::MISDIRECTED_REQUEST, "elsewhere", "on another node", SEE_NODES.into())
        }
        Refusal::Conflict(_) => (
            S::CONFLICT,
            "conflict",
            "not possible as things are",
            "look at the state with `fizz ps --all`, then ask again".into(),
        ),
    }
}

fn runtime_kind(error: &RuntimeError) -> Kind {
    use StatusCode as S;
    match error {
        RuntimeError::Unreachable { runtime, .. } => (
            S::SERVICE_UNAVAILABLE,
            "runtime-unreachable",
            "the container runtime does not answer",
            format!("start {runtime}; Fizz goes on by itself once it answers"),
        ),
        RuntimeError::Absent(_) => (
            S::SERVICE_UNAVAILABLE,
            "runtime-unreachable",
            "there is no container runtime",
            "install or start one; Fizz goes on by itself once it answers".into(),
        ),
        RuntimeError::NotFound { .. } => (
            S::NOT_FOUND,
            "not-found",
            "not there",
            "look at what the runtime has with `fizz ps --all`".into(),
        ),
        RuntimeError::Conflict(_) => (
            S::CONFLICT,
            "conflict",
            "in use or in the way",
            "remove what is in the way, or choose another name".into(),
        ),
        RuntimeError::Unauthorized { registry, .. } => (
            S::FORBIDDEN,
            "registry-unauthorized",
            "the registry refused",
            format!("log in with `docker login {registry}` and ask again"),
        ),
        RuntimeError::Unsupported(_) => (
            S::NOT_IMPLEMENTED,
            "unsupported",
            "the container runtime cannot do this",
            "upgrade the runtime, or take the setting out".into(),
        ),
        RuntimeError::Failed { .. } => (
            S::BAD_GATEWAY,
            "runtime-failed",
            "the container runtime refused",
            "the reason is the runtime's own; correct it and ask again".into(),
        ),
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if matches!(self, Self::NeedsUpgrade) {
            let protocol = HeaderValue::from_static(wire::frame::PROTOCOL);
            response.headers_mut().insert(header::UPGRADE, protocol);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_model_is_listed() {
        let lines = vec!["a".to_owned(), "b".to_owned()];
        let problem = Failure::Refused(Refusal::Invalid(lines.clone())).problem();
        assert_eq!((problem.status, problem.kind.as_str()), (422, "urn:fizz:invalid"));
        assert_eq!(problem.problems, lines);
    }

    #[test]
    fn an_ambiguous_name_lists_the_candidates() {
        let candidates = vec!["shop-web-1".to_owned(), "shop-web-2".to_owned()];
        let failure = Failure::Ambiguous { what: "container", text: "a".into(), candidates };
        let problem = failure.problem();
        assert_eq!(problem.status, 409);
        assert!(problem.detail.contains("shop-web-1, shop-web-2"), "{}", problem.detail);
        assert_eq!(problem.problems.len(), 2);
    }

    #[test]
    fn a_runtime_that_is_away_is_worth_waiting_for() {
        let error = RuntimeError::Unreachable {
            runtime: "docker",
            address: "/run/docker.sock".into(),
            why: "connection refused".into(),
        };
        let problem = Failure::Runtime(error).problem();
        assert_eq!(problem.status, 503);
        assert!(problem.hint.contains("start docker"), "{}", problem.hint);
    }
}
