//! The identities of the last N events of one partition (architecture.md, guarantee 2).

use hashbrown::HashTable;

use crate::event::Identity;

/// A ring of identities with an index into it: 8 bytes for each identity and about 10 for the index.
pub struct IdentityMemory {
    ring: Vec<Identity>,
    /// The slot that the next identity goes into; meaningful once the ring is full.
    next: usize,
    capacity: usize,
    index: HashTable<u32>,
}

impl IdentityMemory {
    /// Remembers up to `capacity` identities, which must be at least 1 and fit 32 bits.
    pub fn new(capacity: usize) -> Self {
        Self {
            ring: Vec::new(),
            next: 0,
            capacity: capacity.clamp(1, u32::MAX as usize),
            index: HashTable::new(),
        }
    }

    /// Remembers `identity` and forgets the oldest when full. `false` when it was known already; then nothing changes.
    pub fn remember(&mut self, identity: Identity) -> bool {
        let Self {
            ring,
            next,
            capacity,
            index,
        } = self;
        let known = index.find(hash(identity), |&slot| ring[slot as usize] == identity);
        if known.is_some() {
            return false;
        }
        let slot = if ring.len() < *capacity {
            ring.push(identity);
            ring.len() - 1
        } else {
            let slot = *next;
            if let Ok(oldest) = index.find_entry(hash(ring[slot]), |&other| other as usize == slot) {
                oldest.remove();
            }
            ring[slot] = identity;
            *next = (slot + 1) % *capacity;
            slot
        };
        index.insert_unique(hash(identity), slot as u32, |&slot| hash(ring[slot as usize]));
        true
    }

    /// Brings what [`Self::remember`] will read into the processor's cache. It lies anywhere in many megabytes: to look for
    /// several identities one right after the other is to wait for the memory once.
    pub fn look_ahead(&self, identity: Identity) {
        std::hint::black_box(
            self.index
                .find(hash(identity), |&slot| self.ring[slot as usize] == identity),
        );
    }

    pub fn len(&self) -> usize {
        self.ring.len()
    }
}

/// An identity is a hash already.
fn hash(identity: Identity) -> u64 {
    identity.0
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_plain_queue_does(capacity in 1usize..20, ids in prop::collection::vec(0u64..30, 0..400)) {
            let mut memory = IdentityMemory::new(capacity);
            let mut queue = VecDeque::new();
            for id in ids {
                let fresh = !queue.contains(&id);
                if fresh {
                    queue.push_back(id);
                    if queue.len() > capacity {
                        queue.pop_front();
                    }
                }
                prop_assert_eq!(memory.remember(Identity(id)), fresh);
                prop_assert_eq!(memory.len(), queue.len());
            }
        }
    }
}
