//! The ledger on disk: written aside, synced, renamed, folder synced; the one before is kept. Who may write there says
//! [`crate::io::lock`].

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tracing::{error, warn};
use wire::ledger::Ledger;

const CURRENT: &str = "ledger";
const PREVIOUS: &str = "ledger.previous";
const NEXT: &str = "ledger.new";

/// The state folder of one agent.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// The newest ledger cannot be read: it must not take the place of the one before.
    damaged: Cell<bool>,
}

impl Store {
    /// A folder whose lock this agent holds.
    pub fn new(folder: &Path) -> Store {
        Store { folder: folder.to_path_buf(), damaged: Cell::new(false) }
    }

    /// The newest readable ledger; `None` where there is none. A file that cannot be read is never taken for an empty one:
    /// the one before is used, and without that the agent waits for a controller and touches nothing.
    pub fn load(&self) -> Option<Ledger> {
        let (mut damaged, mut found) = (false, None);
        for name in [CURRENT, PREVIOUS] {
            let path = self.folder.join(name);
            match fs::read(&path) {
                Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
                Err(why) => {
                    damaged = true;
                    error!(file = %path.display(), %why, "a ledger cannot be read");
                }
                Ok(bytes) => match Ledger::decode(&bytes) {
                    Ok(ledger) => {
                        found = Some(ledger);
                        break;
                    }
                    Err(why) => {
                        damaged = true;
                        error!(file = %path.display(), %why, "a ledger is damaged");
                    }
                },
            }
        }
        self.damaged.set(damaged);
        match (&found, damaged) {
            (Some(_), true) => {
                warn!("the ledger of before is in use: a controller will bring this host forward")
            }
            (None, true) => error!(
                "no ledger is readable: this host waits for a controller and touches nothing until then"
            ),
            _ => {}
        }
        found
    }

    /// Writes a ledger; when this returns, it survives a power cut.
    ///
    /// # Errors
    /// The disk is full, or worse. The ledger of before is in force then.
    pub fn save(&self, ledger: &Ledger) -> io::Result<()> {
        let [current, previous, next] = [CURRENT, PREVIOUS, NEXT].map(|name| self.folder.join(name));
        if let Err(refused) = write(&next, &ledger.encode()) {
            // What there is of it would only take room away; a failure here says nothing new.
            let _ = fs::remove_file(&next);
            return Err(refused);
        }
        // A second name for the current file; the rename below then replaces only the first.
        if current.exists() && !self.damaged.replace(false) {
            remove(&previous)?;
            fs::hard_link(&current, &previous)?;
        }
        fs::rename(&next, &current)?;
        File::open(&self.folder)?.sync_all()
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Generation;

    fn ledger(index: u64) -> Ledger {
        let mut ledger = crate::core::ledger::blank("a");
        ledger.highest = Generation { incarnation: 1, index };
        ledger
    }

    fn highest(store: &Store) -> Option<u64> {
        store.load().map(|ledger| ledger.highest.index)
    }

    #[test]
    fn the_newest_readable_ledger_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        assert_eq!(highest(&store), None);
        for index in [1, 2, 3] {
            store.save(&ledger(index)).unwrap();
        }
        assert_eq!(highest(&store), Some(3));
        let path = folder.path().join(CURRENT);
        let good = fs::read(&path).unwrap();
        for (what, bytes) in [
            ("torn", good[..good.len() / 2].to_vec()),
            ("empty", Vec::new()),
            ("flipped", {
                let mut bytes = good.clone();
                let at = bytes.len() - 1;
                bytes[at] ^= 1;
                bytes
            }),
            ("of a later version", {
                let mut bytes = good.clone();
                bytes[11] = 9;
                bytes
            }),
        ] {
            fs::write(&path, bytes).unwrap();
            assert_eq!(highest(&store), Some(2), "{what}");
        }
        fs::write(folder.path().join(PREVIOUS), b"no ledger").unwrap();
        assert_eq!(highest(&store), None);
        store.save(&ledger(4)).unwrap();
        assert_eq!(highest(&store), Some(4));
    }

    #[test]
    fn a_damaged_ledger_does_not_take_the_place_of_the_readable_one() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for index in [1, 2] {
            store.save(&ledger(index)).unwrap();
        }
        fs::write(folder.path().join(CURRENT), b"torn").unwrap();
        assert_eq!(highest(&store), Some(1));
        store.save(&ledger(3)).unwrap();
        // The newest is lost as well: what was readable then is readable now.
        fs::write(folder.path().join(CURRENT), b"torn").unwrap();
        assert_eq!(highest(&store), Some(1));
        store.save(&ledger(4)).unwrap();
        store.save(&ledger(5)).unwrap();
        fs::write(folder.path().join(CURRENT), b"torn").unwrap();
        assert_eq!(highest(&store), Some(4));
    }

    /// Running and confirmed programs of before are there when the newest file is lost, whatever it said.
    #[test]
    fn whatever_is_lost_the_confirmed_program_is_not() {
        use crate::core::ledger::{adopt, confirm};
        let text = b"version: 1\nname: t\nnodes: { a: {} }\n";
        let topology = topology::read("t.yaml", text).topology.unwrap();
        let network = plan::compile(&topology, &plan::Facts::default());
        let kept = |index: u8| wire::ledger::Kept {
            generation: Generation { incarnation: 1, index: index.into() },
            revision: index.into(),
            digest: plan::Digest([index; 32]),
            table: network.table.clone(),
            program: network.host("a").unwrap().0.clone(),
            origin: Default::default(),
        };
        let first = adopt(&ledger(0), kept(1), false, 0);
        let confirmed = confirm(&first, Generation { incarnation: 1, index: 1 }).unwrap();
        let trial = adopt(&confirmed, kept(2), false, 10_000);
        let gone_back = crate::core::ledger::revert(&trial, "no answer").unwrap();
        for (name, before, newest) in [
            ("a trial", &confirmed, &trial),
            ("its end", &trial, &gone_back),
            ("a confirmation", &first, &confirmed),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::new(folder.path());
            store.save(before).unwrap();
            store.save(newest).unwrap();
            let path = folder.path().join(CURRENT);
            let whole = fs::read(&path).unwrap();
            for cut in [0, 1, whole.len() / 2, whole.len() - 1] {
                fs::write(&path, &whole[..cut]).unwrap();
                assert_eq!(store.load().as_ref(), Some(before), "{name}, cut at {cut}");
            }
        }
    }
}
