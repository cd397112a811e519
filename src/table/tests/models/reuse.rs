//! Retired indices and buckets, the epoch, the free lists.

use super::*;

#[test]
fn index_reuse() {
    // What a reader holds stays what it is, though it is deleted, reclaimed and wanted again.
    model(|| {
        let table = shared(2, 0, 1, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, old.index, 1));
            table.reclaim(local);
            local.enter();
            if let Some(index) = prepare(table, local, [1, 1], 0) {
                assert_eq!(insert_index(table, local, index), Insert::Inserted);
            }
        });
        one.enter();
        if let Some(hit) = find(&table, &one, 0) {
            assert_eq!((table.key(hit.index, 0), hit_generation(&table, &hit)), (0, 1), "reused while held");
        }
        if table.get(&one, old.index, 1).is_some() {
            assert_eq!(table.key(old.index, 0), 0, "a stale handle");
        }
        one.leave();
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, one]);
    });
}

#[test]
fn index_reuse_against_renewal() {
    // The reader renews instead of leaving: from then on it may meet the next life, and never a mixture.
    model(|| {
        let table = shared(2, 0, 1, 3);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let old = live(&table, &mut workers[0], [0, 0]);
        let [mut zero, one, mut two] = workers;
        drop(one);
        zero.leave();
        two.leave();
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, old.index, 1));
            table.reclaim(local);
            table.reclaim(local);
            local.enter();
            if let Some(index) = prepare(table, local, [1, 1], 0) {
                assert_eq!(insert_index(table, local, index), Insert::Inserted);
            }
        });
        two.enter();
        two.enter();
        if let Some(hit) = find(&table, &two, 0) {
            assert_eq!(table.key(hit.index, 0), 0, "reused while held");
        }
        two.leave();
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, two]);
    });
}

#[test]
fn retired_means_unreachable() {
    // A reader that entered after the index was taken for the epoch must not be able to find it. One thread plays both
    // the reader and the one that reclaims.
    model(|| {
        let table = shared(2, 0, 1, 3);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let old = live(&table, &mut workers[0], [0, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, one, mut two] = workers;
        let delete =
            move |table: &Shared, local: &mut Local<Item>| assert!(table.delete(local, old.index, 1));
        let read = move |table: &Shared, local: &mut Local<Item>| {
            table.reclaim(local);
            two.enter();
            let hit = find(table, &two, 0);
            table.reclaim(local);
            local.enter();
            if let Some(index) = prepare(table, local, [1, 1], 0) {
                assert!(hit.is_none_or(|hit| hit.index != index), "reused while held");
                table.release(local, index);
            }
            two.leave();
            two
        };
        let ([zero, one], (), two) = both(&table, [zero, one], delete, read);
        settle(&table, &mut [zero, one, two]);
    });
}

#[test]
fn bucket_reuse() {
    // A walker inside an unlinked bucket still finds what is behind, though the bucket is wanted elsewhere.
    model(|| {
        let table = shared(2, 2, 10, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let hits: Vec<_> = [0, 2, 4, 6, 8].map(|key| live(&table, &mut workers[0], [key, key])).into();
        assert!(table.delete(&mut workers[0], hits[3].index, 1));
        for key in [1, 3] {
            live(&table, &mut workers[0], [key, key]);
        }
        let new = prepared(&table, &mut workers[0], [5, 5]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let index = hits[2].index;
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, index, 1));
            table.reclaim(local);
            local.enter();
            insert_index(table, local, new)
        });
        one.enter();
        assert!(find(&table, &one, 8).is_some(), "led astray");
        one.leave();
        let (zero, _) = thread.join().unwrap();
        settle(&table, &mut [zero, one]);
    });
}

