//! Mail that is hard to keep, to cut and to show. Ours, or a folder of `.eml` files that `MAILSHADOW_CORPUS` names.

use crate::Result;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};

/// Larger files of a corpus are left out: APPEND of them takes longer than all else.
const MESSAGE_MAX: u64 = 4 << 20;

/// The messages: those of the corpus, else our own. Never empty.
pub fn messages() -> Result<Vec<Vec<u8>>> {
    match std::env::var_os("MAILSHADOW_CORPUS") {
        Some(folder) => corpus(Path::new(&folder)),
        None => Ok(own()),
    }
}

fn corpus(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let mut open = vec![folder.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => open.push(entry.path()),
                false if entry.metadata()?.len() <= MESSAGE_MAX => files.push(entry.path()),
                false => {}
            }
        }
    }
    files.retain(|path| path.extension().is_some_and(|ending| ending == "eml"));
    files.sort();
    ensure!(!files.is_empty(), "no .eml files below {}", folder.display());
    files.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

/// Header lines that most of them share.
const HEAD: &str = "From: A <a@example.org>\r\nTo: b@example.net\r\nSubject: hostile\r\n";
const MIME: &str = "MIME-Version: 1.0\r\nContent-Type: ";

/// What breaks stores, line ends, parsers of MIME and of addresses.
fn own() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(octets());
    all.extend(store_lookalikes());
    all.extend(parts().into_iter().map(|text| format!("{HEAD}{text}").into_bytes()));
    all.extend(
        addresses()
            .iter()
            .map(|to| format!("From: a@b.c\r\nTo: {to}\r\n\r\nx\r\n").into_bytes()),
    );
    all
}

fn octets() -> Vec<Vec<u8>> {
    let body = |octets: &[u8]| [HEAD.as_bytes(), b"\r\n", octets].concat();
    vec![
        body(b"no line end"),
        body(b"bare\nline feeds\nonly\n"),
        body(b"mixed\r\nline\nends\r\n\n"),
        body(b"lone \r carriage \r returns\r\r\n and one at the end\r"),
        body(b"nul \0 and \0\0 more\r\n"),
        body(b"eight \xe4\xf6\xff bits\r\n"),
        body(&vec![b'x'; 200_000]),
        body("a line of usual length, many times over\r\n".repeat(9000).as_bytes()),
        body(b""),
        b"\r\n".to_vec(),
        b"no header at all".to_vec(),
    ]
}

/// Mail that begins like what stores write themselves.
fn store_lookalikes() -> Vec<Vec<u8>> {
    let magics: [&[u8]; 7] = [
        b"CRYPTED\x03\x07\x02",
        b"Dovecot-LZ4\x0d\x2a\x9b\xc5\0\x01\0\0",
        b"BZh91AY&SY",
        b"\x28\xb5\x2f\xfd",
        b"2 M1e C6b022a7e\n\x01\x02N                     10\n",
        b"x\n\x01\x03\nR6b022a7e\nV1\n\n",
        b"From a@b.c Mon Jan  1 00:00:00 2024\n",
    ];
    magics
        .iter()
        .map(|magic| [*magic, b" and so on\r\n"].concat())
        .collect()
}

fn parts() -> Vec<String> {
    let raw: Vec<u8> = (0..9000_u32)
        .map(|n| u8::try_from(n * n % 251).unwrap_or_default())
        .collect();
    let lines = |width: usize| base64(&raw, width);
    let long = "q".repeat(81);
    let attachment = |width, tail: &str| {
        let head = "--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n";
        format!(
            "{MIME}multipart/mixed; boundary=b\r\n\r\n{head}{}{tail}--b--\r\n",
            lines(width)
        )
    };
    vec![
        attachment(76, "\r\n"),
        attachment(60, "\r\n\r\n"),
        attachment(76, "\r\nnot base64 at all\r\n"),
        attachment(12_000, "\r\n"),
        format!(
            "{MIME}multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b\r\nA: b\r\n--b\r\nA: b\r\n\r\n--b--\r\nepilogue\r\n"
        ),
        format!(
            "{MIME}multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n--b--\r\n"
        ),
        format!("{MIME}multipart/mixed; boundary={long}\r\n\r\n--{long}\r\n\r\na\r\n--{long}--\r\n"),
        format!("{MIME}multipart/mixed; boundary*0=x; boundary*1=y\r\n\r\n--xy\r\n\r\na\r\n--xy--\r\n"),
        format!("{MIME}multipart/mixed;; boundary=b\r\n\r\n--b\r\n\r\na\r\n--b--\r\n"),
        format!("{MIME}text/plain foo; charset=utf-8\r\n\r\nx\r\n"),
        format!(
            "{MIME}application/x; n*1=b; n*0=a; m*0*=utf-8''%41; m*1=%\r\nContent-Disposition: inline; x y; z=1\r\n\r\nx\r\n"
        ),
        "Content-Disposition: attachment; filename=forgotten\r\nContent-Transfer-Encoding: 8bit\r\n\r\nx\r\n"
            .to_owned(),
    ]
}

fn base64(octets: &[u8], width: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (n, three) in octets.chunks_exact(3).enumerate() {
        if n > 0 && (n * 4).is_multiple_of(width) {
            text.push_str("\r\n");
        }
        let bits = three
            .iter()
            .fold(0_usize, |bits, octet| bits << 8 | usize::from(*octet));
        let digits = [18, 12, 6, 0].map(|shift| DIGITS.get(bits >> shift & 63).copied().unwrap_or_default());
        text.extend(digits.map(char::from));
    }
    text
}

fn addresses() -> [&'static str; 12] {
    [
        "\"unclosed <x@example.org",
        ",,, ;",
        "a@b, , c@d",
        "x <y@z> w, q@r",
        "<@r,@s:a@b>, <>, <a>",
        "g: a@b, c;, d@e",
        "a@b (comment) rest",
        "a@b (never closed",
        "words alone, \"quoted alone\"",
        "woie\tq_ewo6443",
        ".a@b, a.@b, a..b@c",
        "a@[1.2.3.4], \"q u\"@x",
    ]
}
