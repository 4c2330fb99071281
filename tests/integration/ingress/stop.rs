//! A host that is told to stop: what has begun is answered and kept, and nothing new begins.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tradewind_store::DeliveryFilter;
use tradewind_tests::serving::{CONNECTION, Running, Served, app, connection, server};
use tradewind_tests::stores::on_both;
use tradewind_tests::webhook::{PATIENCE, Request, answer};

use super::BODY;

/// A request whose body is being read on the other side.
async fn begun(served: &Served, request: &Request) -> TcpStream {
    let mut stream = TcpStream::connect(served.host.public()).await.unwrap();
    let head = request.head(&format!("Content-Length: {}\r\nExpect: 100-continue\r\n", request.body.len()));
    stream.write_all(&head).await.unwrap();
    let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut go_on).await.unwrap();
    assert!(go_on.starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&go_on));
    stream
}

#[tokio::test]
async fn requests_under_way_are_answered_and_kept() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let address = served.host.public();
        let requests: Vec<_> = (0..20).map(|number| Served::webhook(&format!("w-{number}"), BODY)).collect();
        let mut streams = Vec::new();
        for request in &requests {
            streams.push(begun(&served, request).await);
        }
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(&Served::webhook("w-idle", BODY).bytes()).await.unwrap();
        assert_eq!(answer(&mut idle).await.unwrap().status, 200);

        let stopping = tokio::spawn(served.host.stop());
        // It has begun to stop when nobody is let in any more, and when who idles is sent away.
        let closed = async {
            while TcpStream::connect(address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
        assert_eq!(answer(&mut idle).await.unwrap().status, 0);
        for (stream, request) in streams.iter_mut().zip(&requests) {
            stream.write_all(&request.body).await.unwrap();
        }
        for stream in &mut streams {
            let answer = answer(stream).await.unwrap();
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
        }
        tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();

        let store = place.open().await;
        let kept = store.deliveries(&DeliveryFilter::default(), 100).await.unwrap();
        let mut kept: Vec<_> = kept.into_iter().map(|delivery| delivery.webhook_id).collect();
        kept.sort();
        let mut sent: Vec<_> = (0..20).map(|number| format!("w-{number}")).chain(["w-idle".to_owned()]).collect();
        sent.sort();
        assert_eq!(kept, sent);
        store.close().await;
        // Whoever starts next does what is left.
        let next = Served::plain(&place).await;
        next.idle().await;
        assert_ne!(next.record("shopify/product", "788032119674292922").await, serde_json::Value::Null);
        next.host.stop().await;
    })
    .await;
}

/// A sender that never ends does not keep a host alive.
#[tokio::test]
async fn nobody_holds_a_host_longer_than_it_may_take() {
    on_both(async |place| {
        let mut config = server(&place, vec![app(vec![(CONNECTION, connection())], Vec::new())]);
        config.limits.drain_seconds = 0;
        let served = Served::start(&place, config, Running::new()).await;
        let endless = begun(&served, &Served::webhook("w-1", BODY)).await;
        tokio::time::timeout(PATIENCE, served.host.stop()).await.unwrap();
        drop(endless);
        let store = place.open().await;
        assert_eq!(store.find_delivery("w-1").await.unwrap(), Vec::<i64>::new());
        store.close().await;
    })
    .await;
}
