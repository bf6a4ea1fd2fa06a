//! Signature headers, to every scheme.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::hostile::check_proof(data));
