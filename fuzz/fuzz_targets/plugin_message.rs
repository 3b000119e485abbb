//! libFuzzer over `nself::fuzzing::plugin_message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself::fuzzing::plugin_message(data));
