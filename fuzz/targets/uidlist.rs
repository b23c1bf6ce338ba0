//! A maildir's uidlist.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::uidlist::fuzz_uidlist(bytes);
});
