//! libFuzzer over `nself::fuzzing::statement`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::statement(data));
