//! Stored bodies: compressed octets of every method.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::decompress::fuzz_decompress(bytes);
});
