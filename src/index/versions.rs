//! Which of two states of an object is the newer one.
//!
//! Events and the answers to own writes reach the index on different ways. An event that is older than the last own write
//! would make the operator write a second time; an answer that is older than the last event would bring back what somebody
//! has changed or deleted meanwhile.

use std::collections::BTreeMap;

/// The newest resource version of each object that is in the index, and whether it came from an own write whose event
/// has not arrived yet.
#[derive(Debug)]
pub(super) struct Versions<K>(pub(super) BTreeMap<K, (u64, bool)>);

impl<K> Default for Versions<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Versions<K> {
    /// Whether an event of this version is to be taken in. Only a pending own write makes an event stale: otherwise the
    /// stream is right, also where versions have gone back (a restored etcd).
    pub(super) fn take_event(&mut self, id: &K, version: Option<u64>) -> bool {
        match (self.0.get(id), version) {
            (Some((newest, true)), Some(version)) if version < *newest => false,
            (_, Some(version)) => {
                self.0.insert(id.clone(), (version, false));
                true
            }
            (_, None) => {
                self.0.remove(id);
                true
            }
        }
    }

    /// Whether the answer to an own write is to be taken in: not where something newer was heard already.
    pub(super) fn take_write(&mut self, id: &K, version: Option<u64>) -> bool {
        let Some(version) = version else { return true };
        match self.0.get(id) {
            Some((newest, _)) if *newest > version => false,
            // Its event was heard already, or nothing was changed and there will be none: nothing is awaited.
            Some((newest, _)) if *newest == version => true,
            _ => {
                self.0.insert(id.clone(), (version, true));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_state_stays_whatever_comes_last() {
        let mut versions = Versions::default();
        assert!(versions.take_event(&"a", Some(5)));
        assert!(versions.take_write(&"a", Some(10)));
        assert!(!versions.take_event(&"a", Some(7)), "older than the own write");
        assert!(versions.take_event(&"a", Some(10)), "the event of the own write");
        assert!(versions.take_event(&"a", Some(3)), "nothing is pending: the stream is right");
        assert!(versions.take_event(&"a", Some(20)));
        assert!(!versions.take_write(&"a", Some(15)), "somebody changed it since");
        assert!(versions.take_event(&"a", Some(21)));
    }

    #[test]
    fn an_answer_whose_event_was_heard_awaits_nothing() {
        let mut versions = Versions::default();
        assert!(versions.take_event(&"a", Some(10)));
        assert!(versions.take_write(&"a", Some(10)));
        assert!(versions.take_event(&"a", Some(3)), "versions have gone back: the stream is right");
    }
}
