//! What a promotion would lose, against what the operator accepts.

use super::Refusal;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What may be lost: `--max-loss`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MaxLoss {
    /// Nothing that was announced.
    None,
    /// So many announced operations.
    Operations(u64),
    /// What was captured within this time before the last sign of the source.
    Time(Duration),
    /// Whatever it is.
    Any,
}

impl Default for MaxLoss {
    fn default() -> Self {
        Self::Time(Duration::from_secs(30))
    }
}

impl std::str::FromStr for MaxLoss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "any" => return Ok(Self::Any),
            _ => {}
        }
        if let Ok(operations) = text.parse() {
            return Ok(Self::Operations(operations));
        }
        let time = crate::config::values::parse_duration(text);
        time.map(Self::Time).map_err(|_| {
            format!("expected \"none\", \"any\", a number of operations or a time as \"30s\", found \"{text}\"")
        })
    }
}

impl TryFrom<String> for MaxLoss {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MaxLoss> for String {
    fn from(loss: MaxLoss) -> Self {
        loss.to_string()
    }
}

impl std::fmt::Display for MaxLoss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Operations(operations) => operations.fmt(f),
            Self::Time(time) => write!(f, "{}ms", time.as_millis()),
            Self::Any => f.write_str("any"),
        }
    }
}

/// What is known of what would be lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Known {
    /// Operations announced and not durable here; none where nothing was ever heard.
    pub operations: Option<u64>,
    /// Seconds of captured history that are not here; none where that can't be known.
    pub seconds: Option<f64>,
    /// Seconds since the source was last heard; none: never.
    pub silent_seconds: Option<f64>,
    /// True where announcements may have been missed.
    pub at_least: bool,
}

/// Whether that much may be lost.
///
/// # Errors
/// It is more, or not known, with the figures and what would be accepted.
pub fn judge(known: &Known, most: MaxLoss, silence_max: Option<Duration>) -> Result<(), Refusal> {
    let refused = |why: String| Err(Refusal(why));
    match (most, known.operations, known.seconds) {
        (MaxLoss::Any, ..) => {}
        (_, None, _) | (MaxLoss::Time(_), _, None) => {
            return refused(
                "what would be lost is not known: this node has not heard from the primary since it began; --max-loss any \
                 promotes all the same"
                    .to_owned(),
            );
        }
        (MaxLoss::None, Some(operations), seconds)
            if operations > 0 || known.at_least || seconds.is_none_or(|seconds| seconds > 0.0) =>
        {
            return refused(format!("{} would be lost, and --max-loss is none", amount(known)));
        }
        (MaxLoss::Operations(most), Some(operations), _) if operations > most => {
            return refused(format!("{} would be lost, and --max-loss is {most}", amount(known)));
        }
        (MaxLoss::Time(most), _, Some(seconds)) if seconds > most.as_secs_f64() => {
            return refused(format!(
                "{} would be lost, and --max-loss is {} s",
                amount(known),
                most.as_secs_f64()
            ));
        }
        _ => {}
    }
    match (silence_max, known.silent_seconds) {
        (Some(most), Some(silent)) if silent > most.as_secs_f64() => refused(format!(
            "the source was silent for {silent:.1} s, and --max-silence is {} s: what it did meanwhile can't be known",
            most.as_secs_f64()
        )),
        (Some(_), None) => refused("the source was never heard, so its silence can't be measured".to_owned()),
        _ => Ok(()),
    }
}

fn amount(known: &Known) -> String {
    let least = if known.at_least { "at least " } else { "" };
    let operations = known.operations.unwrap_or(0);
    match known.seconds {
        Some(seconds) => format!("{least}{operations} operations ({seconds:.1} s)"),
        None => format!("{least}{operations} operations"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(operations: u64, seconds: f64) -> Known {
        Known {
            operations: Some(operations),
            seconds: Some(seconds),
            silent_seconds: Some(4.0),
            at_least: false,
        }
    }

    fn refuses(known: &Known, most: &str) -> bool {
        judge(known, most.parse().unwrap(), None).is_err()
    }

    #[test]
    fn more_than_was_accepted_is_refused_and_any_is_not() {
        assert!(!refuses(&known(0, 0.0), "none"));
        assert!(refuses(&known(1, 0.0), "none"));
        assert!(refuses(&known(0, 0.5), "none"));
        assert!(!refuses(&known(50, 9.0), "50"));
        assert!(refuses(&known(51, 9.0), "50"));
        assert!(!refuses(&known(51, 30.0), "30s"));
        assert!(refuses(&known(51, 30.1), "30s"));
        assert!(!refuses(&known(51, 1e9), "any"));
        let missed = Known {
            at_least: true,
            ..known(0, 0.0)
        };
        assert!(refuses(&missed, "none"));
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_nothing() {
        for most in ["none", "50", "30s"] {
            assert!(refuses(&Known::default(), most), "{most}");
        }
        assert!(!refuses(&Known::default(), "any"));
        let silence = Some(Duration::from_secs(3));
        assert!(judge(&known(0, 0.0), MaxLoss::Any, silence).is_err());
        assert!(judge(&Known::default(), MaxLoss::Any, silence).is_err());
        assert!(judge(&known(0, 0.0), MaxLoss::Any, Some(Duration::from_secs(5))).is_ok());
    }

    #[test]
    fn a_loss_reads_back_and_another_word_is_refused() {
        for text in ["none", "any", "50", "30000ms"] {
            assert_eq!(text.parse::<MaxLoss>().unwrap().to_string(), text);
        }
        for text in ["", "all", "-1", "30 x"] {
            assert!(text.parse::<MaxLoss>().is_err(), "{text}");
        }
    }
}
