//! Apps that cannot be installed when a host starts, beside others that can.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tradewind_host::config::{App, Plugin, webhook_path};
use tradewind_tests::components::Component;
use tradewind_tests::serving::{
    APP, CONNECTION, Happened, Running, SECRET, SHOP, Served, app, connection, plugin, server,
};
use tradewind_tests::stores::{Place, on_both};
use tradewind_tests::webhook::{Answer, Request};

const BODY: &str = r#"{"id":1,"title":"Hat"}"#;

fn other(file: &Path) -> App {
    let connections: BTreeMap<_, _> = [(CONNECTION.to_owned(), connection())].into();
    App::new("other", connections, Vec::new(), vec![Plugin::new("odd", file)], Path::new(".")).unwrap()
}

async fn tell(served: &Served, app: &str, id: &str) -> Answer {
    let path = webhook_path(app, CONNECTION);
    Request::webhook(&path, SECRET, SHOP, id, BODY).send(served.host.public()).await
}

async fn admin(served: &Served, path: &str) -> Answer {
    let request = Request { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    request.send(served.host.admin()).await
}

/// Starts a host whose other app has this file.
async fn start(place: &Place, file: &Path) -> Served {
    let ours = app(vec![(CONNECTION, connection())], vec![plugin("product-tagger")]);
    Served::start(place, server(place, vec![other(file), ours]), Running::new()).await
}

#[tokio::test]
async fn an_app_that_cannot_be_installed_leaves_the_others_alone() {
    on_both(async |place| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("odd.wasm");
        fs::write(&file, Component { describe: "(unreachable)", ..Component::default() }.bytes()).unwrap();
        let mut served = start(&place, &file).await;
        assert_eq!(served.host.failed(), ["other"]);

        assert_eq!(tell(&served, APP, "w-1").await.status, 200);
        let refused = tell(&served, "other", "w-2").await;
        assert_eq!((refused.status, refused.body.as_str()), (503, "try again later\n"));
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        let ended = |one: &Happened| matches!(one, Happened::Ended { kind: "delivery", .. });
        served.seen.until("the delivery of the app beside", |all| all.iter().any(ended)).await;
        assert_eq!(served.seen.delivered().len(), 1);
        let ready = admin(&served, "/ready").await;
        assert_eq!(ready.status, 200);
        assert!(ready.body.ends_with("; apps that cannot be installed: `other`\n"), "{ready:?}");
        // Which host of this process's tests set it last is not known.
        assert!(admin(&served, "/metrics").await.body.contains("\ntradewind_apps_failed "));

        let error = served.host.replace(other(&file)).await.unwrap_err();
        assert!(format!("{error:#}").contains("app `other`, plugin `odd`"), "{error:#}");
        assert_eq!(tell(&served, "other", "w-2").await.status, 503);

        fs::write(&file, Component::default().bytes()).unwrap();
        served.host.replace(other(&file)).await.unwrap();
        assert_eq!(served.host.failed(), [""; 0]);
        assert_eq!(tell(&served, "other", "w-2").await.status, 200);
        assert!(!admin(&served, "/ready").await.body.contains("other"));
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_no_component_or_is_not_there_is_no_reason_not_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.wasm");
    for bytes in [None, Some("no component")] {
        if let Some(bytes) = bytes {
            fs::write(&file, bytes).unwrap();
        }
        let place = Place::sqlite();
        let served = start(&place, &file).await;
        assert_eq!(served.host.failed(), ["other"]);
        assert_eq!(tell(&served, "other", "w-1").await.status, 503);
        served.host.stop().await;
    }
}
