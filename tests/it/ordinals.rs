//! The numbers that stand for users: nobody shares one, and who has several has them noted.

use std::collections::{HashMap, HashSet};

use futures_util::future::join_all;
use uptake::pseudonym::Pseudonym;
use uptake::store::Store;
use uptake::store::ordinals::Ordinals;

use crate::common::proxy::{Inserts, Proxy};
use crate::harness::{Fixture, eventually};
use crate::ingest::{Worker, assert_counted_once, click, eventually_committed, produce_clicks, recently};

pub fn users(numbers: std::ops::Range<u128>) -> Vec<Pseudonym> {
    numbers
        .map(|number| Pseudonym((number * 0x9e37_79b9_7f4a_7c15).to_be_bytes()))
        .collect()
}

/// The ordinals of every user in this table.
async fn stored(store: &Store, table: &str) -> HashMap<String, HashSet<u64>> {
    let sql = format!("SELECT lower(hex(user)), ordinal FROM {table}");
    let mut stored: HashMap<_, HashSet<_>> = HashMap::new();
    for (user, ordinal) in store.client().query(&sql).fetch_all::<(String, u64)>().await.unwrap() {
        stored.entry(user).or_default().insert(ordinal);
    }
    stored
}

async fn splits(store: &Store) -> HashMap<String, HashSet<u64>> {
    stored(store, "split_users").await
}

