//! What plugins do at the shop comes back as a webhook, and is known for what it is.

use serde_json::json;
use tradewind_emulator::ProductEdit;
use tradewind_host::pipeline::CAUSAL_DEPTH_MAX;
use tradewind_store::JobState;
use tradewind_tests::host;
use tradewind_tests::serving::{Happened, SECRET, plugin};
use tradewind_tests::stores::on_both;

use super::{Way, heard, probe};

const BODY: &str = "<p>A straw hat. Straw, a wide brim, a ribbon: a hat for summer days.</p>";

fn description(text: &str) -> ProductEdit {
    ProductEdit { body_html: Some(text.to_owned()), ..ProductEdit::default() }
}

#[tokio::test]
async fn a_description_becomes_tags_once() {
    on_both(async |place| {
        let way = Way::new(&place, vec![plugin("product-tagger"), probe(&[])], 3).await;
        let product = way.products().remove(0);
        way.edit(product.id, &description(BODY));
        way.settled_well().await;

        let tags = way.product(product.id).tags;
        let new: Vec<_> = tags.iter().filter(|tag| !product.tags.contains(tag)).collect();
        assert!(new.iter().any(|tag| *tag == "straw") && new.len() > 1, "{tags:?}");
        way.assert_product_mirrored(&way.product(product.id)).await;
        assert_eq!(way.served.seen.delivered(), ["ran", "ran"]);
        let invoked = way.served.seen.invoked();
        let of_tagger: Vec<_> = invoked.iter().filter(|what| what.starts_with("product-tagger/")).collect();
        assert_eq!(of_tagger, ["product-tagger/tag-product run ok", "product-tagger/tag-product success ok"]);

        let [first, second] = &heard(&way)[..] else { panic!("{:#?}", heard(&way)) };
        assert_eq!(
            (&first["verb"], &first["depth"], &first["changes"]["body"]),
            (&json!("create"), &json!(0), &json!("external"))
        );
        let ours = json!({ "tags": "other-plugin", "shopifyUpdatedAt": "other-plugin" });
        assert_eq!((&second["verb"], &second["depth"]), (&json!("update"), &json!(1)));
        // The time has whole seconds, and may be the same.
        for (field, origin) in second["changes"].as_object().unwrap() {
            assert_eq!(ours[field], *origin, "{second:#}");
        }
        assert_eq!(second["changes"]["tags"], "other-plugin");
        way.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_merchant_changed_meanwhile_stays_the_merchants() {
    on_both(async |place| {
        let way = Way::silent(&place, vec![plugin("product-tagger"), probe(&[])], 1).await;
        let id = way.products()[0].id;
        way.report(id, "w-1").await;
        way.settled_well().await;
        way.edit(id, &description(BODY));
        way.report(id, "w-2").await;
        way.settled_well().await;
        assert!(way.product(id).tags.contains(&"straw".to_owned()));

        // One webhook tells of the plugin's tags and of the merchant's title.
        way.set_title(id, "Garden hat");
        way.report(id, "w-3").await;
        way.settled_well().await;
        let last = heard(&way).pop().unwrap();
        assert_eq!(last["changes"]["title"], "external", "{last:#}");
        assert_eq!(last["changes"]["tags"], "other-plugin", "{last:#}");
        assert_ne!(last["changes"]["shopifyUpdatedAt"], "other-plugin", "{last:#}");
        way.assert_mirrored().await;

        // The note is used up: the same tags, taken away and put back by a merchant, are the merchant's.
        let tags = way.product(id).tags;
        for (number, now) in [Vec::new(), tags].into_iter().enumerate() {
            way.edit(id, &ProductEdit { tags: Some(now), ..ProductEdit::default() });
            way.report(id, &format!("w-{}", number + 4)).await;
            way.settled_well().await;
            let last = heard(&way).pop().unwrap();
            assert_eq!(last["changes"]["tags"], "external", "{last:#}");
        }
        let tagged = way.served.seen.returned("product-tagger/tag-product").len();
        assert_eq!(tagged, 2, "once for the first description and once for the second");
        way.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_plugin_is_not_told_of_its_own_answer() {
    on_both(async |place| {
        let way = Way::new(&place, vec![probe(&["exclaim"])], 1).await;
        let id = way.products()[0].id;
        way.set_title(id, "One");
        way.settled_well().await;
        way.set_title(id, "Two");
        way.settled_well().await;
        // The first webhook made the record, which is no update.
        assert_eq!(way.product(id).title, "Two!");
        way.assert_mirrored().await;
        let exclaimed = way.served.seen.returned("shop-probe/exclaim");
        assert_eq!(exclaimed.len(), 1, "{exclaimed:?}");
        let echoes = way.served.seen.all().into_iter().filter_map(|one| match one {
            Happened::Ended { kind: "delivery", echoes, depth, .. } if !echoes.is_empty() => Some((echoes, depth)),
            _ => None,
        });
        let echoes: Vec<_> = echoes.collect();
        assert!(echoes.len() == 1 && echoes[0].1 == 1, "{echoes:?}");
        assert!(echoes[0].0.contains(&"title by shop-probe".to_owned()), "{echoes:?}");
        way.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_answers_its_own_answers_comes_to_an_end() {
    on_both(async |place| {
        let way = Way::new(&place, vec![probe(&["insist"])], 1).await;
        let id = way.products()[0].id;
        way.set_title(id, "One");
        way.settled_well().await;
        way.set_title(id, "Two");
        let parked = way.settled().await;
        let [parked] = &parked[..] else { panic!("{parked:#?}") };
        assert_eq!((parked.state, parked.reason.as_deref()), (JobState::Parked, Some("causal-depth")));
        let error = host::value(parked.error.as_ref().unwrap());
        let message = error["message"].as_str().unwrap();
        let depth = CAUSAL_DEPTH_MAX + 1;
        assert!(
            message.contains(&format!("{depth} of our own writes led here")) && message.contains("hint: "),
            "{message}"
        );
        let title = way.product(id).title;
        assert_eq!(title, format!("Two{}", "!".repeat(depth as usize)));
        let depths: Vec<_> = way.served.seen.returned("shop-probe/insist").len().checked_sub(1).into_iter().collect();
        assert_eq!(depths, [CAUSAL_DEPTH_MAX as usize], "a call for each depth from zero");
        // The chain has ended, and what a merchant does next is heard: it begins another, which ends as this one did.
        let calls = way.served.seen.returned("shop-probe/insist").len();
        way.set_title(id, "Three");
        let parked = way.settled().await;
        assert!(
            parked.len() == 2 && parked.iter().all(|job| job.reason.as_deref() == Some("causal-depth")),
            "{parked:#?}"
        );
        assert_eq!(way.served.seen.returned("shop-probe/insist").len(), calls + CAUSAL_DEPTH_MAX as usize + 1);
        way.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_call_can_be_made_later() {
    on_both(async |place| {
        let way = Way::new(&place, vec![probe(&["later"])], 1).await;
        let id = way.products()[0].id;
        way.set_title(id, "One");
        way.settled_well().await;
        way.edit(id, &ProductEdit { vendor: Some("Somebody else".to_owned()), ..ProductEdit::default() });
        way.settled_well().await;
        assert!(way.product(id).tags.contains(&"later".to_owned()));
        way.assert_mirrored().await;
        let ends: Vec<_> = way.served.seen.all();
        let call = ends.iter().find_map(|one| match one {
            Happened::Ended { kind: "call", outcome, error, .. } => Some((outcome.as_str(), error.clone())),
            _ => None,
        });
        assert_eq!(call, Some(("done", serde_json::Value::Null)));
        // The plugin is not told of it: the job's call is its own.
        let is_echo = |one: &Happened| match one {
            Happened::Ended { echoes, .. } => echoes.contains(&"tags by shop-probe".to_owned()),
            _ => false,
        };
        assert!(ends.iter().any(is_echo), "{ends:#?}");
        assert_eq!(heard(&way).pop().unwrap()["changes"]["vendor"], "external");
        way.stop().await;
    })
    .await;
}

/// Neither the plugin nor anything that is kept or shown has the token or the secret.
#[tokio::test]
async fn the_token_stays_in_the_host() {
    on_both(async |place| {
        let way = Way::new(&place, vec![plugin("product-tagger"), probe(&["exclaim", "later"])], 1).await;
        let id = way.products()[0].id;
        way.edit(id, &description(BODY));
        way.settled_well().await;
        way.set_title(id, "Two");
        way.settled_well().await;
        assert!(heard(&way).iter().all(|told| told["credentials"] == "not-granted"), "{:#?}", heard(&way));
        let mut kept = vec![format!("{:?}", way.served.seen.all())];
        for delivery in way.served.deliveries().await {
            let whole = way.served.store().delivery(delivery.seq).await.unwrap().unwrap();
            let ran = way.served.store().invocations_of_delivery(delivery.seq, 1_000).await.unwrap();
            kept.push(format!("{delivery:?} {} {ran:?}", String::from_utf8(whole.body).unwrap()));
        }
        kept.push(way.served.record("shopify/product", &id.to_string()).await.to_string());
        let kept = kept.concat();
        assert!(kept.contains("straw"));
        assert!(!kept.contains(&way.token) && !kept.contains(SECRET));
        way.stop().await;
    })
    .await;
}
