//! A store that takes nothing: the platform is asked to come again, and nothing is acknowledged that is not kept.

use std::net::SocketAddr;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tradewind_tests::postgres::{Cluster, Durability};
use tradewind_tests::serving::Served;
use tradewind_tests::stores::Place;
use tradewind_tests::webhook::{Answer, Request};

use super::{BODY, answered};

#[track_caller]
fn assert_come_again(answer: &Answer) {
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
    // Why is the operator's business.
    assert_eq!(answer.body, "try again later\n");
}

/// Sends until it is taken, as the platform does.
async fn send_until_taken(request: &Request, to: SocketAddr) {
    for _ in 0..1_000 {
        let answer = request.send(to).await;
        if answer.status == 200 {
            return;
        }
        assert_come_again(&answer);
    }
    panic!("it was never taken");
}

#[tokio::test]
async fn postgres_goes_away_and_comes_back() {
    let mut cluster = Cluster::with(Durability::Off).unwrap();
    let place = Place::Postgres(cluster.database("away").unwrap());
    let served = Served::plain(&place).await;
    assert_eq!(Served::webhook("w-0", BODY).send(served.host.public()).await.status, 200);
    served.idle().await;
    cluster.stop_immediately().unwrap();
    let request = Served::webhook("w-1", BODY);
    assert_come_again(&request.send(served.host.public()).await);
    assert_come_again(&request.send(served.host.public()).await);
    assert_eq!(answered(&served), ["accepted", "unavailable", "unavailable"]);
    cluster.start_again().unwrap();
    send_until_taken(&request, served.host.public()).await;
    assert_eq!(served.store().find_delivery("w-1").await.unwrap().len(), 1);
    served.host.stop().await;
}

#[tokio::test]
async fn postgres_is_read_only_for_a_while() {
    let cluster = Cluster::with(Durability::Off).unwrap();
    let url = cluster.database("read_only").unwrap();
    let place = Place::Postgres(url.clone());
    let elsewhere = cluster.database("elsewhere").unwrap();
    let served = Served::plain(&place).await;
    let read_only = |is: &str| {
        let set =
            format!("ALTER DATABASE {} SET default_transaction_read_only = {is}", url.rsplit('/').next().unwrap());
        cluster.psql(&elsewhere, &set).unwrap();
        cluster.terminate_backends().unwrap();
    };
    read_only("on");
    let request = Served::webhook("w-1", BODY);
    for _ in 0..5 {
        assert_come_again(&request.send(served.host.public()).await);
    }
    read_only("off");
    send_until_taken(&request, served.host.public()).await;
    assert_eq!(served.deliveries().await.len(), 1);
    served.host.stop().await;
}

#[tokio::test]
async fn sqlite_is_held_by_somebody_else() {
    let place = Place::sqlite();
    let served = Served::plain(&place).await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(place.file()).connect().await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let request = Served::webhook("w-1", BODY);
    assert_come_again(&request.send(served.host.public()).await);
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    send_until_taken(&request, served.host.public()).await;
    assert_eq!(served.deliveries().await.len(), 1);
    served.idle().await;
    served.host.stop().await;
}

/// The host goes on without its files: what it cannot write it does not acknowledge.
#[tokio::test]
async fn tables_are_gone() {
    let place = Place::sqlite();
    let served = Served::plain(&place).await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new().filename(place.file()).connect().await.unwrap();
    other.execute("ALTER TABLE deliveries RENAME TO elsewhere").await.unwrap();
    let request = Served::webhook("w-1", BODY);
    assert_come_again(&request.send(served.host.public()).await);
    other.execute("ALTER TABLE elsewhere RENAME TO deliveries").await.unwrap();
    other.close().await.unwrap();
    send_until_taken(&request, served.host.public()).await;
    assert_eq!(served.deliveries().await.len(), 1);
    served.idle().await;
    served.host.stop().await;
}
