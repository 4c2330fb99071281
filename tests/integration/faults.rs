//! What goes wrong, made to go wrong, in a short form. At length: `cargo xtask faults`.

use std::path::Path;
use std::time::Duration;

use tradewind_tests::faults::{Load, Report, Start, disk, frozen, ingress, kill, mapper, server, start_of};
use tradewind_tests::postgres::{Cluster, Durability, shared};

/// The program that has the victim in it.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_faults"))
}

#[track_caller]
fn assert_right(report: anyhow::Result<Report>) {
    match report {
        Ok(Report { failures: 0, .. }) => {}
        Ok(Report { did, failures }) => panic!("{failures} failures: {did}"),
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn killed_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("faults.db").display());
    assert_right(kill::run(&start_of(program(), &url), Duration::ZERO, 12, 1));
}

#[test]
fn killed_on_postgres() {
    let url = shared().database("killed").unwrap();
    assert_right(kill::run(&start_of(program(), &url), Duration::ZERO, 12, 2));
}

/// A victim that runs plugins. Its leases are longer: unoptimized and beside other tests, the plugins take all of the
/// machine, and whoever loses each lease before the work under it is done never comes to an end.
fn with_plugins(store: &str) -> Start {
    Start { load: Load::Plugins, lease_ms: 1_000, ..start_of(program(), store) }
}

#[test]
fn killed_while_plugins_run_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("faults.db").display());
    assert_right(kill::run(&with_plugins(&url), Duration::ZERO, 12, 5));
}

#[test]
fn killed_while_plugins_run_on_postgres() {
    let url = shared().database("killed-plugins").unwrap();
    assert_right(kill::run(&with_plugins(&url), Duration::ZERO, 12, 6));
}

#[test]
fn the_server_goes_away_and_comes_back() {
    let mut cluster = Cluster::with(Durability::Off).unwrap();
    let url = cluster.database("server").unwrap();
    assert_right(server::run(&start_of(program(), &url), &mut cluster, Duration::ZERO, 2, 3));
}

#[test]
fn the_disk_is_full_and_has_room_again() {
    assert_right(disk::run(program(), Duration::ZERO, 1));
}

#[test]
fn a_frozen_host_cannot_commit() {
    let url = shared().database("frozen").unwrap();
    assert_right(frozen::run(&start_of(program(), &url), Duration::ZERO, 3, 4));
}

#[tokio::test]
async fn damaged_webhooks_come_to_the_door() {
    assert_right(ingress::run(Duration::ZERO, 1_500, 7).await);
}

#[test]
fn odd_payloads_come_to_the_mapper() {
    assert_right(mapper::run(Duration::ZERO, 5_000, 8));
}
