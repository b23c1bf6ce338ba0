//! Dovecot's own settings that decide how well it can be followed: log rotation, and a replication that still runs.

use super::Finding;
use crate::config::{DovecotConfig, GroupConfig, StoreConfig};
use crate::store::dovecot::doveadm::Doveadm;

/// How long a rotated log must stay readable for an agent that was down: an evening's maintenance.
const LOG2_SECONDS_LOW: u64 = 3_600;
/// Logs that are smaller when they rotate leave too little time to follow.
const ROTATE_BYTES_LOW: u64 = 8 << 10;

const ROTATION: [&str; 3] = [
    "mail_index_log2_max_age",
    "mail_index_log_rotate_min_size",
    "mail_index_log_rotate_max_size",
];

pub(super) fn findings(group: &GroupConfig) -> Vec<Finding> {
    let StoreConfig::Dovecot(dovecot) = &group.store else {
        return Vec::new();
    };
    let topic = format!("group {} dovecot", group.name);
    let settings = settings(dovecot);
    let mut found = rotation(&topic, &settings);
    found.extend(replication(&topic, &settings));
    found.extend(fence(&topic, group, dovecot));
    found.extend(watch(&topic, dovecot));
    found
}

/// Whether the watch of the mail service knows somebody to log in as. Where a certificate or a word is wrong, `status` says
/// so; nothing is tried here.
fn watch(topic: &str, dovecot: &DovecotConfig) -> Option<Finding> {
    if dovecot.watch.is_some() {
        return None;
    }
    let what = "the watch of the mail service reads greetings only: that nobody can log in is not noticed";
    let todo = "name a user of your own for it: watch = { user = \"watch@example.net\", password_file = \"/etc/mailshadow/watch.pw\" } \
                in [group.dovecot]";
    Some(Finding::hint(topic, what, todo))
}

/// Whether clients could be kept out after a promotion elsewhere. Nothing is tried but a question.
fn fence(topic: &str, group: &GroupConfig, dovecot: &DovecotConfig) -> Option<Finding> {
    if dovecot.fence.is_some() {
        return None;
    }
    let doveadm = doveadm(dovecot);
    let (_, complaint, ok) = doveadm.call(&["service", "status"]).ok()?;
    if !ok && complaint.contains("Permission denied") {
        let what =
            "this Dovecot could not be shut after a promotion elsewhere: its socket \"master\" is closed to this user";
        let todo = "run shadowd as root, or set doveadm = [\"sudo\", \"-n\", \"doveadm\"] with a rule for it, or group.dovecot.fence";
        return Some(
            Finding::warning(topic, what, todo)
                .because("what clients change there afterwards is lost to the new primary"),
        );
    }
    let others = |name: &crate::op::UserName| !group.users.matches(name.as_str());
    let shared = !group.users.take_everybody() && doveadm.user_names().is_ok_and(|names| names.iter().any(others));
    if shared && let Some(hold) = &dovecot.hold {
        let (settings, _, _) = doveadm.call(&["config", "-n"]).ok()?;
        let (named, ends) = (
            settings.contains(&hold.display().to_string()),
            settings.contains("result_internalfail"),
        );
        if named && ends && !settings.contains("lmtp_proxy = yes") {
            let what = "of this group logins can be refused by name, deliveries can't: LMTP asks no passdb";
            return Some(Finding::warning(
                topic,
                what,
                "set lmtp_proxy = yes, as docs/fencing.md shows",
            ));
        }
        if named && ends {
            return Some(Finding::ok(
                topic,
                "clients of this group can be kept out by name, if another node takes over",
            ));
        }
        let what = format!(
            "no passdb of this Dovecot reads {}: after a promotion elsewhere nobody is refused",
            hold.display()
        );
        let todo = "put the passdb that docs/fencing.md shows before all others";
        return Some(Finding::error(topic, what, todo));
    }
    if shared {
        let what = "this Dovecot has users of other groups too: after a promotion elsewhere those of this group can be sent away, but not refused";
        let todo =
            "set group.dovecot.hold, or group.dovecot.fence to a command that refuses their logins: docs/fencing.md";
        return Some(Finding::warning(topic, what, todo));
    }
    ok.then(|| Finding::ok(topic, "clients can be kept out by doveadm, if another node takes over"))
}

fn doveadm(dovecot: &DovecotConfig) -> Doveadm {
    Doveadm {
        command: dovecot.doveadm.words().to_vec(),
        config: dovecot.config.clone(),
    }
}

