//! Registries of images, as far as it is asked there what is.

mod challenge;
mod registry;

pub use registry::{Failure, Named, Registry, SignedIn, Tags};
