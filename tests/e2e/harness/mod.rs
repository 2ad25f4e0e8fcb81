//! What the stories stand on: engines of their own, images without the world, containers by name.

mod engine;
mod excused;
mod image;
mod inside;
mod lab;

use engine::Options;
pub(crate) use engine::{Dockerd, Kind};
pub(crate) use image::{archive as image_archive, import_as, tar as image_tar};
pub(crate) use lab::{Lab, REGISTRY, REGISTRY_OPEN, joins, text, words};
