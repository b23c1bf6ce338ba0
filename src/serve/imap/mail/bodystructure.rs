//! BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2), octets and lines counted in the raw message.

use super::envelope;
use super::field::{Fields, unfold};
use super::lexer::Lexer;
use super::parameters::{Parameter, parameters};
use super::part::{ContentType, Kind, Part};
use crate::serve::imap::answer::{nstring, string};
use std::ops::Range;

/// What a part's header says of its content.
#[derive(Default)]
struct Mime {
    content_type: Option<ContentType>,
    id: Option<Vec<u8>>,
    description: Option<Vec<u8>>,
    encoding: Option<Vec<u8>>,
    md5: Option<Vec<u8>>,
    disposition: Option<(Vec<u8>, Vec<Parameter>)>,
    languages: Vec<Vec<u8>>,
    location: Option<Vec<u8>>,
}

impl Mime {
    /// True where nothing but `text/plain` in us-ascii is said: Dovecot remembers no more of such a part, so the
    /// answer has its spelling, not the message's.
    fn is_simple_text(&self) -> bool {
        let seven_bit = self.encoding.as_ref().is_none_or(|e| e.eq_ignore_ascii_case(b"7bit"));
        let bare = self.id.is_none() && self.description.is_none() && self.md5.is_none();
        let plain = self.disposition.is_none() && self.languages.is_empty() && self.location.is_none();
        seven_bit && bare && plain && self.content_type.as_ref().is_some_and(ContentType::is_simple_text)
    }
}

/// Writes a part; `extended` is BODYSTRUCTURE.
pub(super) fn write(octets: &[u8], part: &Part, extended: bool) -> Vec<u8> {
    let mut writer = Writer {
        octets,
        extended,
        depth: 0,
        out: Vec::new(),
    };
    writer.part(part, false);
    writer.out
}

struct Writer<'a> {
    octets: &'a [u8],
    extended: bool,
    /// Levels that are open.
    depth: usize,
    out: Vec<u8>,
}

