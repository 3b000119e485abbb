//! libFuzzer over `nself::fuzzing::jwt`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::jwt(data));
