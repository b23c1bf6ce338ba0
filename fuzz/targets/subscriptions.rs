//! The file of subscribed names.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::subscriptions::fuzz_subscriptions(bytes);
});
