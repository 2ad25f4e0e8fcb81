//! What every runtime must do for Fizz: each method, and each field of a container's spec seen from
//! inside the container or in the engine's own account of it.

mod files;
mod images;
mod life;
mod limits;
mod logs;
mod mounts;
mod namespace;
mod networks;
mod outage;
mod ports;
mod process;
mod registries;
mod security;
mod sessions;
mod volumes;

use fizz::runtime::{CreateContainer, RuntimeError, RuntimeId};

use crate::harness::Lab;

/// What Podman would leave out without a word, and what containerd has nothing for, must be refused, by
/// its name and with what to do.
async fn refused(lab: &Lab, field: &str, change: impl FnOnce(&mut CreateContainer)) {
    let made = lab.runtime.create(&lab.with(change)).await;
    let Err(RuntimeError::Unsupported(why)) = made else { panic!("{field}: {made:?}") };
    let whose = if lab.on_podman() { "Podman" } else { "containerd" };
    assert!(why.contains(field) && why.contains(whose), "{why}");
}

/// What an engine of that API must do, and an older one must refuse with its version and the one that
/// it would take.
async fn supported(
    lab: &Lab,
    feature: &str,
    api: (u32, u32),
    made: Result<RuntimeId, RuntimeError>,
) {
    if lab.on_containerd() {
        // It has one version of what it is asked for here: there, or refused by name.
        return match made {
            Ok(_) => {}
            Err(RuntimeError::Unsupported(why)) => {
                assert!(why.contains(feature) && why.contains("containerd"), "{why}");
            }
            Err(error) => panic!("{feature}: {error}"),
        };
    }
    let info = lab.runtime.info().await.unwrap();
    let (major, minor) = info.api_version.split_once('.').unwrap();
    let there = (major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap());
    match made {
        Ok(_) => assert!(there >= api, "{feature} was dropped by API {there:?}"),
        Err(RuntimeError::Unsupported(why)) => {
            assert!(there < api, "{why}");
            assert!(why.contains(feature) && why.contains(&info.version), "{why}");
        }
        Err(error) => panic!("{feature}: {error}"),
    }
}
