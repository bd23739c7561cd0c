//! A whole small company, from who works there to the bytes on the topic.

use std::collections::{BTreeMap, HashSet};

use jiff::civil::date;
use jiff::tz::TimeZone;

use super::company::{Company, Plan};
use super::deliveries::{Content, Deliveries, Delivery, Mishaps};
use super::truth::Messages;
use super::wire::{Encoder, reason};
use crate::event::{self, TimeRange};

const MISHAPS: Mishaps = Mishaps {
    late: 0.05,
    duplicates: 0.05,
    malformed: 0.01,
};

fn company(users: usize) -> Company {
    let zone = TimeZone::get("America/New_York").unwrap();
    // The first Sunday has 23 hours.
    Company::new(Plan {
        system: "erp".to_owned(),
        users,
        days: 20,
        start: date(2026, 3, 2),
        seed: 7,
        zone,
    })
}

fn deliveries(company: &Company) -> Vec<Delivery> {
    Deliveries::new(company, MISHAPS).flatten().collect()
}

fn messages(company: &Company) -> Vec<(String, Vec<u8>)> {
    let encoder = Encoder::new(company);
    let encode = |delivery: &Delivery| {
        let mut bytes = Vec::new();
        (encoder.message(&delivery.content, &mut bytes).to_owned(), bytes)
    };
    deliveries(company).iter().map(encode).collect()
}

#[test]
fn the_same_arguments_give_the_same_bytes() {
    assert!(messages(&company(100)) == messages(&company(100)));
}

#[test]
fn a_larger_company_has_the_same_people_and_some_more() {
    let of_persons = |company: &Company| -> BTreeMap<String, HashSet<Vec<u8>>> {
        let mut events = BTreeMap::<_, HashSet<_>>::new();
        let well_formed = messages(company)
            .into_iter()
            .filter(|(_, bytes)| !bytes.windows(10).any(|w| w == b"-malformed"));
        for (key, bytes) in well_formed.filter(|(key, _)| key.starts_with("u-")) {
            events.entry(key).or_default().insert(bytes);
        }
        events
    };
    let (small, large) = (of_persons(&company(100)), of_persons(&company(150)));
    assert!(small.iter().all(|(key, events)| large[key] == *events));
    assert!(large.len() > small.len());
    assert!(
        company(150)
            .roster_csv()
            .starts_with(company(100).roster_csv().split("svc-").next().unwrap())
    );
}

#[test]
fn every_message_is_accepted_or_refused_as_the_truth_says() {
    let company = company(200);
    let encoder = Encoder::new(&company);
    let times = TimeRange {
        earliest_ms: 1_700_000_000_000,
        latest_ms: 1_900_000_000_000,
    };
    let mut bytes = Vec::new();
    let mut reasons = HashSet::new();
    for delivery in deliveries(&company) {
        let key = encoder.message(&delivery.content, &mut bytes);
        match (delivery.content, event::Event::structured(&bytes, times)) {
            (Content::Event(sent) | Content::Repeat(sent), Ok(parsed)) => {
                assert_eq!((parsed.subject.as_ref(), parsed.time_ms), (key, sent.time_ms));
            }
            (Content::Malformed(_, number), _) if reason(number) == "too_large" => assert!(bytes.len() > 65_536),
            (Content::Malformed(_, number), Err(reject)) => {
                assert_eq!(reject.reason.code(), reason(number));
                reasons.insert(reason(number));
            }
            (content, parsed) => panic!("{content:?} became {parsed:?}"),
        }
    }
    assert_eq!(reasons.len(), 9);
}

#[test]
fn a_repeat_follows_its_event_and_has_its_bytes() {
    let company = company(100);
    let encoder = Encoder::new(&company);
    let mut seen = HashSet::new();
    let (mut bytes, mut repeats) = (Vec::new(), 0);
    for delivery in deliveries(&company) {
        encoder.message(&delivery.content, &mut bytes);
        match delivery.content {
            Content::Event(_) => assert!(seen.insert(bytes.clone())),
            Content::Repeat(_) => {
                assert!(seen.contains(&bytes));
                repeats += 1;
            }
            Content::Malformed(..) => assert!(!seen.contains(&bytes)),
        }
    }
    assert!(repeats > 0);
}

#[test]
fn messages_are_sent_in_the_order_of_their_time_and_some_are_late() {
    let deliveries = deliveries(&company(100));
    assert!(deliveries.is_sorted_by_key(|delivery| delivery.sent_ms));
    let lateness = |delivery: &&Delivery| match delivery.content {
        Content::Event(event) => delivery.sent_ms - event.time_ms > 3_600_000,
        Content::Repeat(_) | Content::Malformed(..) => false,
    };
    assert!(deliveries.iter().filter(lateness).count() > 0);
}

#[test]
fn mishaps_do_not_change_what_happens() {
    let company = company(100);
    let events = |mishaps| -> HashSet<String> {
        let events = Deliveries::new(&company, mishaps)
            .flatten()
            .filter_map(|delivery| match delivery.content {
                Content::Event(event) => Some(format!("{event:?}")),
                Content::Repeat(_) | Content::Malformed(..) => None,
            });
        events.collect()
    };
    assert!(
        events(MISHAPS)
            == events(Mishaps {
                late: 0.0,
                duplicates: 0.0,
                malformed: 0.0
            })
    );
}

#[test]
fn what_is_counted_is_what_is_sent() {
    let mut counts = Messages::default();
    let deliveries = deliveries(&company(100));
    deliveries.iter().for_each(|delivery| counts.record(delivery));
    assert_eq!(counts.sent(), deliveries.len() as u64);
}
