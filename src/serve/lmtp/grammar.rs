//! Command lines: from bytes to what is meant. Pure; every line gives a command or a reply.

use super::path::{self, Address, Path};

/// BODY of MAIL (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MailParameters {
    /// SIZE (RFC 1870), octets.
    pub(super) size: Option<u64>,
    /// SMTPUTF8 (RFC 6531).
    pub(super) utf8: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// With the client's name.
    Lhlo(String),
    Mail(Path, MailParameters),
    Rcpt(Address),
    Data,
    /// Octets, and whether they are the last.
    Bdat(u64, bool),
    Rset,
    Noop,
    Vrfy,
    StartTls,
    Quit,
}

/// A reply line: code with enhanced code, and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

fn wrong<T>(text: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(text.into()))
}

/// Reads a line without its end.
pub(super) fn parse(line: &[u8]) -> Result<Command, Wrong> {
    let Ok(line) = std::str::from_utf8(line) else {
        return wrong("500 5.5.2 Invalid character in command");
    };
    if line.contains(char::is_control) {
        return wrong("500 5.5.2 Invalid character in command");
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match verb.to_ascii_uppercase().as_str() {
        "LHLO" => lhlo(rest),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => alone(rest, Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => alone(rest, Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "STARTTLS" => alone(rest, Command::StartTls),
        "QUIT" => alone(rest, Command::Quit),
        _ => wrong("500 5.5.1 Unknown command"),
    }
}

fn alone(rest: &str, command: Command) -> Result<Command, Wrong> {
    if rest.is_empty() {
        Ok(command)
    } else {
        wrong("501 5.5.4 Unexpected parameters")
    }
}

/// The name goes into a header field: what is no name is not repeated there.
fn lhlo(rest: &str) -> Result<Command, Wrong> {
    let name = rest.split(' ').next().unwrap_or_default();
    if name.is_empty() {
        return wrong("501 5.5.4 Missing hostname");
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let known = name.len() <= 255 && name.chars().all(fits);
    Ok(Command::Lhlo(if known { name } else { "unknown" }.to_owned()))
}

fn mail(rest: &str) -> Result<Command, Wrong> {
    let Some(rest) = after_keyword(rest, "FROM:") else {
        return wrong("501 5.5.4 Invalid parameters");
    };
    let (from, rest) = path::parse(rest).map_err(|why| Wrong(format!("501 5.5.4 Invalid FROM: {why}")))?;
    let mut parameters = MailParameters::default();
    for word in rest.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match (name.to_ascii_uppercase().as_str(), value.to_ascii_uppercase().as_str()) {
            ("SIZE", size) => {
                let Ok(size) = size.parse() else {
                    return wrong("501 5.5.4 Invalid SIZE");
                };
                parameters.size = Some(size);
            }
            ("BODY", "7BIT" | "8BITMIME") => {}
            ("BODY", _) => return wrong("555 5.5.4 Unsupported mail BODY type"),
            ("SMTPUTF8", "") => parameters.utf8 = true,
            _ => return wrong("555 5.5.4 Unsupported parameters"),
        }
    }
    if !parameters.utf8 && from.as_ref().is_some_and(|from| !from.text.is_ascii()) {
        return wrong("553 5.6.7 Address needs SMTPUTF8");
    }
    Ok(Command::Mail(from, parameters))
}

fn rcpt(rest: &str) -> Result<Command, Wrong> {
    let Some(rest) = after_keyword(rest, "TO:") else {
        return wrong("501 5.5.4 Invalid parameters");
    };
    let (to, rest) = path::parse(rest).map_err(|why| Wrong(format!("501 5.5.4 Invalid TO: {why}")))?;
    match to {
        _ if !rest.trim().is_empty() => wrong("555 5.5.4 Unsupported parameters"),
        Some(to) => Ok(Command::Rcpt(to)),
        None => wrong("501 5.5.4 Invalid TO: Null path not allowed"),
    }
}

/// RFC 3030.
fn bdat(rest: &str) -> Result<Command, Wrong> {
    let mut words = rest.split_ascii_whitespace();
    let octets = words.next().and_then(|word| word.parse().ok());
    let last = match words.next() {
        None => Some(false),
        Some(word) => word.eq_ignore_ascii_case("LAST").then_some(true),
    };
    match (octets, last, words.next()) {
        (Some(octets), Some(last), None) => Ok(Command::Bdat(octets, last)),
        _ => wrong("501 5.5.4 Invalid chunk size parameter"),
    }
}

/// What stands behind `FROM:` or `TO:`; many clients write a space behind the colon.
fn after_keyword<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, Wrong> {
        parse(line.as_bytes())
    }

    #[test]
    fn what_a_sender_may_say_is_understood() {
        let mail = read("mail from:<a@b> size=100 BODY=8BITMIME SMTPUTF8").unwrap();
        let parameters = MailParameters {
            size: Some(100),
            utf8: true,
        };
        assert!(matches!(mail, Command::Mail(Some(_), p) if p == parameters));
        assert!(matches!(read("MAIL FROM: <>"), Ok(Command::Mail(None, _))));
        assert!(matches!(read("RCPT TO:<ann@x>"), Ok(Command::Rcpt(to)) if to.local == "ann"));
        assert_eq!(read("BDAT 5 last"), Ok(Command::Bdat(5, true)));
        assert_eq!(read("LHLO a b"), Ok(Command::Lhlo("a".to_owned())));
        assert_eq!(read("LHLO x(y)z"), Ok(Command::Lhlo("unknown".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_answered_as_dovecot_answers_it() {
        for (line, reply) in [
            ("EHLO x", "500 5.5.1 Unknown command"),
            ("LHLO", "501 5.5.4 Missing hostname"),
            (
                "MAIL FROM:a@b",
                "501 5.5.4 Invalid FROM: Missing '<' at beginning of path",
            ),
            ("MAIL FROM:<a@b> FOO=1", "555 5.5.4 Unsupported parameters"),
            (
                "MAIL FROM:<a@b> BODY=BINARYMIME",
                "555 5.5.4 Unsupported mail BODY type",
            ),
            ("MAIL FROM:<ä@b>", "553 5.6.7 Address needs SMTPUTF8"),
            ("MAIL FROM:<a@b> SIZE=x", "501 5.5.4 Invalid SIZE"),
            ("RCPT TO:<>", "501 5.5.4 Invalid TO: Null path not allowed"),
            ("RCPT TO:<a@b> NOTIFY=NEVER", "555 5.5.4 Unsupported parameters"),
            ("BDAT", "501 5.5.4 Invalid chunk size parameter"),
            ("BDAT 5 FIRST", "501 5.5.4 Invalid chunk size parameter"),
            ("DATA x", "501 5.5.4 Unexpected parameters"),
            ("NOOP\u{1}", "500 5.5.2 Invalid character in command"),
        ] {
            assert_eq!(read(line), Err(Wrong(reply.to_owned())), "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_line_is_a_command_or_a_reply(line: Vec<u8>) {
            if let Err(Wrong(reply)) = parse(&line) {
                proptest::prop_assert!(reply.starts_with('5') && !reply.contains(['\r', '\n']));
            }
        }
    }
}
