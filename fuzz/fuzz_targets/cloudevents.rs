//! CloudEvents over HTTP, read, written and read again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vendors::hostile::read_cloudevents(data));
