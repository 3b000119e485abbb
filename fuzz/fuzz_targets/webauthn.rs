//! libFuzzer over `nself_plugin_auth::fuzzing::webauthn`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_auth::fuzzing::webauthn(data));
