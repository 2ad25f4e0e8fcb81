//! `/v1/ingress`: the published ports, as each node carries them.

use axum::{Json, extract::State, http::HeaderMap};

use crate::api::{
    app::App,
    others::{self, Reach},
    problem::Answer,
    wire,
};

pub(super) async fn list(
    State(app): State<App>,
    reach: Reach,
) -> Answer<(HeaderMap, Json<Vec<wire::NodeIngress>>)> {
    let elsewhere = match reach {
        Reach::Cluster => others::living(&app.backend.now()),
        Reach::Here => Vec::new(),
    };
    let (here, (elsewhere, warnings)) = tokio::join!(
        app.backend.ingress.carried(),
        others::lists::<wire::NodeIngress>(&app, elsewhere, "/v1/ingress"),
    );
    let mut all = vec![here];
    all.extend(elsewhere.into_iter().flat_map(|(_, list)| list));
    all.sort_by(|a, b| (&a.node_name, &a.node).cmp(&(&b.node_name, &b.node)));
    Ok((others::warnings(&warnings), Json(all)))
}
