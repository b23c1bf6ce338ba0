//! The file dict of METADATA.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::attribute_dict::fuzz_attribute_dict(bytes);
});
