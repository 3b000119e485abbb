//! libFuzzer over `nself_plugin_mail::fuzzing::mail_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_mail::fuzzing::mail_address(data));
