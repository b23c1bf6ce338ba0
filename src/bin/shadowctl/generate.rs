//! `generate`, for the package's build: man pages and completions out of the same words that `--help` prints.

use crate::Args;
use crate::output::{Failure, Output};
use clap::CommandFactory;
use clap_complete::Shell;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct GenerateArgs {
    /// Folder for man pages (`man/`) and completions (`completions/`), made where it is missing
    dir: PathBuf,
}

pub(crate) fn run(args: &GenerateArgs, output: &Output) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::failed(format!("{}: {error}", args.dir.display()));
    let files = write(&args.dir).map_err(wrong)?;
    output.answer(&serde_json::json!({ "files": files }), |_| {
        let lines: Vec<String> = files.iter().map(|file| format!("{}\n", file.display())).collect();
        lines.concat()
    })
}

fn write(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (man, completions) = (dir.join("man"), dir.join("completions"));
    std::fs::create_dir_all(&man)?;
    std::fs::create_dir_all(&completions)?;
    let command = Args::command();
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command.clone(), "shadowctl", &completions)?;
    }
    let listed = |dir: &Path| {
        std::fs::read_dir(dir)?
            .map(|entry| Ok(entry?.path()))
            .collect::<std::io::Result<Vec<_>>>()
    };
    let mut files = [listed(&man)?, listed(&completions)?].concat();
    files.sort();
    Ok(files)
}