impl Writer<'_> {
    /// `is_of_multipart`: it is a part among others, so its header is about its content. A message's header is so only
    /// where it says so.
    fn part(&mut self, part: &Part, is_of_multipart: bool) {
        let mut mime = mime(self.cut(&part.header), is_of_multipart);
        self.out.push(b'(');
        self.depth = self.depth.saturating_add(1);
        match &part.kind {
            Kind::Multipart(parts) => self.multipart(&mime, parts),
            Kind::Message(inner) => {
                self.basic(&mime, ("message", "rfc822"), part);
                self.out.push(b' ');
                let message = self.cut(&(inner.header.start..inner.body.end));
                self.out.extend_from_slice(&envelope::write(message));
                self.out.push(b' ');
                self.part(inner, false);
                self.lines(&part.body);
                self.extension(&mime);
            }
            Kind::TooDeep => {
                let parameters = mime.content_type.take().map(|t| t.parameters).unwrap_or_default();
                mime.content_type = Some(ContentType {
                    main: b"application".to_vec(),
                    sub: b"octet-stream".to_vec(),
                    parameters,
                });
                self.basic(&mime, ("application", "octet-stream"), part);
                self.extension(&mime);
            }
            Kind::Leaf => {
                self.basic(&mime, ("text", "plain"), part);
                let is_text = mime
                    .content_type
                    .as_ref()
                    .is_none_or(|t| t.main.eq_ignore_ascii_case(b"text"));
                if is_text {
                    self.lines(&part.body);
                }
                self.extension(&mime);
            }
        }
        self.depth = self.depth.saturating_sub(1);
        self.out.push(b')');
    }

    /// True for a message of a single plain part.
    fn is_simple(&self, mime: &Mime) -> bool {
        self.depth == 1 && mime.is_simple_text()
    }

    fn cut(&self, range: &Range<usize>) -> &[u8] {
        self.octets.get(range.clone()).unwrap_or_default()
    }

    fn multipart(&mut self, mime: &Mime, parts: &[Part]) {
        for part in parts {
            self.part(part, true);
        }
        if parts.is_empty() {
            // a multipart must show one: Dovecot shows an empty text
            let nothing = Part {
                header: 0..0,
                body: 0..0,
                kind: Kind::Leaf,
            };
            self.part(&nothing, true);
        }
        self.out.push(b' ');
        let content_type = mime.content_type.as_ref();
        string(&mut self.out, content_type.map_or(b"x-unknown", |t| t.sub.as_slice()));
        if self.extended {
            self.out.push(b' ');
            self.parameters(content_type.map_or(&[], |t| t.parameters.as_slice()));
            self.disposition_and_on(mime);
        }
    }

    /// Type, subtype, parameters, id, description, encoding, octets.
    fn basic(&mut self, mime: &Mime, default: (&str, &str), part: &Part) {
        match mime.content_type.as_ref().filter(|_| !self.is_simple(mime)) {
            Some(content_type) if default.0 == "message" => {
                self.out.extend_from_slice(b"\"message\" \"rfc822\" ");
                self.parameters(&content_type.parameters);
            }
            Some(content_type) => {
                string(&mut self.out, &content_type.main);
                self.out.push(b' ');
                string(&mut self.out, &content_type.sub);
                self.out.push(b' ');
                self.content_parameters(content_type);
            }
            None => {
                let charset = if default.0 == "text" {
                    "(\"charset\" \"us-ascii\")"
                } else {
                    "NIL"
                };
                let text = format!("\"{}\" \"{}\" {charset}", default.0, default.1);
                self.out.extend_from_slice(text.as_bytes());
            }
        }
        for text in [&mime.id, &mime.description] {
            self.out.push(b' ');
            nstring(&mut self.out, text.as_deref());
        }
        self.out.push(b' ');
        string(&mut self.out, mime.encoding.as_deref().unwrap_or(b"7bit"));
        let size = part.body.end.saturating_sub(part.body.start);
        self.out.extend_from_slice(format!(" {size}").as_bytes());
    }

    /// A text without a charset is shown as us-ascii.
    fn content_parameters(&mut self, content_type: &ContentType) {
        let is_text = content_type.main.eq_ignore_ascii_case(b"text");
        let has_charset = content_type
            .parameters
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case(b"charset"));
        if is_text && !has_charset {
            let charset = (b"charset".to_vec(), b"us-ascii".to_vec());
            let all: Vec<Parameter> = content_type.parameters.iter().cloned().chain([charset]).collect();
            self.parameters(&all);
        } else {
            self.parameters(&content_type.parameters);
        }
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        if parameters.is_empty() {
            return self.out.extend_from_slice(b"NIL");
        }
        self.out.push(b'(');
        for (n, (name, value)) in parameters.iter().enumerate() {
            if n > 0 {
                self.out.push(b' ');
            }
            string(&mut self.out, name);
            self.out.push(b' ');
            string(&mut self.out, value);
        }
        self.out.push(b')');
    }

    fn lines(&mut self, body: &Range<usize>) {
        let lines = self.cut(body).iter().filter(|b| **b == b'\n').count();
        self.out.extend_from_slice(format!(" {lines}").as_bytes());
    }

    fn extension(&mut self, mime: &Mime) {
        if self.extended {
            self.out.push(b' ');
            nstring(&mut self.out, mime.md5.as_deref());
            self.disposition_and_on(mime);
        }
    }

    /// Disposition, language, location.
    fn disposition_and_on(&mut self, mime: &Mime) {
        self.out.push(b' ');
        match &mime.disposition {
            Some((kind, parameters)) => {
                self.out.push(b'(');
                string(&mut self.out, kind);
                self.out.push(b' ');
                self.parameters(parameters);
                self.out.push(b')');
            }
            None => self.out.extend_from_slice(b"NIL"),
        }
        self.out.push(b' ');
        self.languages(&mime.languages);
        self.out.push(b' ');
        nstring(&mut self.out, mime.location.as_deref());
    }

    fn languages(&mut self, languages: &[Vec<u8>]) {
        match languages {
            [] => self.out.extend_from_slice(b"NIL"),
            list => {
                self.out.push(b'(');
                for (n, language) in list.iter().enumerate() {
                    if n > 0 {
                        self.out.push(b' ');
                    }
                    string(&mut self.out, language);
                }
                self.out.push(b')');
            }
        }
    }
}

fn mime(header: &[u8], is_of_multipart: bool) -> Mime {
    let mut mime = Mime::default();
    let mut is_mime = is_of_multipart;
    for field in Fields(header) {
        let value = unfold(field.value);
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        match name.as_str() {
            "content-type" if mime.content_type.is_none() => {
                mime.content_type = Some(ContentType::parse(&value));
            }
            "content-id" => mime.id = mime.id.or(Some(value)),
            "content-description" => mime.description = mime.description.or(Some(value)),
            "content-transfer-encoding" => mime.encoding = mime.encoding.or_else(|| token(&value)),
            "content-md5" => mime.md5 = mime.md5.or(Some(value)),
            "content-disposition" if mime.disposition.is_none() => mime.disposition = disposition(&value),
            "content-language" if mime.languages.is_empty() => mime.languages = languages(&value),
            "content-location" => mime.location = mime.location.or(Some(value)),
            "mime-version" => is_mime = true,
            _ => {}
        }
    }
    if is_mime || mime.content_type.is_some() {
        mime
    } else {
        Mime::default()
    }
}

fn token(value: &[u8]) -> Option<Vec<u8>> {
    let mut lexer = Lexer::new(value);
    lexer.skip();
    let token = lexer.token();
    (!token.is_empty()).then(|| token.to_vec())
}

fn disposition(value: &[u8]) -> Option<(Vec<u8>, Vec<Parameter>)> {
    let mut lexer = Lexer::new(value);
    lexer.skip();
    let kind = lexer.token().to_vec();
    lexer.skip();
    Some((kind, parameters(&mut lexer)))
}

fn languages(value: &[u8]) -> Vec<Vec<u8>> {
    let tags = value.split(|b| *b == b',').filter_map(token);
    tags.collect()
}
