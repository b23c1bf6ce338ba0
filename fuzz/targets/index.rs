//! Dovecot's main index.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::index::fuzz_index(bytes);
});
