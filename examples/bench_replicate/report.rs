//! Figures as they are printed and kept.

use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// All figures of one call.
pub(crate) struct Report {
    file: PathBuf,
    figures: Vec<Value>,
}

impl Report {
    /// None yet.
    pub(crate) fn new(file: &Path) -> Report {
        Report {
            file: file.into(),
            figures: Vec::new(),
        }
    }

    /// A headline.
    pub(crate) fn part(&mut self, text: &str) {
        println!("\n{text}");
    }

    /// One figure of several runs.
    pub(crate) fn figure(&mut self, what: &str, unit: &str, runs: &[f64]) {
        println!("  {what:<58} {} {unit}", spread(runs));
        self.figures
            .push(json!({"what": what, "unit": unit, "median": median(runs), "runs": runs}));
    }

    /// Ours and a peer's of the same runs, and what became of the goal.
    pub(crate) fn ratio(&mut self, what: &str, ours: &[f64], peer: &[f64], goal: Goal) {
        let ratios: Vec<f64> = ours.iter().zip(peer).map(|(a, b)| a / b).collect();
        self.judge(what, "x", &ratios, goal);
    }

    /// One figure, and what became of the goal.
    pub(crate) fn judge(&mut self, what: &str, unit: &str, runs: &[f64], goal: Goal) {
        let reached = goal.is_reached(median(runs));
        let verdict = if reached { "reached" } else { "MISSED" };
        println!("  {what:<58} {} {unit}   goal {goal}: {verdict}", spread(runs));
        self.figures.push(json!({
            "what": what, "unit": unit, "median": median(runs), "runs": runs, "goal": goal.to_string(), "reached": reached,
        }));
    }

    /// Writes the JSON; called after each part, so that nothing is lost.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn keep(&self) -> Result<()> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&json!({"figures": self.figures}))?;
        Ok(std::fs::write(&self.file, text + "\n")?)
    }
}

/// What a figure should be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Or more.
    AtLeast(f64),
    /// Or less.
    AtMost(f64),
}

impl Goal {
    fn is_reached(self, figure: f64) -> bool {
        match self {
            Goal::AtLeast(least) => figure >= least,
            Goal::AtMost(most) => figure <= most,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Goal::AtLeast(least) => write!(f, "≥ {}", short(*least)),
            Goal::AtMost(most) => write!(f, "≤ {}", short(*most)),
        }
    }
}

/// The middle one of the runs.
pub(crate) fn median(runs: &[f64]) -> f64 {
    percentile(runs, 0.5)
}

/// The figure that this share of the runs doesn't exceed.
pub(crate) fn percentile(runs: &[f64], share: f64) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list of some thousands"
    )]
    let place = (share * last as f64).round() as usize;
    sorted.get(place.min(last)).copied().unwrap_or(f64::NAN)
}

fn spread(runs: &[f64]) -> String {
    match runs {
        [one] => short(*one),
        _ => format!(
            "{} ({}-{})",
            short(median(runs)),
            short(percentile(runs, 0.0)),
            short(percentile(runs, 1.0))
        ),
    }
}

/// Three digits that say something.
fn short(figure: f64) -> String {
    let size = figure.abs();
    if size >= 100.0 {
        format!("{figure:.0}")
    } else if size >= 10.0 {
        format!("{figure:.1}")
    } else if size >= 1.0 {
        format!("{figure:.2}")
    } else {
        format!("{figure:.3}")
    }
}
