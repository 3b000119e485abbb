//! libFuzzer over `nself_plugin_mail::fuzzing::smtp_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_mail::fuzzing::smtp_session(data));
