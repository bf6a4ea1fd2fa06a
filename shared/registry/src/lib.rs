//! Registries of images, as far as it is asked there what is.

mod challenge;
mod image;
mod registry;

pub use image::{ImageRef, ImageRefError, Presence, presence};
pub use registry::{Failure, Named, Registry, SignedIn, Tags};
