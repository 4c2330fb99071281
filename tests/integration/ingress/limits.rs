//! What a door bounds: bodies in bytes and time, heads, and senders that go away in the middle.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tradewind_host::ingress::{BODIES_KIB_MAX, ConnectionBounds, HEADERS_BYTES_MAX, HEADERS_MAX, REFUSED_LINES_MAX};
use tradewind_tests::open_door::{Bounds, OpenDoor};
use tradewind_tests::serving::{CONNECTION, Running, Served, app, connection, server};
use tradewind_tests::stores::{Place, on_both};
use tradewind_tests::webhook::{Answer, answer, exchange, sign};

use super::{BODY, Logged, answered, assert_nothing_kept};

/// Bytes of a body in these tests, the least that can be configured.
const BODY_BYTES_MAX: usize = 1 << 10;

/// Senders of an attack, and the chunks of one byte that each sends: as many frames as the room for bodies has KiB, twice.
const SENDERS: usize = 64;
const SENDER_CHUNKS: usize = 2 * BODIES_KIB_MAX as usize / SENDERS;

/// Less than any wait here: a sender that is too slow for it is too slow on every machine.
const SOON: Duration = Duration::from_millis(50);

async fn small(place: &Place) -> Served {
    let mut server = server(place, vec![app(vec![(CONNECTION, connection())], Vec::new())]);
    server.limits.body_bytes_max = BODY_BYTES_MAX as u64;
    Served::start(place, server, Running::new()).await
}

