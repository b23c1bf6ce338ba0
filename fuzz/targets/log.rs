//! Dovecot's transaction log: header, records, transactions.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    mailshadow::store::dovecot::log::fuzz_log_header(bytes);
    mailshadow::store::dovecot::record::fuzz_records(bytes);
    mailshadow::store::dovecot::reader::fuzz_log(bytes);
});
