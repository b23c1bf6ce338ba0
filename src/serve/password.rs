//! `{SCHEME}hash`: does a password match? Costs processor time by intention: never call it on an async thread.

use crate::limits::SHA_CRYPT_ROUNDS_MAX;
use crate::limits::{ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, BCRYPT_COST_MAX, PASSWORD_BYTES_MAX};
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

/// Splits `{SCHEME}rest`; what has no scheme is CRYPT, as Dovecot takes a passwd-file.
fn split(stored: &str) -> (String, &str) {
    match stored.strip_prefix('{').and_then(|s| s.split_once('}')) {
        Some((scheme, hash)) => (scheme.to_ascii_uppercase(), hash),
        None => ("CRYPT".to_owned(), stored),
    }
}

/// True where `password` is the one that `stored` was made from.
pub(super) fn matches(password: &[u8], stored: &str) -> Result<bool, HashError> {
    if password.len() > PASSWORD_BYTES_MAX || password.contains(&0) {
        return Ok(false);
    }
    let (scheme, hash) = split(stored);
    match scheme.as_str() {
        "PLAIN" | "CLEARTEXT" => Ok(password.ct_eq(hash.as_bytes()).into()),
        "CRYPT" | "BLF-CRYPT" | "SHA512-CRYPT" | "SHA256-CRYPT" | "ARGON2ID" | "ARGON2I" => by_prefix(password, hash),
        _ => Err(HashError::Scheme(scheme)),
    }
}

fn by_prefix(password: &[u8], hash: &str) -> Result<bool, HashError> {
    match hash {
        h if h.starts_with("$2") => bcrypt_matches(password, h),
        h if h.starts_with("$5$") || h.starts_with("$6$") => sha_crypt_matches(password, h),
        h if h.starts_with("$argon2") => argon2_matches(password, h),
        _ => Err(HashError::Scheme("CRYPT".to_owned())),
    }
}

fn bcrypt_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    let cost: u32 = hash
        .get(4..6)
        .and_then(|c| c.parse().ok())
        .ok_or(HashError::Malformed)?;
    if cost > BCRYPT_COST_MAX {
        return Err(HashError::TooExpensive);
    }
    // cuts the password at 72 bytes, as Dovecot's own BLF-CRYPT does
    bcrypt::verify(password, hash).map_err(|_| HashError::Malformed)
}

fn sha_crypt_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    use sha_crypt::{PasswordHashRef, PasswordVerifier, ShaCrypt};
    let rounds = hash.split('$').nth(2).and_then(|f| f.strip_prefix("rounds="));
    if let Some(rounds) = rounds {
        let rounds: u32 = rounds.parse().map_err(|_| HashError::Malformed)?;
        if rounds > SHA_CRYPT_ROUNDS_MAX {
            return Err(HashError::TooExpensive);
        }
    }
    let hash = PasswordHashRef::new(hash).map_err(|_| HashError::Malformed)?;
    Ok(ShaCrypt::default().verify_password(password, hash).is_ok())
}

fn argon2_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    use argon2::{Argon2, Params, PasswordVerifier, password_hash::phc::PasswordHash};
    let hash = PasswordHash::new(hash).map_err(|_| HashError::Malformed)?;
    let cost = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
    if cost.m_cost() > ARGON2_MEMORY_KIB_MAX || cost.t_cost() > ARGON2_PASSES_MAX {
        return Err(HashError::TooExpensive);
    }
    Ok(Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `doveadm pw` of Dovecot 2.3 from the password `sésame`.
    const HASHES: [&str; 7] = [
        "{PLAIN}sésame",
        "{SHA512-CRYPT}$6$bT1HOPwM4Jcfyhx/$AGOj8KEr678AdMeL.HsFZlZGgmybNESXqxyVZYS6neYjz7CtD95.jnh31E.KL2rXE/LmrYDZIY/26MscvseJ90",
        "{SHA512-CRYPT}$6$rounds=6000$L8HVU0v9/PZSZ1FR$kijIPpVekk6.Ks.OS.j7GQ66ImZe/5MVCTInswpw7RkD3PLWEVVK1o/sV8qnyj4aKLk6letZ3nnxUdU2aELJu.",
        "{SHA256-CRYPT}$5$0GYIgBHBUHLnUNxF$rZvHkon9Kj/ntH1cjwwwm0JqS/Mj.BUd4QauZBqHqP1",
        "{BLF-CRYPT}$2y$05$kS1ME3qhdECjmqd3xtNKXuHeQuaRfyMUDshzggtkfvjsFGNRsy1bi",
        "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$/CFDPvgY9aaM8IOnQ3BqyA$faN1FDBntr5f6babhEFCE9suy4m+6JTbAV847diF7k4",
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$/XMRZUVy5eJPvHZOQNbRqA$xgAbueW++uqJRB9T1RH22B2u0PVouCijaKD/aB+Vxno",
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
        ];
        for stored in costly {
            assert_eq!(matches(b"x", stored), Err(HashError::TooExpensive), "{stored}");
        }
    }

    #[test]
    fn an_unsupported_scheme_is_named_and_a_broken_hash_lets_nobody_in() {
        assert_eq!(matches(b"x", "{ssha}abc"), Err(HashError::Scheme("SSHA".into())));
        assert_eq!(matches(b"x", "x"), Err(HashError::Scheme("CRYPT".into())));
        for broken in [
            "$2",
            "$2y$05$é",
            "$5$",
            "$6$rounds=x$",
            "$argon2id$",
            "{BLF-CRYPT}$2y$05$short",
        ] {
            assert_ne!(matches(b"x", broken), Ok(true), "{broken}");
        }
    }
}
