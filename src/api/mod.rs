//! The HTTP interface: wire types, routes, events, metrics.
//!
//! | Route | What |
//! |---|---|
//! | `GET /v1/version` | [`wire::Version`] |
//! | `GET /v1/cluster` | [`wire::Cluster`] |
//! | `POST /v1/cluster/init` | to [`wire::Founded`]; the daemon begins anew |
//! | `POST /v1/cluster/join` | [`wire::Join`] to [`wire::Joined`]; the daemon begins anew |
//! | `POST /v1/cluster/leave?force=` | the daemon begins anew |
//! | `POST /v1/cluster/rotate` | to [`wire::Rotated`] |
//! | `GET`, `POST /v1/tokens` | [`wire::Token`]; [`wire::CreateToken`] to [`wire::NewToken`] |
//! | `DELETE /v1/tokens/{id}` | revokes it |
//! | `GET /v1/nodes?all=`, `/v1/nodes/{id}` | [`wire::Node`]; `all` with those that left |
//! | `DELETE /v1/nodes/{id}?force=&rotate=` | puts a node out of the cluster |
//! | `POST /v1/nodes/{id}/labels` | labels to give, and with null to take, to [`wire::Node`] |
//! | `POST /v1/nodes/{id}/availability` | [`wire::Availability`] to [`wire::Node`] |
//! | `GET /v1/ingress` | [`wire::NodeIngress`] of each node |
//! | `GET /v1/doctor`, `/v1/nodes/{id}/doctor` | [`wire::Examination`] |
//! | `GET /v1/nodes/{id}/sight?of=` | [`wire::Sight`], for a member that examines itself |
//! | `GET /v1/names/{name}?record=&from=&project=` | [`wire::NameAnswer`] |
//! | `GET /v1/deployments`, `/v1/deployments/{project}` | [`wire::Deployment`] |
//! | `POST /v1/deployments` | [`wire::Deploy`] to [`wire::Deployed`]; with `dry_run` to [`wire::Plan`] |
//! | `DELETE /v1/deployments/{project}` | [`wire::RemoveDeployment`] as query, to [`wire::Accepted`] |
//! | `POST /v1/deployments/{project}/actions` | [`wire::ServiceAction`] to [`wire::Accepted`] |
//! | `GET /v1/deployments/{project}/revisions` | [`wire::Revision`], newest first |
//! | `POST /v1/deployments/{project}/rollback` | [`wire::Rollback`] to [`wire::Deployed`]; with `dry_run` to [`wire::Plan`] |
//! | `POST /v1/deployments/{project}/migrate` | [`wire::Migrate`] to [`wire::Deployed`]; with `dry_run` to [`wire::Plan`] |
//! | `POST /v1/deployments/{project}/rollout` | [`wire::RolloutAction`] to [`wire::Accepted`] |
//! | `POST /v1/rebalance` | [`wire::Rebalance`] to [`wire::Move`] |
//! | `GET /v1/deployments/{project}/services/{service}/explain` | [`wire::Explanation`] |
//! | `GET /v1/services?project=`, `/v1/deployments/{project}/services/{service}` | [`wire::Service`] |
//! | `POST /v1/deployments/{project}/services/{service}/run` | [`wire::RunOneOff`] to [`wire::Created`] |
//! | `GET /v1/containers?project=&service=&all=` | [`wire::Container`]; `all` with ended and one-off ones |
//! | `GET /v1/containers/{id}` | [`wire::Container`]; an id, an unambiguous beginning of one, or a name |
//! | `GET /v1/containers/{id}/inspect` | the runtime's own account |
//! | `GET /v1/containers/{id}/wait` | [`wire::Ended`], once it has ended |
//! | `DELETE /v1/containers/{id}?force=&volumes=` | a one-off or an ended container |
//! | `POST /v1/containers/{id}/exec` | [`wire::Exec`], then the connection is upgraded ([`wire::frame`]) |
//! | `POST /v1/containers/{id}/attach?stdin=` | upgraded likewise; starts a waiting one-off container |
//! | `GET /v1/containers/{id}/stats?stream=`, `/v1/stats?project=&service=&stream=` | lines of [`wire::Stats`] |
//! | `GET /v1/containers/{id}/top?ps=` | [`wire::Top`] |
//! | `GET`, `PUT /v1/containers/{id}/archive?path=` | a tar stream out of, or into a directory of, a container |
//! | `GET /v1/logs?project=&service=&container=&follow=&tail=&since_ms=&until_ms=` | lines of [`wire::LogLine`]; follows new containers too |
//! | `GET /v1/images?project=`, `/v1/images/inspect?reference=` | [`wire::Image`] |
//! | `POST /v1/images/pull` | [`wire::Pull`] to lines of [`wire::Progress`] |
//! | `POST /v1/images/build?request=` | [`wire::Build`] in the query, a tar body, to lines of [`wire::Progress`] |
//! | `DELETE /v1/images?reference=` | |
//! | `GET /v1/volumes?project=`, `GET`, `DELETE /v1/volumes/{name}` | [`wire::Volume`] |
//! | `GET /v1/events?project=&since=` | server-sent [`wire::Event`]s; `Last-Event-ID` resumes |
//! | `GET /v1/openapi.json`, `/metrics`, `/healthz`, `/readyz` | |
//!
//! Any node answers from what it knows of the whole cluster. What only one node can tell or do is
//! [passed on](pass_on) to it; what several have a part of is asked of all of these ([others]).

mod app;
pub mod backend;
pub mod events;
mod extract;
mod frames;
mod gather;
mod lookup;
mod member;
pub mod metrics;
mod names;
mod others;
mod pass_on;
mod problem;
pub(crate) mod registry;
mod render;
mod rollouts;
mod routes;
mod server;
mod table;
pub mod wire;

pub use app::Limits;
pub use backend::{
    Ask, Backend, Clock, Cluster, Doctor, Ingress, MemberStream, NewToken, Sealer, Stream,
    TokenStanding,
};
pub use events::EventLog;
pub use member::{ask_member, get_of_member};
pub use metrics::Metrics;
pub use server::serve;

/// The OpenAPI document of all routes, as `/v1/openapi.json` serves it.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    table::build(routes::table()).1
}
