//! ORDEREDSUBJECT (RFC 5256 section 3): messages of one base subject are a thread, by date; all that follow the first
//! stand beside each other below it.

use super::Threaded;
use super::forest::Forest;
use std::collections::HashMap;

/// The answer.
pub(super) fn ordered(messages: &[Threaded]) -> String {
    let mut order: Vec<usize> = (0..messages.len()).collect();
    let sent = |place: &usize| messages.get(*place).map(|m| (m.sent, m.number));
    order.sort_by_key(sent);
    let mut forest = Forest::new(messages.iter().map(|m| Some(m.number)));
    let mut first: HashMap<&str, usize> = HashMap::new();
    for place in order {
        let Some(message) = messages.get(place) else { continue };
        match first.get(message.subject.base.as_str()) {
            Some(first) => forest.adopt(*first, place),
            None => {
                first.insert(&message.subject.base, place);
                forest.plant(place);
            }
        }
    }
    forest.write()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::imap::letter::Subject;

    #[test]
    fn messages_of_one_subject_stand_below_the_oldest() {
        let message = |number, sent, base: &str| Threaded {
            number,
            sent,
            subject: Subject {
                base: base.to_owned(),
                is_reply: false,
            },
            ..Threaded::default()
        };
        let messages = [
            message(1, 50, "A"),
            message(2, 10, "B"),
            message(3, 20, "A"),
            message(4, 60, "A"),
            message(5, 5, "C"),
            message(6, 70, "B"),
        ];
        assert_eq!(ordered(&messages), "(5)(2 6)(3 (1)(4))");
        assert_eq!(ordered(&[]), "");
    }
}
