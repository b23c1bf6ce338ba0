//! The front end's users.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    _ = mailshadow::serve::auth::parse(bytes);
});
