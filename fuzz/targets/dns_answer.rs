//! What a name server answers to an update.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    _ = mailshadow::redirect::dns::message::Answer::parse(bytes);
});
