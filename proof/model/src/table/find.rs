//! From a key to its entry.

use crate::memory::{
    EMPTY, Entry, Fault, GROWING, Place, dir_of, entry_of, meta, occupied, over, tag_of, thawed, word,
};
use crate::scope::Op;
use crate::thread::{Point, Run, Step};

/// An entry found LIVE, and its word as read then.
pub(super) struct Hit {
    pub entry: u8,
    pub word: u16,
}

impl Run<'_> {
    pub(super) fn root(&mut self) -> Step<u16> {
        if self.scope.grows { self.load(|memory| memory.root) } else { Ok(u16::from(self.scope.heads)) }
    }

    pub(super) fn head_in(&self, size: u16, hash: u8) -> Place {
        size as u8 - self.scope.heads + (hash & (size as u8 - 1))
    }

    pub(super) fn has_moved(&mut self, head: Place) -> Step<bool> {
        Ok(self.load(|memory| memory.buckets[head as usize].meta & meta::MOVED)? != 0)
    }

    pub(super) fn head(&mut self, hash: u8) -> Step<Place> {
        let head = self.section(|run| {
            let root = run.root()?;
            let size = root & !GROWING;
            let head = run.head_in(size, hash);
            let moved = root & GROWING != 0 && run.has_moved(head)?;
            Ok(u16::from(if moved { run.head_in(2 * size, hash) } else { head }))
        })?;
        Ok(head as Place)
    }

    pub(super) fn next(&mut self, bucket: Place) -> Step<Option<Place>> {
        let link = self.load(|memory| memory.buckets[bucket as usize].meta & meta::LINK)?;
        Ok(meta::link(link).map(over))
    }

    /// What is behind a head, if something with this tag may be there.
    fn behind(&mut self, head: Place, tag: u8) -> Step<Option<Place>> {
        let link = self.load(|memory| match memory.buckets[head as usize].meta {
            seen if seen & meta::mark(tag) != 0 => seen & meta::LINK,
            _ => 0,
        })?;
        Ok(meta::link(link).map(over))
    }

    /// A slot that has the tag of this key: as it is, if its entry has the key, too (which the entry keeps for as long as we are
    /// entered, so one access will do); 1, if not; 0: another tag, or none.
    pub(super) fn tagged(&mut self, bucket: Place, slot: usize, key: u8) -> Step<u16> {
        let tag = self.hash(key);
        self.load(|memory| {
            let slot = thawed(memory.buckets[bucket as usize].slots[slot]);
            if !occupied(slot) || tag_of(slot) != tag {
                return 0;
            }
            let keys = memory.entries[entry_of(slot) as usize].keys;
            if keys[dir_of(slot) as usize] == key { slot } else { 1 }
        })
    }

    /// The word of the entry that this slot leads to, if it is LIVE, with this key; else 0.
    fn accept(&mut self, slot: u16, key: u8) -> Step<u16> {
        if slot <= 1 {
            return Ok(0);
        }
        let (entry, any) = (entry_of(slot), self.mutated("reader-any-life"));
        self.change_both(|memory, _| {
            let Entry { word, keys } = memory.entries[entry as usize];
            let live = word::life(word) == word::LIVE;
            // The answer must be right at this instant.
            if (live || any) && !(live && keys.contains(&key)) {
                memory.fail(Fault::NotLinearizable);
            }
            if live || any { word } else { 0 }
        })
    }

    pub(super) fn lookup(&mut self, key: u8) -> Step<Option<Hit>> {
        let hit = self.section(|run| {
            let head = run.head(run.hash(key))?;
            let first = run.section(|run| {
                let mut first = 0;
                for slot in (0..run.scope.slots).rev() {
                    let tagged = run.tagged(head, slot, key)?;
                    first = if tagged != 0 { tagged } else { first };
                }
                Ok(first)
            })?;
            let word = run.accept(first, key)?;
            if word != 0 || first != 0 && run.mutated("first-tag-only") {
                return Ok(if word == 0 { 0 } else { word << 4 | u16::from(entry_of(first)) });
            }
            run.lookup_along(key)
        })?;
        Ok((hit != 0).then_some(Hit { entry: (hit & 7) as u8, word: hit >> 4 }))
    }

    /// By every slot of the chain, beyond the head only if that has the mark.
    fn lookup_along(&mut self, key: u8) -> Step<u16> {
        let head = self.head(self.hash(key))?;
        let mut bucket = Some(head);
        while let Some(place) = bucket {
            let hit = self.section(|run| {
                for at in 0..run.scope.slots {
                    let hit = run.section(|run| {
                        let slot = run.tagged(place, at, key)?;
                        let word = run.accept(slot, key)?;
                        Ok(if word == 0 { 0 } else { word << 4 | u16::from(entry_of(slot)) })
                    })?;
                    if hit != 0 {
                        return Ok(hit);
                    }
                }
                Ok(0)
            })?;
            if hit != 0 {
                return Ok(hit);
            }
            bucket = if place == head { self.behind(head, self.hash(key))? } else { self.next(place)? };
        }
        Ok(0)
    }

    /// Whether the tag of this hash is in sight in its head, and the place of its first EMPTY slot, if there is one.
    pub(super) fn glance(&mut self, hash: u8) -> Step<(bool, u8)> {
        let glance = self.section(|run| {
            let head = run.head(hash)?;
            let (mut found, mut empty) = (false, run.scope.slots as u16);
            for slot in (0..run.scope.slots).rev() {
                let seen = run.load(|memory| match memory.buckets[head as usize].slots[slot] {
                    EMPTY => 2,
                    word => u16::from(occupied(word) && tag_of(word) == hash),
                })?;
                found |= seen == 1;
                empty = if seen == 2 { slot as u16 } else { empty };
            }
            Ok(empty << 1 | u16::from(found))
        })?;
        Ok((glance & 1 == 1, (glance >> 1) as u8))
    }

    /// The operations that begin with a lookup.
    pub(super) fn look(&mut self) -> Step<Point> {
        let (key, op) = match self.op() {
            op @ (Op::Lookup(key) | Op::Delete(key) | Op::Reap(key) | Op::Refresh(key)) => (key, op),
            Op::Insert(_) | Op::Grow | Op::Advance => return self.answer(false),
        };
        let Some(Hit { entry, word: seen }) = self.lookup(key)? else {
            let right = self.thread.absent || matches!(op, Op::Reap(_) | Op::Refresh(_));
            return self.answer(right);
        };
        match op {
            Op::Delete(_) => self.delete(entry),
            Op::Reap(_) => self.reap(entry, seen),
            Op::Refresh(_) => {
                self.exchange_word(entry, seen, seen & !word::EXPIRED)?;
                self.answer(true)
            }
            _ => self.answer(true),
        }
    }
}
