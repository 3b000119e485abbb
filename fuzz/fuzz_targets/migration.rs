//! libFuzzer over `nself::fuzzing::migration`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::migration(data));
