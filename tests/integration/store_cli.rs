//! The commands for the store, started as an operator starts them, on both databases.

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sqlx::Connection as _;
use tradewind_host::scheduler::changed;
use tradewind_store::{How, JobKind, NewDelivery, NewInvocation, NewJob, Store, Unit};
use tradewind_tests::plugins_folder;
use tradewind_tests::postgres;
use tradewind_tests::postgres::Cluster;
use tradewind_tests::stores::{
    self, Build as _, NOW_MS, Place, commit, delivery, enqueue, ingest, on_both, park, product, shop, unit,
};

use crate::store::run_sql;

fn tradewind() -> Command {
    let program = plugins_folder().unwrap().parent().unwrap().join("debug/tradewind");
    assert!(program.exists(), "no `tradewind` to test; hint: run `cargo build -p tradewind-host`");
    let mut command = Command::new(program);
    command.env_remove("TRADEWIND_STORE");
    command
}

/// What a command said and how it ended.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The command ended with `code` and said all of this.
    #[track_caller]
    fn check(self, code: i32, expected: &[&str]) -> Self {
        let said = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{said}");
        for words in expected {
            assert!(said.contains(words), "{words:?} is missing in:\n{said}");
        }
        self
    }

    /// Standard output as a JSON value for each line.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        assert_eq!(self.code, 0, "{}", self.err);
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// One member of each line.
    #[track_caller]
    fn members(&self, name: &str) -> Vec<i64> {
        self.json().iter().map(|line| line[name].as_i64().unwrap()).collect()
    }
}

fn address(place: &Place) -> String {
    match place {
        Place::Sqlite(_) => format!("sqlite:{}", place.file().display()),
        Place::Postgres(url) => url.clone(),
    }
}

/// A command on a store.
fn command(place: &Place, arguments: &str) -> Command {
    let mut command = tradewind();
    command.args(arguments.split_whitespace()).arg("--store").arg(address(place)).stdin(Stdio::null());
    command
}

fn run(place: &Place, arguments: &str) -> Said {
    Said::of(command(place, arguments).output().unwrap())
}

/// A job that waits for a person.
async fn parked(store: &Store, job: NewJob, reason: &str) -> i64 {
    let seq = enqueue(store, job).await;
    commit(store, unit().finish(seq, park(reason))).await;
    seq
}

fn logged(delivery_seq: i64, job_seq: i64, plugin: Option<&str>, outcome: &str) -> NewInvocation {
    NewInvocation {
        delivery_seq: Some(delivery_seq),
        job_seq: Some(job_seq),
        job_id: None,
        plugin: plugin.map(str::to_owned),
        version: plugin.map(|_| "1.2.0".to_owned()),
        action: plugin.map(|_| "tag-product".to_owned()),
        phase: plugin.map(|_| "run"),
        outcome: outcome.to_owned(),
        detail: None,
        attempt: 1,
        duration_us: 1_234,
    }
}

/// Says that a newer program migrated the store.
async fn from_the_future(place: &Place) {
    let insert = |checksum: &str| {
        format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (999, 'later', true, {checksum}, 0)"
        )
    };
    match place {
        Place::Sqlite(_) => {
            let mut file = sqlx::SqliteConnection::connect(&address(place)).await.unwrap();
            sqlx::raw_sql(sqlx::AssertSqlSafe(insert("x'00'"))).execute(&mut file).await.unwrap();
        }
        Place::Postgres(url) => {
            postgres::shared().psql(url, &insert("'\\x00'")).unwrap();
        }
    }
}

