//! The list index: what Dovecot remembers of a user's tree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::list_index::fuzz_list_index(bytes);
});
