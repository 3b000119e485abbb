//! libFuzzer over `nself_plugin_mail::fuzzing::mime`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_mail::fuzzing::mime(data));
