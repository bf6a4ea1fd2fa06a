//! Patterns of tags, and tags.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::asked::fit_tag(data));