#[test]
fn retired_bucket_is_unlinked() {
    // As `retired_means_unreachable`, for an overflow bucket.
    model(|| {
        let (table, mut workers, hits) = chained(1, 3, &[1]);
        table.epoch_matters.store(true, Ordering::Relaxed);
        workers.iter_mut().for_each(Local::leave);
        let mut two = workers.pop().unwrap();
        let one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let index = hits[0].index;
        let delete = move |table: &Shared, local: &mut Local<Item>| assert!(table.delete(local, index, 1));
        let walk = move |table: &Shared, local: &mut Local<Item>| {
            table.reclaim(local);
            two.enter();
            let stands_in = bucket::meta::link(table.head(0).meta.load(Ordering::Acquire));
            table.reclaim(local);
            let free = table.pool.first();
            assert!(free.is_none() || free != stands_in, "back in the pool while a walker is inside");
            two.leave();
            two
        };
        let ([zero, one], (), two) = both(&table, [zero, one], delete, walk);
        settle(&table, &mut [zero, one, two]);
    });
}

#[test]
fn lists() {
    // One retires two, another takes what there is, hangs it into the free stack and pops it: whole or not at all.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let (chain, stack) = (Arc::new(Chain::default()), Stack::default());
        // Nothing fresh.
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        // An old link, which nobody may follow.
        links[1].store(3, Ordering::Relaxed);
        let thread = {
            let (links, chain) = (links.clone(), chain.clone());
            thread::spawn(move || {
                chain.push(List { first: 0, last: 0 }, |i| &links[i as usize]);
                chain.push(List { first: 1, last: 1 }, |i| &links[i as usize]);
            })
        };
        let mut all = Vec::new();
        let mut take = || {
            if let Some(list) = chain.take() {
                stack.push(list, |i| &links[i as usize]);
                let mut out = [0; 3];
                let n = stack.pop(3, &mut out, |i| &links[i as usize]);
                all.extend_from_slice(&out[..n]);
            }
        };
        take();
        thread.join().unwrap();
        take();
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn stack_against_stack() {
    // Two pop and push: nothing is handed out twice, nothing is lost.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let stack = Arc::new(Stack::default());
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        for i in 0..3 {
            stack.push(List { first: i, last: i }, |i| &links[i as usize]);
        }
        let pop = |stack: &Stack, links: &[AtomicU32; 3]| {
            let mut out = [0];
            (stack.pop(3, &mut out, |i| &links[i as usize]) == 1).then_some(out[0])
        };
        let thread = {
            let (links, stack) = (links.clone(), stack.clone());
            thread::spawn(move || pop(&stack, &links))
        };
        let (first, second) = (pop(&stack, &links), pop(&stack, &links));
        if let Some(first) = first {
            stack.push(List { first, last: first }, |i| &links[i as usize]);
        }
        let other = thread.join().unwrap();
        let mut all: Vec<u32> =
            std::iter::from_fn(|| pop(&stack, &links)).chain(second).chain(other).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn stack_publishes_links() {
    // A list of two pushed by one thread, popped by another.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let stack = Arc::new(Stack::default());
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        links[1].store(3, Ordering::Relaxed);
        let thread = {
            let (links, stack) = (links.clone(), stack.clone());
            thread::spawn(move || {
                links[1].store(1, Ordering::Relaxed);
                stack.push(List { first: 1, last: 0 }, |i| &links[i as usize]);
            })
        };
        let mut out = [0; 3];
        let n = stack.pop(3, &mut out, |i| &links[i as usize]);
        assert!(n == 0 || out[..n] == [1, 0]);
        thread.join().unwrap();
    });
}

#[test]
fn retire_against_reclaim() {
    // Two workers delete while a third reclaims: nothing is lost between the chains.
    model(|| {
        let table = shared(2, 0, 4, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let hits = [0, 1].map(|key| live(&table, &mut workers[0], [key, key]));
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            for hit in hits {
                assert!(table.delete(local, hit.index, 1));
            }
        });
        table.reclaim(&mut one);
        let (zero, ()) = thread.join().unwrap();
        let audit = settle(&table, &mut [zero, one]);
        assert_eq!(audit.live, 0);
    });
}
