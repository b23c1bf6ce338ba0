//! What `doveadm config` prints.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::settings::fuzz_settings(bytes);
});
