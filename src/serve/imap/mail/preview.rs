//! PREVIEW (RFC 8970): the beginning of a message's text, as people read it.

use super::part::Part;
use crate::limits::MIME_DECODE_NESTING_MAX;
use crate::serve::imap::answer;
use mail_parser::MessageParser;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Characters of a preview; RFC 8970 allows 200, and Dovecot gives as many.
const CHARACTERS: usize = 200;

/// Writes it as a string: empty where the message has no text, or none that can be decoded.
pub(super) fn write(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let text = text(octets).unwrap_or_default();
    let preview = unquoted(&text).or_else(|| quoted(&text)).unwrap_or_default();
    answer::string(&mut out, preview.as_bytes());
    out
}

/// The first text part, decoded; HTML as text.
fn text(octets: &[u8]) -> Option<String> {
    if Part::parse(octets).depth() > MIME_DECODE_NESTING_MAX {
        return None;
    }
    // the decoder has panicked on corrupt mail before; a preview must not end the session
    let decode = AssertUnwindSafe(|| {
        let message = MessageParser::new().parse(octets)?;
        message.body_text(0).map(|text| text.into_owned())
    });
    catch_unwind(decode).ok().flatten()
}

/// The words that the sender wrote, without those quoted from others; none where there are only these.
fn unquoted(text: &str) -> Option<String> {
    first_words(text.lines().filter(|line| !line.starts_with('>')))
}

/// The quoted words, marked as such.
fn quoted(text: &str) -> Option<String> {
    let words = first_words(text.lines().map(|line| line.trim_start_matches(['>', ' '])))?;
    Some(format!(">{words}").chars().take(CHARACTERS).collect())
}

fn first_words<'l>(lines: impl Iterator<Item = &'l str>) -> Option<String> {
    let mut preview = String::new();
    let mut left = CHARACTERS;
    for word in lines.flat_map(str::split_whitespace) {
        if !preview.is_empty() && left > 1 {
            preview.push(' ');
            left = left.saturating_sub(1);
        }
        let shown = word.chars().filter(|c| !c.is_control() && *c != '\u{200b}');
        for c in shown.take(left) {
            preview.push(c);
            left = left.saturating_sub(1);
        }
        if left <= 1 {
            break;
        }
    }
    (!preview.is_empty()).then_some(preview)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preview(mail: &str) -> String {
        String::from_utf8(write(mail.as_bytes())).unwrap()
    }

    #[test]
    fn previews_show_what_the_sender_wrote() {
        assert_eq!(
            preview("Subject: x\r\n\r\n> old\r\nnew\r\n\r\n  words\r\n"),
            "\"new words\""
        );
        assert_eq!(preview("Subject: x\r\n\r\n> old\r\n>> older\r\n"), "\">old older\"");
        assert_eq!(preview("Subject: x\r\n\r\n"), "\"\"");
        let html = "Content-Type: text/html\r\n\r\n<p>one <b>two</b></p>\r\n";
        assert_eq!(preview(html), "\"one two\"");
        let long = format!("\r\n{}", "ab ".repeat(300));
        assert!(preview(&long).chars().count() <= CHARACTERS + 2);
    }
}
