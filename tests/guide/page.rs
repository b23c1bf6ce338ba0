//! The steps of a page: shell blocks and files, each with the machines that the text before it names.

use anyhow::{Context, ensure};
use testbed::Result;

/// What the reader does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Runs commands on each of these machines in turn.
    Run { machines: Vec<String>, script: String },
    /// Writes a file.
    Write {
        machine: String,
        path: String,
        text: String,
    },
}

/// Every `sh` and `toml` block, in order.
pub(crate) fn steps(page: &str) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut paragraph = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            // the paragraph before a block stays until the next one begins
            if line.is_empty() {
                paragraph.push('\n');
            } else {
                if paragraph.ends_with('\n') {
                    paragraph.clear();
                }
                paragraph.push_str(line);
                paragraph.push(' ');
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let text = block.join("\n") + "\n";
        match kind {
            "sh" => steps.push(Step::Run {
                machines: machines(&paragraph)?,
                script: text,
            }),
            "toml" => steps.push(file(&paragraph, text)?),
            other => ensure!(
                other.is_empty() || other == "text",
                "a block of kind {other}: nobody knows what to do with it"
            ),
        }
    }
    Ok(steps)
}

/// The machines named after the paragraph's last "On" or "on": `On **mail-a** and **mail-b**:`.
fn machines(paragraph: &str) -> Result<Vec<String>> {
    let start = paragraph
        .rfind("n **mail-")
        .with_context(|| format!("no machine is named in \"{paragraph}\""))?;
    let (_, names) = paragraph.split_at(start);
    let names = names.split("**").skip(1).step_by(2).map(str::to_owned);
    Ok(names.collect())
}

/// `` `/etc/x.toml` on **mail-b**: ``
fn file(paragraph: &str, text: String) -> Result<Step> {
    let path = paragraph
        .split('`')
        .nth(1)
        .with_context(|| format!("no file is named in \"{paragraph}\""))?;
    let machine = machines(paragraph)?.into_iter().next().context("a machine")?;
    Ok(Step::Write {
        machine,
        path: path.to_owned(),
        text,
    })
}

#[test]
fn a_step_that_would_run_on_the_wrong_machine() -> Result<()> {
    let page = "# Title\n\nFirst this. On **mail-a**,\nor elsewhere:\n\n```sh\none\ntwo\n```\n\nText on **mail-b** and more.\n\n\
                `/etc/f.toml` on **mail-b**:\n\n```toml\nx = 1\n```\n\nOn **mail-a** and **mail-b**:\n\n```sh\nthree\n```\n";
    let run = |machines: &[&str], script: &str| Step::Run {
        machines: machines.iter().map(|name| (*name).to_owned()).collect(),
        script: script.to_owned(),
    };
    let write = Step::Write {
        machine: "mail-b".to_owned(),
        path: "/etc/f.toml".to_owned(),
        text: "x = 1\n".to_owned(),
    };
    assert_eq!(
        steps(page)?,
        [
            run(&["mail-a"], "one\ntwo\n"),
            write,
            run(&["mail-a", "mail-b"], "three\n")
        ]
    );
    assert!(steps("Nobody is named:\n\n```sh\nx\n```\n").is_err());
    Ok(())
}
