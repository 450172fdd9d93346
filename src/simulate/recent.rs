//! A bounded memory of traces that knows which one has been quiet longest.

use std::collections::HashMap;

use crate::plan::collector::TraceId;

/// No place.
const NONE: u32 = u32::MAX;

/// Values by trace id, in the order in which they were touched last.
#[derive(Debug)]
pub(super) struct Recent<T> {
    places: HashMap<TraceId, u32>,
    entries: Vec<Entry<T>>,
    /// Places of entries that are gone.
    free: Vec<u32>,
    quietest: u32,
    latest: u32,
    capacity: usize,
}

#[derive(Debug)]
struct Entry<T> {
    id: TraceId,
    value: Option<T>,
    /// The one that was touched before it, and the one after it.
    before: u32,
    after: u32,
}

impl<T> Recent<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, NONE as usize - 1);
        Self { places: HashMap::new(), entries: Vec::new(), free: Vec::new(), quietest: NONE, latest: NONE, capacity }
    }

    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= self.capacity
    }

    pub(super) fn contains(&self, id: &TraceId) -> bool {
        self.places.contains_key(id)
    }

    /// The value of a trace, which is the latest one now.
    pub(super) fn touch(&mut self, id: &TraceId) -> Option<&mut T> {
        let place = *self.places.get(id)?;
        self.touched(place);
        self.entries.get_mut(place as usize)?.value.as_mut()
    }

    /// The same, with a new one where there was none.
    pub(super) fn touch_or_insert(&mut self, id: &TraceId, make: impl FnOnce() -> T) -> &mut T {
        let place = match self.places.get(id) {
            Some(place) => {
                let place = *place;
                self.touched(place);
                place
            }
            None => self.insert(*id),
        };
        self.entries[place as usize].value.get_or_insert_with(make)
    }

    /// Takes out the one that has been quiet longest.
    pub(super) fn pop(&mut self) -> Option<(TraceId, T)> {
        let place = self.quietest;
        let id = self.entries.get(place as usize)?.id;
        self.unlink(place);
        self.places.remove(&id);
        self.free.push(place);
        let value = self.entries.get_mut(place as usize)?.value.take()?;
        Some((id, value))
    }

    fn insert(&mut self, id: TraceId) -> u32 {
        let entry = Entry { id, value: None, before: NONE, after: NONE };
        let place = if let Some(place) = self.free.pop() {
            self.entries[place as usize] = entry;
            place
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).unwrap_or(NONE)
        };
        self.places.insert(id, place);
        self.link(place);
        place
    }

    fn touched(&mut self, place: u32) {
        if self.latest != place {
            self.unlink(place);
            self.link(place);
        }
    }

    fn link(&mut self, place: u32) {
        let before = self.latest;
        if let Some(entry) = self.entries.get_mut(place as usize) {
            (entry.before, entry.after) = (before, NONE);
        }
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.after = place,
            None => self.quietest = place,
        }
        self.latest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Some(Entry { before, after, .. }) = self.entries.get(place as usize) else { return };
        let (before, after) = (*before, *after);
        match self.entries.get_mut(before as usize) {
            Some(entry) => entry.after = after,
            None => self.quietest = after,
        }
        match self.entries.get_mut(after as usize) {
            Some(entry) => entry.before = before,
            None => self.latest = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_been_quiet_longest_goes_first() {
        let mut recent = Recent::new(3);
        let id = |number: u8| [number; 16];
        for number in [1, 2, 3] {
            recent.touch_or_insert(&id(number), || number);
        }
        assert!(recent.is_full() && recent.contains(&id(1)) && recent.touch(&id(9)).is_none());
        assert_eq!(recent.touch(&id(1)), Some(&mut 1));
        *recent.touch_or_insert(&id(2), || 9) += 10;
        assert_eq!(recent.pop(), Some((id(3), 3)));
        recent.touch_or_insert(&id(4), || 4);
        recent.touch(&id(4));
        let rest: Vec<_> = std::iter::from_fn(|| recent.pop()).map(|(_, value)| value).collect();
        assert_eq!(rest, [1, 12, 4]);
        assert_eq!(recent.pop(), None);
        recent.touch_or_insert(&id(5), || 5);
        assert_eq!(recent.pop(), Some((id(5), 5)));
    }
}
