//! The routes, by noun, and the table of them all.

mod archive;
mod cluster;
mod containers;
mod deployments;
mod doctor;
mod events;
mod images;
mod ingress;
mod logs;
mod meta;
mod names;
mod nodes;
mod one_off;
mod rollouts;
mod services;
mod sessions;
mod stats;
mod volumes;

use super::{
    extract::{JSON, TAR},
    metrics,
    table::Route,
    wire,
};

/// JSON documents, a line each.
const LINES: &str = "application/x-ndjson";

/// Every route.
pub(super) fn table() -> Vec<Route> {
    let mut table = members();
    table.extend(deployments());
    table.extend(rollouts());
    table.extend(containers());
    table.extend(resources());
    table.extend(meta());
    table
}

fn members() -> Vec<Route> {
    vec![
        Route::get("/v1/cluster", cluster::show)
            .says("Shows the cluster as this node sees it")
            .answers::<wire::Cluster>("200", "The cluster"),
        Route::post("/v1/cluster/init", cluster::init)
            .says("Makes a cluster of this node alone; the daemon begins anew after the answer")
            .answers::<wire::Founded>("200", "The cluster's id and its secret, this once"),
        Route::post("/v1/cluster/join", cluster::join)
            .says("Comes into a cluster by one of its members; the daemon begins anew after the answer")
            .takes::<wire::Join>()
            .answers::<wire::Joined>("200", "The cluster's name"),
        Route::post("/v1/cluster/leave", cluster::leave)
            .says("Moves what runs here, then goes out of the cluster; the daemon begins anew after the answer")
            .query::<wire::Leave>()
            .nothing("204", "It is out"),
        Route::post("/v1/cluster/rotate", cluster::rotate)
            .says("Gives the cluster another key")
            .answers::<wire::Rotated>("200", "The key's number"),
        Route::get("/v1/tokens", cluster::tokens)
            .says("Lists tokens, without their secrets")
            .lists::<wire::Token>("Tokens"),
        Route::post("/v1/tokens", cluster::create_token)
            .says("Makes a token for newcomers")
            .takes::<wire::CreateToken>()
            .answers::<wire::NewToken>("201", "The token, this once"),
        Route::delete("/v1/tokens/{id}", cluster::revoke_token)
            .says("Revokes a token")
            .nothing("204", "It is of no use any more"),
        Route::get("/v1/nodes", nodes::list)
            .says("Lists nodes as this one sees them")
            .query::<nodes::Listed>()
            .lists::<wire::Node>("Nodes"),
        Route::get("/v1/nodes/{id}", nodes::one)
            .says("Shows a node, by id, name or the beginning of an id")
            .answers::<wire::Node>("200", "The node"),
        Route::get("/v1/names/{name}", names::one)
            .says("Looks a name up, or an address, as the node's DNS server answers it")
            .query::<names::Asked>()
            .answers::<wire::NameAnswer>("200", "What it leads to"),
        Route::get("/v1/ingress", ingress::list)
            .says("Lists the published ports of all nodes, who takes what comes there, and what came")
            .lists::<wire::NodeIngress>("A node's each"),
        Route::delete("/v1/nodes/{id}", nodes::remove)
            .says("Puts a node out of the cluster")
            .query::<wire::RemoveNode>()
            .nothing("204", "It is out"),
        Route::post("/v1/nodes/{id}/labels", nodes::label)
            .says("Gives a node labels, and takes some")
            .takes::<wire::Labels>()
            .answers::<wire::Node>("200", "The node"),
        Route::post("/v1/nodes/{id}/availability", nodes::avail)
            .says("Says which containers a node takes: any, no new ones, or none")
            .takes::<wire::Availability>()
            .answers::<wire::Node>("200", "The node"),
        Route::get("/v1/nodes/{id}/doctor", doctor::one)
            .says("Looks what is wrong with a node, and says what to do; takes some seconds")
            .answers::<wire::Examination>("200", "All checks"),
        Route::get("/v1/nodes/{id}/sight", doctor::sight)
            .says("Tells another member that examines itself what this one hears of it")
            .query::<wire::SightOf>()
            .answers::<wire::Sight>("200", "What it hears"),
        Route::get("/v1/doctor", doctor::here)
            .says("Looks what is wrong with the node that is asked")
            .answers::<wire::Examination>("200", "All checks"),
    ]
}

