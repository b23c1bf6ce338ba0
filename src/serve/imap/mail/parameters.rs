//! Parameters of `Content-Type` and `Content-Disposition` (RFC 2045 section 5.1), with those that were cut into pieces
//! (RFC 2231 section 3) put together the way Dovecot 2.3 does it: pieces are joined, nothing is decoded. (Version 2.4
//! decodes them too, which only a client can do right that knows the character set it wants.)

use super::lexer::Lexer;
use crate::limits::MIME_PARAMETERS_MAX;

/// A parameter of a structured field: name as written, value unquoted.
pub(super) type Parameter = (Vec<u8>, Vec<u8>);

/// `; name=value …`, as far as it can be read: what can't be is passed over byte by byte. A value ends where a token does,
/// so an unquoted `a=b` is cut at the `=`.
pub(super) fn parameters(lexer: &mut Lexer<'_>) -> Vec<Parameter> {
    let mut found = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut number = 0;
    while !lexer.is_done() && found.len().saturating_add(pieces.len()) < MIME_PARAMETERS_MAX {
        let Some((name, value)) = parameter(lexer) else {
            lexer.bump();
            continue;
        };
        match Piece::of(&name, &mut number) {
            Some(piece) => pieces.push(Piece { value, ..piece }),
            None => found.push((name, value)),
        }
    }
    pieces.sort_by(|a, b| (&a.name, a.number).cmp(&(&b.name, b.number)));
    for same in pieces.chunk_by(|a, b| a.name.eq_ignore_ascii_case(&b.name)) {
        join(same, &mut found);
    }
    found
}

/// One parameter with the space behind it. None where the place is not at one.
fn parameter(lexer: &mut Lexer<'_>) -> Option<Parameter> {
    if !lexer.take(b';') {
        return None;
    }
    lexer.skip();
    if lexer.is_done() {
        return None;
    }
    let name = lexer.token().to_vec();
    lexer.skip();
    if !lexer.take(b'=') {
        return None;
    }
    lexer.skip();
    let value = match lexer.peek() {
        Some(b'"') => lexer.quoted()?,
        // an encoded word that nobody quoted
        Some(b'=') => lexer.while_in(|b| !b"; \t\r\n".contains(&b)).to_vec(),
        _ => lexer.token().to_vec(),
    };
    lexer.skip();
    Some((name, value))
}

/// `name*number=value`, or `name*number*=value` where the value is encoded.
struct Piece {
    name: Vec<u8>,
    number: u32,
    is_encoded: bool,
    value: Vec<u8>,
}

impl Piece {
    /// None where the name is no piece's. `number` is the last piece's; a name without one keeps it, as in Dovecot.
    fn of(name: &[u8], number: &mut u32) -> Option<Self> {
        let at = name.iter().position(|byte| *byte == b'*')?;
        let (name, rest) = name.split_at_checked(at)?;
        let mut rest = rest;
        if let [b'*', behind @ ..] = rest
            && !behind.is_empty()
        {
            let digits = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, behind) = behind.split_at_checked(digits)?;
            *number = digits.iter().fold(0, |sum: u32, digit| {
                sum.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')))
            });
            rest = behind;
        }
        let is_encoded = match rest {
            b"*" => true,
            b"" => false,
            _ => return None,
        };
        Some(Self {
            name: name.to_vec(),
            number: *number,
            is_encoded,
            value: Vec::new(),
        })
    }
}

/// The pieces of one name, in order. Where one is missing they stay apart.
fn join(pieces: &[Piece], found: &mut Vec<Parameter>) {
    let whole = pieces.iter().zip(0..).all(|(piece, number)| piece.number == number);
    if !whole {
        for piece in pieces {
            let star = if piece.is_encoded { "*" } else { "" };
            let name = [&piece.name[..], format!("*{}{star}", piece.number).as_bytes()].concat();
            found.push((name, piece.value.clone()));
        }
        return;
    }
    let Some(first) = pieces.first() else { return };
    let some_encoded = pieces.iter().any(|piece| piece.is_encoded);
    let mut value = Vec::new();
    if some_encoded && !first.is_encoded {
        // neither character set nor language
        value.extend_from_slice(b"''");
    }
    for piece in pieces {
        if some_encoded && !piece.is_encoded {
            let bytes = piece.value.iter();
            bytes.for_each(|byte| match byte {
                b'%' => value.extend_from_slice(b"%25"),
                byte => value.push(*byte),
            });
        } else {
            value.extend_from_slice(&piece.value);
        }
    }
    let mut name = first.name.clone();
    name.extend(some_encoded.then_some(b'*'));
    found.push((name, value));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let found = parameters(&mut Lexer::new(text.as_bytes()));
        let one =
            |(name, value): &Parameter| format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        found.iter().map(one).collect::<Vec<_>>().join("|")
    }

    /// Each as Dovecot 2.3 answered it.
    #[test]
    fn pieces_are_put_together() {
        let cases = [
            ("; a*1=y; a*0=x", "a=xy"),
            ("; a*0*=utf-8''x; a*1=y%; a*2*=%20", "a*=utf-8''xy%25%20"),
            ("; a*=utf-8''x", "a*=utf-8''x"),
            ("; a*0=x; b*=utf-8''q; a*1=y", "a=xy|b*=utf-8''q"),
            ("; a*0=x; a*2=y", "a*0=x|a*2=y"),
            ("; a*0=1; A*1=2", "A*1=2|a*0=1"),
            ("; a*x=1", "a*x=1"),
            ("; a*00=1; a*01=2", "a=12"),
            ("; z=1; a*0=x; b=2", "z=1|b=2|a=x"),
            ("; a*1*=x; name*=y", "a*1*=x|name*1*=y"),
            ("; a*0=x; a*1*=y", "a*=''xy"),
            ("; a*99999999999=q", "a*1215752191=q"),
            ("; a*0=\"x y\"; a*1=\"z\"", "a=x yz"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    /// Each as Dovecot 2.3 and 2.4 answered it.
    #[test]
    fn what_is_broken_costs_no_more_than_dovecot_loses() {
        let cases = [
            ("; ; x=y", ""),
            (";; x=y", ""),
            ("; foo; x=y", ""),
            ("; foo x=y; z=1", "z=1"),
            ("; x", ""),
            ("; x=", "x="),
            ("; x=;y=1", "x=|y=1"),
            ("; x==?a?=; y=2", "x==?a?=|y=2"),
            ("; =a; y=1", "=a|y=1"),
            (" foo; y=1", "y=1"),
            ("; x=\"unclosed; y=1", ""),
            ("; x=\"a\"b; y=1", "x=a|y=1"),
            ("; x = y", "x=y"),
            ("; x=a(comment)b; y=1", "x=a|y=1"),
            ("; x=a/b; y=1", "x=a|y=1"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
