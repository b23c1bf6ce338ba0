//! Which users belong to a group.

use serde::Deserialize;

/// Patterns of user names: `*` stands for any text, `?` for one character; `!pattern` leaves out. Case counts, as it
/// does in the source's user database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct UserPatterns {
    take: Vec<String>,
    leave: Vec<String>,
}

impl TryFrom<Vec<String>> for UserPatterns {
    type Error = String;
    fn try_from(patterns: Vec<String>) -> Result<Self, String> {
        if patterns.len() > crate::limits::USER_PATTERNS_MAX {
            return Err(format!(
                "expected at most {} patterns",
                crate::limits::USER_PATTERNS_MAX
            ));
        }
        let (leave, take): (Vec<String>, Vec<String>) = patterns.into_iter().partition(|p| p.starts_with('!'));
        let leave: Vec<String> = leave.iter().map(|p| p.trim_start_matches('!').to_owned()).collect();
        if take.is_empty() {
            return Err("expected at least one pattern without \"!\", as [\"*\"]".to_owned());
        }
        if take.iter().chain(&leave).any(String::is_empty) {
            return Err("expected patterns of user names, found an empty one".to_owned());
        }
        Ok(Self { take, leave })
    }
}

impl UserPatterns {
    /// True where nobody can be left out.
    #[must_use]
    pub fn take_everybody(&self) -> bool {
        self.leave.is_empty() && self.take.iter().any(|pattern| pattern.chars().all(|c| c == '*'))
    }

    /// True where the user belongs to the group.
    #[must_use]
    pub fn matches(&self, user: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| pattern_matches(pattern, user));
        any(&self.take) && !any(&self.leave)
    }
}

/// Greedy match with one step back to the last `*`: linear in practice, at worst pattern × text, never exponential.
fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(found) = text.get(read) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, read));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == found => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after_star, taken)) = star else { return false };
                star = Some((after_star, taken + 1));
                at = after_star;
                read = taken + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> UserPatterns {
        let list: Vec<String> = list.iter().map(|p| (*p).to_owned()).collect();
        UserPatterns::try_from(list).unwrap()
    }

    #[test]
    fn a_user_left_out_by_name_is_left_out() {
        let some = patterns(&["*@example.test", "root", "!probe*@example.test"]);
        for (user, belongs) in [
            ("ann@example.test", true),
            ("root", true),
            ("probe1@example.test", false),
            ("ann@example.testx", false),
            ("Root", false),
            ("", false),
        ] {
            assert_eq!(some.matches(user), belongs, "{user}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_ends_soon() {
        let hard = patterns(&["*a*a*a*a*a*a*a*a*a*a*b"]);
        assert!(!hard.matches(&"a".repeat(500)));
        assert!(patterns(&["a?c*", "**"]).matches("abc"));
        assert!(patterns(&["ü?"]).matches("üñ"));
        assert!(!patterns(&["a?"]).matches("a"));
    }
}
