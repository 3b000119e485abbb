//! libFuzzer over `nself_plugin_auth::fuzzing::account_import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_auth::fuzzing::account_import(data));
