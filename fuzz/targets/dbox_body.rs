//! dbox messages to plain octets: compression, attachments, sizes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::dbox_body::fuzz_dbox_body(bytes);
});
