//! Variables in paths of the configuration: `%u %n %d %h` and their long names, as both release lines write them.
//!
//! What is not known here is an error that names it: a path that was guessed would be an empty mailbox.

use super::settings::Version;
use crate::op::UserName;
use std::path::Path;

/// Whose paths.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// Which syntax.
    pub version: Version,
    /// Whole name: `%u`.
    pub user: &'a UserName,
    /// Home directory; none where the user database tells none.
    pub home: Option<&'a Path>,
}

impl Variables<'_> {
    /// The text with all variables replaced.
    ///
    /// # Errors
    /// A sentence that names the variable.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            let (value, tail) = match after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
                Some((inside, tail)) => (self.long(inside)?, tail),
                None if self.version == Version::V2_4 => ("%".to_owned(), after),
                None => self.short(after)?,
            };
            plain.push_str(&value);
            rest = tail;
        }
        plain.push_str(rest);
        Ok(plain)
    }

    /// The same for a path, where `~` at the beginning is the home directory.
    ///
    /// # Errors
    /// A sentence that names the variable, or that there is no home.
    pub fn expand_path(&self, path: &str) -> Result<String, String> {
        self.home_path(&self.expand(path)?)
    }

    /// A path in which `~` at the beginning is the home directory; without `/` at the end.
    ///
    /// # Errors
    /// There is no home, or it is another user's.
    pub fn home_path(&self, path: &str) -> Result<String, String> {
        let path = if path.len() > 1 {
            path.strip_suffix('/').unwrap_or(path)
        } else {
            path
        };
        match path.strip_prefix('~') {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Ok(self.home()? + rest),
            Some(_) => Err(format!("the home of another user in {path} is not supported")),
            None => Ok(path.to_owned()),
        }
    }

    /// `%u`, with modifiers before the letter: `%Lu`, `%1n`, `%2.1n` (from the second character on, one).
    fn short<'t>(&self, after: &'t str) -> Result<(String, &'t str), String> {
        if let Some(tail) = after.strip_prefix('%') {
            return Ok(("%".to_owned(), tail));
        }
        let end = after.find(|c: char| !(c.is_ascii_digit() || ".LUR".contains(c)));
        let (modifiers, rest) = end.and_then(|end| after.split_at_checked(end)).unwrap_or((after, ""));
        let mut rest_chars = rest.chars();
        let letter = rest_chars.next().ok_or("a path ends in %")?;
        let value = match letter {
            'u' => self.user.0.clone(),
            'n' => self.local().to_owned(),
            'd' => self.domain().to_owned(),
            'h' => self.home()?,
            other => return Err(format!("the variable %{other} in a path is not known")),
        };
        Ok((modified(value, modifiers)?, rest_chars.as_str()))
    }

    /// `%{user}`, and in 2.4 with filters: `%{user | username | lower}`.
    fn long(&self, inside: &str) -> Result<String, String> {
        let mut words = inside.split('|').map(str::trim);
        let unknown = |word: &str| format!("%{{{word}}} in a path is not known");
        let name = words.next().unwrap_or_default();
        let mut value = match name {
            "user" => self.user.0.clone(),
            "username" => self.local().to_owned(),
            "domain" => self.domain().to_owned(),
            "home" => self.home()?,
            _ => return Err(unknown(inside)),
        };
        for filter in words {
            value = match filter {
                "lower" => value.to_lowercase(),
                "upper" => value.to_uppercase(),
                "username" => value.split('@').next().unwrap_or_default().to_owned(),
                "domain" => value.split_once('@').map_or("", |(_, domain)| domain).to_owned(),
                _ => return Err(unknown(inside)),
            };
        }
        Ok(value)
    }

    fn local(&self) -> &str {
        self.user.0.split('@').next().unwrap_or_default()
    }

    fn domain(&self) -> &str {
        self.user.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    fn home(&self) -> Result<String, String> {
        let home = self.home.ok_or("the user database tells no home directory")?;
        Ok(home.to_string_lossy().into_owned())
    }
}

fn modified(value: String, modifiers: &str) -> Result<String, String> {
    let letters: String = modifiers.chars().filter(char::is_ascii_uppercase).collect();
    let digits: String = modifiers.chars().filter(|c| !c.is_ascii_uppercase()).collect();
    let value = letters.chars().fold(value, |value, letter| match letter {
        'L' => value.to_lowercase(),
        'U' => value.to_uppercase(),
        _ => value.chars().rev().collect(),
    });
    if digits.is_empty() {
        return Ok(value);
    }
    let (skip, width) = digits.split_once('.').unwrap_or(("0", &digits));
    let number = |text: &str| {
        text.parse::<usize>()
            .map_err(|_| format!("%{modifiers} in a path is not known"))
    };
    Ok(value.chars().skip(number(skip)?).take(number(width)?).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(version: Version, text: &str) -> Result<String, String> {
        let user = UserName::from("Ann.B@example.test");
        let home = Some(Path::new("/home/ann"));
        Variables {
            version,
            user: &user,
            home,
        }
        .expand(text)
    }

    #[test]
    fn the_old_letters_and_the_new_words_mean_the_same() {
        for (text, value) in [
            ("/v/%d/%n", "/v/example.test/Ann.B"),
            ("/v/%Lu/%%", "/v/ann.b@example.test/%"),
            ("%h/Maildir", "/home/ann/Maildir"),
            ("/v/%1n/%0.2n/%2.1Ln", "/v/A/An/n"),
            ("%{home}/%{domain}", "/home/ann/example.test"),
        ] {
            assert_eq!(expanded(Version::V2_3, text).as_deref(), Ok(value), "{text}");
        }
        for (text, value) in [
            ("/v/%{user | domain}/%{user|username|lower}", "/v/example.test/ann.b"),
            ("%{home}/a%b", "/home/ann/a%b"),
        ] {
            assert_eq!(expanded(Version::V2_4, text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_and_never_guessed() {
        for text in ["/v/%2.256Nu/%n", "/v/%{if;%u}", "/v/%Hu", "/v/%"] {
            assert!(expanded(Version::V2_3, text).is_err(), "{text}");
        }
        let why = expanded(Version::V2_4, "/v/%{user | md5 | hex(2)}").unwrap_err();
        assert!(why.contains("md5"), "{why}");
        let user = UserName::from("u");
        let homeless = Variables {
            version: Version::V2_3,
            user: &user,
            home: None,
        };
        assert!(homeless.expand("%h/m").is_err());
    }
}
