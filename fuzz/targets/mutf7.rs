//! Mailbox names in modified UTF-7.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::mutf7::fuzz_mutf7(bytes);
});
