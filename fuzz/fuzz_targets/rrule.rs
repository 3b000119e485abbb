//! libFuzzer over `nself_plugin_scheduler::fuzzing::rrule`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nself_plugin_scheduler::fuzzing::rrule(data));
