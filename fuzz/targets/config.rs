//! The configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = mailshadow::config::Config::parse(std::path::Path::new("/etc/mailshadow/shadowd.toml"), text);
    }
});
