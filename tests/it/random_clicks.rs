//! Funnels and paths of random clicks against a naive reading, straight from product.md and from what the views say of a run and of a path.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::flows::{Event, WINDOW, click, company_of, ms};

pub struct Run {
    waits: Vec<i64>,
    end: i64,
    start: i64,
}

fn runs<'a>(
    clicks: &'a [&Event],
    steps: &'a [&str],
    within: i64,
    window: (i64, i64),
) -> impl Iterator<Item = Run> + 'a {
    let starts = clicks.iter().filter(move |click| click.feature == steps[0]);
    let starts = starts
        .map(|click| click.ms)
        .filter(move |ms| (window.0..window.1).contains(ms));
    starts.map(move |start| {
        let (mut waits, mut at) = (vec![0], start);
        for step in &steps[1..] {
            let fits = |click: &&&Event| click.feature == *step && (at..=start + within).contains(&click.ms);
            let Some(next) = clicks.iter().filter(fits).map(|click| click.ms).min() else {
                break;
            };
            waits.push(next - at);
            at = next;
        }
        Run { waits, end: at, start }
    })
}

/// For each step, the waits of the users who reached it.
fn funnel(users: &BTreeMap<String, Vec<&Event>>, steps: &[&str], within: i64, window: (i64, i64)) -> Vec<Vec<i64>> {
    let mut reached = vec![Vec::new(); steps.len()];
    for clicks in users.values() {
        let best = runs(clicks, steps, within, window).max_by_key(|run| (run.waits.len(), -run.end, run.start));
        for (step, wait) in best.iter().flat_map(|run| run.waits.iter().enumerate()) {
            reached[step].push(*wait);
        }
    }
    reached
}

/// Users and transitions by next feature.
fn paths_after(
    users: &BTreeMap<String, Vec<&Event>>,
    after: &str,
    window: (i64, i64),
) -> BTreeMap<String, (BTreeSet<String>, u64)> {
    let mut paths = BTreeMap::<String, (BTreeSet<String>, u64)>::new();
    for (user, clicks) in users {
        let inside = clicks.iter().filter(|click| (window.0..window.1).contains(&click.ms));
        let set: BTreeSet<_> = inside.map(|click| (&click.session, click.ms, &click.feature)).collect();
        let ordered: Vec<_> = set.into_iter().collect();
        for pair in ordered.windows(2) {
            let [(session, at, feature), (next_session, next_at, next)] = pair else {
                unreachable!()
            };
            let near = !session.is_empty() || next_at - at <= 30 * 60 * 1_000;
            if *feature == after && session == next_session && near {
                let path = paths.entry((*next).clone()).or_default();
                path.0.insert(user.clone());
                path.1 += 1;
            }
        }
    }
    paths
}

fn median(mut values: Vec<i64>) -> f64 {
    values.sort_unstable();
    let half = values.len() / 2;
    let low = if values.len().is_multiple_of(2) {
        values[half - 1]
    } else {
        values[half]
    };
    (low + values[half]) as f64 / 2.0
}

#[tokio::test]
async fn funnels_and_paths_agree_with_a_naive_reading_of_random_clicks() {
    let mut random = StdRng::seed_from_u64(16);
    let features = ["order.open", "order.check", "order.approve", "order.pay", "help.view"];
    let start = ms("2026-09-29T16:00:00Z");
    let events: Vec<_> = (0..1_200)
        .map(|_| {
            let user = format!("r{}", random.random_range(0..40));
            // A multiple of ten minutes, so that many clicks are at the same moment.
            let at = start + random.random_range(0..17 * 144) * 600_000;
            let session = ["", "", "s1", "s2"][random.random_range(0..4)];
            click(&user, at, features[random.random_range(0..features.len())], session)
        })
        .collect();
    let api = company_of(
        events
            .iter()
            .map(|event| click(&event.user, event.ms, &event.feature, &event.session))
            .collect(),
    )
    .await;
    let mut users = BTreeMap::<String, Vec<&Event>>::new();
    for event in &events {
        users.entry(event.user.clone()).or_default().push(event);
    }
    let window = (ms("2026-09-30T16:00:00Z"), ms("2026-10-14T16:00:00Z"));
    for (within, seconds) in [("10m", 600), ("6h", 21_600), ("3d", 259_200)] {
        for steps in [
            &features[..],
            &features[1..3],
            &["order.pay", "order.open", "help.view"],
        ] {
            let path = format!(
                "/systems/erp/funnels?{WINDOW}&within={within}&steps={}",
                steps.join(",")
            );
            let answer = api.ok(&path).await;
            for (index, waits) in funnel(&users, steps, seconds * 1_000, window).into_iter().enumerate() {
                let step = &answer["steps"][index];
                let few = (1..3).contains(&waits.len());
                assert_eq!(step["suppressed"], few, "{path}: {step}");
                if !few {
                    assert_eq!(step["users"], waits.len(), "{path}: {step}");
                    let expected = (index > 0 && !waits.is_empty()).then(|| median(waits) / 1_000.0);
                    assert_eq!(step["median_seconds"].as_f64(), expected, "{path}: {step}");
                }
            }
        }
    }
    for after in features {
        let answer = api.ok(&format!("/systems/erp/paths?{WINDOW}&after={after}")).await;
        let expected = paths_after(&users, after, window);
        let told = expected.iter().filter(|(_, (users, _))| users.len() >= 3);
        let told: BTreeMap<_, _> = told
            .map(|(next, (users, times))| (next.clone(), (users.len() as u64, *times)))
            .collect();
        let paths = answer["paths"].as_array().unwrap().iter();
        let paths: BTreeMap<_, _> = paths
            .map(|path| {
                let number = |name: &str| path[name].as_u64().unwrap();
                (
                    path["feature"].as_str().unwrap().to_owned(),
                    (number("users"), number("transitions")),
                )
            })
            .collect();
        assert_eq!(answer["hidden_paths"], expected.len() - told.len(), "{after}");
        assert_eq!(paths, told, "{after}");
    }
}
