//! Files of sdbox and mdbox: headers, messages, metadata.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::dbox::fuzz_dbox(bytes);
});
