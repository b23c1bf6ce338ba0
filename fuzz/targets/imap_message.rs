//! What ENVELOPE, BODYSTRUCTURE and sections make of a message.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::serve::imap::fuzz_message(bytes);
});
