//! Templates of payloads, and events that they are made of.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::asked::make_payload(data));
