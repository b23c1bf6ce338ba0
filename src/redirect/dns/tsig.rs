//! TSIG (RFC 8945): who shares the key has said this, and lately.

use super::key::TsigKey;
use super::message::{ADDITIONAL_COUNT_AT, Answer, CLASS_ANY, Signature, TYPE_TSIG, put, put_counted};
use ring::hmac;

/// Seconds that two clocks may differ (RFC 8945 section 10 recommends 300).
const FUDGE: u16 = 300;

/// What is signed beside the message (section 4.3.3).
struct Variables<'a> {
    time: u64,
    fudge: u16,
    error: u16,
    other: &'a [u8],
}

impl Variables<'_> {
    fn sign(&self, key: &TsigKey, before: &[u8], message: &[u8]) -> Result<hmac::Context, String> {
        let mut variables = key.name.clone();
        put(&mut variables, CLASS_ANY);
        variables.extend([0; 4]);
        variables.extend(&key.algorithm);
        self.put_time(&mut variables);
        put(&mut variables, self.error);
        put_counted(&mut variables, self.other)?;
        let mut context = hmac::Context::with_key(&key.secret);
        [before, message, &variables]
            .iter()
            .for_each(|part| context.update(part));
        Ok(context)
    }

    /// 48 bits of time, 16 of fudge.
    fn put_time(&self, to: &mut Vec<u8>) {
        to.extend(self.time.to_be_bytes().iter().skip(2));
        put(to, self.fudge);
    }
}

/// The message with its signature, and the signature: the answer's is made over it, too.
pub(super) fn sign(message: &[u8], key: &TsigKey, time: u64) -> Result<(Vec<u8>, Vec<u8>), String> {
    signed(message, key, time, &[])
}

/// As a server signs its answer to what was signed with `asked`.
#[cfg(test)]
pub(super) fn sign_answer(message: &[u8], key: &TsigKey, time: u64, asked: &[u8]) -> Result<Vec<u8>, String> {
    let mut before = Vec::new();
    put_counted(&mut before, asked)?;
    signed(message, key, time, &before).map(|(message, _)| message)
}

fn signed(message: &[u8], key: &TsigKey, time: u64, before: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    let variables = Variables {
        time,
        fudge: FUDGE,
        error: 0,
        other: &[],
    };
    let mac = variables.sign(key, before, message)?.sign().as_ref().to_vec();
    let mut data = key.algorithm.clone();
    variables.put_time(&mut data);
    put_counted(&mut data, &mac)?;
    data.extend(message.get(..2).unwrap_or_default());
    data.extend([0; 4]);
    let mut signed = with_additional(message, 1).ok_or("a message without a header")?;
    signed.extend(&key.name);
    put(&mut signed, TYPE_TSIG);
    put(&mut signed, CLASS_ANY);
    signed.extend([0; 4]);
    put_counted(&mut signed, &data)?;
    Ok((signed, mac))
}

/// The message with another number of additional records: `change` more, or fewer.
fn with_additional(message: &[u8], change: i32) -> Option<Vec<u8>> {
    let mut changed = message.to_vec();
    let count = changed.get_mut(ADDITIONAL_COUNT_AT..ADDITIONAL_COUNT_AT + 2)?;
    let now = u16::from_be_bytes(count.try_into().ok()?);
    let then = u16::try_from(i32::from(now) + change).ok()?;
    count.copy_from_slice(&then.to_be_bytes());
    Some(changed)
}

/// Whether `answer`, which is `message`, was signed with `key` for the question that was signed with `asked`.
pub(super) fn verify(message: &[u8], answer: &Answer, key: &TsigKey, asked: &[u8], now: u64) -> Result<(), String> {
    let signature = answer.signature.as_ref().ok_or("the answer is not signed")?;
    let wrong = || "the answer is not signed with our key".to_owned();
    let unsigned = stripped(message, signature).ok_or_else(wrong)?;
    let variables = Variables {
        time: signature.time,
        fudge: signature.fudge,
        error: signature.error,
        other: &signature.other,
    };
    let mut before = Vec::new();
    put_counted(&mut before, asked)?;
    let expected = variables.sign(key, &before, &unsigned)?.sign();
    let same = subtle::ConstantTimeEq::ct_eq(expected.as_ref(), signature.mac.as_slice());
    if !bool::from(same) {
        return Err(wrong());
    }
    if signature.time.abs_diff(now) > u64::from(signature.fudge) {
        return Err("the answer was signed at another time: are both clocks right?".to_owned());
    }
    Ok(())
}

/// What the server signed: its answer with the question's number, without the signature.
fn stripped(message: &[u8], signature: &Signature) -> Option<Vec<u8>> {
    let mut unsigned = with_additional(message.get(..signature.at)?, -1)?;
    unsigned
        .get_mut(..2)?
        .copy_from_slice(&signature.original_id.to_be_bytes());
    Some(unsigned)
}

/// RFC 8945 section 3.
pub(super) fn error_name(error: u16) -> String {
    match error {
        16 => "BADSIG: the key's secret is another there".to_owned(),
        17 => "BADKEY: it does not know this key".to_owned(),
        18 => "BADTIME: its clock and this one differ too much".to_owned(),
        22 => "BADTRUNC".to_owned(),
        other => format!("TSIG error {other}"),
    }
}
