//! Machines made of namespaces. All of it lives in one process's namespaces and ends with that process: nothing is left to
//! unmount, to delete or to kill, whatever ends the test.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use testbed::Result;
use testbed::process::{self, Server, words};

/// Makes the folders and networks of the machines `$2…` below `$1`, says so, and stays. As the first process of its
/// namespace it also buries the dead.
const WORLD: &str = r#"
set -e
dir=$1; shift
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs "$dir"
ip link set lo up
number=0
for name in "$@"; do
    number=$((number + 1))
    mkdir -p "$dir/$name/upper" "$dir/$name/work" "$dir/$name/tree"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/$name/upper,workdir=$dir/$name/work" "$dir/$name/tree"
    mount -t proc proc "$dir/$name/tree/proc"
    # the machines' own settings of the kernel are those of everybody here
    mount --bind /proc/sys "$dir/$name/tree/proc/sys"
    mount -o remount,ro,bind "$dir/$name/tree/proc/sys"
    mount --rbind /dev "$dir/$name/tree/dev"
    mount -t tmpfs tmpfs "$dir/$name/tree/run"
    mount -t tmpfs tmpfs "$dir/$name/tree/tmp"
    ip netns add "$name"
    ip -n "$name" link set lo up
done
ip link add wire type veth peer name far
for side in "$1 wire" "$2 far"; do
    set -- $side
    ip link set "$2" netns "$1"
done
ip -n mail-a addr add 10.77.0.1/24 dev wire
ip -n mail-b addr add 10.77.0.2/24 dev far
ip -n mail-a link set wire up
ip -n mail-b link set far up
for pair in "mail-a root@10.77.0.2 mail-b" "mail-b root@10.77.0.1 mail-a"; do
    set -- $pair
    mkdir -p "$dir/$1/tree/mnt/$2"
    mount --bind "$dir/$3/tree" "$dir/$1/tree/mnt/$2"
done
: >"$dir/ready"
echo ready
sleep infinity &
wait
"#;

/// Longest time for one block of commands.
const BLOCK_SECONDS: &str = "120";

/// The machines, and the wire between them.
pub(crate) struct World {
    dir: tempfile::TempDir,
    /// First process of the namespaces, as this one sees it.
    first: u32,
    _holder: Server,
}

impl World {
    /// Makes them, with this system's files to begin with.
    pub(crate) fn new(names: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (log, script) = (dir.path().join("log"), dir.path().join("world"));
        std::fs::write(&script, WORLD)?;
        let place = dir.path().join("machines");
        std::fs::create_dir(&place)?;
        let mut argv = words(&[
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]);
        argv.extend(["bash".to_owned(), shown(&script), shown(&place)]);
        argv.extend(names.iter().map(|name| (*name).to_owned()));
        let mut holder = Server::start("the machines", &argv, &log)?;
        process::until("machines made of namespaces", Duration::from_secs(20), || {
            let said = std::fs::read_to_string(&log)?;
            if let Some(status) = holder.ended()? {
                bail!("the machines can't be made ({status}): {said}");
            }
            Ok(said.lines().any(|line| line == "ready"))
        })?;
        let id = holder.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children.trim().parse().context("the first process of the machines")?;
        let world = Self {
            dir,
            first,
            _holder: holder,
        };
        for name in names {
            for script in ["systemctl", "scp"] {
                let text =
                    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guide").join(script))?;
                world.write(name, &format!("/usr/local/bin/{script}"), &text)?;
                world.run(name, &format!("chmod 755 /usr/local/bin/{script}"))?;
            }
        }
        Ok(world)
    }

