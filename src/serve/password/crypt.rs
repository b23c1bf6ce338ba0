//! Hashes of crypt(3) and ARGON2, told by their prefix.

use super::HashError;
use crate::limits::{
    ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, BCRYPT_COST_MAX, SHA_CRYPT_ROUNDS_MAX, YESCRYPT_COST_MAX,
};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;

/// Digits of crypt(3), by value.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// True where the password is that of the hash. Traditional DES hashes are refused: they can be guessed.
pub(super) fn matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    match hash {
        h if h.starts_with("$1$") => md5_crypt_matches(password, h),
        h if h.starts_with("$2") => bcrypt_matches(password, h),
        h if h.starts_with("$5$") || h.starts_with("$6$") => sha_crypt_matches(password, h),
        h if h.starts_with("$y$") => yescrypt_matches(password, h),
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

/// `$y$parameters$salt$hash`, as Debian's login makes it.
fn yescrypt_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    use yescrypt::{PasswordHashRef, PasswordVerifier, Yescrypt};
    // flavour `j`, then log2 of the number of blocks, then blocks of 4 KiB: what libxcrypt makes, but for the cost
    let [_, _, _, b'j', cost, b'T', b'$', ..] = hash.as_bytes() else {
        return Err(HashError::Malformed);
    };
    let cost = DIGITS.iter().position(|digit| digit == cost);
    if cost.ok_or(HashError::Malformed)? > YESCRYPT_COST_MAX {
        return Err(HashError::TooExpensive);
    }
    let hash = PasswordHashRef::new(hash).map_err(|_| HashError::Malformed)?;
    Ok(Yescrypt::default().verify_password(password, hash).is_ok())
}

/// `$1$salt$hash`: a thousand rounds of MD5 over password, salt and what came before.
fn md5_crypt_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    let rest = hash.strip_prefix("$1$").ok_or(HashError::Malformed)?;
    let (salt, stored) = rest.split_once('$').ok_or(HashError::Malformed)?;
    let salt = salt.as_bytes().get(..8).unwrap_or(salt.as_bytes());
    let computed = md5_crypt(password, salt);
    Ok(computed.as_slice().ct_eq(stored.as_bytes()).into())
}

fn md5_crypt(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let inner = Md5::digest([password, salt, password].concat());
    let mut outer = Md5::new();
    outer.update(password);
    outer.update(b"$1$");
    outer.update(salt);
    for block in password.chunks(16) {
        outer.update(inner.get(..block.len()).unwrap_or_default());
    }
    let mut bits = password.len();
    while bits > 0 {
        let first = password.get(..1).unwrap_or_default();
        outer.update(if bits & 1 == 1 { &[0] } else { first });
        bits >>= 1;
    }
    let mut state = outer.finalize();
    for round in 0..1000_u32 {
        let (odd, mut next) = (round & 1 == 1, Md5::new());
        let before: &[u8] = &state;
        next.update(if odd { password } else { before });
        if !round.is_multiple_of(3) {
            next.update(salt);
        }
        if !round.is_multiple_of(7) {
            next.update(password);
        }
        next.update(if odd { before } else { password });
        state = next.finalize();
    }
    md5_crypt_digits(&state)
}

/// The digest's octets, out of order, as crypt(3)'s digits.
fn md5_crypt_digits(state: &[u8]) -> Vec<u8> {
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let octet = |place: usize| u32::from(state.get(place).copied().unwrap_or_default());
    let mut digits = Vec::with_capacity(22);
    let mut write = |mut bits: u32, count: usize| {
        for _ in 0..count {
            let digit = usize::try_from(bits & 0x3f).ok().and_then(|n| DIGITS.get(n));
            digits.extend(digit);
            bits >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        write(octet(a) << 16 | octet(b) << 8 | octet(c), 4);
    }
    write(octet(11), 2);
    digits
}
