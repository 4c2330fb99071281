//! A unit of work: taken back step by step, and bounded.

use tradewind_store::JobKind;

use super::*;

fn unit() -> Shared {
    Shared::new(Shop::new("app", "shop"), 0)
}

fn key(id: usize) -> RecordKey {
    RecordKey::new("thing", id.to_string())
}

fn write(work: &Shared, id: usize, doc: &str) -> Result<(), ActionError> {
    let mut work = work.lock();
    work.seen.entry(key(id)).or_insert(None);
    work.write(key(id), Some(Json::parse(doc).unwrap()), None)
}

fn job(id: &str) -> NewJob {
    NewJob { id: Some(id.to_owned()), ..NewJob::new(JobKind::Action, Some(Json::null())) }
}

#[test]
fn what_fails_is_taken_back_step_by_step() {
    let work = unit();
    write(&work, 1, r#"{"a":1}"#).unwrap();
    work.lock().add_job(job("first")).unwrap();
    let outer = work.mark();
    write(&work, 1, r#"{"a":2}"#).unwrap();
    write(&work, 2, "{}").unwrap();
    let inner = work.mark();
    work.lock().cancel("stored");
    assert!(work.lock().remove_job("first"));
    work.lock().add_job(job("second")).unwrap();
    write(&work, 1, r#"{"a":3}"#).unwrap();
    work.back_to(inner);
    assert!(work.lock().has_job("first") && !work.lock().has_job("second") && !work.lock().has_cancelled("stored"));
    assert_eq!(work.lock().known(&key(1)).flatten().unwrap().doc.as_str(), r#"{"a":2}"#);
    work.back_to(outer);
    assert_eq!(work.lock().bytes, r#"{"a":1}null"#.len());
    let usage = work.lock().growth().usage;
    assert_eq!((usage.records, usage.record_bytes, usage.jobs, usage.job_bytes), (1, 7, 1, 4));
    let unit = work.take().into_unit();
    assert_eq!(unit.writes.len(), 1);
    assert_eq!(unit.writes[0].doc.as_ref().unwrap().as_str(), r#"{"a":1}"#);
    // What was read stays read; what is written is checked as it is written.
    assert_eq!(unit.reads.iter().map(|read| &read.key).collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(unit.jobs.len(), 1);
    // A mark from before the unit was emptied means its beginning.
    write(&work, 3, "{}").unwrap();
    work.back_to(inner);
    assert!(work.lock().own("thing").is_empty());
}

#[test]
fn a_unit_is_bounded() {
    let work = unit();
    for id in 0..UNIT_WRITES_MAX {
        write(&work, id, "{}").unwrap();
    }
    write(&work, 0, r#"{"again":true}"#).unwrap();
    assert!(write(&work, UNIT_WRITES_MAX, "{}").unwrap_err().message.contains("`unit_writes_max`"));
    for _ in 0..UNIT_JOBS_MAX {
        work.lock().add_job(NewJob::new(JobKind::Action, None)).unwrap();
    }
    let error = work.lock().add_job(job("more")).unwrap_err();
    assert!(error.message.contains("`unit_jobs_max`") && !error.retryable, "{error:?}");
    let large = format!("\"{}\"", "x".repeat(UNIT_BYTES_MAX));
    assert!(write(&work, 0, &large).unwrap_err().message.contains("`unit_bytes_max`"));
    assert_eq!(work.lock().known(&key(0)).flatten().unwrap().doc.as_str(), r#"{"again":true}"#);
}

#[test]
fn the_first_reason_spoils() {
    let work = unit();
    let damaged = StoreError::Damaged { what: "a record".to_owned(), reason: "x".to_owned() };
    assert!(!work.store_failed(&damaged).retryable);
    assert!(work.store_failed(&StoreError::Closed).retryable);
    assert!(matches!(work.spoiled(), Some(Spoiled::Hopeless { reason: reason::DAMAGED, .. })));
}
