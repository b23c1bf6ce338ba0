//! What SORT and THREAD compare of a message.
#![no_main]

libfuzzer_sys::fuzz_target!(|octets: &[u8]| {
    mailshadow::serve::imap::fuzz_letter(octets);
});
