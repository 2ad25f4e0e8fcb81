//! An engine that is not there, dies and comes back.

use fizz::runtime::{Containerd, Docker, Runtime, RuntimeError, RuntimeEventKind, RuntimeState};
use futures_util::StreamExt;

use crate::harness::Lab;

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable() {
    let docker: Box<dyn Runtime> = Box::new(Docker::new("/nowhere/docker.sock"));
    let here = std::env::temp_dir();
    let containerd = Containerd::new(Some("/nowhere/docker.sock".into()), here.clone(), here);
    for runtime in [docker, Box::new(containerd)] {
        is_unreachable(&*runtime).await;
    }
}

async fn is_unreachable(runtime: &dyn Runtime) {
    let error = runtime.info().await.unwrap_err();
    assert!(
        matches!(&error, RuntimeError::Unreachable { address, .. } if address == "/nowhere/docker.sock"),
        "{error}"
    );
    let error = runtime.events(fizz::model::NodeId(1)).next().await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn containers_go_on_while_the_engine_dies_and_comes_back() {
    let lab = Lab::with_live_restore();
    assert!(lab.runtime.info().await.unwrap().live_restore);
    let id = lab.run(&lab.request("web")).await;
    let before = lab.state(&id).await;
    let mut events = lab.listen().await;
    lab.engine.crash();
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error}");
    assert!(events.next().await.is_none());
    let error = lab.runtime.list(lab.node).await.unwrap_err();
    assert!(matches!(error, RuntimeError::Unreachable { .. }), "{error}");

    lab.engine.up();
    assert_eq!(lab.state(&id).await, before);
    assert!(matches!(before, RuntimeState::Running { .. }));
    lab.sh(&id, "true").await;
    let mut events = lab.listen().await;
    lab.runtime.kill(&id, "KILL").await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap().kind, RuntimeEventKind::Ended);
}
