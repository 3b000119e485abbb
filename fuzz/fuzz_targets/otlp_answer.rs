//! libFuzzer over `nself::fuzzing::otlp_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::otlp_answer(data));