/// Users whose events still count as several users when split ones are put together.
const SEVERAL: &str = "SELECT count() FROM (SELECT o.user, uniqExact(if(s.smallest = 0, e.ordinal, s.smallest)) AS n FROM raw_events AS e \
    INNER JOIN (SELECT DISTINCT user, ordinal FROM ordinals) AS o ON o.ordinal = e.ordinal \
    LEFT JOIN (SELECT user, min(ordinal) AS smallest FROM split_users GROUP BY user) AS s ON s.user = o.user \
    GROUP BY o.user) WHERE n != 1";

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinal_is_given_once_and_found_again() {
    let fixture = Fixture::new().await;
    let first = Ordinals::new(&fixture.store);
    // More than are asked about in one statement, some of them twice.
    let all: Vec<_> = users(0..40_000).into_iter().chain(users(0..10)).collect();
    let given = first.resolve(all.clone()).await.unwrap();
    assert_eq!(given.len(), 40_000);
    assert_eq!(given.values().collect::<HashSet<_>>().len(), 40_000);
    assert!(!given.values().any(|&ordinal| ordinal == 0));

    let again = Ordinals::new(&fixture.store)
        .resolve(users(39_999..40_002))
        .await
        .unwrap();
    let known = users(39_999..40_000)[0];
    assert_eq!(again[&known], given[&known]);
    assert_eq!(first.resolve(users(39_999..40_002)).await.unwrap(), again);
    assert_eq!(fixture.number("SELECT count() FROM ordinals").await, 40_002);
    assert!(splits(&fixture.store).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_propose_at_the_same_moment_the_later_one_notes_the_split() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::of_table("ordinals", &fixture.config.clickhouse.url, Inserts::HoldBody).await;
    let mut through = fixture.config.clickhouse.clone();
    through.url = proxy.url.clone();
    let held = Ordinals::new(&Store::new(&through));
    let held = tokio::spawn(async move { held.resolve(users(0..100)).await.unwrap() });
    eventually("one has asked and proposes", async || proxy.met() > 0).await;
    let overtook = Ordinals::new(&fixture.store).resolve(users(50..150)).await.unwrap();
    assert!(splits(&fixture.store).await.is_empty());
    proxy.set(Inserts::Pass);
    let later = held.await.unwrap();

    let splits = splits(&fixture.store).await;
    let all = stored(&fixture.store, "ordinals").await;
    assert_eq!(splits.len(), 50);
    for user in users(50..100) {
        let noted = &splits[&user.to_string()];
        assert_eq!((noted, noted.len()), (&all[&user.to_string()], 2));
        // Which of the two ClickHouse took for the first one is its affair.
        assert!(noted.contains(&overtook[&user]) && noted.contains(&later[&user]));
    }
    let now = Ordinals::new(&fixture.store).resolve(users(0..150)).await.unwrap();
    assert_eq!(Ordinals::new(&fixture.store).resolve(users(0..150)).await.unwrap(), now);
    assert!(users(0..50).iter().all(|user| now[user] == later[user]));
    assert!(users(100..150).iter().all(|user| now[user] == overtook[user]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_insert_of_unknown_outcome_is_repeated_with_the_same_ordinals() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::of_table("ordinals", &fixture.config.clickhouse.url, Inserts::HoldBody).await;
    let mut through = fixture.config.clickhouse.clone();
    through.url = proxy.url.clone();
    let ordinals = Ordinals::new(&Store::new(&through));
    // Given up while ClickHouse still waits for the rest of the rows: they come after those of the second attempt.
    tokio::select! {
        _ = ordinals.resolve(users(0..100)) => panic!("the insert is held"),
        () = eventually("it proposes", async || proxy.met() > 0) => {}
    }
    proxy.set(Inserts::Pass);
    let given = ordinals.resolve(users(0..100)).await.unwrap();
    assert_eq!(fixture.number("SELECT uniqExact(ordinal) FROM ordinals").await, 100);
    assert_eq!(given.len(), 100);
}

/// Whatever the order in which they come.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordinal_that_anyone_uses_is_the_only_one_or_noted() {
    let fixture = Fixture::new().await;
    let resolvers: Vec<_> = (0..6).map(|_| Ordinals::new(&fixture.store)).collect();
    let used = join_all(
        resolvers
            .iter()
            .zip(0..)
            .map(|(resolver, i)| resolver.resolve(users(i * 20..i * 20 + 200))),
    )
    .await;
    let splits = splits(&fixture.store).await;
    let all = stored(&fixture.store, "ordinals").await;
    let different: HashSet<u64> = all.values().flatten().copied().collect();
    assert_eq!(
        different.len(),
        all.values().map(HashSet::len).sum::<usize>(),
        "an ordinal is shared"
    );
    for (user, ordinal) in used.into_iter().flat_map(Result::unwrap) {
        let (all, noted) = (&all[&user.to_string()], splits.get(&user.to_string()));
        assert!(all.contains(&ordinal));
        assert!(
            all.len() == 1 || noted == Some(all),
            "{user} has {all:?}, noted {noted:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_ordinals_and_events_splits_nobody() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to(&fixture.config.clickhouse.url, Inserts::BreakBody).await;
    produce_clicks(&fixture, 0..100).await;
    let first = Worker::with(&fixture, &[("UPTAKE__CLICKHOUSE__URL", &proxy.url)]);
    eventually("ordinals are there and events are not", async || {
        proxy.met() > 0 && fixture.number("SELECT count() FROM ordinals").await == 7
    })
    .await;
    first.kill();
    let _second = Worker::start(&fixture);
    eventually_committed(&fixture, 100).await;
    assert_counted_once(&fixture, 100).await;
    assert_eq!(fixture.number("SELECT uniqExact(ordinal) FROM raw_events").await, 7);
    let known = "SELECT count() FROM raw_events WHERE ordinal IN (SELECT ordinal FROM ordinals)";
    assert_eq!(fixture.number(known).await, 100);
    assert_eq!(fixture.number("SELECT count() FROM ordinals").await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whom_two_workers_meet_at_the_same_moment_counts_once() {
    let fixture = Fixture::new().await;
    let url = &fixture.config.clickhouse.url;
    let first = Proxy::of_table("ordinals", url, Inserts::HoldBody).await;
    let second = Proxy::of_table("ordinals", url, Inserts::HoldBody).await;
    let _workers = [&first, &second].map(|proxy| Worker::with(&fixture, &[("UPTAKE__CLICKHOUSE__URL", &proxy.url)]));
    let reporting = "SELECT uniqExact(worker) FROM (SELECT argMax(worker, updated_at) AS worker \
        FROM ingest_progress GROUP BY kafka_partition)";
    eventually("both have partitions", async || fixture.number(reporting).await == 2).await;
    // The key is not the user, whose events come to all partitions.
    for id in 0..200 {
        fixture.produce(&id.to_string(), click(id, "u-1", recently())).await;
    }
    eventually("both propose", async || first.met() > 0 && second.met() > 0).await;
    first.set(Inserts::Pass);
    eventually("one goes on", async || {
        fixture.number("SELECT count() FROM raw_events").await > 0
    })
    .await;
    assert_eq!(fixture.number("SELECT count() FROM split_users").await, 0);
    second.set(Inserts::Pass);
    eventually_committed(&fixture, 200).await;
    assert_counted_once(&fixture, 200).await;
    assert_eq!(fixture.number("SELECT uniqExact(ordinal) FROM split_users").await, 2);
    let unknown = "SELECT count() FROM raw_events WHERE ordinal NOT IN (SELECT ordinal FROM split_users)";
    assert_eq!(fixture.number(unknown).await, 0);
    assert_eq!(fixture.number(SEVERAL).await, 0);
}
