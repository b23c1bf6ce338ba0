//! `{SCHEME}hash`: does a password match? Costs processor time by intention: never call it on an async thread.
//!
//! | file | schemes |
//! |---|---|
//! | `crypt` | those of crypt(3): MD5-CRYPT, SHA256-CRYPT, SHA512-CRYPT, BLF-CRYPT, yescrypt; ARGON2I, ARGON2ID |
//! | `digest` | SHA*, SSHA*, SMD5, PLAIN-MD5, LDAP-MD5, PBKDF2, SCRAM-SHA-1, SCRAM-SHA-256 |
//!
//! Hashes stand as text, hexadecimal or base64, as the scheme is used to, or as its name says (`{SSHA256.HEX}`). Source:
//! Dovecot's documentation of password schemes; the tests' hashes are made by `doveadm pw`.

mod crypt;
mod digest;

use crate::limits::PASSWORD_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

/// Why a stored hash can't be compared with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum HashError {
    /// Nobody can log in here with such a hash; the operator must know.
    #[error("password scheme {0} is not supported here")]
    Scheme(String),
    /// The hash is not of the form that its scheme has.
    #[error("malformed password hash")]
    Malformed,
    /// Its cost parameters would take this machine down.
    #[error("password hash with unreasonable cost")]
    TooExpensive,
}

/// How a hash is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    /// As the scheme is used to.
    Usual,
    Hex,
    Base64,
}

/// Scheme in capitals, how the hash is written, and the hash; what has no scheme is CRYPT, as Dovecot takes a
/// passwd-file.
fn split(stored: &str) -> (String, Written, &str) {
    let Some((scheme, hash)) = stored.strip_prefix('{').and_then(|s| s.split_once('}')) else {
        return ("CRYPT".to_owned(), Written::Usual, stored);
    };
    let scheme = scheme.to_ascii_uppercase();
    let (name, written) = match scheme.split_once('.') {
        Some((name, "HEX")) => (name, Written::Hex),
        Some((name, "B64" | "BASE64")) => (name, Written::Base64),
        _ => (scheme.as_str(), Written::Usual),
    };
    (name.to_owned(), written, hash)
}

/// The scheme of a stored hash, in capitals.
pub(super) fn scheme(stored: &str) -> String {
    split(stored).0
}

/// True where `password` is the one that `stored` was made from.
pub(super) fn matches(password: &[u8], stored: &str) -> Result<bool, HashError> {
    if password.len() > PASSWORD_BYTES_MAX || password.contains(&0) {
        return Ok(false);
    }
    let (scheme, written, hash) = split(stored);
    match scheme.as_str() {
        "PLAIN" | "CLEARTEXT" | "CLEAR" => Ok(password.ct_eq(&text(written, hash)?).into()),
        "CRYPT" | "BLF-CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "MD5-CRYPT" | "MD5" | "ARGON2ID" | "ARGON2I"
        | "ARGON2" => {
            let hash = String::from_utf8(text(written, hash)?).map_err(|_| HashError::Malformed)?;
            crypt::matches(password, &hash)
        }
        _ => digest::matches(password, &scheme, written, hash),
    }
}

