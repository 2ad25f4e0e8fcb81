//! The HTTP interface: wire types, routes, events, metrics.
//!
//! | Route | What |
//! |---|---|
//! | `GET /v1/version` | [`wire::Version`] |
//! | `GET /v1/nodes`, `/v1/nodes/{id}` | [`wire::Node`] |
//! | `GET /v1/deployments`, `/v1/deployments/{project}` | [`wire::Deployment`] |
//! | `POST /v1/deployments` | [`wire::Deploy`] to [`wire::Deployed`]; with `dry_run` to [`wire::Plan`] |
//! | `DELETE /v1/deployments/{project}` | [`wire::RemoveDeployment`] as query, to [`wire::Accepted`] |
//! | `POST /v1/deployments/{project}/actions` | [`wire::ServiceAction`] to [`wire::Accepted`] |
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

mod app;
pub mod backend;
pub mod events;
mod extract;
mod frames;
mod gather;
mod lookup;
mod member;
pub mod metrics;
mod problem;
pub(crate) mod registry;
mod render;
mod routes;
mod server;
mod table;
pub mod wire;

pub use app::Limits;
pub use backend::{Ask, Backend, Cluster, MemberStream, NewToken, Sealer, Stream, TokenStanding};
pub use events::EventLog;
pub use member::ask_member;
pub use metrics::Metrics;
pub use server::serve;

/// The OpenAPI document of all routes, as `/v1/openapi.json` serves it.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    table::build(routes::table()).1
}
