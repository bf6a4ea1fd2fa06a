//! Payloads, proved, to every parser.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::hostile::read_payload(data));
