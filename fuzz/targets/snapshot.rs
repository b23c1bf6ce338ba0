//! An index and its log, replayed together.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::replay::fuzz_snapshot(bytes);
});
