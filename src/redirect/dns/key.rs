//! A TSIG key out of a file: as BIND's `tsig-keygen` and Knot's `keymgr -t` write it, or `ALGORITHM:NAME:SECRET`.

use super::message;
use crate::limits::TSIG_FILE_BYTES_MAX;
use base64::Engine;
use ring::hmac;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A TSIG key.
pub struct TsigKey {
    /// Its name, as bytes of a DNS name in lower case.
    pub(super) name: Vec<u8>,
    /// Its algorithm's name, likewise.
    pub(super) algorithm: Vec<u8>,
    pub(super) secret: hmac::Key,
}

/// A key says its name, never its secret.
impl std::fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TsigKey")
            .field("name", &String::from_utf8_lossy(&self.name))
            .finish_non_exhaustive()
    }
}

impl TsigKey {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let mut text = String::new();
        let mut file = File::open(path).map_err(|e| e.to_string())?.take(TSIG_FILE_BYTES_MAX);
        file.read_to_string(&mut text).map_err(|e| e.to_string())?;
        Self::parse(&text)
    }

    /// Understands one key.
    ///
    /// # Errors
    /// There is none, or more than one, or an algorithm that is not known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, algorithm, secret) = parts(text)?;
        let used = algorithm_of(&algorithm)?;
        let secret = base64::engine::general_purpose::STANDARD.decode(&secret);
        let secret = secret.map_err(|_| "the secret is no base64".to_owned())?;
        if secret.is_empty() {
            return Err("the secret is empty".to_owned());
        }
        Ok(Self {
            name: message::name(&name)?,
            algorithm: message::name(&algorithm)?,
            secret: hmac::Key::new(used, &secret),
        })
    }
}

/// Name, algorithm and secret, in whichever form.
fn parts(text: &str) -> Result<(String, String, String), String> {
    let lines = text
        .lines()
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before));
    let lines = lines.map(|line| line.split_once("//").map_or(line, |(before, _)| before).trim());
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if let [line] = lines.as_slice()
        && let [algorithm, name, secret] = line.split(':').collect::<Vec<_>>().as_slice()
        && !line.contains(char::is_whitespace)
    {
        return Ok(((*name).to_owned(), (*algorithm).to_lowercase(), (*secret).to_owned()));
    }
    // `key "NAME" { algorithm A; secret "S"; };` and `key: - id: NAME algorithm: A secret: S` are the same words
    let text = lines.join(" ");
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || "{};\"".contains(c))
        .filter(|word| !word.is_empty() && *word != "-")
        .collect();
    let after = |titles: &[&str]| {
        let places = words.iter().enumerate().filter(|(_, word)| titles.contains(word));
        let found: Vec<&str> = places.filter_map(|(place, _)| words.get(place + 1).copied()).collect();
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => Err(format!("no key: \"{}\" is missing", titles.first().unwrap_or(&""))),
            _ => Err("expected one key, found more".to_owned()),
        }
    };
    let name = after(&["key", "id:"])?;
    Ok((
        name,
        after(&["algorithm", "algorithm:"])?.to_lowercase(),
        after(&["secret", "secret:"])?,
    ))
}

fn algorithm_of(name: &str) -> Result<hmac::Algorithm, String> {
    match name {
        "hmac-sha256" => Ok(hmac::HMAC_SHA256),
        "hmac-sha384" => Ok(hmac::HMAC_SHA384),
        "hmac-sha512" => Ok(hmac::HMAC_SHA512),
        other => Err(format!(
            "the algorithm {other} is not taken: make a key of hmac-sha256, -384 or -512"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_bind_of_knot_and_in_one_line_are_the_same_key() {
        let bind =
            "# made by tsig-keygen\nkey \"Shadow.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0\";\n};\n";
        let knot = "# hmac-sha256:shadow.example:c2VjcmV0\nkey:\n  - id: shadow.example.\n    algorithm: hmac-sha256\n    secret: c2VjcmV0\n";
        for text in [bind, knot, "hmac-sha256:shadow.example:c2VjcmV0\n"] {
            let key = TsigKey::parse(text).unwrap();
            assert_eq!(key.name, b"\x06shadow\x07example\0");
            assert_eq!(key.algorithm, b"\x0bhmac-sha256\0");
            assert!(!format!("{key:?}").contains("c2VjcmV0"));
        }
    }

    #[test]
    fn what_is_no_key_is_told_as_what_it_lacks() {
        let why = |text: &str| TsigKey::parse(text).unwrap_err();
        assert!(why("").contains("\"key\" is missing"));
        assert!(why("hmac-md5:x:c2VjcmV0").contains("hmac-md5 is not taken"));
        assert!(why("hmac-sha256:x:***").contains("base64") && why("hmac-sha256:x:").contains("empty"));
        assert!(why("key a { algorithm hmac-sha256; secret \"eA==\"; }; key b { };").contains("found more"));
        assert!(why("hmac-sha256:a..b:c2VjcmV0").contains("name"));
    }
}
