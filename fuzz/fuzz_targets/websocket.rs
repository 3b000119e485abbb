//! libFuzzer over `nself::fuzzing::websocket`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::websocket(data));
