//! mdbox's map from messages to files.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::map::fuzz_map(bytes);
});
