//! libFuzzer over `nself_plugin_stream::fuzzing::fossil`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_stream::fuzzing::fossil(data));
