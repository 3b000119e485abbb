//! libFuzzer over `nself_plugin_stream::fuzzing::stream_commands`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_stream::fuzzing::stream_commands(data));
