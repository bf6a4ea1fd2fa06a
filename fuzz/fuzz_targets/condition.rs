//! Conditions in CEL, and events that they look at.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::asked::ask_condition(data));
