//! What the stories stand on: engines of their own, images without the world, containers by name.

mod engine;
mod image;
mod lab;

use engine::{Dockerd, Options};
pub(crate) use lab::{Lab, REGISTRY, REGISTRY_OPEN, joins, text, words};
