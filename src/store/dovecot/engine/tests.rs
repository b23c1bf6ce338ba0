use super::*;
use crate::config::PublicOwners;
use crate::op::{MailboxId, MessageGuid, Notice, Uid, UidValidity};
use crate::store::dovecot::mail_root::{Driver, MailRoot, Namespace};
use crate::store::source::Captured;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the signs of life; there is nothing to emit.
struct Quiet(Arc<AtomicUsize>);

impl Outlet for Quiet {
    fn notice(&mut self, _notice: Notice) {}

    fn emit(&mut self, captured: Vec<Captured>, _table: &mut CaptureTable) -> Result<Lsn, OutletError> {
        assert!(captured.is_empty(), "there is no mail");
        Ok(Lsn(1))
    }

    fn beat(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn offer(&mut self, _mailbox: &MailboxId, _of: UidValidity, _messages: &[(Uid, MessageGuid, Option<u64>)]) {}

    fn is_offer_open(&mut self) -> bool {
        false
    }
}

#[test]
fn a_look_at_everybody_that_finds_nothing_is_not_taken_for_a_hang() {
    let (beats, folder) = (Arc::<AtomicUsize>::default(), tempfile::tempdir().unwrap());
    // No list of users comes: they are given below.
    let doveadm = Doveadm {
        command: vec!["false".to_owned()],
        config: None,
    };
    let setup = Setup {
        doveadm: doveadm.clone(),
        public: PublicOwners::new(),
        wanted: Box::new(|_| true),
        changes: Box::new(|| 0),
        table: CaptureTable::default(),
        outlet: Box::new(Quiet(Arc::clone(&beats))),
        status: Arc::default(),
    };
    let identities = Arc::new(Identities::default());
    let bodies = Arc::new(DovecotBodies::new(Arc::clone(&identities)));
    let directory = UserDirectory::start(doveadm, PublicOwners::new(), || ()).unwrap();
    let mut engine = Engine::new(setup, identities, bodies, directory, Watch::start(channel().0));
    for name in ["ann", "bob", "cid"] {
        let root = MailRoot::of(Namespace::plain(Driver::Maildir, &folder.path().join(name)));
        let capture = UserCapture::new(name.into(), Arc::new(root));
        engine.users.insert(name.into(), Box::new(capture));
    }
    engine.all_dirty();
    engine.read_dirty().unwrap();
    assert_eq!(beats.load(Ordering::Relaxed), 3);
}
