//! Frames, as they come from the journal's file or from a peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    _ = mailshadow::codec::peek(bytes);
    _ = mailshadow::codec::open(bytes);
});
