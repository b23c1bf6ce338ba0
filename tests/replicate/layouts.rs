//! Mail that does not lie where it lies by default: the copy is the same.

use crate::{AT_ONCE, programs};
use anyhow::ensure;
use testbed::Result;
use testbed::dovecot::{Format, Version};
use testbed::load::Mix;
use testbed::pair::{Pair, Plan};

fn pair(version: Version, format: Format, extra: &str) -> Result<Pair> {
    Plan {
        programs: &programs(),
        version,
        format,
        users: 1,
        standbys: 1,
        extra,
    }
    .build()
}

/// Folders come, go and change their names before, while and after the nodes run.
fn folders_of_a_layout(version: Version, format: Format, extra: &str) -> Result<()> {
    let mut pair = pair(version, format, extra)?;
    pair.load("before", 80, Mix::Normal, AT_ONCE).run()?;
    pair.start_nodes()?;
    pair.load("during", 80, Mix::Folders, AT_ONCE).run()?;
    pair.primary.crash_and_restart()?;
    pair.load("after", 80, Mix::Normal, AT_ONCE).run()?;
    let truth = pair.settle_and_compare()?;
    ensure!(
        truth.messages() > 20 && truth.mailboxes() > 5,
        "the load did nearly nothing"
    );
    Ok(())
}

#[test]
fn names_of_2_3_sdbox_that_stand_in_the_list_index_only() -> Result<()> {
    let extra = "mail_location = sdbox:~/sdbox:LAYOUT=index\n";
    folders_of_a_layout(Version::V2_3, Format::Sdbox, extra)
}

#[test]
fn names_of_2_4_maildir_that_stand_in_the_list_index_only_with_all_trees_apart() -> Result<()> {
    let extra = "mailbox_list_layout = index\nmail_index_path = ~/index\nmail_control_path = ~/control\n";
    folders_of_a_layout(Version::V2_4, Format::Maildir, extra)
}

#[test]
fn index_and_control_files_of_2_3_maildir_apart_from_a_tree_of_directories() -> Result<()> {
    let extra = "mail_location = maildir:~/Maildir:LAYOUT=fs:INDEX=~/index:CONTROL=~/control\n";
    folders_of_a_layout(Version::V2_3, Format::Maildir, extra)
}
