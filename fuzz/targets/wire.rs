//! Messages between nodes, as they come from a peer that may be broken or hostile.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    _ = mailshadow::codec::wire::take(bytes);
    _ = mailshadow::codec::wire::Unpress::default().decode(bytes);
});
