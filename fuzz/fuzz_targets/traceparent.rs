//! libFuzzer over `nself::fuzzing::traceparent`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::traceparent(data));
