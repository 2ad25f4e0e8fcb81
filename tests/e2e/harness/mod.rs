//! What the stories stand on: engines of their own, images without the world, containers by name.

mod engine;
mod image;
mod lab;

pub(crate) use engine::Dockerd;
use engine::Options;
pub(crate) use image::tar as busybox;
pub(crate) use lab::{Lab, REGISTRY, REGISTRY_OPEN, joins, text, words};
