//! Addresses between angle brackets (RFC 5321 section 4.1.2, RFC 6531).

use crate::limits::LMTP_PATH_BYTES_MAX;

/// A mailbox's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Before the `@`, without quotes.
    pub(super) local: String,
    /// Behind it.
    pub(super) domain: Option<String>,
    /// As it was written, for answers and header fields.
    pub(super) text: String,
}

/// What stands where a path should; none: the null path `<>`.
pub(super) type Path = Option<Address>;

/// Reads `<path>` at the start of `text`; the rest behind it. The error says what is wrong.
pub(super) fn parse(text: &str) -> Result<(Path, &str), &'static str> {
    let inner = text.strip_prefix('<').ok_or("Missing '<' at beginning of path")?;
    let end = end_of(inner).ok_or("Missing '>' at end of path")?;
    let (path, rest) = inner.split_at_checked(end).ok_or("Missing '>' at end of path")?;
    let rest = rest.strip_prefix('>').unwrap_or(rest);
    if path.is_empty() {
        return Ok((None, rest));
    }
    if path.len() > LMTP_PATH_BYTES_MAX {
        return Err("Path too long");
    }
    Ok((Some(address(without_route(path)?)?), rest))
}

/// Where the path ends: at the first `>` that is not quoted.
fn end_of(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (place, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(place),
            _ => {}
        }
    }
    None
}

/// `@a,@b:user@domain`: the route before the colon is read and forgotten.
fn without_route(path: &str) -> Result<&str, &'static str> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let behind = path.split_once(':').map(|(_, behind)| behind);
    behind.ok_or("Missing ':' behind a route")
}

fn address(text: &str) -> Result<Address, &'static str> {
    let (local, rest) = if text.starts_with('"') {
        quoted(text)?
    } else {
        let end = text.find('@').unwrap_or(text.len());
        let (local, rest) = text.split_at_checked(end).ok_or("Invalid local part")?;
        (local.to_owned(), rest)
    };
    let plain = text.starts_with('"') || local.split('.').all(is_atom);
    if !plain || local.is_empty() || local.contains(char::is_control) {
        return Err("Invalid local part");
    }
    let domain = match rest.strip_prefix('@') {
        Some(domain) if is_domain(domain) => Some(domain.to_owned()),
        Some(_) => return Err("Invalid domain"),
        None if rest.is_empty() => None,
        None => return Err("Invalid character behind the local part"),
    };
    Ok(Address {
        local,
        domain,
        text: text.to_owned(),
    })
}

/// The text of a quoted string at the start, and what stands behind it.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let (mut inner, mut escaped) = (String::new(), false);
    for (place, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => {
                inner.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((inner, text.get(place.saturating_add(1)..).unwrap_or_default())),
            c => inner.push(c),
        }
    }
    Err("Missing '\"'")
}

fn is_atom(text: &str) -> bool {
    let fits =
        |c: char| (!c.is_ascii() && !c.is_control()) || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    !text.is_empty() && text.chars().all(fits)
}

/// A name, or `[…]`.
fn is_domain(text: &str) -> bool {
    let fits = |c: char| (!c.is_ascii() && !c.is_control()) || c.is_ascii_alphanumeric() || "-._".contains(c);
    match text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(literal) => literal.chars().all(|c| c.is_ascii_graphic() && !"[]\\".contains(c)),
        None => !text.is_empty() && text.chars().all(fits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_and_domain(text: &str) -> Option<(String, Option<String>)> {
        let (path, _) = parse(text).ok()?;
        path.map(|address| (address.local, address.domain))
    }

    #[test]
    fn addresses_are_taken_apart() {
        for (text, local, domain) in [
            ("<ann@example.org>", "ann", Some("example.org")),
            ("<ann>", "ann", None),
            ("<a.b+c@[192.0.2.1]> SIZE=1", "a.b+c", Some("[192.0.2.1]")),
            ("<\"a \\\"b>\"@x>", "a \"b>", Some("x")),
            ("<@r,@s:ann@x>", "ann", Some("x")),
            ("<ä@ö.example>", "ä", Some("ö.example")),
        ] {
            let expected = Some((local.to_owned(), domain.map(str::to_owned)));
            assert_eq!(local_and_domain(text), expected, "{text}");
        }
        assert_eq!(parse("<> BODY=7BIT"), Ok((None, " BODY=7BIT")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "ann@x",
            "<ann@x",
            "<a b@x>",
            "<a..b@x>",
            "<ann@>",
            "<ann@x y>",
            "<\"a\"b@x>",
            "<\"a@x>",
            "<@r>",
            "<a\u{1}@x>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("<{}@x>", "a".repeat(LMTP_PATH_BYTES_MAX))).is_err());
    }
}
