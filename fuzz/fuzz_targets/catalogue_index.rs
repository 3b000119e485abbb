//! libFuzzer over `nself::fuzzing::catalogue_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::catalogue_index(data));
