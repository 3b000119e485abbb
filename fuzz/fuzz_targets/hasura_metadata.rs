//! libFuzzer over `nself::fuzzing::hasura_metadata`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::hasura_metadata(data));
