//! The log of created, renamed and deleted mailboxes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::mailbox_log::fuzz_mailbox_log(bytes);
});
