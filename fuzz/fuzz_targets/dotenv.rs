//! libFuzzer over `nself::fuzzing::dotenv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::dotenv(data));
