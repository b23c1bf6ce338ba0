//! Bodies that Dovecot compresses and takes apart: what a client reads of them is equal, octet by octet, and cut into the
//! same parts.

use crate::{pair_with, programs};
use anyhow::Context;
use testbed::dovecot::{Format, PASSWORD, Version};
use testbed::imap::Imap;
use testbed::pair::Pair;
use testbed::{Result, hostile};

const GZIP_AND_ATTACHMENTS_APART: &str = "
mail_plugins = $mail_plugins zlib
protocol imap {
  mail_plugins = $mail_plugins imap_acl zlib
}
plugin {
  zlib_save = gz
}
mail_attachment_dir = %h/attachments
mail_attachment_min_size = 1k
";
const ZSTD: &str = "
mail_plugins {
  mail_compress = yes
}
mail_compress_write_method = zstd
";
const ITEMS: [&str; 9] = [
    "ENVELOPE",
    "BODYSTRUCTURE",
    "BODY",
    "BODY.PEEK[HEADER]",
    "BODY.PEEK[TEXT]",
    "BODY.PEEK[1]",
    "BODY.PEEK[1.MIME]",
    "BODY.PEEK[2.MIME]",
    "BODY.PEEK[1.HEADER]",
];

/// Half of the mail is there before the nodes start, half comes while they run. What Dovecot refuses is left out.
fn keep_and_copy(pair: &mut Pair) -> Result<usize> {
    let user = pair.source.users().first().context("a user")?.clone();
    let messages = hostile::messages()?;
    let (before, live) = messages.split_at(messages.len() / 2);
    let mut kept = 0;
    let append = |some: &[Vec<u8>], kept: &mut usize| -> Result<()> {
        let mut imap = Imap::login(pair.source.imap_port(), &user, PASSWORD)?;
        for message in some {
            *kept += usize::from(imap.append("INBOX", "", message)?.is_ok());
        }
        Ok(())
    };
    append(before, &mut kept)?;
    pair.primary.start()?;
    for standby in &mut pair.standbys {
        standby.node.start()?;
    }
    let mut imap = Imap::login(pair.source.imap_port(), &user, PASSWORD)?;
    for message in live {
        kept += usize::from(imap.append("INBOX", "", message)?.is_ok());
    }
    Ok(kept)
}

/// Each message's items on both sides, where they differ.
fn shown_differently(pair: &mut Pair) -> Result<Vec<String>> {
    let user = pair.source.users().first().context("a user")?.clone();
    let mut source = Imap::login(pair.source.imap_port(), &user, PASSWORD)?;
    let mut copy = Imap::login(pair.standby()?.imap_port(), &user, PASSWORD)?;
    source.run("EXAMINE INBOX")?.must()?;
    copy.run("EXAMINE INBOX")?.must()?;
    let last = source.run("UID FETCH * (UID)")?.must()?;
    let last = testbed::truth::fetched(&last)?.last().map_or(0, |(uid, _)| *uid);
    let mut different = Vec::new();
    for uid in 1..=last {
        for item in ITEMS {
            let fetch = format!("UID FETCH {uid} ({item})");
            let (a, b) = (source.run(&fetch)?, copy.run(&fetch)?);
            if a.untagged != b.untagged {
                different.push(format!("{fetch}:\n  {:?}\n  {:?}", a.untagged, b.untagged));
            }
        }
    }
    Ok(different)
}

#[test]
fn mail_that_2_3_compresses_and_takes_apart_is_shown_alike() -> Result<()> {
    let mut pair = pair_with(&programs(), Version::V2_3, Format::Mdbox, GZIP_AND_ATTACHMENTS_APART)?;
    let kept = keep_and_copy(&mut pair)?;
    pair.wait()?;
    let different = shown_differently(&mut pair)?;
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    let truth = pair.settle_and_compare()?;
    assert!(
        kept > 20 && truth.messages() == kept,
        "{kept} kept, {} seen",
        truth.messages()
    );
    Ok(())
}

/// Version 2.4 decodes parameters that were cut into pieces, which our front end leaves to the client.
#[test]
fn mail_that_2_4_compresses_in_a_maildir_is_copied_whole() -> Result<()> {
    let mut pair = pair_with(&programs(), Version::V2_4, Format::Maildir, ZSTD)?;
    let kept = keep_and_copy(&mut pair)?;
    let truth = pair.settle_and_compare()?;
    assert!(
        kept > 20 && truth.messages() == kept,
        "{kept} kept, {} seen",
        truth.messages()
    );
    Ok(())
}