/// A product of exactly so many bytes.
fn body_of(bytes: usize) -> Vec<u8> {
    let frame = r#"{"id":1,"title":""}"#.len();
    format!(r#"{{"id":1,"title":"{}"}}"#, "x".repeat(bytes - frame)).into_bytes()
}

#[track_caller]
fn assert_too_large(answer: &Answer) {
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")), "{answer:?}");
    assert!(answer.body.contains("`body_bytes_max`") && answer.body.contains("1024"), "{answer:?}");
}

#[tokio::test]
async fn a_body_has_a_largest_size() {
    on_both(async |place| {
        let served = small(&place).await;
        let to = served.host.public();
        let large = Served::webhook("w-1", body_of(BODY_BYTES_MAX + 1));
        assert_too_large(&large.send(to).await);
        for chunk_bytes in [1, 100, BODY_BYTES_MAX + 1] {
            assert_too_large(&exchange(to, &large.chunked(chunk_bytes)).await.unwrap());
        }
        // What is announced is believed: nobody waits for the body.
        for announced in ["1025", "18446744073709551615"] {
            let head = large.head(&format!("Content-Length: {announced}\r\n"));
            let answer = exchange(to, &head).await.unwrap();
            // The longest is none for the library of HTTP.
            assert!(answer.status == 413 || announced.len() > 10 && answer.status == 431, "{answer:?}");
        }
        assert_nothing_kept(&served).await;

        let largest = body_of(BODY_BYTES_MAX);
        assert_eq!(Served::webhook("w-2", largest.clone()).send(to).await.status, 200);
        let chunked = Served::webhook("w-3", largest.clone()).chunked(7);
        assert_eq!(exchange(to, &chunked).await.unwrap().status, 200);
        for kept in served.deliveries().await {
            assert_eq!(served.store().delivery(kept.seq).await.unwrap().unwrap().body, largest);
        }
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_announces_two_lengths_is_not_believed() {
    on_both(async |place| {
        let served = small(&place).await;
        let request = Served::webhook("w-1", BODY);
        for more in [
            format!("Content-Length: {}\r\nContent-Length: 5\r\n", BODY.len()),
            "Content-Length: -1\r\n".to_owned(),
            "Content-Length: many\r\n".to_owned(),
            "Transfer-Encoding: unknown\r\n".to_owned(),
            format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", BODY.len()),
        ] {
            let bytes = [request.head(&more), BODY.as_bytes().to_vec()].concat();
            let answer = exchange(served.host.public(), &bytes).await.unwrap();
            assert!(matches!(answer.status, 0 | 400), "{more:?}: {answer:?}");
        }
        assert_nothing_kept(&served).await;
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_body_has_a_longest_time() {
    on_both(async |place| {
        let bounds = Bounds { body_time_max: SOON, ..Bounds::default() };
        let door = OpenDoor::open(&place, ["products/update".to_owned()], bounds).await;
        let request = Served::webhook("w-1", BODY);
        let half = &request.bytes()[..request.bytes().len() - 10];
        let answer = exchange(door.address(), half).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")), "{answer:?}");
        assert!(answer.body.contains("in time"), "{answer:?}");
        assert_eq!(door.store.find_delivery("w-1").await.unwrap(), Vec::<i64>::new());
        // Who is fast enough is served meanwhile and afterwards.
        assert_eq!(request.send(door.address()).await.status, 200);
        door.seen.idle(&door.store).await;
        door.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_head_has_a_longest_time() {
    on_both(async |place| {
        let bounds = Bounds { header_time_max: SOON, ..Bounds::default() };
        let door = OpenDoor::open(&place, ["products/update".to_owned()], bounds).await;
        let request = Served::webhook("w-1", BODY);
        for part in [0, 1, 30] {
            let mut slow = TcpStream::connect(door.address()).await.unwrap();
            slow.write_all(&request.bytes()[..part]).await.unwrap();
            let closed = answer(&mut slow).await.unwrap();
            assert!(matches!(closed.status, 0 | 408), "{closed:?}");
        }
        assert_eq!(request.send(door.address()).await.status, 200);
        door.seen.idle(&door.store).await;
        door.close().await;
    })
    .await;
}

/// Whoever has no signature is not listened to: the answer comes although the body never does.
#[tokio::test]
async fn a_signature_is_looked_at_before_the_body() {
    on_both(async |place| {
        let served = small(&place).await;
        let good = Served::webhook("w-1", BODY);
        for (request, status) in [
            (good.clone().without("X-Shopify-Hmac-Sha256"), 400),
            (good.clone().with("X-Shopify-Hmac-Sha256", "fake"), 401),
            (good.clone().with("Shopify-Hmac-Sha256", "fake"), 400),
        ] {
            for more in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
                let answer = exchange(served.host.public(), &request.head(more)).await.unwrap();
                assert_eq!(answer.status, status, "{more:?}: {answer:?}");
            }
        }
        assert_nothing_kept(&served).await;
        served.host.stop().await;
    })
    .await;
}

/// Senders that have no secret and send bodies byte by byte take what they send, and no webhook's place.
#[tokio::test]
async fn unsigned_senders_do_not_take_the_room() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let to = served.host.public();
        // In the right form, so that the body is read.
        let forged = Served::webhook("forged", BODY).with("X-Shopify-Hmac-Sha256", sign("another", BODY.as_bytes()));
        let head = forged.head("Transfer-Encoding: chunked\r\n");
        let flood = [head, b"1\r\nx\r\n".repeat(SENDER_CHUNKS)].concat();
        let mut senders = Vec::new();
        for at in 0..SENDERS {
            let mut sender = TcpStream::connect(to).await.unwrap();
            sender.write_all(&flood).await.unwrap();
            senders.push(sender);
            if at % 8 == 7 {
                assert_eq!(Served::webhook(&format!("w-{at}"), BODY).send(to).await.status, 200);
            }
        }
        for sender in &mut senders {
            // They end too: cut off for their rate, without anybody who had to go.
            let status = answer(sender).await.map_or(0, |answer| answer.status);
            assert!(matches!(status, 0 | 408), "{status}");
        }
        assert!(!answered(&served).contains(&"unavailable"), "{:?}", answered(&served));
        assert_eq!(served.deliveries().await.len(), SENDERS / 8);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// The bounds of the configuration are those of the public door.
#[tokio::test]
async fn shares_are_configured() {
    on_both(async |place| {
        let mut bounded = server(&place, vec![app(vec![(CONNECTION, connection())], Vec::new())]);
        bounded.limits.peer_connections_max = 1;
        let served = Served::start(&place, bounded, Running::new()).await;
        let mut first = TcpStream::connect(served.host.public()).await.unwrap();
        first.write_all(&Served::webhook("w-1", BODY).bytes()).await.unwrap();
        assert_eq!(answer(&mut first).await.unwrap().status, 200);
        assert_eq!(Served::webhook("w-2", BODY).send(served.host.public()).await.status, 200);
        // Closed: another request on it has no answer.
        let sent = first.write_all(&Served::webhook("w-3", BODY).bytes()).await;
        let status = if sent.is_ok() { answer(&mut first).await.map_or(0, |answer| answer.status) } else { 0 };
        assert_eq!((status, served.deliveries().await.len()), (0, 2));
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// Refusals that anybody can cause are a bounded number of lines, and do not keep those of an app's own webhooks away.
#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    on_both(async |place| {
        let log = Logged::default();
        let _logging = log.listen();
        let served = Served::plain(&place).await;
        let unsigned = Served::webhook("w-1", BODY).without("X-Shopify-Hmac-Sha256");
        let refusals = 4 * REFUSED_LINES_MAX;
        for _ in 0..refusals {
            assert_eq!(unsigned.send(served.host.public()).await.status, 400);
        }
        let lines = log.refusals();
        // One more may come with each second that the machine takes.
        assert!(lines.len() >= REFUSED_LINES_MAX as usize && lines.len() < refusals as usize, "{}", lines.len());
        assert_eq!(answered(&served).len(), refusals as usize, "each is counted");
        let signed = Served::webhook("w-2", BODY).with("X-Shopify-Topic", "orders/create");
        assert_eq!(signed.send(served.host.public()).await.status, 404);
        let lines = log.refusals();
        assert!(lines.iter().any(|line| line.contains("status=404") && line.contains("orders/create")), "{lines:#?}");
        served.host.stop().await;
    })
    .await;
}

/// One peer's connections take its share, and the longest idle makes room; a request under way is never given up.
#[tokio::test]
async fn the_longest_idle_connection_makes_room() {
    on_both(async |place| {
        let connections = ConnectionBounds { all: 3, peer: 3 };
        let bounds = Bounds { connections, ..Bounds::default() };
        let door = OpenDoor::open(&place, ["products/update".to_owned()], bounds).await;
        // So large that its rate leaves time for all that follows.
        let bytes = Served::webhook("w-0", body_of(80 << 10)).bytes();
        let mut busy = TcpStream::connect(door.address()).await.unwrap();
        busy.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
        let mut idle = Vec::new();
        // Each has had an answer, so that the server knows of it before the next one comes.
        for at in 1..=2 {
            let mut stream = TcpStream::connect(door.address()).await.unwrap();
            stream.write_all(&Served::webhook(&format!("w-{at}"), BODY).bytes()).await.unwrap();
            assert_eq!(answer(&mut stream).await.unwrap().status, 200);
            idle.push(stream);
        }
        assert_eq!(Served::webhook("w-3", BODY).send(door.address()).await.status, 200);
        // Closed: there is an end, and no answer.
        assert_eq!(answer(&mut idle[0]).await.unwrap().status, 0);
        busy.write_all(&bytes[bytes.len() - 1..]).await.unwrap();
        assert_eq!(answer(&mut busy).await.unwrap().status, 200);
        door.seen.idle(&door.store).await;
        door.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_head_has_a_largest_size() {
    on_both(async |place| {
        let served = small(&place).await;
        let request = Served::webhook("w-1", BODY);
        let framing = "Content-Length: 77\r\nX-Long: \r\n";
        let lines = request.head("").split(|byte| *byte == b'\n').count() + 1;
        let length = format!("Content-Length: {}\r\n", BODY.len());
        // Of each line, the end and the colon with its space do not count, nor do the version and its space.
        let counted = request.head(framing).len() - 4 * (lines - 2) - 2 - "  HTTP/1.1\r\n".len();
        let with = |bytes: usize| {
            let long = format!("{length}X-Long: {}\r\n", "x".repeat(bytes));
            [request.head(&long), BODY.as_bytes().to_vec()].concat()
        };
        let room = HEADERS_BYTES_MAX - counted;
        let answer = exchange(served.host.public(), &with(room + 64)).await.unwrap();
        assert_eq!((answer.status, answer.header("connection")), (431, Some("close")), "{answer:?}");
        assert!(answer.body.contains("`headers_bytes_max`"), "{answer:?}");
        assert_nothing_kept(&served).await;
        assert_eq!(exchange(served.host.public(), &with(room - 64)).await.unwrap().status, 200);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    on_both(async |place| {
        let logged = Logged::default();
        let _logging = logged.listen();
        let served = small(&place).await;
        let request = Served::webhook("w-1", BODY);
        let many = (0..=HEADERS_MAX).fold(String::new(), |many, at| many + &format!("X-More-{at}: 1\r\n"));
        let long = format!("X-Long: {}\r\n", "x".repeat(2 * HEADERS_BYTES_MAX));
        let endless = format!("X-Endless: {}", "x".repeat(1 << 20));
        let answer = exchange(served.host.public(), &request.head(&many)).await.unwrap();
        assert_eq!(answer.status, 431, "{answer:?}");
        for flood in [long, endless] {
            let answer = exchange(served.host.public(), &request.head(&flood)).await;
            // Who goes on sending may find the connection closed before it reads why.
            let status = answer.map_or(0, |answer| answer.status);
            assert!(matches!(status, 0 | 431), "{status}");
        }
        assert_nothing_kept(&served).await;
        assert_eq!(request.send(served.host.public()).await.status, 200);
        served.idle().await;
        served.host.stop().await;
        let lines = logged.refusals();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.contains("status=431")), "{lines:#?}");
    })
    .await;
}

/// What follows a request does not keep its answer back: not a line end, as some clients send it, and not half of another.
#[tokio::test]
async fn more_behind_a_body_does_not_delay_its_answer() {
    on_both(async |place| {
        let served = small(&place).await;
        for (number, more) in ["\r\n", "POST /webhooks/tag", "nonsense\r\n\r\n"].into_iter().enumerate() {
            let request = Served::webhook(&format!("w-{number}"), BODY);
            let answer = exchange(served.host.public(), &[&request.bytes(), more.as_bytes()].concat()).await.unwrap();
            assert_eq!(answer.status, 200, "{more:?}");
        }
        assert_eq!(served.deliveries().await.len(), 3);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// What is not HTTP ends its own connection and nothing else.
#[tokio::test]
async fn what_is_not_http_is_refused() {
    on_both(async |place| {
        let served = small(&place).await;
        let garbage: [&[u8]; 5] = [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"hello\r\n\r\n",
            b"\r\n\r\n\r\n",
            &[0; 5_000],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ];
        for bytes in garbage {
            let mut stream = TcpStream::connect(served.host.public()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.shutdown().await.unwrap();
            let answer = answer(&mut stream).await.unwrap();
            assert!(matches!(answer.status, 0 | 400 | 505), "{answer:?}");
        }
        assert_nothing_kept(&served).await;
        assert_eq!(Served::webhook("w-1", BODY).send(served.host.public()).await.status, 200);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// A sender that goes away in the middle leaves nothing; one that goes away before its answer sends again, and both are one.
#[tokio::test]
async fn senders_may_go_away() {
    on_both(async |place| {
        let log = Logged::default();
        let _logging = log.listen();
        let served = small(&place).await;
        let request = Served::webhook("w-1", BODY);
        let bytes = request.bytes();
        for part in [10, bytes.len() - BODY.len(), bytes.len() - 1] {
            let mut stream = TcpStream::connect(served.host.public()).await.unwrap();
            stream.write_all(&bytes[..part]).await.unwrap();
            stream.shutdown().await.unwrap();
            let answer = answer(&mut stream).await.unwrap();
            assert!(matches!(answer.status, 0 | 400), "{answer:?}");
            let lines = log.refusals();
            assert_eq!(lines.len(), 1, "{part}: {lines:#?}");
        }
        assert_nothing_kept(&served).await;

        // All was sent, and the sender listens no longer, or says that it has nothing more to say.
        for _ in 0..20 {
            let mut gone = TcpStream::connect(served.host.public()).await.unwrap();
            gone.write_all(&bytes).await.unwrap();
        }
        let mut half_closed = TcpStream::connect(served.host.public()).await.unwrap();
        half_closed.write_all(&bytes).await.unwrap();
        half_closed.shutdown().await.unwrap();
        let answer = answer(&mut half_closed).await.unwrap();
        assert!(matches!(answer.status, 0 | 200), "{answer:?}");
        assert_eq!(request.send(served.host.public()).await.status, 200);
        assert_eq!(served.deliveries().await.len(), 1);
        served.idle().await;
        assert_eq!(served.seen.delivered(), ["stored"]);
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn one_connection_carries_many_webhooks() {
    on_both(async |place| {
        let served = small(&place).await;
        let mut stream = TcpStream::connect(served.host.public()).await.unwrap();
        for number in 0..5 {
            stream.write_all(&Served::webhook(&format!("w-{number}"), BODY).bytes()).await.unwrap();
            assert_eq!(answer(&mut stream).await.unwrap().status, 200);
        }
        // A refusal whose body was read leaves the connection open.
        stream.write_all(&Served::webhook("w-x", BODY).with("X-Shopify-Hmac-Sha256", "fake").bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().status, 401);
        stream.write_all(&Served::webhook("w-5", BODY).bytes()).await.unwrap();
        assert_eq!(answer(&mut stream).await.unwrap().status, 200);
        assert_eq!(served.deliveries().await.len(), 6);
        assert_eq!(answered(&served).len(), 7);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}
