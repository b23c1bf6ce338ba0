//! Whether this Dovecot can be told what a standby's mirror says: that its `dsync-server` answers, and what it keeps.

use super::Finding;
use crate::config::{GroupConfig, StartAs, StoreConfig};
use crate::store::dovecot::doveadm::Doveadm;

/// How a `dsync-server` begins, whichever version.
const GREETING: &str = "VERSION\tdsync\t3\t";

pub(super) fn findings(group: &GroupConfig) -> Vec<Finding> {
    let (StoreConfig::Dovecot(dovecot), StartAs::Standby) = (&group.store, group.start_as) else {
        return Vec::new();
    };
    let topic = format!("group {} dovecot", group.name);
    let doveadm = Doveadm {
        command: dovecot.doveadm.words().to_vec(),
        config: dovecot.config.clone(),
    };
    let mut found = vec![speaks(&topic, group, &doveadm)];
    let settings = doveadm
        .call(&["config", "-n"])
        .map(|(text, _, _)| text)
        .unwrap_or_default();
    found.extend(keeps(&topic, &settings));
    found
}

/// Begins a session for the first user of the group, and says nothing in it.
fn speaks(topic: &str, group: &GroupConfig, doveadm: &Doveadm) -> Finding {
    let todo = "the standby's Dovecot must run, and know the users of the primary: see docs/dovecot-standby.md";
    let users = match doveadm.user_names() {
        Ok(users) => users,
        Err(error) => return Finding::error(topic, format!("its users can't be listed: {error}"), todo),
    };
    let Some(user) = users.iter().find(|user| group.users.matches(user.as_str())) else {
        return match group.users.name_nobody() {
            true => Finding::ok(topic, "nobody was moved to this group yet"),
            false => Finding::error(topic, "it has no user of this group", todo),
        };
    };
    match doveadm.call(&["dsync-server", "-u", user.as_str()]) {
        Ok((said, _, _)) if said.starts_with(GREETING) => {
            Finding::ok(topic, "it can be told what the primary's copy says")
        }
        Ok((_, complaint, _)) => {
            let why = complaint.lines().next().unwrap_or("it says nothing").to_owned();
            let todo = "doveadm dsync-server must be allowed to open the users' mail: run shadowd as root, or set \
                        doveadm = [\"sudo\", \"-n\", \"doveadm\"] with a rule for it";
            Finding::error(topic, format!("its dsync-server does not answer: {why}"), todo)
        }
        Err(error) => Finding::error(topic, format!("its dsync-server can't be run: {error}"), todo),
    }
}

/// What of the attributes it has a place for.
fn keeps(topic: &str, settings: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let has = |names: &[&str]| {
        settings
            .lines()
            .any(|line| names.iter().any(|name| line.trim().starts_with(name)))
    };
    if settings.is_empty() {
        return found;
    }
    if !has(&["mail_attribute_dict", "mail_attribute {"]) {
        found.extend(lacks(topic, "METADATA"));
    }
    let plugins = settings.lines().filter(|line| line.trim().starts_with("mail_plugins"));
    if !plugins
        .flat_map(|line| line.split([' ', '=', '\t']))
        .any(|word| word == "acl")
        && !has(&["acl = yes"])
    {
        found.extend(lacks(topic, "ACL"));
    }
    found
}

fn lacks(topic: &str, feature: &str) -> Option<Finding> {
    lacking(feature).map(|(what, todo)| Finding::warning(topic, what, todo))
}

/// What it means that a standby's Dovecot does not have this feature of the primary's, and what to do; none where it means
/// nothing for mail.
pub(in crate::control) fn lacking(feature: &str) -> Option<(&'static str, &'static str)> {
    Some(match feature {
        "METADATA" => (
            "it keeps no METADATA: what users of the primary set is not told to it",
            "set mail_attribute_dict (2.4: mail_attribute) in its configuration, if the primary has it",
        ),
        "ACL" => (
            "it keeps no ACLs: folders that users of the primary share are not shared here",
            "load the acl plugin (mail_plugins = acl) in its configuration, if the primary has it",
        ),
        "Sieve" => (
            "it runs no Sieve: scripts of the primary's users are not told to it",
            "load the sieve plugin (protocol lmtp { mail_plugins = sieve }) in its configuration",
        ),
        "special-use" => (
            "its configuration gives no mailbox a special use: clients may not find Sent, Drafts, Trash",
            "copy the primary's mailbox blocks with special_use into its namespace",
        ),
        "compression" => (
            "it does not compress: mail that the primary stores compressed needs its whole room here",
            "load the compression plugin (2.3: zlib, 2.4: mail_compress), if room is short",
        ),
        "quota" => (
            "it has no quota: nobody is held to a limit here",
            "configure quota there; usage is counted anew",
        ),
        "encryption" => (
            "the primary encrypts mail: such bodies are not carried",
            "see docs/bodies.md",
        ),
        "virtual mailboxes" => (
            "it has no virtual mailboxes: they hold no mail of their own, and are not carried",
            "configure them there",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_target_has_no_place_for_is_found() {
        let count = |settings: &str| keeps("d", settings).len();
        assert_eq!(count("mail_attribute_dict = file:%h/x\nmail_plugins = acl notify\n"), 0);
        assert_eq!(
            count("mail_attribute {\n  dict file {\n  }\n}\nmail_plugins {\n  acl = yes\n}\n"),
            0
        );
        assert_eq!(count("mail_plugins = quota\n"), 2);
        assert_eq!(count(""), 0, "a configuration that can't be read is told elsewhere");
    }
}
