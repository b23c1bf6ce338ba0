//! A client's command line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::serve::imap::fuzz_command(bytes);
});
