//! File names of a maildir: `BASE` in `new/`, `BASE:2,FLAGS` in `cur/`.

use crate::op::Flags;

/// A file name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaildirName<'a> {
    /// What the file is, whatever its flags: all before the `:`, with `,S=…,W=…`.
    pub base: &'a str,
    /// System flags out of the letters.
    pub flags: Flags,
    /// The letters `a` to `z`: keywords by their number in `dovecot-keywords`.
    pub keywords: KeywordLetters,
}

/// A set of the 26 keyword letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeywordLetters(u32);

impl KeywordLetters {
    /// The numbers of the letters, `a` = 0.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        (0..26).filter(move |number| self.0 >> number & 1 != 0)
    }
}

impl<'a> MaildirName<'a> {
    /// Takes a name apart. A name without an info part, or with one that is not `2,`, has no flags.
    #[must_use]
    pub fn parse(name: &'a str) -> Self {
        let (base, info) = name.split_once(':').unwrap_or((name, ""));
        let letters = info.strip_prefix("2,").unwrap_or_default();
        let mut parsed = Self {
            base,
            flags: Flags::NONE,
            keywords: KeywordLetters::default(),
        };
        for letter in letters.bytes() {
            match letter {
                b'a'..=b'z' => parsed.keywords.0 |= 1 << (letter - b'a'),
                _ => parsed.flags = parsed.flags.changed(flag_of(letter), Flags::NONE),
            }
        }
        parsed
    }

    /// Size on disk (`,S=`), where the name tells it.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.number("S=")
    }

    /// RFC822.SIZE (`,W=`), where the name tells it.
    #[must_use]
    pub fn virtual_size(&self) -> Option<u64> {
        self.number("W=")
    }

    fn number(&self, key: &str) -> Option<u64> {
        let field = self.base.split(',').skip(1).find_map(|field| field.strip_prefix(key))?;
        field
            .bytes()
            .all(|digit| digit.is_ascii_digit())
            .then(|| field.parse().ok())?
    }
}

fn flag_of(letter: u8) -> Flags {
    match letter {
        b'D' => Flags::DRAFT,
        b'F' => Flags::FLAGGED,
        b'R' => Flags::ANSWERED,
        b'S' => Flags::SEEN,
        b'T' => Flags::DELETED,
        _ => Flags::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_survives_a_flag_change() {
        let before = MaildirName::parse("1795305476.M463921P25067.mx1.example.test,S=592,W=615");
        let after = MaildirName::parse("1795305476.M463921P25067.mx1.example.test,S=592,W=615:2,RSac");
        assert_eq!(before.base, after.base);
        assert_eq!(after.flags, Flags::ANSWERED.changed(Flags::SEEN, Flags::NONE));
        assert_eq!(after.keywords.numbers().collect::<Vec<_>>(), [0, 2]);
        assert_eq!((after.size(), after.virtual_size()), (Some(592), Some(615)));
    }

    #[test]
    fn sizes_that_are_no_numbers_are_not_told() {
        for name in ["a,S=", "a,S=+5", "a,S=99999999999999999999", "S=5", "a:2,S=5"] {
            assert_eq!(MaildirName::parse(name).size(), None, "{name}");
        }
        assert_eq!(MaildirName::parse("a:1,S").flags, Flags::NONE);
    }
}
