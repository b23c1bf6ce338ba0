//! Messages within a message, compressed: zstd, each by itself. No dictionary and no window outlasts a message, so that
//! what one user's mail compresses to tells nobody what is in another one's.

use super::bytes::{PRESSED, body_length, framed};
use super::{Message, WireError};
use crate::limits::{PRESS_BYTES_MIN, WIRE_BYTES_MAX};
use zstd::bulk::{Compressor, Decompressor};

/// What costs least: higher levels gain some hundredths on mail and cost twice the time.
const LEVEL: i32 = 1;
/// Tag and length before the compressed bytes.
const ENVELOPE_BYTES: usize = 5;

/// Compresses what is worth it.
#[derive(Default)]
pub struct Press {
    /// Made when it is first needed: some hundred kilobytes.
    compressor: Option<Compressor<'static>>,
    /// The body whose last part did not shrink: what follows of it will not either.
    dense: Option<u64>,
}

impl std::fmt::Debug for Press {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Press")
            .field("dense", &self.dense)
            .finish_non_exhaustive()
    }
}

impl Press {
    /// The message as it goes on the wire, length first; compressed where that makes it shorter by a sixteenth.
    ///
    /// # Errors
    /// As [`Message::encode`].
    pub fn encode(&mut self, message: &Message) -> Result<Vec<u8>, WireError> {
        let plain = message.encode()?;
        let body_part = match message {
            Message::BodyPart(part) if self.dense == Some(part.id) => return Ok(plain),
            Message::BodyPart(part) => Some(part.id),
            _ => None,
        };
        let Some(body) = plain.get(4..).filter(|body| body.len() >= PRESS_BYTES_MIN) else {
            return Ok(plain);
        };
        let pressed = self.press(body)?;
        let worth_it = pressed.len().saturating_add(ENVELOPE_BYTES) <= body.len().saturating_sub(body.len() / 16);
        self.dense = body_part.filter(|_| !worth_it);
        if worth_it {
            let length = u32::try_from(body.len()).map_err(|_| WireError::Length(u64::MAX))?;
            return framed(PRESSED, &[&length.to_le_bytes(), &pressed]);
        }
        Ok(plain)
    }

    fn press(&mut self, body: &[u8]) -> Result<Vec<u8>, WireError> {
        let compressor = match &mut self.compressor {
            Some(ready) => ready,
            none => none.insert(Compressor::new(LEVEL).map_err(wrong)?),
        };
        compressor.compress(body).map_err(wrong)
    }
}

/// Opens what [`Press`] made; what is not compressed passes.
#[derive(Default)]
pub struct Unpress {
    decompressor: Option<Decompressor<'static>>,
}

impl std::fmt::Debug for Unpress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unpress").finish_non_exhaustive()
    }
}

impl Unpress {
    /// Reads the body of a message: tag and payload, without the length before them.
    ///
    /// # Errors
    /// As [`Message::decode`]; a length within that is out of bounds, or not that of what comes out.
    pub fn decode(&mut self, body: &[u8]) -> Result<Message, WireError> {
        let Some((&PRESSED, payload)) = body.split_first() else {
            return Message::decode(body);
        };
        let Some((length, pressed)) = payload.split_first_chunk::<4>() else {
            return Err(wrong("it is cut"));
        };
        let length = body_length(*length)?;
        let inner = self.open(pressed, length)?;
        if inner.len() != length {
            return Err(wrong("its length is not what it says"));
        }
        Message::decode(&inner)
    }

    /// Never more than `length` bytes come out.
    fn open(&mut self, pressed: &[u8], length: usize) -> Result<Vec<u8>, WireError> {
        debug_assert!(length <= WIRE_BYTES_MAX);
        let decompressor = match &mut self.decompressor {
            Some(ready) => ready,
            none => none.insert(Decompressor::new().map_err(wrong)?),
        };
        decompressor.decompress(pressed, length).map_err(wrong)
    }
}

fn wrong(why: impl ToString) -> WireError {
    WireError::Payload {
        message: "pressed",
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::wire::BodyPart;
    use crate::op::BodyHash;
    use proptest::prelude::*;

    fn part(id: u64, octets: Vec<u8>) -> Message {
        Message::BodyPart(BodyPart {
            id,
            ahead: false,
            name: None,
            offset: 0,
            total: u64::try_from(octets.len()).unwrap(),
            octets,
            hash: Some(BodyHash([7; 32])),
        })
    }

    fn noise(bytes: usize) -> Vec<u8> {
        let mut octets = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut octets);
        octets
    }

    fn body_of(wire: &[u8]) -> &[u8] {
        let (prefix, body) = wire.split_first_chunk::<4>().unwrap();
        assert_eq!(body_length(*prefix), Ok(body.len()));
        body
    }

    #[test]
    fn text_shrinks_and_comes_back_and_noise_goes_as_it_is() {
        let (mut press, mut unpress) = (Press::default(), Unpress::default());
        let text = part(1, b"Received: from mx.example.org by mail.example.org\r\n".repeat(80));
        let wire = press.encode(&text).unwrap();
        assert!(wire.len() * 4 < text.encode().unwrap().len());
        assert_eq!(unpress.decode(body_of(&wire)), Ok(text));
        for message in [part(2, noise(4_000)), part(2, noise(4_000)), Message::Ping] {
            let wire = press.encode(&message).unwrap();
            assert_eq!(wire, message.encode().unwrap());
            assert_eq!(unpress.decode(body_of(&wire)), Ok(message));
        }
        let other_body = part(3, vec![b'x'; 4_000]);
        assert!(
            press.encode(&other_body).unwrap().len() < 200,
            "a dense body is not the next one's fault"
        );
    }

    #[test]
    fn a_bomb_comes_out_no_longer_than_it_says() {
        let pressed = zstd::bulk::compress(&vec![0; 8 << 20], 1).unwrap();
        let envelope = |length: usize| {
            let length = u32::try_from(length).unwrap().to_le_bytes();
            [&[PRESSED][..], &length, &pressed].concat()
        };
        let mut unpress = Unpress::default();
        for length in [0, 1, 1_000, WIRE_BYTES_MAX, WIRE_BYTES_MAX + 1, 8 << 20] {
            assert!(unpress.decode(&envelope(length)).is_err(), "{length}");
        }
    }

    #[test]
    fn an_envelope_holds_no_envelope_and_no_wrong_length() {
        let mut press = Press::default();
        let wire = press.encode(&part(1, vec![b'a'; 2_000])).unwrap();
        let inner = body_of(&wire);
        assert_eq!(inner.first(), Some(&PRESSED));
        let again = [inner, &[0; 2_000][..]].concat();
        let length = u32::try_from(again.len()).unwrap().to_le_bytes();
        let nested = [&[PRESSED][..], &length, &zstd::bulk::compress(&again, 1).unwrap()].concat();
        assert!(Unpress::default().decode(&nested).is_err());
        let mut longer = inner.to_vec();
        longer[1] = longer[1].wrapping_add(1);
        assert!(Unpress::default().decode(&longer).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Unpress::default().decode(&bytes);
            bytes.insert(0, PRESSED);
            let _ = Unpress::default().decode(&bytes);
        }
    }
}