#[tokio::test]
async fn migrate_says_from_where_to_where() {
    on_both(async |place| {
        let is_file = matches!(place, Place::Sqlite(_));
        let nothing = if is_file { "is not there; hint: " } else { "at migration 0" };
        for too_early in ["job list", "delivery list", "migrate --check"] {
            run(&place, too_early).check(2, &[nothing, "`tradewind migrate`"]);
        }
        run(&place, "doctor").check(6, &["fail  ", nothing, "`tradewind migrate`"]);
        assert!(!is_file || !place.file().exists(), "only `migrate` makes a file");

        run(&place, "migrate").check(0, &[" was migrated from 0 to "]);
        run(&place, "migrate").check(0, &[": nothing to do"]);
        run(&place, "migrate --check").check(0, &[": nothing to do"]);

        from_the_future(&place).await;
        for too_late in ["job list", "migrate", "migrate --check"] {
            run(&place, too_late).check(2, &["at migration 999", "hint: run the newer program"]);
        }
    })
    .await;
}

#[tokio::test]
async fn jobs_are_listed_by_filter_and_page_by_page() {
    on_both(async |place| {
        let store = place.open().await;
        let tag = || stores::action_called("first");
        let first = enqueue(&store, tag()).await;
        let bulk = NewJob { queue: Some(("bulk".to_owned(), 2)), ..NewJob::new(JobKind::Success, None) };
        let delayed = enqueue(&store, NewJob { run_at_ms: 253_402_300_799_000, ..bulk }).await;
        let broken = parked(&store, stores::action(), "unreadable").await;
        let elsewhere = commit(&store, unit().of(&stores::other_shop(1)).job(stores::action())).await.jobs[0].unwrap();

        let check = |filter: &str, expected: &[i64]| {
            assert_eq!(run(&place, &format!("job list --json {filter}")).members("seq"), expected, "{filter}");
            let totals = expected.len();
            let totals = format!("{totals} job{}: ", if totals == 1 { "" } else { "s" });
            run(&place, &format!("job list {filter}")).check(0, &[&totals]);
        };
        check("", &[first, delayed, broken, elsewhere]);
        check("--app tagger", &[first, delayed, broken, elsewhere]);
        check("--app other", &[]);
        check("--shop hats.example", &[first, delayed, broken]);
        check("--state queued", &[first, elsewhere]);
        check("--state delayed --kind success", &[delayed]);
        check("--kind action --shop hats.example", &[first, broken]);
        check("--queue bulk", &[delayed]);
        check("--reason unreadable", &[broken]);
        check("--id first", &[first]);
        check("--older-than 2h", &[first, delayed, broken, elsewhere]);
        check("--older-than 99999d", &[]);

        let page = run(&place, "job list --limit 2").check(0, &["4 jobs: 2 queued, 1 delayed, 1 parked\n"]);
        assert!(page.out.ends_with(&format!("next page: --after {delayed}\n")), "{}", page.out);
        let rest = run(&place, &format!("job list --limit 2 --after {delayed}"));
        let rest = rest.check(0, &["unreadable", "seq  state   shop ", "tagger/hats.example"]);
        assert!(!rest.out.contains("next page"), "{}", rest.out);

        let lines = run(&place, "job list --reason unreadable --json").json();
        let created = tradewind_model::value::show_ms(NOW_MS);
        let expected = json!({
            "seq": broken, "app": "tagger", "shop": "hats.example", "state": "parked", "kind": "action", "lane": null,
            "queue": null, "queueBound": null, "rank": 1, "id": null, "attempts": 5, "depth": 0, "delivery": null,
            "runAt": null, "createdAt": created, "parkedAt": created, "reason": "unreadable",
            "error": {"code": "plugin.trap"}, "policy": null, "payload": {"action": "tag"}, "checkpoint": null,
        });
        assert_eq!(lines, [expected]);
    })
    .await;
}

