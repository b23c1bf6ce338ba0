//! The highest epoch that a proxy has ever seen, on disk: `STATE/proxy/GROUP.json` (`schema/proxy.md`).

use super::follow::Mark;
use crate::limits::PROXY_MEMORY_BYTES_MAX;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The memory can't be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct MemoryError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what would help.
    pub why: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Memory {
    dir: PathBuf,
    file: PathBuf,
    mark: Mark,
}

impl Memory {
    /// Reads it; a proxy that never ran has seen nothing.
    pub(super) fn open(state: &Path, group: &str) -> Result<Self, MemoryError> {
        let dir = state.join("proxy");
        let file = dir.join(format!("{group}.json"));
        let wrong = |why: String| MemoryError {
            path: file.clone(),
            why,
        };
        std::fs::create_dir_all(&dir).map_err(|e| wrong(e.to_string()))?;
        let mark = match File::open(&file).and_then(read) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                wrong(format!(
                    "not the memory of a proxy ({e}): remove it once every node of the group but the primary is down or fenced"
                ))
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Mark::default(),
            Err(error) => return Err(wrong(error.to_string())),
        };
        Ok(Self { dir, file, mark })
    }

    /// What is on disk.
    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Writes `mark`, where it is another. Durable when it returns.
    pub(super) fn keep(&mut self, mark: &Mark) -> io::Result<()> {
        if self.mark == *mark {
            return Ok(());
        }
        let new = self.file.with_extension("new");
        let mut written = File::create(&new)?;
        written.write_all(&serde_json::to_vec(mark)?)?;
        written.sync_all()?;
        std::fs::rename(&new, &self.file)?;
        File::open(&self.dir)?.sync_all()?;
        self.mark = mark.clone();
        Ok(())
    }
}

fn read(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(PROXY_MEMORY_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Epoch, NodeName};

    #[test]
    fn what_was_kept_is_read_back_and_a_broken_memory_is_no_memory() {
        let state = tempfile::tempdir().unwrap();
        let mark = Mark {
            number: Epoch(3),
            node: Some(NodeName::from("mail-b")),
        };
        let mut memory = Memory::open(state.path(), "main").unwrap();
        assert_eq!(memory.mark(), &Mark::default());
        memory.keep(&mark).unwrap();
        let file = state.path().join("proxy/main.json");
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            r#"{"number":3,"node":"mail-b"}"#
        );
        assert_eq!(Memory::open(state.path(), "main").unwrap().mark(), &mark);
        std::fs::write(&file, "{\"number\":").unwrap();
        let told = Memory::open(state.path(), "main").unwrap_err().to_string();
        assert!(told.contains("proxy/main.json: not the memory of a proxy"), "{told}");
    }
}