/// What `doveadm config` prints; nothing where it can't be asked, which the store's own findings tell.
fn settings(dovecot: &DovecotConfig) -> String {
    let doveadm = doveadm(dovecot);
    let ask = |arguments: &[&str]| doveadm.call(arguments).map(|(text, _, _)| text).unwrap_or_default();
    // these have defaults that are printed only where they are asked for by name
    let rotation: String = ROTATION.iter().map(|name| ask(&["config", name])).collect();
    rotation + &ask(&["config", "-n"])
}

/// The value of a setting outside of every block.
fn value<'a>(settings: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = settings.lines().filter(|line| !line.starts_with([' ', '\t']));
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn rotation(topic: &str, settings: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    let log2 = value(settings, "mail_index_log2_max_age").and_then(seconds);
    if let Some(kept) = log2.filter(|kept| *kept < LOG2_SECONDS_LOW) {
        let what = format!(
            "mail_index_log2_max_age keeps rotated logs for {} minutes only",
            kept / 60
        );
        let todo = "set mail_index_log2_max_age = 2 days in Dovecot's configuration (its default), then doveadm reload";
        found.push(Finding::warning(topic, what, todo).because(
            "a node that was down for longer finds a hole: those mailboxes are compared as a whole instead of followed",
        ));
    }
    for name in ROTATION.into_iter().skip(1) {
        let bytes = value(settings, name).and_then(bytes);
        if let Some(small) = bytes.filter(|bytes| *bytes < ROTATE_BYTES_LOW) {
            let what = format!("{name} rotates logs at {small} bytes already");
            let todo = format!("remove {name} from Dovecot's configuration, then doveadm reload");
            found.push(Finding::warning(topic, what, todo).because(
                "logs that rotate every few changes may rotate twice before they are read: then mailboxes are compared as a whole",
            ));
        }
    }
    if found.is_empty() && log2.is_some() {
        found.push(Finding::ok(topic, "log rotation leaves time to follow"));
    }
    found
}

fn replication(topic: &str, settings: &str) -> Vec<Finding> {
    let loads = |line: &str| {
        let line = line.trim();
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        let names = value.split_whitespace().any(|word| word == "replication");
        key.trim() == "mail_plugins" && names
    };
    let replica = settings.lines().find(|line| line.trim().starts_with("mail_replica ="));
    if !settings.lines().any(loads) {
        return Vec::new();
    }
    let to = replica.map(|line| format!(" ({})", line.trim())).unwrap_or_default();
    let what = format!("Dovecot's own replication is still active{to}");
    let todo = "once shadowctl verify is clean: remove \"replication\" from mail_plugins and mail_replica, then doveadm reload";
    vec![Finding::warning(topic, what, todo).because(
        "two replications of the same mail don't harm each other, but each delivery is paid twice, and a dsync of both sides \
         may give messages new UIDs, which the copy then follows",
    )]
}

/// `2 days`, `10 mins`, `300s`, `5 m`: as Dovecot writes and reads times.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor = match unit {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3_600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `32 k`, `1 M`, `8192`.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?.trim()))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const DEFAULTS: &str = "mail_index_log2_max_age = 2 days\nmail_index_log_rotate_max_size = 1 M\n\
                            mail_index_log_rotate_min_size = 32 k\nmail_plugins = acl\nservice replicator {\n  mail_plugins = x\n}\n";

    #[test]
    fn rotation_that_loses_history_is_found() {
        let levels = |settings: &str| rotation("d", settings).iter().map(|f| f.level).collect::<Vec<_>>();
        assert_eq!(levels(DEFAULTS), [Level::Ok]);
        assert_eq!(levels(&DEFAULTS.replace("2 days", "10 mins")), [Level::Warning]);
        assert_eq!(
            levels(&DEFAULTS.replace("1 M", "2048").replace("32 k", "1 k")),
            [Level::Warning; 2]
        );
        assert_eq!(levels("doveadm: Fatal: no configuration"), []);
        assert_eq!(
            (seconds("90"), seconds("3 weeks"), seconds("soon")),
            (Some(90), Some(1_814_400), None)
        );
        assert_eq!((bytes("8192"), bytes("99999999999999999999 G")), (Some(8192), None));
    }

    #[test]
    fn a_replication_that_still_runs_is_found() {
        assert!(replication("d", DEFAULTS).is_empty());
        let active =
            DEFAULTS.replace("= acl", "= acl notify replication") + "plugin {\n  mail_replica = tcp:mail-c\n}\n";
        let found = replication("d", &active);
        assert!(
            found[0].what.contains("mail_replica = tcp:mail-c") && found[0].level == Level::Warning,
            "{found:?}"
        );
    }
}