#[tokio::test]
async fn a_job_shows_what_went_wrong() {
    on_both(async |place| {
        let store = place.open().await;
        let (kept, job) = ingest(&store, delivery("w-1", br#"{"id":1}"#)).await;
        let error = r#"{"code":"trap","message":"the plugin panicked","backtrace":["tagger::count","tagger::run"]}"#;
        let how = How::Park { attempts: 3, reason: "retries-exhausted".to_owned(), error: Some(stores::json(error)) };
        let mut end = unit().finish(job, how);
        end.log.push(logged(kept, job, Some("product-tagger"), "trap"));
        commit(&store, end).await;

        run(&place, &format!("job show {job}")).check(
            0,
            &[
                &format!("job {job}\n"),
                "parked, retries-exhausted since ",
                &format!("hint: `tradewind job retry {job}`"),
                "3 failed",
                &format!("{kept}, shopify products/update of "),
                "last error\n  trap: the plugin panicked\n  backtrace\n    tagger::count\n    tagger::run\n",
                "product-tagger 1.2.0 tag-product run",
                "1.23 ms",
            ],
        );
        let shown = run(&place, &format!("job show {job} --json")).json();
        assert_eq!(shown[0]["error"]["backtrace"][1], "tagger::run");
        assert_eq!(shown[0]["log"][0]["durationUs"], 1_234);

        let list = "0,".repeat(200);
        let large = format!(
            r#"{{"work":{{"action":{{"action":"tag","params":{{"id":9007199254740993,"list":[{list}0]}}}}}}}}"#
        );
        let large = enqueue(&store, NewJob::new(JobKind::Action, Some(stores::json(&large)))).await;
        run(&place, &format!("job show {large}")).check(
            0,
            &[
                "queued, runs when it is its turn",
                "  \"id\": 9007199254740993,",
                " more lines; hint: `--json` shows all",
            ],
        );
    })
    .await;
}

#[tokio::test]
async fn jobs_are_changed_by_number_or_by_an_agreed_filter() {
    on_both(async |place| {
        let store = place.open().await;
        let a = parked(&store, stores::action(), "not-installed").await;
        let b = parked(&store, stores::action(), "not-installed").await;
        let c = enqueue(&store, stores::action()).await;
        let states = || async {
            let jobs = stores::jobs(&store).await;
            jobs.iter().map(|job| (job.seq, job.state.as_str())).collect::<Vec<_>>()
        };
        let before = vec![(a, "parked"), (b, "parked"), (c, "queued")];

        let refused = [
            ("job retry", "which jobs? hint: "),
            ("job purge --yes", "which jobs? hint: "),
            ("job retry --state parked", "this would retry 2 jobs; hint: "),
            ("job purge --reason not-installed", "this would purge 2 jobs; hint: "),
            ("job park 1 --app tagger", "numbers and a filter do not go together; hint: "),
            ("job retry 999999", "nothing was changed: there is no job 999999; hint: "),
        ];
        for (arguments, words) in refused {
            run(&place, arguments).check(2, &[words]);
        }
        run(&place, &format!("job retry {a} 999999")).check(2, &["there is no job 999999"]);
        assert_eq!(states().await, before);

        run(&place, &format!("job retry {a}")).check(0, &["retried 1 job\n"]);
        let again = format!("job retry {a} {c}");
        run(&place, &again)
            .check(0, &["retried 0 jobs; 2 were left because they are waiting for their turn already\n"]);
        run(&place, &format!("job park {a}")).check(0, &["parked 1 job\n"]);
        assert_eq!(stores::job(&store, a).await.reason.as_deref(), Some("operator"));
        run(&place, &format!("job park {a}")).check(0, &["parked 0 jobs; 1 was left because it is parked already\n"]);

        let purge = format!("job purge {a} {c}");
        run(&place, &purge).check(0, &["purged 1 job; 1 was left because it is not parked; hint: "]);
        assert_eq!(states().await, [(b, "parked"), (c, "queued")]);
        // One job needs nobody to agree.
        run(&place, "job park --state queued --reason maintenance").check(0, &["parked 1 job\n"]);
        run(&place, "job purge --reason maintenance").check(0, &["purged 1 job\n"]);
        run(&place, "job retry --app tagger --older-than 2h --yes").check(0, &["retried 1 job\n"]);
        assert_eq!(states().await, [(b, "queued")]);
        run(&place, "job purge --app tagger --yes").check(0, &["purged 0 jobs; 1 was left because it is not parked"]);
    })
    .await;
}

#[tokio::test]
async fn hosts_are_told_of_jobs_that_may_run() {
    let place = Place::postgres();
    let store = place.open().await;
    let job = parked(&store, stores::action(), "not-installed").await;
    let (kept, _) = ingest(&store, delivery("w-1", b"{}")).await;
    let mut announcements = store.listen().await.unwrap().unwrap();
    let part = shop().partition();
    // A retried job is an old one, a replay is a new one.
    let told = [(format!("job retry {job}"), changed(part)), (format!("delivery replay {kept}"), part)];
    for (arguments, expected) in told {
        run(&place, &arguments).check(0, &[]);
        assert_eq!(announcements.next().await.unwrap(), Some(expected), "{arguments}");
    }
}

#[tokio::test]
async fn deliveries_are_listed_and_say_what_became_of_them() {
    on_both(async |place| {
        let store = place.open().await;
        let body = [&[0, 159, 146, 150, 255][..], b"\r\n\x1b[31m", &[7; 3_000]].concat();
        let (first, job) = ingest(&store, delivery("w-1", &body)).await;
        let (second, waiting) =
            ingest(&store, NewDelivery { topic: "orders/create".into(), ..delivery("w-2", b"{}") }).await;
        let (third, _) = ingest(&store, delivery("w-3", b"")).await;

        let check = |filter: &str, expected: &[i64]| {
            assert_eq!(run(&place, &format!("delivery list --json {filter}")).members("seq"), expected, "{filter}");
        };
        check("", &[third, second, first]);
        check("--app other", &[]);
        check("--app tagger --shop hats.example --topic products/update", &[third, first]);
        check(&format!("--before {second}"), &[first]);
        let page = run(&place, "delivery list --limit 2").check(0, &["orders/create", "w-2", "2 deliveries\n"]);
        assert!(page.out.ends_with(&format!("next page: --before {second}\n")), "{}", page.out);

        for name in [first.to_string(), "w-1".to_owned()] {
            let output = command(&place, &format!("delivery show {name} --body")).output().unwrap();
            assert!(output.status.success() && output.stdout == body && output.stderr.is_empty());
        }
        assert_eq!(run(&place, "delivery show w-3 --body").check(0, &[]).out, "");
        let size = "3,012 bytes";
        run(&place, "delivery show w-1").check(
            0,
            &[
                &format!("delivery {first}\n"),
                size,
                "X-Shopify-Topic  products/update\n",
                "shopify/product 1",
                &format!("job {job} has not run yet"),
            ],
        );

        let end = |outcome: &str, plugin: Option<&str>, job: i64, kept: i64| Unit {
            log: [plugin.map(|name| logged(kept, job, Some(name), "ok")), Some(logged(kept, job, None, outcome))]
                .into_iter()
                .flatten()
                .collect(),
            ..unit().finish(job, How::Done)
        };
        commit(&store, end("ran", Some("product-tagger"), job, first)).await;
        commit(&store, end("stale", None, waiting, second)).await;
        let ran = "it was processed, and these plugins ran: product-tagger";
        run(&place, "delivery show w-1").check(0, &[ran, "product-tagger 1.2.0 tag-product run"]);
        let stale = format!(
            "nothing ran: it is not newer than what was stored; hint: `tradewind delivery replay {second} --force`"
        );
        run(&place, "delivery show w-2").check(0, &[&stale]);
        let shown = run(&place, "delivery show w-2 --json").json();
        assert_eq!(shown[0]["log"][0]["outcome"], "stale");
        assert_eq!(shown[0]["headers"]["X-Shopify-Topic"], "products/update");
        assert!(shown[0].get("body").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_delivery_is_replayed_by_a_new_job() {
    on_both(async |place| {
        let store = place.open().await;
        let (kept, job) = ingest(&store, delivery("w-1", b"{}")).await;
        commit(&store, unit().finish(job, How::Done).insert(&product("1"), "{}")).await;
        let replay = |arguments: &str| run(&place, &format!("delivery replay {arguments}"));
        replay(&kept.to_string()).check(0, &[&format!("delivery {kept} is processed again by job ")]);
        replay("w-1 --force").check(0, &[&format!("delivery {kept} is processed again by job ")]);
        let jobs = stores::jobs(&store).await;
        assert_eq!(jobs.iter().map(|job| job.delivery_seq).collect::<Vec<_>>(), [Some(kept); 2]);
        assert!(
            jobs.iter().all(|job| job.kind == JobKind::Delivery && job.lane.as_deref() == Some("shopify/product 1"))
        );
        let forced =
            jobs.iter().map(|job| job.payload.as_ref().is_some_and(|json| json.as_str().contains("\"force\":true")));
        assert_eq!(forced.collect::<Vec<_>>(), [false, true]);
        replay("w-9").check(2, &["there is no delivery `w-9`; hint: "]);
    })
    .await;
}

#[tokio::test]
async fn doctor_says_what_is_not_well() {
    let examine = async |place: Place| {
        let store = place.open().await;
        let quiet = run(&place, "doctor --watch 0s");
        quiet.check(
            0,
            &["ok    migrations", "ok    statements", "ok    commits", "warn  hosts       none is known", "64 of 64"],
        );

        parked(&store, stores::action(), "not-installed").await;
        enqueue(&store, stores::action()).await;
        store.host_beat("frozen").await.unwrap();
        store.host_beat("alive").await.unwrap();
        for partition in store.partitions().await.unwrap() {
            store.take_partition(&partition, "alive").await.unwrap();
        }
        let mut doctor = command(&place, "doctor --watch 1s").stdout(Stdio::piped()).spawn().unwrap();
        while doctor.try_wait().unwrap().is_none() {
            store.host_beat("alive").await.unwrap();
        }
        Said::of(doctor.wait_with_output().unwrap()).check(
            0,
            &[
                "ok    jobs        1 queued, 0 delayed, 1 parked\n",
                "warn  waiting     the oldest queued job, of `tagger/hats.example`, was made ",
                "warn  parked      1 job waits for a person: 1 `not-installed`; hint: ",
                "ok    host        `alive` owns 64 partitions, and is alive\n",
                "warn  host        `frozen` owns 0 partitions, and showed no life for 1.00 s; hint: ",
                "ok    leases      all 64 partitions have an owner\n",
            ],
        );
        let lines = run(&place, "doctor --watch 0s --json").json();
        assert!(lines.iter().any(|line| line["check"] == "parked" && line["level"] == "warn"), "{lines:?}");
        assert_eq!(stores::jobs(&store).await.len(), 2);
        assert!(
            lines.iter().any(|line| line["usage"]["quotas"][0]
                == json!({"limit": "shop_jobs_waiting_max", "used": 2, "max": 100_000})),
            "{lines:?}"
        );
        doctor_shows_what_a_shop_keeps(&place, &store).await;
    };
    examine(Place::sqlite()).await;
    let durable = Cluster::start().unwrap();
    examine(Place::Postgres(durable.database("doctor").unwrap())).await;
    // The server that tests share loses what it has when the power goes.
    let careless = Place::postgres();
    careless.open().await;
    run(&careless, "doctor --watch 0s").check(6, &["fail  durability  `fsync` is `off`: "]);
}

async fn doctor_shows_what_a_shop_keeps(place: &Place, store: &Store) {
    run(place, "doctor --watch 0s").check(
        0,
        &["ok    usage       `tagger/hats.example` keeps 2 of 100,000 unfinished jobs (`shop_jobs_waiting_max`)\n"],
    );
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tradewind.toml");
    std::fs::write(&config, "[limits]\nshop_jobs_waiting_max = 100\n").unwrap();
    for _ in 2..85 {
        enqueue(store, stores::action()).await;
    }
    // What somebody does by hand is put right.
    run_sql(place, "UPDATE usage SET jobs = jobs + 7 WHERE app = 'tagger' AND line = 0").await;
    let config = config.display();
    run(place, &format!("doctor --watch 0s --config {config} --shop hats.example --recount")).check(
        0,
        &[
            "ok    recount     1 shop was counted, 1 put right\n",
            "warn  usage       `tagger/hats.example` keeps 85 of 100 unfinished jobs (`shop_jobs_waiting_max`), ",
            " of 256.0 MiB of unfinished jobs (`shop_job_bytes_max`), 0 of 1,000,000 records (`shop_records_max`), ",
            "; hint: what is full is refused; `--shop` shows all quotas, `[limits]` raises them\n",
        ],
    );
    run(place, &format!("doctor --watch 0s --config {config}.lost")).check(2, &["tradewind.toml.lost: "]);
    run(place, "doctor --watch 0s --shop nobody").check(0, &["ok    usage       the shop `nobody` keeps nothing\n"]);
}

#[test]
fn wrong_arguments_are_named_all_at_once() {
    let said = |arguments: &[&str]| Said::of(tradewind().args(arguments).output().unwrap());
    said(&["job", "list", "--state", "lost", "--kind", "x", "--older-than", "2", "--limit", "0", "--after", "z"])
        .check(
            2,
            &[
                "there is no state `lost`; hint: `queued`, `delayed`, `parked`",
                "there is no kind `x`; hint: `delivery`, ",
                "`2` is no length of time; hint: ",
                "`--limit` is `0`; hint: a number from 1 to 1000",
                "`z` is no job's number; hint: ",
            ],
        );
    said(&["job", "purge", "x", "y", "--state", "parked"]).check(2, &["`x` is no", "`y` is no", "do not go together"]);
    said(&["job", "park", "1", "--reason", ""]).check(2, &["`--reason` is empty; hint: "]);
    said(&["doctor", "--watch", "2h"]).check(2, &["`--watch` is `2h`; hint: at most `60s`"]);
    said(&["job", "show", "--help"]).check(0, &["TRADEWIND_STORE", "Exit codes:"]);
}

#[test]
fn no_message_holds_the_password() {
    let check = |address: &str, code: i32, expected: &[&str]| {
        for arguments in ["job list", "migrate", "delivery replay 1", "doctor"] {
            let mut command = tradewind();
            command.args(arguments.split_whitespace()).env("TRADEWIND_STORE", address);
            let said = Said::of(command.output().unwrap()).check(code, expected);
            assert!(!format!("{}{}", said.out, said.err).contains("secret"), "{arguments}: {}", said.err);
        }
    };
    check(
        "postgres://me:secret@127.0.0.1:1/shop",
        6,
        &["`postgres://me:***@127.0.0.1:1/shop`: ", "; hint: is the server"],
    );
    check(
        "postgres://me:se/secret@db/shop",
        2,
        &["`TRADEWIND_STORE` is `postgres://me:***@db/shop`, which is no store"],
    );
    check("mysql://me:secret@db", 2, &["`mysql://me:***@db`", "hint: "]);
}

#[test]
fn the_environment_names_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], store: &str| {
        let mut command = tradewind();
        Said::of(command.args(arguments).current_dir(folder.path()).env("TRADEWIND_STORE", store).output().unwrap())
    };
    run(&["migrate"], "sqlite:a.db").check(0, &["`sqlite:a.db` was migrated from 0 to "]);
    run(&["migrate", "--store", "sqlite:b.db"], "sqlite:a.db").check(0, &["`sqlite:b.db` was migrated"]);
    run(&["migrate"], "").check(0, &["`sqlite:tradewind.db` was migrated"]);
    run(&["migrate", "--store", "sqlite:no/such.db"], "").check(2, &["the folder `no` is not there; hint: make it"]);
    std::fs::write(
        folder.path().join("text.db"),
        "This is not a database, but a text that is long enough. ".repeat(20),
    )
    .unwrap();
    run(&["job", "list"], "sqlite:text.db").check(6, &["`sqlite:text.db`: ", "file is not a database; hint: "]);
}