fn deployments() -> Vec<Route> {
    let project = "/v1/deployments/{project}";
    vec![
        Route::get("/v1/deployments", deployments::list)
            .says("Lists deployments")
            .lists::<wire::Deployment>("Deployments"),
        Route::post("/v1/deployments", deployments::deploy)
            .says("Applies a model, or only plans it with `dry_run`")
            .takes::<wire::Deploy>()
            .answers::<wire::Plan>("200", "The plan: with `dry_run`")
            .answers::<wire::Deployed>("202", "It is durable, and being carried out"),
        Route::get(project, deployments::one)
            .says("Shows a deployment")
            .answers::<wire::Deployment>("200", "The deployment"),
        Route::delete(project, deployments::remove)
            .says("Removes a deployment, or some of its services")
            .query::<wire::RemoveDeployment>()
            .answers::<wire::Accepted>("202", "It is durable, and being carried out"),
        Route::post("/v1/deployments/{project}/actions", services::act)
            .says("Starts, stops, restarts, kills, removes or scales services")
            .takes::<wire::ServiceAction>()
            .answers::<wire::Accepted>("202", "It is durable, and being carried out"),
        Route::get("/v1/services", services::list)
            .says("Lists services")
            .query::<services::Listed>()
            .lists::<wire::Service>("Services"),
        Route::get("/v1/deployments/{project}/services/{service}", services::one)
            .says("Shows a service")
            .answers::<wire::Service>("200", "The service"),
        Route::post("/v1/deployments/{project}/services/{service}/run", one_off::run)
            .says("Records a container beside a service's replicas")
            .takes::<wire::RunOneOff>()
            .answers::<wire::Created>("201", "The container"),
    ]
}

fn rollouts() -> Vec<Route> {
    vec![
        Route::get("/v1/deployments/{project}/revisions", rollouts::history)
            .says("Lists the versions of a deployment that are kept, newest first")
            .lists::<wire::Revision>("Versions"),
        Route::post("/v1/deployments/{project}/rollback", rollouts::roll_back)
            .says("Goes back to what a deployment, or a service of it, was")
            .takes::<wire::Rollback>()
            .answers::<wire::Plan>("200", "The plan: with `dry_run`")
            .answers::<wire::Deployed>("202", "It is durable, and being carried out"),
        Route::post("/v1/deployments/{project}/migrate", rollouts::migrate)
            .says("Has a deployment's networks span the nodes")
            .takes::<wire::Migrate>()
            .answers::<wire::Plan>("200", "The plan: with `dry_run`")
            .answers::<wire::Deployed>("202", "It is durable, and being carried out"),
        Route::post("/v1/deployments/{project}/rollout", rollouts::steer)
            .says("Pauses, resumes, promotes or aborts changes that go on")
            .takes::<wire::RolloutAction>()
            .answers::<wire::Accepted>("202", "It is durable, and being carried out"),
        Route::get("/v1/deployments/{project}/services/{service}/explain", rollouts::explain)
            .says("Says why a service's replicas are where they are")
            .answers::<wire::Explanation>("200", "Why, and why not elsewhere"),
        Route::post("/v1/rebalance", rollouts::rebalance)
            .says("Gives nodes that came late their share of what runs")
            .takes::<wire::Rebalance>()
            .lists::<wire::Move>("What moves, or with `dry_run` would move"),
    ]
}

