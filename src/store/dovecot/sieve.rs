//! A user's own Sieve scripts: `NAME.sieve` in one directory, and a link that says which is the active one.
//!
//! ManageSieve writes a script beside the old one and renames it. No log tells of it, so a script that is not there any
//! more was deleted, as far as anybody can tell; a directory that is not there, where there were scripts, tells nothing.

use super::attribute_settings::SievePlaces;
use crate::limits::{ATTRIBUTE_BYTES_MAX, ATTRIBUTES_MAX};
use crate::op::{AttributeValue, Attributes};
use std::io::{self, Read};
use std::path::Path;

/// Where a script's entry begins.
const SCRIPT: &str = "script/";
/// The entry with the active script's name.
const ACTIVE: &str = "active";
/// The entry with the active script, where it is none of the scripts.
const ACTIVE_FILE: &str = "active-file";
/// What scripts' files end in. Compiled ones (`.svbin`) are made again where they are needed.
pub(crate) const ENDING: &str = ".sieve";

/// Calls `each` with the entry and the octets of each script and of the link.
///
/// # Errors
/// The directory or a script can't be read, or there are more or longer ones than is carried.
pub fn each(places: &SievePlaces, each: &mut dyn FnMut(String, &[u8])) -> io::Result<()> {
    if let Some(directory) = &places.scripts {
        scripts(directory, each)?;
    }
    active(places, each)
}

/// All entries.
///
/// # Errors
/// As [`fn@each`].
pub fn read(places: &SievePlaces) -> io::Result<Attributes> {
    let mut entries = Attributes::new();
    each(places, &mut |name, octets| {
        drop(entries.insert(name, AttributeValue::of(octets)))
    })?;
    Ok(entries)
}

fn scripts(directory: &Path, each: &mut dyn FnMut(String, &[u8])) -> io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let mut count = 0_usize;
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(ENDING)) else {
            continue;
        };
        // The link to the active one may lie here too.
        let is_script = !name.is_empty() && !name.starts_with('.') && path.symlink_metadata()?.is_file();
        if is_script && let Some(octets) = script(&path)? {
            count = count.saturating_add(1);
            if count > ATTRIBUTES_MAX {
                return Err(io::Error::other(format!("more than {ATTRIBUTES_MAX} scripts")));
            }
            each(format!("{SCRIPT}{name}"), &octets);
        }
    }
    Ok(())
}

fn active(places: &SievePlaces, each: &mut dyn FnMut(String, &[u8])) -> io::Result<()> {
    let target = match places.active.read_link() {
        Ok(target) => Some(target),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        // It is a file.
        Err(e) if e.kind() == io::ErrorKind::InvalidInput => None,
        Err(e) => return Err(e),
    };
    let beside = places.active.parent().unwrap_or(Path::new("/"));
    let target = target.map(|target| beside.join(target));
    let is_ours = |target: &&std::path::PathBuf| same(target.parent(), places.scripts.as_deref());
    let name = target
        .as_ref()
        .filter(is_ours)
        .and_then(|target| target.file_name()?.to_str()?.strip_suffix(ENDING));
    match name {
        Some(name) => each(ACTIVE.to_owned(), name.as_bytes()),
        None => {
            if let Some(octets) = script(&places.active)? {
                each(ACTIVE_FILE.to_owned(), &octets);
            }
        }
    }
    Ok(())
}

/// True where both are the same directory, however they are spelled.
fn same(one: Option<&Path>, other: Option<&Path>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return false;
    };
    one == other || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// None: it went away meanwhile, or leads nowhere.
fn script(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut octets = Vec::new();
    file.take(ATTRIBUTE_BYTES_MAX.saturating_add(1))
        .read_to_end(&mut octets)?;
    if u64::try_from(octets.len()).unwrap_or(u64::MAX) > ATTRIBUTE_BYTES_MAX {
        let path = path.display();
        return Err(io::Error::other(format!(
            "{path}: more than {ATTRIBUTE_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn places(home: &Path) -> SievePlaces {
        SievePlaces {
            scripts: Some(home.join("sieve")),
            active: home.join(".dovecot.sieve"),
        }
    }

    fn names(places: &SievePlaces) -> Vec<String> {
        read(places).unwrap().into_keys().collect()
    }

    #[test]
    fn scripts_their_link_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        assert!(names(&places).is_empty());
        let sieve = home.path().join("sieve");
        std::fs::create_dir_all(sieve.join("tmp")).unwrap();
        for file in [
            "main.sieve",
            "Urlaub ü.sieve",
            "main.svbin",
            "tmp/x.sieve",
            ".hidden.sieve",
            "notes",
        ] {
            std::fs::write(sieve.join(file), "keep;").unwrap();
        }
        assert_eq!(names(&places), ["script/Urlaub ü", "script/main"]);
        symlink("sieve/main.sieve", &places.active).unwrap();
        let entries = read(&places).unwrap();
        assert_eq!(entries["active"], AttributeValue::of(b"main"));
        assert_eq!(entries["script/main"], AttributeValue::of(b"keep;"));
        // Dangling: as Pigeonhole, which then finds no active script, but the name is known.
        std::fs::remove_file(sieve.join("main.sieve")).unwrap();
        assert_eq!(names(&places), ["active", "script/Urlaub ü"]);
    }

    #[test]
    fn an_active_script_that_is_none_of_the_scripts_is_carried_itself() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        std::fs::write(&places.active, "discard;").unwrap();
        assert_eq!(read(&places).unwrap()["active-file"], AttributeValue::of(b"discard;"));
        std::fs::rename(&places.active, home.path().join("elsewhere.sieve")).unwrap();
        symlink(home.path().join("elsewhere.sieve"), &places.active).unwrap();
        assert_eq!(names(&places), ["active-file"]);
    }

    #[test]
    fn a_script_larger_than_any_stops_the_reading() {
        let home = tempfile::tempdir().unwrap();
        let places = places(home.path());
        std::fs::File::create(&places.active)
            .unwrap()
            .set_len(ATTRIBUTE_BYTES_MAX + 1)
            .unwrap();
        assert!(read(&places).is_err());
    }
}
