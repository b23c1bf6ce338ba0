//! What a dsync-server says: bare, or in the frames of a doveadm socket.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::dsync::fuzz_dsync(bytes);
    mailshadow::store::dovecot::dsync::fuzz_greeting(bytes);
});
