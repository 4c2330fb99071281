//! The inbox: each webhook once, as it arrived, with its job.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tradewind_store::{DeliveryFilter, Ingested, JobKind, JobState, NewDelivery};
use tradewind_tests::stores::{
    Build as _, NOW_MS, commit, commit_together, delivery, ingest, job, jobs, json, on_both, other_shop, shop, unit,
};

fn event(webhook_id: &str, event_id: &str, body: &[u8]) -> NewDelivery {
    NewDelivery { event_id: Some(event_id.to_owned()), ..delivery(webhook_id, body) }
}

#[tokio::test]
async fn a_delivery_is_kept_with_its_job() {
    on_both(async |place| {
        let store = place.open().await;
        let new = NewDelivery { depth: 3, ..event("w1", "e1", b"{\"id\":1}") };
        let (seq, job_seq) = ingest(&store, new).await;
        let kept = store.delivery(seq).await.unwrap().unwrap();
        assert_eq!((kept.seq, &kept.shop, &*kept.platform), (seq, &shop(), "shopify"));
        assert_eq!((&*kept.webhook_id, &*kept.topic), ("w1", "products/update"));
        assert_eq!((kept.event_id.as_deref(), kept.lane.as_deref()), (Some("e1"), Some("shopify/product 1")));
        assert_eq!((kept.received_ms, kept.triggered_ms), (NOW_MS, Some(NOW_MS - 1_000)));
        assert_eq!(
            (kept.headers.as_str(), &*kept.body),
            (r#"{"X-Shopify-Topic":"products/update"}"#, &b"{\"id\":1}"[..])
        );
        assert_eq!(kept.body_bytes, 8);

        let job = job(&store, job_seq).await;
        assert_eq!((&job.shop, job.kind, job.state), (&shop(), JobKind::Delivery, JobState::Queued));
        assert_eq!((job.delivery_seq, job.lane.as_deref(), job.depth), (Some(seq), Some("shopify/product 1"), 3));
        assert_eq!((job.rank, job.attempts, job.run_at_ms, job.created_ms), (1, 0, 0, NOW_MS));
        assert_eq!(store.jobs_of_delivery(seq, 10).await.unwrap(), [job]);
        assert_eq!(store.delivery(seq + 1_000_000).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_delivery_is_kept_once() {
    on_both(async |place| {
        let store = place.open().await;
        ingest(&store, event("w1", "e1", b"1")).await;
        let cases = [
            ("its id again", event("w1", "e2", b"2"), false),
            ("the same event under another id", event("w2", "e1", b"1"), false),
            ("the same event with another body", event("w3", "e1", b"2"), true),
            ("another topic", NewDelivery { topic: "products/create".to_owned(), ..event("w4", "e1", b"1") }, true),
            ("another event", event("w5", "e2", b"1"), true),
            ("the same body without an event", delivery("w6", b"1"), true),
            ("and again", delivery("w7", b"1"), true),
        ];
        let mut kept = 1;
        for (case, new, is_new) in cases {
            let committed = commit(&store, unit().delivery(new)).await;
            assert_eq!(committed.deliveries[0] != Ingested::Duplicate, is_new, "{case}");
            kept += usize::from(is_new);
        }
        for (of, is_new) in [(shop(), false), (other_shop(0), true)] {
            let committed = commit(&store, unit().of(&of).delivery(event("w1", "e1", b"1"))).await;
            assert_eq!(committed.deliveries[0] != Ingested::Duplicate, is_new, "{of}");
            kept += usize::from(is_new);
        }
        assert_eq!(jobs(&store).await.len(), kept, "a job for each");
        assert_eq!(store.deliveries(&DeliveryFilter::default(), 100).await.unwrap().len(), kept);
        assert_eq!(store.find_delivery("w1").await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn duplicates_within_a_batch_are_found() {
    on_both(async |place| {
        let store = place.open().await;
        let ids = ["a", "b", "a", "c", "b", "a"];
        let mut units: Vec<_> = ids.iter().map(|id| unit().delivery(delivery(id, id.as_bytes()))).collect();
        units.push(unit().delivery(delivery("d", b"")).delivery(delivery("e", b"")).delivery(delivery("d", b"")));
        let committed: Vec<_> =
            commit_together(&store, units).await.into_iter().flat_map(|unit| unit.unwrap().deliveries).collect();
        let new: Vec<_> = committed.iter().map(|ingested| *ingested != Ingested::Duplicate).collect();
        assert_eq!(new, [true, true, false, true, false, false, true, true, false]);
        let seqs: Vec<_> = jobs(&store).await.iter().map(|job| (job.delivery_seq, job.seq)).collect();
        let told = committed.iter().filter_map(|ingested| match ingested {
            Ingested::New { seq, job } => Some((Some(*seq), *job)),
            Ingested::Parked { .. } | Ingested::Duplicate => None,
        });
        assert_eq!(told.collect::<Vec<_>>(), seqs, "the first of equal ones, in the order in which they came");
    })
    .await;
}

#[tokio::test]
async fn bodies_and_headers_come_back_as_they_were() {
    on_both(async |place| {
        let store = place.open().await;
        let mut random = vec![0; 1 << 20];
        StdRng::seed_from_u64(7).fill(&mut random[..]);
        let bodies = [vec![], vec![0], random, vec![b'x'; 1 << 20], b"\xff\xfe{\0}'\"\\".to_vec()];
        let headers = ["{}", r#"{"n":"é \u0000 \ud83d\ude00 \"","b":[1,2.50,1e400]}"#];
        for (at, body) in bodies.into_iter().enumerate() {
            let headers = json(headers[at % 2]);
            let new = NewDelivery { headers: headers.clone(), ..delivery(&at.to_string(), &body) };
            let (seq, _) = ingest(&store, new).await;
            let kept = store.delivery(seq).await.unwrap().unwrap();
            assert!(kept.body == body, "the body {at} of {} bytes", body.len());
            assert_eq!((kept.body_bytes, kept.headers.as_str()), (body.len() as u64, headers.as_str()));
        }
    })
    .await;
}

#[tokio::test]
async fn deliveries_are_listed_the_newest_first() {
    on_both(async |place| {
        let store = place.open().await;
        let topic = |number: u32| if number.is_multiple_of(3) { "orders/create" } else { "products/update" };
        for number in 0..30 {
            let new = NewDelivery { topic: topic(number).to_owned(), ..delivery(&number.to_string(), b"body") };
            let of = if number % 2 == 0 { shop() } else { other_shop(0) };
            commit(&store, unit().of(&of).delivery(new)).await;
        }
        let ids = async |filter: DeliveryFilter, limit| -> Vec<u32> {
            let listed = store.deliveries(&filter, limit).await.unwrap();
            assert!(listed.iter().all(|delivery| delivery.body.is_empty() && delivery.body_bytes == 4));
            listed.iter().map(|delivery| delivery.webhook_id.parse().unwrap()).collect()
        };
        let all = || (0..30_u32).rev();
        assert_eq!(ids(DeliveryFilter::default(), 100).await, all().collect::<Vec<_>>());
        let of_shop =
            DeliveryFilter { app: Some("tagger".to_owned()), shop: Some(shop().id.to_string()), ..Default::default() };
        assert_eq!(ids(of_shop.clone(), 100).await, all().filter(|n| n % 2 == 0).collect::<Vec<_>>());
        let of_topic = DeliveryFilter { topic: Some("orders/create".to_owned()), ..of_shop };
        assert_eq!(ids(of_topic, 2).await, [24, 18]);
        let page = store.deliveries(&DeliveryFilter::default(), 10).await.unwrap();
        let next = DeliveryFilter { before: Some(page[9].seq), ..Default::default() };
        assert_eq!(ids(next, 10).await, (10..20).rev().collect::<Vec<_>>());
        let nobody = DeliveryFilter { app: Some("other".to_owned()), ..Default::default() };
        assert_eq!(ids(nobody, 10).await, Vec::<u32>::new());
    })
    .await;
}

#[tokio::test]
async fn many_ask_for_deliveries_and_records_at_once() {
    on_both(async |place| {
        let store = place.open().await;
        let units = (0..200_u32).map(|id| unit().delivery(delivery(&id.to_string(), &id.to_le_bytes())));
        let mut seqs = Vec::new();
        for committed in commit_together(&store, units.collect()).await {
            let Ingested::New { seq, .. } = committed.unwrap().deliveries[0] else { panic!("all are new") };
            seqs.push(seq);
        }
        let read = tradewind_tests::stores::together(seqs.iter().map(|seq| store.delivery(*seq))).await;
        for (id, delivery) in (0..200_u32).zip(read) {
            assert_eq!(delivery.unwrap().unwrap().body, id.to_le_bytes());
        }
    })
    .await;
}
