//! libFuzzer over `nself_plugin_stream::fuzzing::graphql`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_stream::fuzzing::graphql(data));
