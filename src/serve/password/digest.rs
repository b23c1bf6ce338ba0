//! Schemes that are a digest of the password, with or without salt and rounds.

use super::{HashError, Written, hex};
use crate::limits::{PASSWORD_ROUNDS_MAX, PASSWORD_SALT_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use ring::{hmac, pbkdf2};
use std::num::NonZeroU32;
use subtle::ConstantTimeEq;

/// A digest of octets.
#[derive(Clone, Copy)]
enum Algorithm {
    Md5,
    Sha(&'static digest::Algorithm),
}

impl Algorithm {
    fn bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha(algorithm) => algorithm.output_len(),
        }
    }

    fn digest(self, octets: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(octets).to_vec(),
            Self::Sha(algorithm) => digest::digest(algorithm, octets).as_ref().to_vec(),
        }
    }
}

/// Compares with a hash of that scheme; an unknown one is named.
pub(super) fn matches(password: &[u8], scheme: &str, written: Written, hash: &str) -> Result<bool, HashError> {
    let (algorithm, salted) = match scheme {
        "SHA" | "SHA1" => (Algorithm::Sha(&SHA1_FOR_LEGACY_USE_ONLY), false),
        "SHA256" => (Algorithm::Sha(&SHA256), false),
        "SHA512" => (Algorithm::Sha(&SHA512), false),
        "PLAIN-MD5" | "LDAP-MD5" => (Algorithm::Md5, false),
        "SSHA" => (Algorithm::Sha(&SHA1_FOR_LEGACY_USE_ONLY), true),
        "SSHA256" => (Algorithm::Sha(&SHA256), true),
        "SSHA512" => (Algorithm::Sha(&SHA512), true),
        "SMD5" => (Algorithm::Md5, true),
        "PBKDF2" => return pbkdf2_matches(password, hash),
        "SCRAM-SHA-1" => return scram_matches(password, hash, &SCRAM_SHA1),
        "SCRAM-SHA-256" => return scram_matches(password, hash, &SCRAM_SHA256),
        _ => return Err(HashError::Scheme(scheme.to_owned())),
    };
    let stored = octets(written, algorithm.bytes(), hash)?;
    let (stored, salt) = stored.split_at_checked(algorithm.bytes()).ok_or(HashError::Malformed)?;
    if salt.is_empty() == salted || salt.len() > PASSWORD_SALT_BYTES_MAX {
        return Err(HashError::Malformed);
    }
    let computed = algorithm.digest(&[password, salt].concat());
    Ok(computed.ct_eq(stored).into())
}

/// A hash that is octets: as its scheme says, else hexadecimal where the length is that of an unsalted one.
fn octets(written: Written, bytes: usize, hash: &str) -> Result<Vec<u8>, HashError> {
    let is_hex = written == Written::Hex || (written == Written::Usual && hash.len() == bytes.saturating_mul(2));
    if is_hex {
        return hex(hash);
    }
    BASE64.decode(hash).map_err(|_| HashError::Malformed)
}

fn rounds(text: &str) -> Result<NonZeroU32, HashError> {
    let rounds: NonZeroU32 = text.parse().map_err(|_| HashError::Malformed)?;
    if rounds.get() > PASSWORD_ROUNDS_MAX {
        return Err(HashError::TooExpensive);
    }
    Ok(rounds)
}

/// `$1$salt$rounds$hex`, with HMAC-SHA-1.
fn pbkdf2_matches(password: &[u8], hash: &str) -> Result<bool, HashError> {
    let fields: Vec<&str> = hash.split('$').collect();
    let ["", "1", salt, count, stored] = fields.as_slice() else {
        return Err(HashError::Malformed);
    };
    let stored = hex(stored)?;
    if stored.len() != SHA1_FOR_LEGACY_USE_ONLY.output_len() {
        return Err(HashError::Malformed);
    }
    let verified = pbkdf2::verify(
        pbkdf2::PBKDF2_HMAC_SHA1,
        rounds(count)?,
        salt.as_bytes(),
        password,
        &stored,
    );
    Ok(verified.is_ok())
}

/// The parts of a SCRAM mechanism (RFC 5802).
struct Scram {
    derive: pbkdf2::Algorithm,
    hmac: hmac::Algorithm,
    hash: &'static digest::Algorithm,
}

static SCRAM_SHA1: Scram = Scram {
    derive: pbkdf2::PBKDF2_HMAC_SHA1,
    hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
    hash: &SHA1_FOR_LEGACY_USE_ONLY,
};
static SCRAM_SHA256: Scram = Scram {
    derive: pbkdf2::PBKDF2_HMAC_SHA256,
    hmac: hmac::HMAC_SHA256,
    hash: &SHA256,
};

/// `rounds,salt,StoredKey,ServerKey`.
fn scram_matches(password: &[u8], hash: &str, scram: &Scram) -> Result<bool, HashError> {
    let fields: Vec<&str> = hash.split(',').collect();
    let [count, salt, stored, _] = fields.as_slice() else {
        return Err(HashError::Malformed);
    };
    let decode = |text: &str| BASE64.decode(text).map_err(|_| HashError::Malformed);
    let (salt, stored) = (decode(salt)?, decode(stored)?);
    if stored.len() != scram.hash.output_len() || salt.len() > PASSWORD_SALT_BYTES_MAX {
        return Err(HashError::Malformed);
    }
    let mut salted = vec![0; scram.hash.output_len()];
    pbkdf2::derive(scram.derive, rounds(count)?, &salt, password, &mut salted);
    let client_key = hmac::sign(&hmac::Key::new(scram.hmac, &salted), b"Client Key");
    let computed = digest::digest(scram.hash, client_key.as_ref());
    Ok(computed.as_ref().ct_eq(&stored).into())
}
