//! A sender's command lines and data.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::serve::lmtp::fuzz_lines(bytes);
});
