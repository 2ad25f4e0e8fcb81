//! `/v1/volumes`: the volumes that deployments made, on whichever node they are.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    api::{
        app::App,
        extract::{At, Params},
        lookup, member,
        others::{self, Reach},
        problem::{Answer, Failure},
        render, wire,
    },
    model::{NodeId, ProjectName},
    node::Request,
    runtime::{VolumeInfo, labels},
};

/// Which volumes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// Of this project.
    project: Option<String>,
}

/// On which node.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    /// The node's id or name; needed where several nodes have a volume of the name.
    node: Option<String>,
}

pub(super) async fn list(
    State(app): State<App>,
    reach: Reach,
    Params(asked): Params<Listed>,
) -> Answer<(HeaderMap, Json<Vec<wire::Volume>>)> {
    let project = asked.project.as_deref().map(lookup::parse_project).transpose()?;
    let (mut all, warnings) = everywhere(&app, reach, project.as_ref()).await?;
    all.retain(is_ours);
    Ok((others::warnings(&warnings), Json(all)))
}

/// The volumes of all nodes that answer, by name and node, and why some are missing.
async fn everywhere(
    app: &App,
    reach: Reach,
    project: Option<&ProjectName>,
) -> Answer<(Vec<wire::Volume>, Vec<String>)> {
    let view = app.backend.now();
    let label = project.map(|project| (labels::PROJECT, project.as_str()));
    let elsewhere = match reach {
        Reach::Cluster => others::living(&view),
        Reach::Here => Vec::new(),
    };
    let query = project.map(|it| format!("?project={it}")).unwrap_or_default();
    let path = format!("/v1/volumes{query}");
    let (here, (elsewhere, warnings)) = tokio::join!(
        app.backend.runtime.volumes(label),
        others::lists::<wire::Volume>(app, elsewhere, &path),
    );
    let here: Vec<VolumeInfo> = here?;
    let mut all: Vec<_> = here.into_iter().map(|it| render::volume(&view, it)).collect();
    all.extend(elsewhere.into_iter().flat_map(|(_, list)| list));
    all.sort_by(|a, b| (&a.name, &a.node_name).cmp(&(&b.name, &b.node_name)));
    Ok((all, warnings))
}

/// Whether a deployment made it.
fn is_ours(volume: &wire::Volume) -> bool {
    volume.labels.contains_key(labels::PROJECT)
}

pub(super) async fn one(
    State(app): State<App>,
    reach: Reach,
    At(name): At<String>,
    Params(at): Params<Where>,
) -> Answer<Json<wire::Volume>> {
    Ok(Json(find(&app, reach, name, at).await?))
}

/// Only what a deployment made: others' volumes are theirs to remove.
pub(super) async fn remove(
    State(app): State<App>,
    reach: Reach,
    At(name): At<String>,
    Params(at): Params<Where>,
) -> Answer<StatusCode> {
    let volume = find(&app, reach, name, at).await?;
    if !is_ours(&volume) {
        let why = format!("volume `{}` was not made by Fizz, which leaves it alone", volume.name);
        return Err(Failure::Unfit(why));
    }
    let view = app.backend.now();
    match volume.node.parse::<NodeId>() {
        Ok(node) if node != view.me => {
            let unreachable = |why| Failure::Unreachable { node: volume.node_name.clone(), why };
            let stream = member::dial(&app, node).await.map_err(unreachable)?;
            // The name came out of a list of the node's own, and has nothing to escape in it.
            let path = format!("/v1/volumes/{}", volume.name);
            let removed = member::ask_member(stream, "DELETE", &path).await;
            removed.map_err(Failure::Unfit)?;
        }
        Ok(_) | Err(_) => {
            app.backend.runtime.remove_volume(&volume.name).await?;
            // A node that is stopping looks for itself when it starts.
            drop(app.ask(Request::Dropped(volume.name.clone())).await);
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The volume of a name, wherever it is.
async fn find(app: &App, reach: Reach, name: String, at: Where) -> Answer<wire::Volume> {
    let view = app.backend.now();
    let node = at.node.as_deref().map(|it| lookup::node(&view, it)).transpose()?;
    let node = node.map(|(id, _)| id.to_string());
    let (all, _) = everywhere(app, reach, None).await?;
    let named = all.into_iter().filter(|it| it.name == name);
    let mut found: Vec<wire::Volume> =
        named.filter(|it| node.as_ref().is_none_or(|node| *node == it.node)).collect();
    if found.len() > 1 {
        let candidates = found.iter().map(|it| format!("{name} on {}", it.node_name)).collect();
        return Err(Failure::Ambiguous { what: "volume", text: name, candidates });
    }
    found.pop().ok_or(Failure::NotFound { what: "volume", name })
}
