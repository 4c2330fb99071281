//! Jobs: what becomes of one when it ends, and what operators do with them.

use tradewind_model::Shop;
use tradewind_store::{ChangedJob, CommitError, How, Job, JobFilter, JobKind, JobState, NewJob, Store};
use tradewind_tests::stores::{
    Build as _, NOW_MS, action, action_called, commit, enqueue, failed, job, jobs, json, on_both, other_shop, park,
    shop, unit,
};

fn in_lane(lane: &str) -> NewJob {
    NewJob { lane: Some(lane.to_owned()), ..action() }
}

/// What is said of a job in that queue.
fn changed(shop: &Shop, queue: Option<&str>) -> ChangedJob {
    ChangedJob { shop: shop.clone(), part: shop.partition_of_job(queue) }
}

#[tokio::test]
async fn a_job_comes_back_as_it_was_enqueued() {
    on_both(async |place| {
        let store = place.open().await;
        let full = NewJob {
            kind: JobKind::Call,
            queue: Some(("exports".to_owned(), 4)),
            id: Some("nightly é".to_owned()),
            run_at_ms: NOW_MS + 1,
            depth: 7,
            chain: 8,
            delivery_seq: Some(9),
            policy: Some(json(r#"{"attempts":3}"#)),
            payload: Some(json(r#"{"id":9223372036854775807}"#)),
            ..action()
        };
        let seq = enqueue(&store, full.clone()).await;
        let expected = Job {
            seq,
            shop: shop(),
            kind: full.kind,
            lane: full.lane,
            queue: full.queue,
            rank: 1,
            id: full.id,
            state: JobState::Delayed,
            run_at_ms: NOW_MS + 1,
            starts: 0,
            attempts: 0,
            depth: 7,
            chain: 8,
            delivery_seq: Some(9),
            policy: full.policy,
            payload: full.payload,
            reason: None,
            error: None,
            checkpoint: None,
            created_ms: NOW_MS,
            parked_ms: None,
        };
        assert_eq!(job(&store, seq).await, expected);
        assert_eq!(store.job_by_id(&shop(), "nightly é").await.unwrap(), Some(expected));
        assert_eq!(store.job_by_id(&other_shop(0), "nightly é").await.unwrap(), None);
        assert_eq!(store.job(seq + 1).await.unwrap(), None);

        let seq = enqueue(&store, in_lane("shopify/product 1")).await;
        assert_eq!(job(&store, seq).await.lane.as_deref(), Some("shopify/product 1"));

        for kind in [JobKind::Delivery, JobKind::Action, JobKind::Success, JobKind::Call] {
            let seq = enqueue(&store, NewJob { run_at_ms: NOW_MS, ..NewJob::new(kind, None) }).await;
            let job = job(&store, seq).await;
            assert_eq!((job.kind, job.state, job.run_at_ms), (kind, JobState::Queued, 0), "due is not delayed");
        }
    })
    .await;
}

#[tokio::test]
async fn a_job_ends_or_goes_on() {
    on_both(async |place| {
        let store = place.open().await;
        let (with, without) = (enqueue(&store, in_lane("a")).await, enqueue(&store, action()).await);
        for seq in [with, without] {
            commit(&store, unit().finish(seq, failed(1, NOW_MS + 50))).await;
        }
        // In its lane it blocks what is behind it; without one it makes room.
        assert_eq!(
            (job(&store, with).await.state, job(&store, without).await.state),
            (JobState::Queued, JobState::Delayed)
        );
        for seq in [with, without] {
            let waiting = job(&store, seq).await;
            assert_eq!((waiting.run_at_ms, waiting.attempts), (NOW_MS + 50, 1));
            assert_eq!(waiting.error, Some(json(r#"{"code":"platform.rate_limited"}"#)));

            // A snooze keeps attempts and error.
            commit(&store, unit().finish(seq, How::Again { attempts: 1, run_at_ms: NOW_MS + 99, error: None })).await;
            let waiting = job(&store, seq).await;
            assert_eq!((waiting.run_at_ms, waiting.attempts, waiting.error.is_some()), (NOW_MS + 99, 1, true));

            let state = json(r#"{"page":3}"#);
            commit(&store, unit().finish(seq, How::Checkpoint { state: state.clone() })).await;
            let began = job(&store, seq).await;
            assert_eq!((began.checkpoint, began.run_at_ms, began.state), (Some(state), NOW_MS + 99, waiting.state));

            commit(&store, unit().finish(seq, park("plugin.trap"))).await;
            let parked = job(&store, seq).await;
            assert_eq!((parked.state, parked.reason.as_deref()), (JobState::Parked, Some("plugin.trap")));
            assert_eq!((parked.attempts, parked.parked_ms, parked.run_at_ms), (5, Some(NOW_MS), 0));
            assert_eq!(parked.error, Some(json(r#"{"code":"plugin.trap"}"#)));
            assert_eq!(store.commit(unit().finish(seq, How::Done)).await, Err(CommitError::JobGone { job: seq }));

            let one = JobFilter { seq: Some(seq), ..JobFilter::default() };
            assert_eq!(store.retry_jobs(&one).await.unwrap(), [changed(&shop(), None)]);
            let again = job(&store, seq).await;
            assert_eq!((again.state, again.reason, again.attempts), (JobState::Queued, None, 0));
            assert!(again.error.is_some() && again.parked_ms.is_none());
            commit(&store, unit().finish(seq, How::Done)).await;
            assert_eq!(store.commit(unit().finish(seq, How::Done)).await, Err(CommitError::JobGone { job: seq }));
        }
        assert_eq!(jobs(&store).await, []);
    })
    .await;
}

#[tokio::test]
async fn an_id_is_free_when_its_job_is_gone() {
    on_both(async |place| {
        let store = place.open().await;
        let seq = enqueue(&store, action_called("a")).await;
        let taken = Err(CommitError::DuplicateJob { id: "a".to_owned() });
        assert_eq!(store.commit(unit().job(action_called("a"))).await, taken);
        commit(&store, unit().finish(seq, park("stuck"))).await;
        assert_eq!(store.commit(unit().job(action_called("a"))).await, taken, "a parked one has it still");
        store.retry_jobs(&JobFilter::default()).await.unwrap();
        // A job that enqueues its own successor.
        let next = commit(&store, unit().finish(seq, How::Done).job(action_called("a"))).await.jobs[0];
        assert!(next.is_some_and(|next| next > seq));
        assert_eq!(commit(&store, unit().cancel("a").cancel("b")).await.cancelled, [true, false]);
        assert_eq!(commit(&store, unit().cancel("a").of(&other_shop(0))).await.cancelled, [false]);
        enqueue(&store, action_called("a")).await;
    })
    .await;
}

/// Parks four of the jobs 0 to 7, and tells which are parked after an operator's deed.
struct Yard {
    store: Store,
    seqs: Vec<i64>,
}

impl Yard {
    async fn new(store: Store) -> Self {
        let mut seqs = Vec::new();
        for number in 0..8_u8 {
            let new = NewJob {
                kind: if number % 2 == 0 { JobKind::Action } else { JobKind::Call },
                queue: (number >= 4).then(|| ("exports".to_owned(), 1)),
                id: Some(number.to_string()),
                ..action()
            };
            let of = if number == 7 { other_shop(0) } else { shop() };
            let at = tradewind_store::Unit { now_ms: NOW_MS + i64::from(number), ..unit() };
            seqs.push(commit(&store, at.of(&of).job(new)).await.jobs[0].unwrap());
        }
        Self { store, seqs }
    }

    async fn in_state(&self, state: JobState) -> Vec<usize> {
        let filter = JobFilter { state: Some(state), ..JobFilter::default() };
        let listed = self.store.list_jobs(&filter, i64::MIN, 100).await.unwrap();
        listed.iter().map(|job| self.seqs.iter().position(|seq| *seq == job.seq).unwrap()).collect()
    }
}

#[tokio::test]
async fn operators_choose_jobs_by_what_they_are() {
    on_both(async |place| {
        let yard = Yard::new(place.open().await).await;
        let (here, other) = (shop(), other_shop(0));
        let all = JobFilter::default;
        let seq = |at: usize| yard.seqs[at];
        let cases: Vec<(JobFilter, Vec<usize>)> = vec![
            (all(), (0..8).collect()),
            (JobFilter { seq: Some(seq(3)), ..all() }, vec![3]),
            (JobFilter { app: Some("tagger".to_owned()), ..all() }, (0..8).collect()),
            (JobFilter { app: Some("other".to_owned()), ..all() }, vec![]),
            (JobFilter { shop: Some(other_shop(0).id.to_string()), ..all() }, vec![7]),
            (JobFilter { kind: Some(JobKind::Call), ..all() }, vec![1, 3, 5, 7]),
            (JobFilter { queue: Some("exports".to_owned()), ..all() }, vec![4, 5, 6, 7]),
            (JobFilter { id: Some("2".to_owned()), ..all() }, vec![2]),
            (JobFilter { created_before_ms: Some(NOW_MS + 2), ..all() }, vec![0, 1]),
            (JobFilter { state: Some(JobState::Delayed), ..all() }, vec![]),
            (JobFilter { kind: Some(JobKind::Action), queue: Some("exports".to_owned()), ..all() }, vec![4, 6]),
            (JobFilter { reason: Some("by hand".to_owned()), ..all() }, vec![]),
        ];
        for (filter, expected) in cases {
            let of =
                |at: usize| changed(if at == 7 { &other } else { &here }, if at >= 4 { Some("exports") } else { None });
            let all: Vec<ChangedJob> = expected.iter().map(|at| of(*at)).collect();
            let sorted = |mut jobs: Vec<ChangedJob>| {
                jobs.sort_unstable();
                jobs
            };
            let listed = yard.store.list_jobs(&filter, i64::MIN, 100).await.unwrap();
            assert_eq!(
                listed.iter().map(|job| job.seq).collect::<Vec<_>>(),
                expected.iter().map(|at| seq(*at)).collect::<Vec<_>>()
            );
            // Nothing that waits is purged.
            assert_eq!(yard.store.purge_jobs(&filter).await.unwrap(), []);
            let parked = yard.store.park_jobs(&filter, "by hand", NOW_MS + 9).await.unwrap();
            assert_eq!(sorted(parked), sorted(all.clone()), "{filter:?}");
            assert_eq!(yard.in_state(JobState::Parked).await, expected, "{filter:?}");
            // What is parked is not parked again.
            assert_eq!(yard.store.park_jobs(&filter, "again", NOW_MS).await.unwrap(), []);
            assert_eq!(sorted(yard.store.retry_jobs(&filter).await.unwrap()), sorted(all), "{filter:?}");
            assert_eq!(yard.in_state(JobState::Queued).await, (0..8).collect::<Vec<_>>(), "{filter:?}");
            // What waits for nothing is not retried.
            assert_eq!(yard.store.retry_jobs(&filter).await.unwrap(), []);
        }

        yard.store
            .park_jobs(&JobFilter { queue: Some("exports".to_owned()), ..all() }, "by hand", NOW_MS)
            .await
            .unwrap();
        let parked = yard.store.job(seq(4)).await.unwrap().unwrap();
        assert_eq!((parked.reason.as_deref(), parked.parked_ms), (Some("by hand"), Some(NOW_MS)));
        let by_reason = JobFilter { reason: Some("by hand".to_owned()), id: Some("5".to_owned()), ..all() };
        assert_eq!(yard.store.purge_jobs(&by_reason).await.unwrap(), [changed(&here, Some("exports"))]);
        assert_eq!(yard.store.purge_jobs(&all()).await.unwrap().len(), 3);
        assert_eq!(jobs(&yard.store).await.len(), 4);
    })
    .await;
}

/// More jobs than one statement changes, among others that are not meant.
#[tokio::test]
async fn operators_change_any_number_of_jobs() {
    on_both(async |place| {
        let store = place.open().await;
        for _ in 0..5 {
            let mut many = unit();
            for number in 0..1_000 {
                let kind = if number % 2 == 0 { JobKind::Call } else { JobKind::Action };
                many.jobs.push(NewJob::new(kind, None));
            }
            commit(&store, many).await;
        }
        let calls = JobFilter { kind: Some(JobKind::Call), ..JobFilter::default() };
        let parked = store.park_jobs(&calls, "by hand", NOW_MS).await.unwrap();
        assert_eq!(parked, vec![changed(&shop(), None); 2_500]);
        assert_eq!(store.retry_jobs(&JobFilter::default()).await.unwrap().len(), 2_500);
        assert_eq!(store.park_jobs(&JobFilter::default(), "by hand", NOW_MS).await.unwrap().len(), 5_000);
        assert_eq!(store.purge_jobs(&calls).await.unwrap().len(), 2_500);
        assert!(jobs(&store).await.iter().all(|job| job.kind == JobKind::Action && job.state == JobState::Parked));
    })
    .await;
}

#[tokio::test]
async fn a_delayed_job_is_hurried() {
    on_both(async |place| {
        let store = place.open().await;
        let delayed = enqueue(&store, NewJob { run_at_ms: NOW_MS + 1_000, ..action() }).await;
        let retrying = enqueue(&store, in_lane("a")).await;
        commit(&store, unit().finish(retrying, failed(3, NOW_MS + 1_000))).await;
        assert_eq!(store.retry_jobs(&JobFilter::default()).await.unwrap().len(), 2);
        for (seq, attempts) in [(delayed, 0), (retrying, 3)] {
            let hurried = job(&store, seq).await;
            assert_eq!((hurried.state, hurried.run_at_ms, hurried.attempts), (JobState::Queued, 0, attempts));
        }
        let large = store.list_jobs(&JobFilter::default(), delayed, 100).await.unwrap();
        assert_eq!(large.iter().map(|job| job.seq).collect::<Vec<_>>(), [retrying], "behind the first");
    })
    .await;
}