/// A hash that is text.
fn text(written: Written, hash: &str) -> Result<Vec<u8>, HashError> {
    match written {
        Written::Usual => Ok(hash.as_bytes().to_vec()),
        Written::Hex => hex(hash),
        Written::Base64 => BASE64.decode(hash).map_err(|_| HashError::Malformed),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, HashError> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let octet = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let octets: Option<Vec<u8>> = pairs.iter().map(octet).collect();
    octets.filter(|_| rest.is_empty()).ok_or(HashError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `doveadm pw` of Dovecot 2.3 and 2.4 from the password `sésame`; the last by libxcrypt.
    const HASHES: [&str; 35] = [
        "{PLAIN}sésame",
        "{CLEAR}sésame",
        "{PLAIN.B64}c8Opc2FtZQ==",
        "{plain.hex}73c3a973616d65",
        "{SHA512-CRYPT}$6$bT1HOPwM4Jcfyhx/$AGOj8KEr678AdMeL.HsFZlZGgmybNESXqxyVZYS6neYjz7CtD95.jnh31E.KL2rXE/LmrYDZIY/26MscvseJ90",
        "{SHA512-CRYPT}$6$rounds=6000$L8HVU0v9/PZSZ1FR$kijIPpVekk6.Ks.OS.j7GQ66ImZe/5MVCTInswpw7RkD3PLWEVVK1o/sV8qnyj4aKLk6letZ3nnxUdU2aELJu.",
        "{SHA256-CRYPT}$5$0GYIgBHBUHLnUNxF$rZvHkon9Kj/ntH1cjwwwm0JqS/Mj.BUd4QauZBqHqP1",
        "{SHA256-CRYPT}$5$rounds=1000$XBX/7m5PH8cR9NDj$0VBaQ/ZTjodJTjuestbFmQ4a9On98Old/e7dqeuJjX6",
        "{BLF-CRYPT}$2y$05$kS1ME3qhdECjmqd3xtNKXuHeQuaRfyMUDshzggtkfvjsFGNRsy1bi",
        "{CRYPT}$2y$05$OfouE4ELxOxqbPOyhDzo6Om4FrXtAtIm0olpja6UjON..h1rU4ne.",
        "{CRYPT.B64}JDJ5JDA1JGJ3elhObnY4YlBFVmcwbzBHamtWcGVyaHBUOUh0RnJXeEtETi8zY083TDRUVThVbHhmVjFp",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$/CFDPvgY9aaM8IOnQ3BqyA$faN1FDBntr5f6babhEFCE9suy4m+6JTbAV847diF7k4",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$/XMRZUVy5eJPvHZOQNbRqA$xgAbueW++uqJRB9T1RH22B2u0PVouCijaKD/aB+Vxno",
        "{MD5-CRYPT}$1$D8PNfF1b$bes8HvXixijLGFr25lC0u.",
        "{MD5}$1$NzUnySSS$.YaWyNgMklUxORPiybJ.10",
        "{SHA}i69eePmkar6dL/jZzqrSAvOgn7E=",
        "{SHA1}i69eePmkar6dL/jZzqrSAvOgn7E=",
        "{SHA.HEX}8baf5e78f9a46abe9d2ff8d9ceaad202f3a09fb1",
        "{SHA}8baf5e78f9a46abe9d2ff8d9ceaad202f3a09fb1",
        "{SHA256}aG8UtzicRjuLdUieNK2C9MIGv9sirdZ8XANou8IUne0=",
        "{SHA256.B64}aG8UtzicRjuLdUieNK2C9MIGv9sirdZ8XANou8IUne0=",
        "{SHA512}vqpDmfVxSJn5WvoaxVjjz5/vW6lpUFMni5a1O2SzBdz/InzJLXCIkmM2xcMxcoH8WhVOTdoeFb1Q1r7hTcV+Jg==",
        "{SSHA}Y70gotXHN61pCO1hP/Q8YGO6b8z8tGgd",
        "{SSHA256}u44X28Y22GoZvZ9gfM1hrlvhBqcjuowFKalECvBgmjIbaTDW",
        "{SSHA256.HEX}a8fcfcccb4e4c4862b2ef1841da9f5b1249022892bcdcf560db71441f0311c2e1a3c0d09",
        "{SSHA512}D0QXU3rGdvFw8w7GwFPl1KASMoSeEJXwk6Z31PKQHoP50o7vkIJqtRCtZHY/Vlav2TZIYR8Uct1OIx/d0fejJvQjeZw=",
        "{SSHA512.B64}WE2ibmtuz9YNBuGJas9Khg2MuvAVhY7Mfi+HRa91TEL0EFI9mgU5wSmgugWFOrfhX+CX67hcjt2NOl627Np4DiWE0Qg=",
        "{SMD5}M4F+ARRSzuooyvtEjt0kDigxDkA=",
        "{SMD5.HEX}fc8e0062d4aa8842c77b20d7ddf29cdae526afa1",
        "{PLAIN-MD5}a19c17f5f97ba25882b592ee3aeb1838",
        "{LDAP-MD5}oZwX9fl7oliCtZLuOusYOA==",
        "{PBKDF2}$1$ZqEomb50O457bHHf$5$2ec0e0f5185eb88b33b63606b490c6ffee037224",
        "{SCRAM-SHA-1}4096,fO40JssHieBRQU8yW8zbhA==,q6l9cuA8tlStEjcj0xXwRA1xNG0=,fRLok+25HjHxIO7FTF56MTbZtPo=",
        "{SCRAM-SHA-256}4096,i7kYGnLrLvFBhNFlhS7+VA==,gCL3u7YFOtu8e8W0km94yYPINHevVrMKC8Z0TjrtP/Y=,Kbge0KMHHcmXk6g0p2YQDu0xAxDYG4tdFPguWGdJp7k=",
        "{CRYPT}$y$j9T$abcdefgh12345678$9HAACFV2vMdDFth/.kdkONhu3jSC.NqQiCUzkKRfL79",
    ];

    #[test]
    fn hashes_that_doveadm_made_let_the_right_password_in_and_no_other() {
        for stored in HASHES {
            assert_eq!(matches("sésame".as_bytes(), stored), Ok(true), "{stored}");
            assert_eq!(matches(b"sesame", stored), Ok(false), "{stored}");
            assert_eq!(matches(b"", stored), Ok(false), "{stored}");
        }
    }

    #[test]
    fn a_hash_that_would_take_the_machine_down_is_not_computed() {
        let costly = [
            "{ARGON2ID}$argon2id$v=19$m=4194304,t=3,p=1$/CFDPvgY9aaM8IOnQ3BqyA$faN1FDBntr5f6babhEFCE9suy4m+6JTbAV847diF7k4",
            "{BLF-CRYPT}$2y$31$kS1ME3qhdECjmqd3xtNKXuHeQuaRfyMUDshzggtkfvjsFGNRsy1bi",
            "$6$rounds=999999999$L8HVU0v9/PZSZ1FR$kijIPpVekk6.Ks.OS.j7GQ66ImZe/5MVCTInswpw7RkD3PLWEVVK1o/sV8qnyj4aKLk6letZ3nnxUdU2aELJu.",
            "{PBKDF2}$1$ZqEomb50O457bHHf$4000000000$2ec0e0f5185eb88b33b63606b490c6ffee037224",
            "{SCRAM-SHA-1}4000000000,fO40JssHieBRQU8yW8zbhA==,q6l9cuA8tlStEjcj0xXwRA1xNG0=,fRLok+25HjHxIO7FTF56MTbZtPo=",
            "$y$jFT$vNmxNvIsqCWKh8EN1fUKx0$x",
        ];
        for stored in costly {
            assert_eq!(matches(b"x", stored), Err(HashError::TooExpensive), "{stored}");
        }
    }

    #[test]
    fn an_unsupported_scheme_is_named_and_a_broken_hash_lets_nobody_in() {
        assert_eq!(
            matches(b"x", "{digest-md5}abc"),
            Err(HashError::Scheme("DIGEST-MD5".into()))
        );
        assert_eq!(matches(b"x", "x"), Err(HashError::Scheme("CRYPT".into())));
        for broken in [
            "$2",
            "$2y$05$é",
            "$5$",
            "$1$",
            "$1$salt",
            "$y$",
            "$6$rounds=x$",
            "$argon2id$",
            "{BLF-CRYPT}$2y$05$short",
            "{SSHA}",
            "{SSHA}!!",
            "{SSHA}Y70gotXHN61pCO1hP/Q8YGO6b8w=",
            "{SHA256.HEX}é",
            "{PBKDF2}$1$$5$",
            "{SCRAM-SHA-1}1,,,",
            "{PLAIN.B64}!",
            "{",
        ] {
            assert_ne!(matches(b"x", broken), Ok(true), "{broken}");
            assert_ne!(matches(b"", broken), Ok(true), "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_hash_is_compared_or_refused(
            scheme in "(PLAIN|SSHA|SSHA256|SMD5|SHA|PBKDF2|SCRAM-SHA-1|MD5-CRYPT|CRYPT|PLAIN-MD5)(\\.HEX|\\.B64)?",
            hash in "\\PC{0,60}",
        ) {
            let _ = matches(b"x", &format!("{{{scheme}}}{hash}"));
        }
    }
}
