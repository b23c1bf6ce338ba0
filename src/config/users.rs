//! Which users belong to a group.

use super::Moved;
use serde::Deserialize;

/// Patterns of user names: `*` stands for any text, `?` for one character; `!pattern` leaves out. Case counts, as it
/// does in the source's user database.
///
/// Users who were moved to another group, or to this one, while the node runs count as they are now. No pattern at all: only
/// users who are moved here.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct UserPatterns {
    take: Vec<String>,
    leave: Vec<String>,
    moved: Moved,
}

impl PartialEq for UserPatterns {
    fn eq(&self, other: &Self) -> bool {
        (&self.take, &self.leave) == (&other.take, &other.leave)
    }
}

impl Eq for UserPatterns {}

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
        if take.is_empty() && !leave.is_empty() {
            return Err("expected at least one pattern without \"!\", as [\"*\"]".to_owned());
        }
        if take.iter().chain(&leave).any(String::is_empty) {
            return Err("expected patterns of user names, found an empty one".to_owned());
        }
        let moved = Moved::default();
        Ok(Self { take, leave, moved })
    }
}

impl UserPatterns {
    /// True where nobody can be left out.
    #[must_use]
    pub fn take_everybody(&self) -> bool {
        self.leave.is_empty()
            && !self.moved.is_anybody_away()
            && self.take.iter().any(|pattern| pattern.chars().all(|c| c == '*'))
    }

    /// True where the user belongs to the group.
    #[must_use]
    pub fn matches(&self, user: &str) -> bool {
        self.moved.is_here(user).unwrap_or_else(|| self.is_named(user))
    }

    /// True where nobody belongs to it who was not moved here.
    #[must_use]
    pub fn name_nobody(&self) -> bool {
        self.take.is_empty()
    }

    /// Users who were moved.
    #[must_use]
    pub fn moved(&self) -> &Moved {
        &self.moved
    }

    /// As it is at this moment: nobody's move changes what it says.
    #[must_use]
    pub fn as_now(&self) -> Self {
        Self {
            moved: self.moved.as_now(),
            ..self.clone()
        }
    }

    fn is_named(&self, user: &str) -> bool {
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
    fn a_user_who_was_moved_counts_where_he_is() {
        let (main, moved) = (patterns(&["*"]), patterns(&[]));
        assert!(main.take_everybody() && moved.name_nobody() && !moved.matches("ann"));
        let ann = crate::op::UserName::from("ann");
        let at = |is_here| super::super::MovedUser {
            is_here,
            kept_out: super::super::KeptOut::WhileStandby,
            told: super::super::Told::Later,
        };
        // copies that others have know it too, but for one that was taken before
        let (copy, before) = (main.clone(), main.as_now());
        main.moved().replace([(ann.clone(), at(false))].into());
        moved.moved().replace([(ann.clone(), at(true))].into());
        assert!(!copy.matches("ann") && copy.matches("bob") && moved.matches("ann") && before.matches("ann"));
        assert!(!copy.take_everybody());
        assert!(moved.moved().kept_out(true).is_empty() && moved.moved().kept_out(false).contains(&ann));
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
