//! Names of images, and globs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::hostile::read_image(data));
