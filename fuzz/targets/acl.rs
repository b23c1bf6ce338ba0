//! A mailbox's `dovecot-acl`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::acl::fuzz_acl(bytes);
});