fn containers() -> Vec<Route> {
    let session = "The connection is a session now: frames follow, as the guide has them";
    vec![
        Route::get("/v1/containers", containers::list)
            .says("Lists containers")
            .query::<containers::Listed>()
            .lists::<wire::Container>("Containers"),
        Route::get("/v1/containers/{id}", containers::one)
            .says("Shows a container, by id, name or the beginning of an id")
            .answers::<wire::Container>("200", "The container"),
        Route::delete("/v1/containers/{id}", containers::remove)
            .says("Removes a one-off or an ended container")
            .query::<containers::Removed>()
            .answers::<wire::Accepted>("202", "It is durable, and being carried out"),
        Route::get("/v1/containers/{id}/inspect", containers::inspect)
            .says("Shows the runtime's own account of a container")
            .sends(JSON, "In the runtime's own form"),
        Route::get("/v1/containers/{id}/wait", containers::wait)
            .says("Waits until a container has ended")
            .answers::<wire::Ended>("200", "How it ended"),
        Route::get("/v1/containers/{id}/top", containers::top)
            .says("Lists a container's processes")
            .query::<containers::Processes>()
            .answers::<wire::Top>("200", "Its processes"),
        Route::post("/v1/containers/{id}/exec", sessions::exec)
            .says("Runs a command in a container")
            .takes::<wire::Exec>()
            .nothing("101", session)
            .nothing("204", "It was started: with `detach`"),
        Route::post("/v1/containers/{id}/attach", sessions::attach)
            .says("Joins a container's own process; starts a one-off container that waits for it")
            .query::<sessions::Attached>()
            .nothing("101", session),
        Route::get("/v1/containers/{id}/stats", stats::one)
            .says("Tells what a container uses")
            .query::<stats::Streamed>()
            .streams::<wire::Stats>(LINES, "One line, or a line a second with `stream`"),
        Route::get("/v1/containers/{id}/archive", archive::get)
            .says("Sends a path of a container as a tar stream")
            .query::<archive::Place>()
            .sends(TAR, "The files"),
        Route::put("/v1/containers/{id}/archive", archive::put)
            .says("Unpacks a tar stream into a directory of a container")
            .query::<archive::Place>()
            .takes_tar()
            .nothing("204", "It is unpacked"),
        Route::get("/v1/stats", stats::many)
            .says("Tells what containers use")
            .query::<stats::Asked>()
            .streams::<wire::Stats>(LINES, "A line each, or a line each a second with `stream`"),
        Route::get("/v1/logs", logs::get)
            .says("Sends the output of containers; with `follow` also of those to come")
            .query::<logs::Asked>()
            .streams::<wire::LogLine>(LINES, "By time; with `follow` as they come"),
    ]
}

fn resources() -> Vec<Route> {
    vec![
        Route::get("/v1/images", images::list)
            .says("Lists the images of deployments")
            .query::<images::Listed>()
            .lists::<wire::Image>("Images"),
        Route::delete("/v1/images", images::remove)
            .says("Removes an image")
            .query::<images::Named>()
            .nothing("204", "It is gone"),
        Route::get("/v1/images/inspect", images::one)
            .says("Shows an image")
            .query::<images::Named>()
            .answers::<wire::Image>("200", "The image"),
        Route::post("/v1/images/pull", images::pull)
            .says("Fetches an image")
            .takes::<wire::Pull>()
            .streams::<wire::Progress>(LINES, "Steps; the last has `image` or `error`"),
        Route::post("/v1/images/build", images::build)
            .says("Builds an image from a context")
            .query::<images::Built>()
            .header(wire::header::CREDENTIALS, "Base64 of a JSON list of RegistryCredentials")
            .takes_tar()
            .streams::<wire::Progress>(LINES, "Steps; the last has `image` or `error`"),
        Route::get("/v1/volumes", volumes::list)
            .says("Lists the volumes of deployments")
            .query::<volumes::Listed>()
            .lists::<wire::Volume>("Volumes"),
        Route::get("/v1/volumes/{name}", volumes::one)
            .says("Shows a volume")
            .query::<volumes::Where>()
            .answers::<wire::Volume>("200", "The volume"),
        Route::delete("/v1/volumes/{name}", volumes::remove)
            .says("Removes a volume that a deployment made and nothing uses")
            .query::<volumes::Where>()
            .nothing("204", "It is gone"),
        Route::get("/v1/events", events::get)
            .says("Sends events as they happen, or all after one")
            .query::<events::Asked>()
            .header("Last-Event-ID", "Goes before `since`")
            .streams::<wire::Event>("text/event-stream", "Each event's data"),
    ]
}

fn meta() -> Vec<Route> {
    vec![
        Route::get("/v1/version", meta::version)
            .says("Tells versions")
            .answers::<wire::Version>("200", "Versions"),
        Route::get("/v1/openapi.json", meta::document)
            .says("Sends this document")
            .sends(JSON, "This document"),
        Route::get("/metrics", meta::metrics)
            .says("Sends what Fizz counts, for Prometheus")
            .sends(metrics::CONTENT_TYPE, "OpenMetrics text"),
        Route::get("/healthz", meta::lives)
            .says("Tells that the process lives")
            .sends("text/plain", "`ok`"),
        Route::get("/readyz", meta::ready)
            .says("Tells whether the node can serve")
            .sends("text/plain", "`ready`"),
    ]
}
