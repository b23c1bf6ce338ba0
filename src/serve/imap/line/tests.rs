//! Pieces, bounds and refusals.

use super::*;

fn events(input: &[u8]) -> Result<Vec<Event>, Flood> {
    let mut buffer = CommandBuffer::new();
    let mut found = Vec::new();
    for piece in input.chunks(7) {
        buffer.push(piece);
        while let Some(event) = buffer.next()? {
            decide(&mut buffer, &event);
            found.push(event);
        }
    }
    Ok(found)
}

/// Takes messages of up to 9 octets.
fn decide(buffer: &mut CommandBuffer, event: &Event) {
    match event {
        Event::Announced { octets: ..10, .. } => drop(buffer.take_message()),
        Event::Announced { .. } => buffer.refuse_message(),
        _ => {}
    }
}

fn command(text: &[u8]) -> Event {
    Event::Command(text.to_vec())
}

fn announced(before: &[u8], octets: u64) -> Event {
    let before = before.to_vec();
    Event::Announced { before, octets }
}

#[test]
fn pipelined_commands_and_literals_come_out_one_by_one() {
    assert_eq!(
        events(b"a NOOP\r\nb LOGIN {3+}\r\nann {4}\r\npa\r\n\r\nc X\n").unwrap(),
        [
            command(b"a NOOP"),
            Event::WantsLiteral,
            command(b"b LOGIN {3+}\r\nann {4}\r\npa\r\n"),
            command(b"c X"),
        ]
    );
}

#[test]
fn a_refused_append_is_answered_before_its_message_and_leaves_the_next_command_whole() {
    assert_eq!(
        events(b"a APPEND x {1000}\r\nb NOOP\r\n").unwrap(),
        [
            announced(b"a APPEND x {1000}", 1000),
            Event::Refused(b"a APPEND x {1000}".to_vec()),
            command(b"b NOOP")
        ]
    );
    assert_eq!(
        events(b"a uid replace 1 x {16+}\r\n1\r\n2\r\n0123456789 {2+}\r\nxx\r\nb NOOP\r\n").unwrap(),
        [
            announced(b"a uid replace 1 x {16+}", 16),
            Event::Refused(b"a uid replace 1 x {16+}".to_vec()),
            command(b"b NOOP")
        ]
    );
}

#[test]
fn messages_are_kept_apart_from_their_command() {
    let mut buffer = CommandBuffer::new();
    buffer.push(b"a APPEND {3+}\r\nbox (\\Seen) {4}\r\na\nb\n {2+}\r\ncd\r\nb NOOP\r\n");
    let first = buffer.next().unwrap();
    assert_eq!(first, Some(announced(b"a APPEND {3+}\r\nbox (\\Seen) {4}", 4)));
    assert!(buffer.take_message(), "the client waits for +");
    let second = buffer.next().unwrap();
    let text = b"a APPEND {3+}\r\nbox (\\Seen) {4}\r\n {2+}";
    assert_eq!(second, Some(announced(text, 2)));
    assert!(!buffer.take_message());
    assert_eq!(
        buffer.next().unwrap(),
        Some(command(&[text, b"\r\n".as_slice()].concat()))
    );
    assert_eq!(buffer.messages(), [b"a\nb\n".to_vec(), b"cd".to_vec()]);
    assert_eq!(buffer.next().unwrap(), Some(command(b"b NOOP")));
    assert!(buffer.messages().is_empty());
}

#[test]
fn a_literal_name_is_told_from_a_message() {
    for (line, message) in [
        ("a APPEND {3}", false),
        ("a append x {3}", true),
        ("a APPEND \"x y\" (\\Seen) {3}", true),
        ("a REPLACE 1 {3}", false),
        ("a REPLACE 1 x {3}", true),
        ("a UID REPLACE 1 {3}", false),
        ("a UID REPLACE 1 x ~{3}", true),
        ("a UID APPEND x {3}", false),
        ("a SEARCH TEXT x TEXT {3}", false),
    ] {
        assert_eq!(announces_message(line.as_bytes()), message, "{line}");
    }
}

#[test]
fn a_line_without_end_is_dropped_and_its_tag_kept() {
    let mut flood = b"tag7 LOGIN ".to_vec();
    flood.resize(200_000, b'x');
    flood.extend_from_slice(b"\r\nb NOOP\r\n");
    let found = events(&flood).unwrap();
    assert!(matches!(&found[0], Event::TooLong(start) if tag_of(start) == Some("tag7")));
    assert_eq!(found[1..], [command(b"b NOOP")]);
}

#[test]
fn an_announced_terabyte_ends_the_connection() {
    assert_eq!(events(b"a APPEND x {1099511627776+}\r\n"), Err(Flood));
    assert_eq!(events(b"a LOGIN {1099511627776+}\r\n"), Err(Flood));
    assert!(matches!(
        &events(b"a LOGIN {1099511627776}\r\n").unwrap()[..],
        [Event::Refused(_)]
    ));
}

#[test]
fn what_looks_like_a_literal_only_is_text() {
    for text in [
        "a X {}",
        "a X {+}",
        "a X {1x}",
        "a X {99999999999999999999}",
        "a X }",
        "a X \"{3}\"",
    ] {
        assert_eq!(
            events(format!("{text}\r\n").as_bytes()).unwrap(),
            [command(text.as_bytes())]
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_in_any_pieces_give_the_same_events(bytes: Vec<u8>, size in 1_usize..9) {
        let whole = events(&bytes);
        let mut buffer = CommandBuffer::new();
        let mut found = Vec::new();
        let mut flood = false;
        'pieces: for piece in bytes.chunks(size) {
            buffer.push(piece);
            loop {
                match buffer.next() {
                    Ok(Some(event)) => {
                        decide(&mut buffer, &event);
                        found.push(event);
                    }
                    Ok(None) => break,
                    Err(Flood) => { flood = true; break 'pieces; }
                }
            }
        }
        proptest::prop_assert_eq!(whole, if flood { Err(Flood) } else { Ok(found) });
    }
}
