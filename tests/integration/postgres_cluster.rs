//! The throw-away server itself: what it holds survives a crash, and nothing of it survives the test.

use std::net::TcpStream;
use std::path::PathBuf;

use tradewind_tests::postgres::{Cluster, Durability};

#[test]
fn a_throw_away_server_keeps_its_data_until_it_is_dropped() {
    let mut cluster = Cluster::with(Durability::Off).unwrap();
    let (hats, others) = (cluster.database("Hats & more").unwrap(), cluster.database("Hats & more").unwrap());
    assert_ne!(hats, others);
    cluster.psql(&hats, "create table hats (name text); insert into hats values ('cloche')").unwrap();

    // A client that waits loses its connection.
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| cluster.psql(&hats, "select pg_sleep(600)"));
        while cluster.terminate_backends().unwrap() == 0 {}
        waiting.join().unwrap()
    });
    assert!(waiting.unwrap_err().to_string().contains("terminating connection"));

    let pid = cluster.pid();
    cluster.stop_immediately().unwrap();
    assert_eq!(cluster.pid(), None);
    cluster.psql(&hats, "select 1").unwrap_err();
    cluster.start_again().unwrap();
    assert!(cluster.pid().is_some() && cluster.pid() != pid, "{pid:?}");
    assert!(cluster.log().contains("automatic recovery in progress"), "{}", cluster.log());
    for url in [cluster.over_tcp(&hats), hats] {
        assert_eq!(cluster.psql(&url, "select name from hats").unwrap(), "cloche", "{url}");
    }

    let folder = PathBuf::from(cluster.psql(&others, "show data_directory").unwrap());
    let address = cluster.address();
    assert!(folder.is_dir());
    drop(cluster);
    assert!(!folder.exists());
    TcpStream::connect(address).unwrap_err();
}