    /// Builds the package around the programs beside `program`, and lays it into each machine's /opt.
    pub(crate) fn package(&self, program: &Path) -> Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let binaries = program.parent().context("a folder of programs")?;
        let out = self.dir.path().join("package");
        // a quick compression: this package is thrown away
        let build = words(&["env", "DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1"]);
        let command = [
            shown(&root.join("packaging/build-deb")),
            "--binaries".to_owned(),
            shown(binaries),
        ];
        let argv = [&build[..], &command[..], &["--out".to_owned(), shown(&out)][..]].concat();
        let package = PathBuf::from(process::check(&argv)?.trim());
        let name = package
            .file_name()
            .and_then(|name| name.to_str())
            .context("the package's name")?;
        for machine in ["mail-a", "mail-b"] {
            let bytes = std::fs::read(&package)?;
            std::fs::write(self.inside(machine, &format!("/opt/{name}")), bytes)?;
        }
        Ok(())
    }

    /// A machine's file, as this process can reach it.
    fn inside(&self, machine: &str, path: &str) -> PathBuf {
        let place = self.dir.path().join("machines").join(machine).join("tree");
        let below = format!("/proc/{}/root{}", self.first, place.display());
        PathBuf::from(below + path)
    }

    /// Writes a file on a machine.
    pub(crate) fn write(&self, machine: &str, path: &str, text: &str) -> Result<()> {
        let file = self.inside(machine, path);
        std::fs::write(&file, text).with_context(|| format!("write {path} on {machine}"))
    }

    /// Runs a script as root of a machine, in /opt, until a command of it fails.
    pub(crate) fn run(&self, machine: &str, script: &str) -> Result<String> {
        let first = self.first.to_string();
        let root = shown(&self.dir.path().join("machines").join(machine).join("tree"));
        let enter = [
            "nsenter",
            "--target",
            &first,
            "--mount",
            "--net",
            "--pid",
            "timeout",
            BLOCK_SECONDS,
        ];
        let there = ["ip", "netns", "exec", machine, "chroot", &root];
        let clean = [
            "env",
            "-i",
            "HOME=/root",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ];
        let shell = format!("cd /opt\n{script}");
        let bash = ["bash", "-eo", "pipefail", "-c", &shell];
        let argv = words(&[&enter[..], &there[..], &clean[..], &bash[..]].concat());
        process::check(&argv).with_context(|| format!("on {machine}:\n{script}"))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The mail server that was there before.
pub(crate) struct MailServer;

impl MailServer {
    /// Configures and starts this system's Dovecot on a machine: virtual users in a passwd-file, maildir, some mail.
    pub(crate) fn start(world: &World, machine: &str, users: &[&str]) -> Result<Self> {
        let version = process::check(&words(&["dovecot", "--version"]))?;
        let config = if version.starts_with("2.3.") {
            CONFIG_2_3
        } else {
            CONFIG_2_4
        };
        world.write(machine, "/etc/dovecot/dovecot.conf", config)?;
        let passwords: Vec<String> = users
            .iter()
            .map(|user| format!("{user}:{{PLAIN}}secret::::::\n"))
            .collect();
        world.write(machine, "/etc/dovecot/users", &passwords.concat())?;
        world.run(
            machine,
            "useradd --system --home-dir /srv/mail vmail\ninstall -d -m 750 -o vmail -g vmail /srv/mail\ndovecot >/dev/null 2>&1",
        )?;
        for (number, user) in users.iter().enumerate().skip(1) {
            let deliver = format!("printf 'Subject: {number}\\n\\nold mail\\n' | doveadm save -u {user} -m INBOX");
            world.run(machine, &deliver)?;
        }
        Ok(Self)
    }
}

const CONFIG_2_3: &str = r"
protocols = imap
listen = 127.0.0.1
ssl = no
log_path = /var/log/dovecot.log
mail_location = maildir:~/Maildir
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = /etc/dovecot/users
  override_fields = uid=vmail gid=vmail home=/srv/mail/%n
}
";

const CONFIG_2_4: &str = r"
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap
listen = 127.0.0.1
ssl = no
log_path = /var/log/dovecot.log
mail_driver = maildir
mail_path = ~/Maildir
passdb passwd-file {
  passwd_file_path = /etc/dovecot/users
}
userdb passwd-file {
  passwd_file_path = /etc/dovecot/users
  fields {
    uid:override = vmail
    gid:override = vmail
    home:override = /srv/mail/%{user | username}
  }
}
";
