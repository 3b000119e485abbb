//! libFuzzer over `nself_plugin_api::fuzzing::plugin_values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_api::fuzzing::plugin_values(data));
